"""Fully connected nets, for modalities of any shape."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from torch import nn

from mmvae_bench.errors import BenchError
from mmvae_bench.nets.base import Networks, Words
from mmvae_bench.types import Modality

MOST = 100  # layers
WIDTH = 32  # of a word's vector; a fully connected net has T times as many inputs


def stack(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    """Linear layers of the given sizes with ``activation`` between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return layers[:-1]


def embedded(m: Modality, width: int) -> Modality:
    """The modality as its nets see it: a caption is [T, width], anything else what it is."""
    return replace(m, shape=(*m.shape, width)) if m.is_text else m


def mlp_encoder(
    m: Modality, latent_dim: int, hidden: Sequence[int], activation: type[nn.Module] = nn.ReLU
) -> nn.Module:
    """shape -> hidden -> 2 L."""
    return nn.Sequential(nn.Flatten(), *stack([math.prod(m.shape), *hidden, 2 * latent_dim], activation))


def mlp_decoder(
    m: Modality, latent_dim: int, hidden: Sequence[int], activation: type[nn.Module] = nn.ReLU
) -> nn.Module:
    """L -> hidden -> shape."""
    return nn.Sequential(*stack([latent_dim, *hidden, math.prod(m.shape)], activation), nn.Unflatten(1, m.shape))


def mlp(modalities: Sequence[Modality], latent_dim: int, *, hidden: int = 256, layers: int = 2) -> Networks:
    """Return ReLU MLPs with ``layers`` hidden layers of ``hidden`` units; captions as T words of 32 numbers each."""
    if not (hidden >= 1 and 0 <= layers <= MOST):
        raise BenchError(f"mlp needs hidden >= 1 and layers in 0..{MOST}, not {hidden} and {layers}")
    sizes = [hidden] * layers
    return Networks(
        modalities,
        latent_dim,
        lambda m: mlp_encoder(embedded(m, WIDTH), latent_dim, sizes),
        lambda m: mlp_decoder(embedded(m, WIDTH), latent_dim, sizes),
        lambda m: Words(len(m.vocabulary), WIDTH),
    )


def linear(modalities: Sequence[Modality], latent_dim: int) -> Networks:
    """Return linear maps (of a caption: to and from its words' vectors): what is exact for ``linear_gaussian``."""
    return mlp(modalities, latent_dim, layers=0)
