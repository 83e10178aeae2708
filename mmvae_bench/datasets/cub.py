"""Caltech-UCSD Birds 200-2011 with ten captions a picture.

The files are found, read and downloaded, or copied from a user's.
"""

import io
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import click
import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.archives import AGAIN, kind, members
from mmvae_bench.datasets.base import Built, Dataset, Protocol, Repeated, Rows
from mmvae_bench.datasets.brought import bring, first, locked
from mmvae_bench.datasets.download import UNVERIFIED, Pinned, download, sha256
from mmvae_bench.datasets.resnet import WEIGHTS_NAME, WHENCE, features, is_resnet101, weights_file
from mmvae_bench.datasets.words import encode, tokenise, vocabulary
from mmvae_bench.errors import BenchWarning, DataError, listed

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmvae_bench.types import Modality

LENGTH = 32  # of a caption, <eos> included, as in MMVAE
FEATURES = 2048
OFFICIAL = 11_788  # pictures

# Test classes, 2,933 pictures of 11,788: the split of Reed et al. 2016 (CVPR, arXiv 1605.05395), which Xian et al. 2017
# call the standard one. Recovered from the 29,330 test captions that MMVAE's authors published. Xian's own "proposed"
# split, which is beside some copies of the captions, has 50 different classes (2,967 pictures).
UNSEEN = (
    1, 4, 6, 8, 9, 14, 23, 29, 31, 33, 34, 35, 36, 37, 38, 43, 49, 51, 53, 66, 72, 79, 83, 84, 86, 91, 95, 96, 98, 101,
    102, 103, 112, 114, 119, 121, 130, 135, 138, 147, 156, 163, 165, 166, 180, 183, 185, 186, 187, 197,
)  # fmt: skip
PER_PICTURE = 10  # captions
SIDE = 64

NAME = r"((?!000)(?:[01]\d\d|200)\.[^/]+/[^/]+)"  # class folder/file, no suffix
PICTURE = re.compile(rf"(?:.*/)?images/{NAME}\.jpg")
CAPTION = re.compile(rf"(?:.*text_c10/)?{NAME}\.txt")
TABLE = re.compile(r"(?:.*/)?((?:images|train_test_split)\.txt)")
LINE = re.compile(r"^(\d+)[ \t]+(\S+)[ \t\r]*$", re.MULTILINE)  # of a table: number and value
Convert = Callable[[Iterable["Image"]], Iterable[NDArray[Any]]]
# Names in data_dir and data_dir/cub, in the order in which they are looked for
PICTURES = ("CUB_200_2011", "CUB_200_2011.tgz", "CUB_200_2011.zip")
CAPTIONS = ("text_c10", "cub_captions_text_c10.tar.xz", "cvpr2016_cub.tar.gz", "cub_captions_text_c10.zip")
PARTIAL = ("cub_50classes_64px.npz",)
# Size and checksum: tensorflow_datasets/url_checksums/caltech_birds2011.txt; the checksum also in torchvision's
# prototype data set (cub200.py), and in FastAI.jl (src/datasets/fastaidatasets.jl) for the copy at the second place.
CUB = Pinned(
    urls=(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        "https://s3.amazonaws.com/fast-ai-imageclas/CUB_200_2011.tgz",
    ),
    size=1_150_585_339,
    sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
)
NAMES: Mapping[tuple[str, str | None], str] = {  # content and format of a user's file -> its name in data_dir/cub
    ("pictures", "gzip"): "CUB_200_2011.tgz",
    ("pictures", "zip"): "CUB_200_2011.zip",
    ("captions", "gzip"): "cvpr2016_cub.tar.gz",
    ("captions", "xz"): "cub_captions_text_c10.tar.xz",
    ("captions", "zip"): "cub_captions_text_c10.zip",
}


@dataclass(frozen=True)
class Birds:
    """n pictures, sorted by name as in MMVAE: class folders, then files."""

    names: list[str]  # <class folder>/<file> of each picture, without suffix
    images: NDArray[np.uint8] | NDArray[np.float32]  # converted pictures, [n, *shape]
    ids: NDArray[np.int64]  # CUB's number of each picture, [n]
    official_test: NDArray[np.bool_]  # True for pictures of the official test split, [n]
    captions: list[list[str]]  # ten lines for each picture

    @property
    def label(self) -> NDArray[np.int64]:
        """Classes [n], from 0: folder 001 is class 0."""
        return np.array([int(name[:3]) - 1 for name in self.names])


