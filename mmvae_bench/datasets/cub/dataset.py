"""Caltech-UCSD Birds 200-2011 with ten captions a picture."""

import shlex
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Protocol, Repeated, Rows
from mmvae_bench.datasets.cub.files import CUB, PER_PICTURE, SIDE, Birds, fetch, find, read_official, read_partial, take
from mmvae_bench.datasets.download import UNVERIFIED, sha256
from mmvae_bench.datasets.resnet import WEIGHTS_NAME, WHENCE, features, weights_file
from mmvae_bench.datasets.words import encode, tokenise, vocabulary
from mmvae_bench.errors import BenchWarning, DataError

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

    Attributes:
        image: ``pixels``: the whole picture resized to 64x64 (bicubic), as in MMVAE's raw-picture model;
            ``resnet101``: its features (see ``resnet.py``), from the original picture if it is available.
        split: ``zero_shot``: 150 classes for training, 50 others for testing; ``official``: CUB's own, all classes on
            both sides. No picture is ever on both sides.
    """

    summary = "birds (CUB-200-2011, non-commercial research) and captions (Reed et al. 2016, no licence stated)"
    classes = tuple(f"{number:03d}" for number in range(1, 201))  # the numbers that CUB's folders begin with
    related: ClassVar[Literal["class", "item"]] = "item"

    image: Literal["pixels", "resnet101"] = "pixels"
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
            return _features(pictures, weights) if weights else _shrunk(pictures)

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
        """Download the pictures; captions and weights have no checksum to download them by."""
        fetch(data_dir)

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy files that the user has into ``data_dir/cub``: pictures, captions or weights, known by their content."""
        take(files, data_dir)


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


def _features(pictures: Iterable["Image"], weights: Path) -> NDArray[np.float32]:
    from torchvision.transforms.functional import pil_to_tensor

    found: NDArray[np.float32] = features((pil_to_tensor(picture) for picture in pictures), weights).numpy()
    return found
