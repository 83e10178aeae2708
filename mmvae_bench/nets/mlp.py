"""Fully connected nets, for modalities of any shape."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from mmvae_bench.nets.base import Networks
from mmvae_bench.types import Modality


def stack(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers of the given sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]


def mlp_encoder(m: Modality, latent_dim: int, hidden: Sequence[int]) -> nn.Module:
    """shape -> hidden -> 2 L."""
    return nn.Sequential(nn.Flatten(), *stack([math.prod(m.shape), *hidden, 2 * latent_dim]))


def mlp_decoder(m: Modality, latent_dim: int, hidden: Sequence[int]) -> nn.Module:
    """L -> hidden -> shape."""
    return nn.Sequential(*stack([latent_dim, *hidden, math.prod(m.shape)]), nn.Unflatten(1, m.shape))


def mlp(modalities: Sequence[Modality], latent_dim: int, *, hidden: int = 256, layers: int = 2) -> Networks:
    """Return ReLU MLPs with ``layers`` hidden layers of ``hidden`` units for every modality."""
    sizes = [hidden] * layers
    return Networks(
        modalities, latent_dim, lambda m: mlp_encoder(m, latent_dim, sizes), lambda m: mlp_decoder(m, latent_dim, sizes)
    )


def linear(modalities: Sequence[Modality], latent_dim: int) -> Networks:
    """Return linear maps: what is exact for ``linear_gaussian``."""
    return mlp(modalities, latent_dim, layers=0)
