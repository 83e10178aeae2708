"""The kind ``sound``: standardised log-mel spectrograms, [1, bands, frames]; both sizes are multiples of 8."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mmvae_bench.kinds.base import Kind, Values
from mmvae_bench.kinds.spectrogram import pictures
from mmvae_bench.nets.mlp import activated
from mmvae_bench.types import Modality

CHANNELS = (16, 32, 64)
SHIFT = 4  # frames, the largest shift in time of a sound that a classifier learns to judge: 64 ms


def shown(m: Modality, x: Values, true: Values) -> Values:
    """Return the spectrograms as pictures; their scale is that of decibels, the same for all sounds."""
    return pictures(x)


def shift(x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
    """Move each sound by up to :data:`SHIFT` frames to either side; the smallest value of all comes in."""
    padded = F.pad(x, (SHIFT, SHIFT), value=float(x.amin()))
    frames = torch.randint(2 * SHIFT + 1, (len(x), 1)) + torch.arange(x.shape[-1])
    return padded.gather(-1, frames[:, None, None].expand(x.shape))


def encoder(m: Modality, latent_dim: int) -> nn.Module:
    """[B, 1, bands, frames] -> [B, 2 L]: three convolutions that halve both sides, and a linear head."""
    down = (nn.Conv2d(*pair, 4, 2, 1) for pair in pairwise((m.shape[0], *CHANNELS)))
    places = m.shape[1] * m.shape[2] // 64
    return nn.Sequential(*activated(down), nn.Flatten(), nn.Linear(CHANNELS[-1] * places, 2 * latent_dim))


def decoder(m: Modality, latent_dim: int) -> nn.Module:
    """[B, L] -> [B, 1, bands, frames], the encoder backwards."""
    first = (CHANNELS[-1], m.shape[1] // 8, m.shape[2] // 8)
    up = [nn.ConvTranspose2d(*pair, 4, 2, 1) for pair in pairwise((*CHANNELS[::-1], m.shape[0]))]
    head = nn.Linear(latent_dim, first[0] * first[1] * first[2])
    return nn.Sequential(*activated([head]), nn.Unflatten(1, first), *activated(up[:-1]), up[-1])


SOUND = Kind(shown, ("normal", "laplace"), (encoder, decoder), shift, heard=True)
