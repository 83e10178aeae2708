"""Pseudo-inputs: learned entries whose encodings stand for a modality that is absent (Joy et al. 2022, Eq. 8)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmvae_bench.models.densities import Densities
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.distributions import Diagonal


class PseudoInputs(nn.ParameterDict):
    """u_m1 .. u_mU of every modality, of captions as embedded words: [U, *input_shape] each.

    Args:
        networks: What they are inputs of.
        size: U.
    """

    def __init__(self, networks: Networks, size: int) -> None:
        super().__init__({m.name: torch.zeros(size, *networks.input_shape(m)) for m in networks.modalities})

    def initialise(self, networks: Networks, draw: Callable[[str, int], Tensor]) -> None:
        """Start them at training entries that are present; ``draw`` as in ``MultimodalVAE.initialise``."""
        for name, u in self.items():
            u.data.copy_(networks.embed(name, draw(name, len(u))))

    def encoded(self, by: Densities) -> Diagonal:
        """q(z | u) of all of them, batch shape [M, U]."""
        return by.expert(torch.stack([by.networks.encode(name, self[name]) for name in by.names]))
