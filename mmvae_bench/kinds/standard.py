"""The kinds of most data sets: pictures, captions, symbols and tables of numbers."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mmvae_bench.datasets.words import PAD, decode
from mmvae_bench.kinds.base import Kind, Values
from mmvae_bench.types import Modality

HEIGHT, WIDEST = 32, 96  # of the picture of a table's row, in pixels
MOST_BARS = 32  # of three pixels each; more numbers are cells
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


def numbers(m: Modality, x: Values, true: Values) -> Values:
    """Return a single number as text, [n], more as a picture, [n, 3, height, width]: bars of up to 32, else cells.

    A bar reaches the border, and a cell has its full colour, at the 99 % quantile of the true entries' absolute values.
    """
    if x.size == len(x):
        return np.array([f"{float(number):.2f}" for number in x.reshape(-1)], dtype=np.str_)
    size = np.abs(true)
    scale = (np.quantile(size, 0.99) or size.max()) if size.size else 0.0
    level = x.reshape(len(x), -1) / (scale or 1.0)
    return bars(level) if level.shape[1] <= MOST_BARS else cells(level)


def bars(level: Values) -> Values:
    """Return a bar chart of each row of numbers in -1..1, [n, 3, 32, width]: up for positive ones, down for others."""
    level = np.repeat(level, WIDEST // level.shape[1], axis=1)
    height = (np.arange(HEIGHT) + 0.5) / (HEIGHT / 2) - 1  # of the middle of each line of pixels, from the top
    up = (level[:, None] > 0) & (-height[:, None] > 0) & (-height[:, None] <= level[:, None])
    down = (level[:, None] < 0) & (height[:, None] > 0) & (height[:, None] <= -level[:, None])
    colours = np.array([PAPER, UP, DOWN], np.uint8)
    return np.ascontiguousarray(colours[up + 2 * down].transpose(0, 3, 1, 2))


def cells(level: Values) -> Values:
    """Return each row of numbers in -1..1 as cells, line by line, [n, 3, height, width]: the darker, the larger.

    More numbers than 96 x 32 are averaged in groups.
    """
    groups = np.array_split(np.arange(level.shape[1]), min(level.shape[1], WIDEST * HEIGHT))
    level = np.stack([level[:, group].mean(1) for group in groups], 1).clip(-1, 1)
    columns = math.ceil(math.sqrt(len(groups) * WIDEST / HEIGHT))
    level = np.pad(level, ((0, 0), (0, -len(groups) % columns))).reshape(len(level), 1, -1, columns)
    paper, full = (np.array(colours, float)[..., None, None] for colours in (PAPER, [UP, DOWN]))
    colour = paper + np.abs(level) * (np.where(level > 0, full[0], full[1]) - paper)
    side = max(1, min(WIDEST // columns, HEIGHT // level.shape[2]))
    picture: Values = colour.round().astype(np.uint8).repeat(side, 2).repeat(side, 3)
    return picture


PICTURE = Kind(pixels, augment=warp)
CAPTION = Kind(sentences, ("categorical",))
SYMBOL = Kind(symbols, ("categorical",))
TABLE = Kind(numbers)
