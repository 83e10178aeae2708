"""The kinds of most data sets: pictures, captions, symbols and tables of numbers."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mmvae_bench.datasets.words import PAD, decode
from mmvae_bench.kinds.base import Kind, Values
from mmvae_bench.types import Modality

HEIGHT, WIDEST = 32, 96  # of the picture of a table's row, in pixels
UP, DOWN, PAPER = (49, 104, 142), (197, 90, 17), (244, 244, 244)  # colours of positive and negative numbers


def warp(x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
    """Turn by up to 0.2 rad, scale by up to 15 % and shift by up to 6 % of the side: mild augmentation."""
    angle, scale = torch.empty(2, len(x)).uniform_(-1, 1)
    angle, scale, shift = 0.2 * angle, 1 + 0.15 * scale, torch.empty(len(x), 2).uniform_(-0.12, 0.12)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def pixels(m: Modality, x: Values, true: Values) -> Values:
    """Return pictures [n, C, H, W] in 0..255, from values in [0, 1]."""
    return np.asarray((x.clip(0, 1) * 255).round().astype(np.uint8))


def sentences(m: Modality, x: Values, true: Values) -> Values:
    """Return captions as text [n] of fixed width, which loads without pickle."""
    return np.array([decode(row, m.vocabulary) for row in x], dtype=np.str_)


def symbols(m: Modality, x: Values, true: Values) -> Values:
    """Return the names of all symbols of an entry as one text, [n]."""
    return np.array([", ".join(m.vocabulary[i] for i in row if i != PAD) for row in x], dtype=np.str_)


def bars(m: Modality, x: Values, true: Values) -> Values:
    """Return a bar chart of each entry, [n, 3, 32, width], up for positive and down for negative numbers.

    The largest absolute value of the true entries reaches the border. More than 96 numbers are averaged in groups.
    """
    rows, scale = x.reshape(len(x), -1), np.abs(true).max(initial=0) or 1.0
    groups = np.array_split(np.arange(rows.shape[1]), min(rows.shape[1], WIDEST))
    level = np.stack([rows[:, group].mean(1) for group in groups], 1) / scale
    level = np.repeat(level, max(1, WIDEST // len(groups)), axis=1)
    height = (np.arange(HEIGHT) + 0.5) / (HEIGHT / 2) - 1  # of the middle of each line of pixels, from the top
    up = (level[:, None] > 0) & (-height[:, None] > 0) & (-height[:, None] <= level[:, None])
    down = (level[:, None] < 0) & (height[:, None] > 0) & (height[:, None] <= -level[:, None])
    colours = np.array([PAPER, UP, DOWN], np.uint8)
    return np.ascontiguousarray(colours[up + 2 * down].transpose(0, 3, 1, 2))


PICTURE = Kind(pixels, augment=warp)
CAPTION = Kind(sentences, ("categorical",))
SYMBOL = Kind(symbols, ("categorical",))
TABLE = Kind(bars)