@dataclass(frozen=True, kw_only=True)
class Cub(Dataset):
    """11,788 photographs of 200 kinds of birds (Wah et al. 2011), ten captions each (Reed et al. 2016).

    A row is a picture with one of its captions, and ``item`` is CUB's number of the picture. Rows are in the order of
    class folders, files and lines, as in MMVAE. Captions are the raw lines, one caption each; ``words.py`` defines
    words. V = 1,710 for all 88,550 training captions of the zero-shot split. (Hyphens inside words would give 1,857,
    NLTK's ``word_tokenize`` 1,855; the 1,590 of MMVAE and MEME are of captions cleaned by hand.)

    If the official pictures are absent, a partial copy of 64x64 pictures is read. That copy, and an official layout
    with fewer pictures, is a declared subset; complete pictures from anything but the official archive are declared
    ``unverified``. Captions have no published checksum.
    """

    summary = "birds (CUB-200-2011, non-commercial research) and captions (Reed et al. 2016, no licence stated)"
    classes = tuple(f"{number:03d}" for number in range(1, 201))  # the numbers that CUB's folders begin with
    related: ClassVar[Literal["class", "item"]] = "item"

    # ``pixels``: the whole picture resized to 64x64 (bicubic), as in MMVAE's raw-picture model;
    # ``resnet101``: its features (see ``resnet.py``), from the original picture if it is available
    image: Literal["pixels", "resnet101"] = "pixels"
    # ``zero_shot``: 150 classes for training, 50 others for testing; ``official``: CUB's own, all classes on both
    # sides. No picture is ever on both sides
    split: Literal["zero_shot", "official"] = "zero_shot"

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``image``, [3, 64, 64] pixels or [2048] features, and ``caption`` [32]; scales and weights of MMVAE."""
        from mmvae_bench.types import Modality

        image = (
            Modality("image", (3, SIDE, SIDE), scale=0.01, weight=LENGTH / (3 * SIDE * SIDE))
            if self.image == "pixels"
            else Modality("image", (FEATURES,), scale=0.01, weight=0.002, dtype="float32")
        )
        return image, Modality("caption", (LENGTH,), "categorical", dtype="int16")

    @property
    def protocol(self) -> Protocol:
        """The protocol of MMVAE (protocol 15)."""
        return Protocol("conv", latent_dim=64, epochs=50, batch_size=64, learning_rate=1e-3, rows=84_000, cost=4.0)

    @property
    def may_be_shown(self) -> bool:
        """False: its photographers keep their rights."""
        return False

    def sources(self, data_dir: Path) -> list[Path]:
        """Pictures and captions, or the partial copy; and ResNet's weights for features."""
        found = find(data_dir)
        if self.image == "pixels":
            return found
        if weights := weights_file(data_dir):
            return [*found, weights]
        raise DataError(
            f"cub[image=resnet101] needs {data_dir / 'cub' / WEIGHTS_NAME}. {WHENCE} and run mmvae-bench "
            f"data fetch cub --from model.safetensors --data-dir {shlex.quote(str(data_dir))}"
        )

    def build(self, data_dir: Path) -> Built:
        """Read, split and encode; singles of ``image`` are the training pictures, once each."""
        files = self.sources(data_dir)
        weights = files.pop() if self.image == "resnet101" else None

        def convert(pictures: Iterable["Image"]) -> Iterable[NDArray[Any]]:
            if not weights:
                return _shrunk(pictures)
            from torchvision.transforms.functional import pil_to_tensor

            found: NDArray[np.float32] = features(map(pil_to_tensor, pictures), weights).numpy()
            return found

        birds = read_partial(files[0], convert) if len(files) == 1 else read_official(files[0], files[1], convert)
        if subset := _subset(birds, files[0], weights):
            known = "verified to be " if subset.endswith(UNVERIFIED) else ""
            warnings.warn(
                f"{files[0]} is not {known}the complete official CUB-200-2011: results carry the subset '{subset}'.",
                BenchWarning,
                stacklevel=2,
            )
        test = np.isin(birds.label + 1, UNSEEN) if self.split == "zero_shot" else birds.official_test
        if test.all() or not test.any():
            raise DataError(f"{files[0]} has pictures of only one side of the {self.split} split. Get a larger part.")
        return _built(birds, test, subset)

    def fetch(self, data_dir: Path) -> None:
        """Download the pictures, unless some are there; captions and weights have no checksum to download them by."""
        path = data_dir / "cub" / "CUB_200_2011.tgz"
        with locked(path.parent):
            if found := first(data_dir, "cub", PICTURES):  # perhaps downloaded by another process in the meantime
                click.echo(f"Found: {found} (mmvae-bench data check cub examines it)")
            else:
                download(CUB, path)
                click.echo(f"Downloaded: {path}")

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy files that the user has into ``data_dir/cub``: pictures, captions or weights, known by their content."""
        roles = [(file, recognise(file)) for file in files]
        with locked(data_dir / "cub"):
            for file, name in roles:
                group = next((group for group in (PICTURES, CAPTIONS) if name in group), (WEIGHTS_NAME,))
                bring(file, data_dir, "cub", name, group)
                click.echo(f"Taken: {file}")


def _subset(birds: Birds, source: Path, weights: Path | None) -> str:
    """Return the subset: empty for the official archive; a folder or a different archive cannot be verified."""
    count = f"cub {len(np.unique(birds.label))} classes, {len(birds.names)} pictures"
    if source.suffix == ".npz":
        return count + (" of 64x64" if weights else "")
    if len(birds.names) != OFFICIAL:
        return count
    return "" if source.is_file() and sha256(source) == CUB.sha256 else f"{count}, {UNVERIFIED}"


def _built(birds: Birds, test: NDArray[np.bool_], subset: str) -> Built:
    tokens = [[tokenise(line) for line in lines] for lines in birds.captions]
    words = vocabulary(caption for i in np.flatnonzero(~test) for caption in tokens[i])

    def rows(side: NDArray[np.bool_]) -> Rows:
        chosen = np.flatnonzero(side)
        caption = encode([caption for i in chosen for caption in tokens[i]], words, LENGTH)
        image = Repeated(birds.images[chosen], np.repeat(np.arange(len(chosen)), PER_PICTURE))
        label, item = (np.repeat(fact[chosen], PER_PICTURE) for fact in (birds.label, birds.ids))
        return Rows({"image": image, "caption": caption}, label, item)

    singles = {"image": (birds.images[~test], birds.label[~test])}
    return Built(rows(~test), rows(test), subset, singles, {"caption": words})


def _shrunk(pictures: Iterable["Image"]) -> Iterator[NDArray[np.uint8]]:
    from PIL.Image import Resampling

    for picture in pictures:
        yield np.asarray(picture.resize((SIDE, SIDE), Resampling.BICUBIC)).transpose(2, 0, 1)


def read_official(pictures: Path, captions: Path, convert: Convert) -> Birds:
    """Read pictures in the official layout, all or some of the 11,788, with their captions.

    Raises:
        DataError: If a file is damaged, or a picture has no number, no side or no ten captions.
    """
    lines = _read_captions(captions)
    names: list[str] = []
    tables: dict[str, Mapping[str, str]] = {}
    broken: list[str] = []
    images = list(convert(_decoded(pictures, names, tables, broken)))
    if broken:
        raise DataError(
            f"{pictures} has {len(broken):,} pictures that are truncated or not JPEG: {listed(broken)}. {AGAIN}"
        )
    if not names or len(set(names)) < len(names):
        what = "some images/<class>/<name>.jpg twice" if names else "no images/<class>/<name>.jpg"
        raise DataError(f"{pictures} contains {what}. Move it away and get the official CUB_200_2011.")
    number = {name.removesuffix(".jpg"): i for i, name in tables.get("images.txt", {}).items()}
    split = tables.get("train_test_split.txt", {})
    if unknown := [f"images/{name}.jpg" for name in names if split.get(number.get(name, "")) not in ("0", "1")]:
        raise DataError(
            f"{pictures} has {len(unknown):,} of {len(names):,} pictures which images.txt or train_test_split.txt "
            f"lacks: {listed(unknown)}. {AGAIN}"
        )
    if silent := [name for name in names if name not in lines]:
        raise DataError(
            f"{captions} lacks the captions text_c10/*.txt of {len(silent):,} of {len(names):,} pictures: "
            f"{listed(silent, lines.keys() - set(names))}. Rename those files, or get the captions again; the pictures "
            f"in {pictures} can stay."
        )
    ids = np.array([int(number[name]) for name in names])
    test = np.array([split[number[name]] == "0" for name in names])
    return _sorted(names, images, ids, test, [lines[name] for name in names])


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
        kinds = [(array.dtype.kind, array.shape) for array in (x, captions, test)]
        if x.dtype != np.uint8 or kinds != [("u", (n, SIDE, SIDE, 3)), ("U", (n, PER_PICTURE)), ("b", (n,))]:
            raise ValueError(f"images, captions and official_test are {kinds}")
        if not n or not all(re.fullmatch(NAME, name) for name in names):
            raise ValueError("names are not <class folder>/<file>")
    except Exception as error:  # readers raise many exceptions on damaged files
        raise DataError(f"{path} is truncated or damaged ({error}). {AGAIN}") from error
    images = list(convert(fromarray(picture) for picture in x))
    return _sorted(names, images, np.arange(1, n + 1), test, captions.tolist())


def _decoded(
    path: Path, names: list[str], tables: dict[str, Mapping[str, str]], broken: list[str]
) -> Iterator["Image"]:  # fmt: skip
    """Yield the pictures in the archive's order, up to the first that cannot be read.

    Adds their names to ``names``, those of all that cannot be read to ``broken``, and the tables to ``tables``.
    """
    from PIL import Image

    for name, content in members(path, lambda name: PICTURE.fullmatch(name) or TABLE.fullmatch(name)):
        if match := TABLE.fullmatch(name):
            tables[match[1]] = dict(LINE.findall(content.decode("utf-8", "replace")))
        elif match := PICTURE.fullmatch(name):
            try:
                # JPEG alone: without ``formats`` Pillow would start Ghostscript on an EPS
                picture = Image.open(io.BytesIO(content), formats=("JPEG",)).convert("RGB")
            except Exception:  # readers raise many exceptions on damaged files
                broken.append(name)
            if not broken:
                names.append(match[1])
                yield picture


def _read_captions(path: Path) -> Mapping[str, list[str]]:
    """Return name -> ten captions, a line each; MMVAE's split into sentences assigns lines to wrong pictures."""
    found: dict[str, list[str]] = {}
    wrong: list[str] = []
    for name, content in members(path, CAPTION.fullmatch):
        # A few bytes of Reed's captions are not UTF-8; only \n ends a line
        lines = [line for line in content.decode("utf-8", "replace").split("\n") if line.strip()]
        if len(lines) != PER_PICTURE:
            wrong.append(f"{name} ({len(lines)})")
        picture = "/".join(name.removesuffix(".txt").split("/")[-2:])
        if picture in found:
            raise DataError(f"{path} contains the captions of {picture!a} twice. {AGAIN}")
        found[picture] = lines
    if wrong:
        raise DataError(f"{path} has {len(wrong):,} files without {PER_PICTURE} captions: {listed(wrong)}. {AGAIN}")
    return found


