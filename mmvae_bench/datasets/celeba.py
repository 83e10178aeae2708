"""CelebA's faces with their 40 attributes, as text of characters or as labels. The files are a user's own."""

import hashlib
import io
import re
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.archives import AGAIN, kind, members
from mmvae_bench.datasets.base import Built, Dataset, Judge, Protocol, Rows
from mmvae_bench.datasets.brought import bring, first, locked
from mmvae_bench.datasets.download import UNVERIFIED, disk_errors
from mmvae_bench.datasets.grammar import until_eos
from mmvae_bench.datasets.labelled import NAME as LABEL
from mmvae_bench.datasets.labelled import Symbols
from mmvae_bench.datasets.words import SPECIALS, encode
from mmvae_bench.errors import BenchWarning, DataError, listed

if TYPE_CHECKING:
    from torch import Tensor

    from mmvae_bench.types import Modality

OFFICIAL = 182_732  # pictures of both splits; 19,867 more are for validation
SPLITS = {"train": "0", "test": "2"}  # in the official table
SIZE, CROP, SIDE = (178, 218), 148, 64  # of an official picture, of its middle, of a row's picture
LENGTH = 256  # of a text, <eos> included
# The 40 attributes, in the order of the official table
NAMES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)  # fmt: skip
SAID = tuple(name.replace("_", " ").lower() for name in NAMES)  # as texts have them
CLASS = SAID.index("male")
COLUMNS = np.array([CLASS, *(i for i in range(len(NAMES)) if i != CLASS)])  # of the table; judges need the class first
VALUES = {SAID[i]: (f"not {SAID[i]}", SAID[i]) for i in COLUMNS}
VOCABULARY = (*SPECIALS, *sorted({*", ".join(SAID)}))  # characters
LABELS = (SPECIALS[0], *(value for values in VALUES.values() for value in values))
VERSION = 1  # increased by every change of how texts are written or read

FILES = ("img_align_celeba", "img_align_celeba.zip"), ("list_attr_celeba.txt",), ("list_eval_partition.txt",)
# Of the official files: torchvision/datasets/celeba.py. Nobody publishes a stronger checksum.
MD5 = {
    "img_align_celeba.zip": "00d2c5bc6d35e252742224ab0c1e8fcb",
    "list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
}
PICTURE = re.compile(r"(?:.*/)?(\d{6}\.jpg)")
SPLIT = re.compile(r"^(\d{6}\.jpg)[ \t]+([012])[ \t\r]*$", re.MULTILINE)
HOME = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@dataclass(frozen=True, kw_only=True)
class CelebA(Dataset):
    """202,599 photographs of celebrities with 40 attributes (Liu et al., ICCV 2015), bimodal as in MoPoE and HELVAE.

    The official training split, 162,770 pictures, and the official test split, 19,962; the validation split is not
    used (both papers test on it). A picture is the middle 148 x 148 of the aligned one, reduced to 64 x 64 (bicubic). A
    text names the attributes that a picture has, ``bags under eyes, male, smiling, young``, as in MoPoE's released
    script: in the official order, and the last ones are left out until at most 255 characters remain. There a text
    begins at a random character; here it begins at the first. The class is ``male``: 42 % of the pictures have it, and
    no text is so long that it is left out.

    The pictures take 2.2 GB of memory, twice that for a moment. An official layout with fewer pictures is a declared
    subset; complete files that are not the official archive and tables are declared ``unverified``.
    """

    summary = "faces and their 40 attributes (CelebA: non-commercial research, files of your own)"
    classes = VALUES["male"]

    form: Literal["text", "labels"] = "text"  # of the attributes: characters, or a symbol for each attribute

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``image`` [3, 64, 64], and ``text`` [256] or ``label`` [40]; scale and weights of MoPoE's code.

        There the weight of each modality is 64 * 64 divided by the number of its entries (celeba/experiment.py).
        """
        from mmvae_bench.types import Modality

        image = Modality("image", (3, SIDE, SIDE), scale=0.75, weight=1 / 3)
        name, length, words, of = ("text", LENGTH, VOCABULARY, "caption")
        if self.form == "labels":
            name, length, words, of = (LABEL, len(NAMES), LABELS, "symbol")
        weight = SIDE * SIDE / length
        return image, Modality(name, (length,), "categorical", 1.0, weight, "int16", words, kind=of)

    @property
    def protocol(self) -> Protocol:
        """Rate, batch and epochs of MoPoE's script; L is the sum of its shared and private latents, 32 each."""
        nets = "conv[text=transformer]" if self.form == "text" else "conv"
        return Protocol(nets, 64, epochs=250, batch_size=256, learning_rate=5e-4, rows=154_631, cost=12.0)

    @property
    def may_be_shown(self) -> bool:
        """False: the terms forbid it, and the photographs belong to others."""
        return False

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """All 40, the class first."""
        return VALUES

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Return the judge of texts or labels, which reads them exactly; pictures need an oracle."""
        return {"text": Texts()} if self.form == "text" else {LABEL: Symbols([2] * len(NAMES))}

    def sources(self, data_dir: Path) -> list[Path]:
        """Pictures, table of attributes and table of splits."""
        found = [first(data_dir, "celeba", names) for names in FILES]
        if absent := [names[-1] for names, path in zip(FILES, found, strict=True) if path is None]:
            raise DataError(
                f"celeba needs {listed(absent)}, whose terms forbid a download by us. Get them at {HOME} and run "
                f"mmvae-bench data fetch celeba --from FILE --data-dir {shlex.quote(str(data_dir))} for each, or put "
                f"them into {data_dir / 'celeba'}."
            )
        return [path for path in found if path]

    def build(self, data_dir: Path) -> Built:
        """Read, crop and encode; some ten minutes for all pictures."""
        files = self.sources(data_dir)
        known, splits = read_attributes(files[1]), read_splits(files[2])
        names = sorted(name for name, split in splits.items() if split in SPLITS.values())
        if silent := [name for name in names if name not in known]:
            raise DataError(f"{files[1]} lacks {len(silent):,} pictures of {files[2]}: {listed(silent)}. {AGAIN}")
        image, there = read_pictures(files[0], names)
        names = [name for name, found in zip(names, there, strict=True) if found]
        if subset := _subset(names, files):
            warnings.warn(
                f"{files[0]} and its tables are not verified to be the complete official CelebA: results carry the "
                f"subset '{subset}'.",
                BenchWarning,
                stacklevel=2,
            )
        values = np.array([known[name] for name in names])[:, COLUMNS]
        rows = {side: np.array([splits[name] == split for name in names]) for side, split in SPLITS.items()}
        if not all(side.any() for side in rows.values()):
            raise DataError(f"{files[0]} has no pictures of one of the splits train and test. Get a larger part.")
        train, test = (self._rows(image[side], values[side]) for side in rows.values())
        return Built(train, test, subset)

    def _rows(self, image: NDArray[np.uint8], values: NDArray[np.int64]) -> Rows:
        *_, second = self.modalities
        judge = Texts() if self.form == "text" else Symbols([2] * len(NAMES))
        return Rows({"image": image, second.name: judge.write(values)}, values[:, 0].copy(), attributes=values)

    def fetch(self, data_dir: Path) -> None:
        """Say which files are missing: nothing is downloaded."""
        for path in self.sources(data_dir):
            click.echo(f"Found: {path} (mmvae-bench data check celeba examines it)")

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy the user's archive and tables, known by their content, into ``data_dir/celeba``."""
        roles = [(file, recognise(file)) for file in files]
        with locked(data_dir / "celeba"):
            for file, name in roles:
                bring(file, data_dir, "celeba", name, next(names for names in FILES if name in names))
                click.echo(f"Taken: {file}")


