"""Residual nets for tables of numbers: the ResNet of Gorishniy et al. (2021, arXiv 2106.11959, section 3.2).

There, x -> Linear -> blocks -> Linear(ReLU(norm(.))), and a block is x + Linear(ReLU(Linear(norm(x)))) with a hidden
layer twice as wide, as in the authors' code. Here layer norm replaces batch norm, whose statistics would include absent
rows, and SiLU replaces ReLU. Dropout is left out, since the latent is noisy already.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from mmvae_bench.nets.base import Networks, Words
from mmvae_bench.nets.mlp import WIDTH, Layers, embedded
from mmvae_bench.options import Positive
from mmvae_bench.types import Modality


class Block(nn.Module):
    """x + W_2 SiLU(W_1 norm(x) + b_1) + b_2, [B, size] -> [B, size]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.SiLU(), nn.Linear(2 * size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the input, changed."""
        out: Tensor = x + self.change(x)
        return out


def residual(inputs: int, outputs: int, hidden: int, blocks: int) -> nn.Sequential:
    """[B, inputs] -> [B, outputs] by ``blocks`` residual blocks of ``hidden`` units."""
    body = [Block(hidden) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(inputs, hidden), *body, nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def tabular(modalities: Sequence[Modality], latent_dim: int, *, hidden: Positive = 64, blocks: Layers = 2) -> Networks:
    """Return residual nets of ``hidden`` units, for entries of any shape; captions as T words of 32 numbers each."""

    def encoder(m: Modality, size: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), residual(math.prod(embedded(m, WIDTH).shape), 2 * size, hidden, blocks))

    def decoder(m: Modality, size: int) -> nn.Module:
        shape = embedded(m, WIDTH).shape
        return nn.Sequential(residual(size, math.prod(shape), hidden, blocks), nn.Unflatten(1, shape))

    return Networks(modalities, latent_dim, encoder, decoder, lambda m: Words(len(m.vocabulary), WIDTH))