def _sorted(names: list[str], images: list[Any], ids: NDArray[np.int64], test: Any, captions: Any) -> Birds:
    order = sorted(range(len(names)), key=names.__getitem__)
    stacked = np.stack([images[i] for i in order])
    return Birds([names[i] for i in order], stacked, ids[order], test[order], [captions[i] for i in order])


def find(data_dir: Path) -> list[Path]:
    """Return the files to read: pictures and captions, or the partial copy alone if the official pictures are absent.

    Raises:
        DataError: If neither is complete. The message says what is missing and how to get it.
    """
    pictures, captions, partial = (first(data_dir, "cub", names) for names in (PICTURES, CAPTIONS, PARTIAL))
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


def recognise(path: Path) -> str:
    """Return the name under which a user's file is read, by its content.

    Raises:
        DataError: If it contains nothing of CUB, or is damaged.
    """
    if not path.is_file():
        raise DataError(f"--from takes a file, and {path} is not one. Put a folder into data_dir/cub yourself.")
    if is_resnet101(path):
        return WEIGHTS_NAME
    packed = kind(path)
    inside: list[str] = []
    for _ in members(path, inside.append) if packed else ():  # None: no member is wanted
        pass
    for what, pattern in (("pictures", PICTURE), ("captions", CAPTION)):
        if (what, packed) in NAMES and any(map(pattern.fullmatch, inside)):
            return NAMES[what, packed]
    raise DataError(
        f"{path} is not one of the files that cub reads: CUB_200_2011 (.tgz, .zip), the captions text_c10 (.tar.gz, "
        ".tar.xz, .zip) or a ResNet-101 in safetensors' format."
    )
