"""From networks to densities: q(z | x_m) and p(x_m | z) of every modality, before any model combines them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mmvae_bench import likelihoods
from mmvae_bench.distributions import Diagonal, DiagonalNormal
from mmvae_bench.fusion import Experts
from mmvae_bench.nets.base import Networks
from mmvae_bench.types import MultimodalBatch

MIN_SCALE = 1e-4  # of a posterior; MEME's code clamps at 1e-3 or 1e-4, MMVAE's adds 1e-6


class Densities(nn.Module):
    """What networks say about rows, and what is absent left out.

    Args:
        networks: Encoders and decoders.
    """

    family: type[Diagonal] = DiagonalNormal

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks = networks
        self.modalities = networks.modalities
        self.names = tuple(m.name for m in networks.modalities)
        self._likelihoods = {m.name: likelihoods.registry.get(m.likelihood) for m in self.modalities}

    def encode(self, batch: MultimodalBatch) -> Experts:
        """q(z | x_m) for every modality, batch shape [M, B]; an encoder sees zeros where an entry is absent."""
        raw = torch.stack([self.networks.encode_entries(name, batch.visible(name)) for name in self.names])
        return Experts(self.expert(raw), batch.present)

    def expert(self, raw: Float[Tensor, "*batch two_L"]) -> Diagonal:
        """Split an encoder's output: loc, and scale = softplus(raw) + 1e-4."""
        loc, scale = raw.chunk(2, -1)
        return self.family(loc, F.softplus(scale) + MIN_SCALE)

    def theta(self, name: str, z: Float[Tensor, "*batch L"]) -> Tensor:
        """The parameters of p(x_m | z), [*batch, *shape]; pixels pass a sigmoid unless the likelihood takes logits."""
        m = self.modalities[self.names.index(name)]
        theta = self.networks.decode(name, z)
        return theta.sigmoid() if m.dtype == "uint8" and m.likelihood in ("laplace", "normal") else theta

    def log_px_of(self, name: str, z: Tensor, batch: MultimodalBatch, *, weighted: bool = True) -> Tensor:
        """log p(x_m | z) for z of shape [..., B, L]: [..., B], zero where x_m is absent.

        ``weighted`` multiplies by the modality's weight, as in training; scores use the density itself.
        """
        m = self.modalities[self.names.index(name)]
        log_p = self._likelihoods[name](batch.visible(name), self.theta(name, z), m.scale, len(m.shape))
        return torch.where(batch.where(name), (m.weight if weighted else 1.0) * log_p, torch.zeros_like(log_p))

    def log_px(self, z: Tensor, batch: MultimodalBatch, *, weighted: bool = True) -> Float[Tensor, "M *batch"]:
        """log p(x_m | z) of every modality from the same z, stacked over modalities."""
        return torch.stack([self.log_px_of(name, z, batch, weighted=weighted) for name in self.names])

    def decode(self, z: Float[Tensor, "*batch L"], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """E[x_m | z] of every modality, or of ``names``; of a caption the likeliest word at each position."""
        return {name: self._likelihoods[name].mean(self.theta(name, z)) for name in names or self.names}
