"""Readers of the files of CUB-200-2011 and of its captions."""

import io
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.archives import AGAIN, members
from mmvae_bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

OFFICIAL = 11_788  # pictures
PER_PICTURE = 10  # captions
SIDE = 64


NAME = r"((?!000)(?:[01]\d\d|200)\.[^/]+/[^/]+)"  # class folder/file, no suffix
PICTURE = re.compile(rf"(?:.*/)?images/{NAME}\.jpg")
CAPTION = re.compile(rf"(?:.*text_c10/)?{NAME}\.txt")
TABLE = re.compile(r"(?:.*/)?((?:images|train_test_split)\.txt)")
Entries = NDArray[np.uint8] | NDArray[np.float32]
Convert = Callable[[Iterable["Image"]], Iterable[NDArray[Any]]]


@dataclass(frozen=True)
class Birds:
    """n pictures, sorted by name as in MMVAE: class folders, then files.

    Attributes:
        names: ``<class folder>/<file>`` of each picture, without suffix.
        images: converted pictures, [n, *shape].
        ids: CUB's number of each picture, int64 [n].
        official_test: True for pictures of the official test split, [n].
        captions: ten lines for each picture.
    """

    names: list[str]
    images: Entries
    ids: NDArray[np.int64]
    official_test: NDArray[np.bool_]
    captions: list[list[str]]

    @property
    def label(self) -> NDArray[np.int64]:
        """Classes [n], from 0: folder 001 is class 0."""
        return np.array([int(name[:3]) - 1 for name in self.names])

    @property
    def complete(self) -> bool:
        """True if these are all 11,788 pictures."""
        return len(self.names) == OFFICIAL

    @property
    def count(self) -> str:
        """Numbers of classes and pictures, as the name of a subset."""
        return f"cub {len(set(self.label.tolist()))} classes, {len(self.names)} pictures"


def read_official(pictures: Path, captions: Path, convert: Convert) -> Birds:
    """Read pictures in the official layout, all or some of the 11,788, with their captions.

    Raises:
        DataError: If a file is damaged, or a picture has no number, no side or no ten captions.
    """
    lines = _read_captions(captions)
    names: list[str] = []
    tables: dict[str, Mapping[str, str]] = {}
    images = _stack(convert(_decoded(pictures, names, tables)))
    if not names or len(set(names)) < len(names):
        what = "some images/<class>/<name>.jpg twice" if names else "no images/<class>/<name>.jpg"
        raise DataError(f"{pictures} contains {what}. Move it away and get the official CUB_200_2011.")
    if lacking := sorted({"images.txt", "train_test_split.txt"} - tables.keys()):
        raise DataError(f"{pictures} lacks {' and '.join(lacking)}. Move it away and get the official CUB_200_2011.")
    number = {name.removesuffix(".jpg"): i for i, name in tables["images.txt"].items()}
    split = tables["train_test_split.txt"]
    for name in names:
        if split.get(number.get(name, "")) not in ("0", "1"):
            raise DataError(
                f"{pictures} contains {f'images/{name}.jpg'!a}, which images.txt or train_test_split.txt lacks. {AGAIN}"
            )
        if name not in lines:
            raise DataError(
                f"{captions} has no captions {f'text_c10/{name}.txt'!a} of a picture in {pictures}. "
                "Move both away and get them again."
            )
    ids = np.array([int(number[name]) for name in names])
    test = np.array([split[number[name]] == "0" for name in names])
    return _sorted(Birds(names, images, ids, test, [lines[name] for name in names]))


def read_partial(path: Path, convert: Convert) -> Birds:
    """Read the ``.npz`` of 64x64 pictures in the order of CUB's numbers, 1 to n, with their captions.

    Raises:
        DataError: If it is truncated or different from that.
    """
    from PIL.Image import fromarray

    try:
        with np.load(path, allow_pickle=False) as file:
            x, names = file["images"], [str(name).removesuffix(".jpg") for name in file["names"]]
            test, captions = file["official_test"], file["captions"]
        n = len(names)
        if not all(re.fullmatch(NAME, name) for name in names):
            raise ValueError("names are not <class folder>/<file>")
        shapes = x.shape, captions.shape, test.shape
        if x.dtype != np.uint8 or shapes != ((n, SIDE, SIDE, 3), (n, PER_PICTURE), (n,)):
            raise ValueError(f"images, captions and official_test are {shapes}")
        if captions.dtype.kind != "U" or test.dtype != bool:
            raise ValueError(f"captions and official_test are {captions.dtype} and {test.dtype}, not text and bool")
    except Exception as error:  # readers raise many exceptions on damaged files
        raise DataError(f"{path} is truncated or damaged ({error}). {AGAIN}") from error
    images = _stack(convert(fromarray(picture) for picture in x))
    return _sorted(Birds(names, images, np.arange(1, n + 1), test, captions.tolist()))


