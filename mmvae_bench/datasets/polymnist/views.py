"""Views of PolyMNIST: the digit of each row, the piece of the photograph, and the place of the digit on it."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from mmvae_bench.seeds import seed_for

SIDE = 28
INK = 128  # brighter pixels belong to the digit
SMALL = 21  # 0.75 of 28
# Of 10,000 training digits scaled to 21x21, 1.0 % break into more pieces with threshold 112, 3.1 % with 128. No other
# threshold preserves the pieces and holes of more digits (87 %).
SMALL_INK = 112


def ink(pixels: NDArray[np.uint8], *, translated: bool) -> NDArray[np.bool_]:
    """Return masks of digits [N, 28, 28]; scaled bilinearly to [N, 21, 21] if ``translated``."""
    if not translated:
        return pixels > INK
    small = [Image.fromarray(digit).resize((SMALL, SMALL), Image.Resampling.BILINEAR) for digit in pixels]
    return np.stack([np.asarray(digit) for digit in small]) > SMALL_INK


def view(
    part: str, k: int, inks: NDArray[np.bool_], label: NDArray[np.int64], photograph: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return view k of N rows: colours c of a random piece of the photograph, 255 - c where the digit is.

    Args:
        part: ``train`` or ``test``; the random numbers depend on ``part`` and k alone.
        k: number of the view; view 0 shows the digits in their order, others permute them within each class.
        inks: masks of the digits, [N, side, side], side <= 28; smaller ones are placed uniformly.
        label: classes, [N].
        photograph: pixels [H, W, 3].

    Returns:
        Pixels [N, 3, 28, 28].
    """

    def rng(use: str) -> np.random.Generator:
        return np.random.default_rng(seed_for("polymnist", part, use, k))

    pieces = sliding_window_view(photograph, (SIDE, SIDE), axis=(0, 1))  # [H - 27, W - 27, 3, 28, 28], not copied
    y, x = (rng(f"crop {axis}").integers(n, size=len(label)) for axis, n in zip("yx", pieces.shape[:2], strict=True))
    shown = permuted(rng("digits"), label) if k else np.arange(len(label))
    where = placed(rng("places"), inks[shown])
    crops = pieces[y, x]
    return np.where(where[:, None], 255 - crops, crops)


def permuted(rng: np.random.Generator, label: NDArray[np.int64]) -> NDArray[np.intp]:
    """Draw a permutation of N rows within each class, as indices [N]."""
    index = np.arange(len(label))
    for digit in np.unique(label):
        rows = np.flatnonzero(label == digit)
        index[rows] = rng.permutation(rows)
    return index


def placed(rng: np.random.Generator, inks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Place masks [N, side, side] on [N, 28, 28]: upper left corners uniform in 0..28 - side, across and down."""
    n, side = inks.shape[:2]
    where = np.zeros((n, SIDE, SIDE), np.bool_)
    y, x = rng.integers(SIDE - side + 1, size=(2, n))
    sliding_window_view(where, (side, side), axis=(1, 2), writeable=True)[np.arange(n), y, x] = inks
    return where
