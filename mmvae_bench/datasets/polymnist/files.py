"""The photographs of PolyMNIST, and the pictures of the published archive."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmvae_bench.datasets.digits import packaged_file
from mmvae_bench.errors import DataError

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
SPLITS = ("train", "test")
PLACES = ("PolyMNIST/MMNIST", "MMNIST")  # below data_dir, searched in this order
ZIPS = ("PolyMNIST.zip", "MMNIST.zip")
WHENCE = "https://zenodo.org/record/4899160"
NAME = re.compile(r"(\d{1,9})\.(\d)\.png", re.ASCII)  # i.digit.png: the i-th picture of this digit
COUNTS = {  # of each digit in MNIST
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def embedded_photographs(m: int) -> list[Path]:
    """Return the paths of the first M of :data:`EMBEDDED`."""
    return [packaged_file(*parts) for parts in EMBEDDED[:m]]


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
    folders = [root / split / f"m{k}" for split in SPLITS for k in range(m)]
    missing = next((folder for folder in folders if not folder.is_dir()), None)
    if missing is None:
        return folders
    packed = next((data_dir / name for name in ZIPS if (data_dir / name).is_file()), None)
    way_out = f"Unpack {packed}" if packed else f"Get PolyMNIST.zip ({WHENCE}) and unpack it"
    raise DataError(f"polymnist[m={m},photographs=archive] needs the folder {missing}. {way_out} in {data_dir}.")


def read_views(folders: Sequence[Path]) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Read the views of one split; the pictures of a row have the same file name.

    Rows are in the order of i, then of the digit. The authors' code uses the order of the disk, view by view.

    Returns:
        Pixels [N, 3, 28, 28] of each view, and the digits [N].

    Raises:
        DataError: If names differ between views or are not ``<i>.<digit>.png``, or a picture is damaged.
    """
    names = _names(folders[0])
    for folder in folders[1:]:
        if differ := sorted(names.keys() ^ _names(folder).keys()):
            raise DataError(
                f"{folder} and {folders[0].name} beside it do not contain the same pictures (one lacks {differ[0]}). "
                "Unpack the archive again."
            )
    order = sorted(names, key=lambda name: (names[name], name))
    return [_pictures(folder, order) for folder in folders], np.array([names[name][1] for name in order], np.int64)


def is_complete(split: str, label: NDArray[np.int64]) -> bool:
    """Return True if each digit occurs as often as in this split of MNIST (60,000 or 10,000 digits)."""
    return np.array_equal(np.bincount(label, minlength=10), COUNTS[split])


def _names(folder: Path) -> dict[str, tuple[int, int]]:
    """Return file name -> (i, digit)."""
    files = [path.name for path in folder.glob("*.png") if not path.name.startswith(".")]
    found = {name: match for name in files if (match := NAME.fullmatch(name))}
    if not files or len(found) < len(files):
        what = f"{min(set(files) - found.keys())!a}, which is not <i>.<digit>.png" if files else "no <i>.<digit>.png"
        raise DataError(f"{folder} contains {what}. Unpack the published archive there again.")
    return {name: (int(match[1]), int(match[2])) for name, match in found.items()}


def _pictures(folder: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    pixels = np.empty((len(names), 3, SIDE, SIDE), np.uint8)
    for i, name in enumerate(names):
        picture = _read(folder / name, ("PNG",))
        if picture.shape[:2] != (SIDE, SIDE):
            raise DataError(f"{folder / name} is not a picture of {SIDE}x{SIDE} pixels. Unpack the archive again.")
        pixels[i] = picture.transpose(2, 0, 1)
    return pixels


def _read(path: Path, formats: tuple[str, ...]) -> NDArray[np.uint8]:
    """Read a picture [H, W, 3]."""
    try:
        with Image.open(path, formats=formats) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # readers raise many exceptions on damaged files
        kind = " or ".join(formats)
        raise DataError(f"{path} is truncated or not a {kind} picture ({error}). Get it again.") from error
