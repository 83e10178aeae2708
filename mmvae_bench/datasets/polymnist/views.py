"""How a view of PolyMNIST is made: which digit it shows, on which piece of its photograph, and where."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from mmvae_bench.seeds import seed_for

SIDE = 28
INK = 128  # pixels above are the digit
SMALL = 21  # 0.75 of 28
# Of 10,000 training digits at 21x21, 1.0 % break into more pieces above 112, 3.1 % above 128; no threshold leaves the
# pieces and holes of more of them (87 %) as they were.
SMALL_INK = 112


def ink(pixels: NDArray[np.uint8], *, translated: bool) -> NDArray[np.bool_]:
    """Where the digits [N, 28, 28] are: [N, 28, 28]; scaled bilinearly to [N, 21, 21] if they are to be translated."""
    if not translated:
        return pixels > INK
    small = [Image.fromarray(digit).resize((SMALL, SMALL), Image.Resampling.BILINEAR) for digit in pixels]
    return np.stack([np.asarray(digit) for digit in small]) > SMALL_INK


def view(
    part: str, k: int, inks: NDArray[np.bool_], label: NDArray[np.int64], photograph: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """View k of N rows: colours c of a random piece of the photograph, 255 - c where another digit of the class is.

    Args:
        part: ``train`` or ``test``; it and k alone name the random numbers.
        k: Of 0, 1, ...; view 0 shows the digits as they come, others permute them within each class.
        inks: Where each digit is, [N, side, side], side <= 28; smaller ones are placed uniformly.
        label: Their classes, [N].
        photograph: [H, W, 3].

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
    """A random permutation of N rows that keeps each label where it was."""
    index = np.arange(len(label))
    for digit in np.unique(label):
        rows = np.flatnonzero(label == digit)
        index[rows] = rng.permutation(rows)
    return index


def placed(rng: np.random.Generator, inks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Digits [N, side, side] on [N, 28, 28]: their upper left corners uniform in 0..28 - side, across and down."""
    n, side = inks.shape[:2]
    where = np.zeros((n, SIDE, SIDE), np.bool_)
    y, x = rng.integers(SIDE - side + 1, size=(2, n))
    sliding_window_view(where, (side, side), axis=(1, 2), writeable=True)[np.arange(n), y, x] = inks
    return where