class Texts:
    """The texts of attributes [N, 40], in the order of :data:`VALUES`; and their judge, which reads them."""

    def __init__(self) -> None:
        self.accuracy: float | None = 1.0  # of the class, which is never left out
        self.hash = hashlib.sha256(repr((VERSION, VOCABULARY, SAID, CLASS, LENGTH)).encode()).hexdigest()[:16]

    def write(self, values: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the texts of values [N, 40]: ids [N, T] of characters, <eos>, then padding."""
        return encode([text_of(row) for row in values], VOCABULARY, LENGTH)

    def predict(self, x: "Tensor | NDArray[np.int16]") -> NDArray[np.int64]:
        """Return the class of texts [N, T]: [N]."""
        return self.read(x)[:, 0]

    def read(self, x: "Tensor | NDArray[np.int16]") -> NDArray[np.int64]:
        """Return the values of attributes in texts [N, T], [N, 40]: 1 for each attribute that is named.

        Others are 0 if the text consists of names alone, else 2, unreadable: a name may be misspelt.
        """
        letters = np.array(["", "?", "", *VOCABULARY[len(SPECIALS) :]])
        texts = ["".join(letters[row]) for row in until_eos(np.asarray(x))]
        named = [set(text.split(", ")) if text else set() for text in texts]
        other = [0 if names <= VALUES.keys() else 2 for names in named]
        found = [[1 if name in names else no for name in VALUES] for names, no in zip(named, other, strict=True)]
        return np.array(found, np.int64).reshape(-1, len(VALUES))

    def accepts(self, x: "Tensor | NDArray[np.int16]") -> NDArray[np.bool_]:
        """Return True for texts [N, T] that are some attributes' own, up to their first <eos>: [N]."""
        accepted: NDArray[np.bool_] = np.all(self.write(self.read(x) % 2) == until_eos(np.asarray(x)), axis=1)
        return accepted


def text_of(values: NDArray[np.int64]) -> str:
    """Return the text of a row's values [40]: ``bald, male, smiling``; the first names that fit in 255 characters."""
    names = [SAID[column] for column in sorted(COLUMNS[values == 1])]
    while len(text := ", ".join(names)) > LENGTH - 1:
        names.pop()
    return text


def read_attributes(path: Path) -> Mapping[str, list[int]]:
    """Return picture -> its 40 values, 0 or 1, in the official order.

    Raises:
        DataError: If the table is not in the official form: the number of pictures, the names, a line a picture.
    """
    lines = _text(path).splitlines()
    if len(lines) < 3 or tuple(lines[1].split()) != NAMES:
        raise DataError(f"{path} does not have the 40 names of CelebA's attributes in its second line. {AGAIN}")
    table: dict[str, list[int]] = {}
    for number, line in enumerate(lines[2:], 3):
        name, *signs = line.split() or [""]
        if not PICTURE.fullmatch(name) or len(signs) != len(NAMES) or not {*signs} <= {"1", "-1"}:
            raise DataError(f"{path} does not have a picture's name and 40 times 1 or -1 in line {number}. {AGAIN}")
        table[name] = [int(sign == "1") for sign in signs]
    return table


def read_splits(path: Path) -> Mapping[str, str]:
    """Return picture -> its split: 0 for training, 1 for validation, 2 for test.

    Raises:
        DataError: If the table is not in the official form: a line a picture.
    """
    text = _text(path)
    splits = dict(SPLIT.findall(text))
    if not splits or len(splits) != len(text.split()) / 2:
        raise DataError(f"{path} does not have a picture's name and 0, 1 or 2 in each line. {AGAIN}")
    return splits


def _text(path: Path) -> str:
    with disk_errors(path):
        return path.read_text(encoding="utf-8", errors="replace")


def read_pictures(path: Path, names: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the pictures of these names that are there, [n, 3, 64, 64] in this order, and which are there.

    Raises:
        DataError: If the archive is damaged, or a picture is there twice, is not JPEG or is not 178 x 218.
    """
    number = {name: i for i, name in enumerate(names)}
    image, there = np.empty((len(names), 3, SIDE, SIDE), np.uint8), np.zeros(len(names), np.bool_)
    broken: list[str] = []
    for member, content in members(path, lambda said: (found := PICTURE.fullmatch(said)) and found[1] in number):
        i = number[member.rpartition("/")[2]]
        if there[i]:
            raise DataError(f"{path} contains the picture {names[i]} twice. {AGAIN}")
        there[i] = True
        try:
            image[i] = _cropped(content)
        except Exception:  # readers raise many exceptions on damaged files
            broken.append(member)
    if broken:
        what = f"pictures that are damaged, not JPEG or not {SIZE[0]} x {SIZE[1]}"
        raise DataError(f"{path} has {len(broken):,} {what}: {listed(broken)}. {AGAIN}")
    return image if there.all() else image[there], there


def _cropped(content: bytes) -> NDArray[np.uint8]:
    """Return the middle of a JPEG, [3, 64, 64]."""
    from PIL import Image

    # JPEG alone: without ``formats`` Pillow would start Ghostscript on an EPS
    picture = Image.open(io.BytesIO(content), formats=("JPEG",)).convert("RGB")
    if picture.size != SIZE:
        raise ValueError(f"{picture.size}")
    left, top = ((extent - CROP) // 2 for extent in SIZE)
    middle = picture.crop((left, top, left + CROP, top + CROP))
    return np.asarray(middle.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def _subset(names: Sequence[str], files: Sequence[Path]) -> str:
    """Return the subset: empty for the official archive and tables; others cannot be verified."""
    count = f"celeba {len(names)} pictures"
    if len(names) != OFFICIAL:
        return count
    return "" if all(path.is_file() and _md5(path) == MD5[path.name] for path in files) else f"{count}, {UNVERIFIED}"


def _md5(path: Path) -> str:
    with disk_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def recognise(path: Path) -> str:
    """Return the name under which a user's file is read, by its content.

    Raises:
        DataError: If it is not one of CelebA's three files, or is damaged.
    """
    if not path.is_file():
        raise DataError(f"--from takes a file, and {path} is not one. Put a folder into data_dir/celeba yourself.")
    inside: list[str] = []
    for _ in members(path, inside.append) if kind(path) == "zip" else ():  # None: no member is wanted
        pass
    if any(map(PICTURE.fullmatch, inside)):
        return "img_align_celeba.zip"
    with disk_errors(path), path.open("rb") as file:
        head = file.read(1 << 12).decode("utf-8", "replace").splitlines()
    if [*NAMES] in (line.split() for line in head[:2]):
        return "list_attr_celeba.txt"
    if head and SPLIT.fullmatch(head[0]):
        return "list_eval_partition.txt"
    raise DataError(
        f"{path} is not one of the files that celeba reads: img_align_celeba.zip, list_attr_celeba.txt and "
        "list_eval_partition.txt."
    )
