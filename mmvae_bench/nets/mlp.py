"""Fully connected nets, for modalities of any shape."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated

from annotated_types import Interval
from torch import nn

from mmvae_bench.nets.base import Networks, Words
from mmvae_bench.options import Positive
from mmvae_bench.types import Modality

Activation = type[nn.Module]
Layers = Annotated[int, Interval(ge=0, le=100)]
WIDTH = 32  # size of a word's vector; a fully connected net has T times as many inputs


def activated(layers: Iterable[nn.Module], activation: Activation = nn.ReLU) -> list[nn.Module]:
    """Return the layers, each followed by ``activation``."""
    return [each for layer in layers for each in (layer, activation())]


def embedded(m: Modality, width: int) -> Modality:
    """Return the modality with the shape that its nets see: a caption is [T, width], others are unchanged."""
    return replace(m, shape=(*m.shape, width)) if m.is_text else m


def mlp_encoder(m: Modality, latent_dim: int, hidden: Sequence[int], activation: Activation = nn.ReLU) -> nn.Module:
    """shape -> hidden -> 2 L."""
    return nn.Sequential(nn.Flatten(), *_stack([math.prod(m.shape), *hidden, 2 * latent_dim], activation))


def mlp_decoder(m: Modality, latent_dim: int, hidden: Sequence[int], activation: Activation = nn.ReLU) -> nn.Module:
    """L -> hidden -> shape."""
    return nn.Sequential(*_stack([latent_dim, *hidden, math.prod(m.shape)], activation), nn.Unflatten(1, m.shape))


def _stack(sizes: Sequence[int], activation: Activation) -> list[nn.Module]:
    return activated((nn.Linear(*pair) for pair in pairwise(sizes)), activation)[:-1]


def mlp(modalities: Sequence[Modality], latent_dim: int, *, hidden: Positive = 256, layers: Layers = 2) -> Networks:
    """Return ReLU MLPs with ``layers`` hidden layers of ``hidden`` units; captions as T words of 32 numbers each."""
    sizes = [hidden] * layers
    return Networks(
        modalities,
        latent_dim,
        lambda m, size: mlp_encoder(embedded(m, WIDTH), size, sizes),
        lambda m, size: mlp_decoder(embedded(m, WIDTH), size, sizes),
        lambda m: Words(len(m.vocabulary), WIDTH),
    )


def linear(modalities: Sequence[Modality], latent_dim: int) -> Networks:
    """Return linear maps (of a caption: to and from its words' vectors), which are exact for ``linear_gaussian``."""
    return mlp(modalities, latent_dim, layers=0)