def _decoded(path: Path, names: list[str], tables: dict[str, Mapping[str, str]]) -> Iterator["Image"]:
    """Yield the pictures in the archive's order; add their names and the tables to ``names`` and ``tables``."""
    from PIL import Image

    for name, content in members(path, lambda name: PICTURE.fullmatch(name) or TABLE.fullmatch(name)):
        if match := TABLE.fullmatch(name):
            tables[match[1]] = _table(path, name, content)
        elif match := PICTURE.fullmatch(name):
            try:
                # JPEG alone: without ``formats`` Pillow would start Ghostscript on an EPS
                picture = Image.open(io.BytesIO(content), formats=("JPEG",)).convert("RGB")
            except Exception as error:  # readers raise many exceptions on damaged files
                raise DataError(
                    f"{path} contains {name!a}, which is truncated or not a JPEG picture. {AGAIN}"
                ) from error
            names.append(match[1])
            yield picture


def _table(path: Path, name: str, content: bytes) -> Mapping[str, str]:
    """Read lines of ``<number> <value>``."""
    rows = [line.split() for line in content.decode("utf-8", "replace").splitlines()]
    if not all(len(row) == 2 and row[0].isdecimal() for row in rows):
        raise DataError(f"{path} contains {name!a} with lines that are not '<number> <value>'. {AGAIN}")
    return dict(rows)


def _read_captions(path: Path) -> Mapping[str, list[str]]:
    """Return name -> ten captions, a line each; MMVAE's split into sentences assigns lines to wrong pictures."""
    found: dict[str, list[str]] = {}
    for name, content in members(path, CAPTION.fullmatch):
        # A few bytes of Reed's captions are not UTF-8; only \n ends a line
        lines = [line for line in content.decode("utf-8", "replace").split("\n") if line.strip()]
        if len(lines) != PER_PICTURE:
            raise DataError(f"{path} contains {name!a} with {len(lines)} captions, not {PER_PICTURE}. {AGAIN}")
        if match := CAPTION.fullmatch(name):
            if match[1] in found:
                raise DataError(
                    f"{path} contains the captions of {match[1]!a} twice. Move it away and get the official ones."
                )
            found[match[1]] = lines
    return found


def _stack(entries: Iterable[NDArray[Any]]) -> Entries:
    found = list(entries)
    return np.stack(found) if found else np.empty(0, np.uint8)


def _sorted(birds: Birds) -> Birds:
    order = sorted(range(len(birds.names)), key=birds.names.__getitem__)
    names, captions = [birds.names[i] for i in order], [birds.captions[i] for i in order]
    return Birds(names, birds.images[order], birds.ids[order], birds.official_test[order], captions)


PLACES = (".", "cub")  # below data_dir, searched in this order for these names:
PICTURES = ("CUB_200_2011", "CUB_200_2011.tgz", "CUB_200_2011.zip")
CAPTIONS = ("text_c10", "cub_captions_text_c10.tar.xz", "cvpr2016_cub.tar.gz", "cub_captions_text_c10.zip")
PARTIAL = ("cub_50classes_64px.npz",)


def find(data_dir: Path) -> list[Path]:
    """Return the files to read: pictures and captions, or the partial copy alone if the official pictures are absent.

    Returns:
        Pictures and captions, each a folder or an archive; or one ``.npz``.

    Raises:
        DataError: If neither is complete. The message says what is missing and how to get it.
    """
    pictures, captions, partial = (first(data_dir, names) for names in (PICTURES, CAPTIONS, PARTIAL))
    if pictures and captions:
        return [pictures, captions]
    if partial and not pictures:
        return [partial]
    command = f"mmvae-bench data fetch cub --data-dir {shlex.quote(str(data_dir))}"
    if not pictures:
        raise DataError(
            f"cub needs the pictures of CUB-200-2011. Run {command} to download them (1.2 GB), or put "
            f"CUB_200_2011.tgz, or its folder CUB_200_2011, into {data_dir / 'cub'}."
        )
    raise DataError(
        "cub needs the captions of Reed et al. 2016, which have no published checksum and are not downloaded. Get "
        f"cvpr2016_cub.tar.gz (https://drive.google.com/file/d/0B0ywwgffWnLLZW9uVHNjb2JmNlE/view) and run {command} "
        f"--from cvpr2016_cub.tar.gz, or put its folder text_c10 into {data_dir / 'cub'}."
    )


def first(data_dir: Path, names: Iterable[str]) -> Path | None:
    """Return the first existing file or folder of these names in :data:`PLACES`, or None."""
    paths = (data_dir / place / name for place, name in product(PLACES, names))
    return next((path for path in paths if path.exists()), None)
