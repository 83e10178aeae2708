"""MNIST paired with street numbers (SVHN) by digit, as in the papers."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets import digits
from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.datasets.digits import MNIST_MD5, SVHN_MD5, Images
from mmvae_bench.errors import BenchError, BenchWarning
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality


@dataclass(frozen=True, kw_only=True)
class MnistSvhn(Dataset):
    """56,068 training and 10,000 test pairs of a handwritten digit and a house number of the same class.

    Base rows are MEME's one-to-one pairs. SVHN is read from the first of ``data_dir``, ``svhn``, ``SVHN`` and
    ``svhn_10k`` that contains one of its files; both come from one folder, since subsets made by others may overlap.
    """

    summary = "MNIST (CC BY-SA 3.0) and SVHN (non-commercial use), paired by digit; official files"
    classes = tuple("0123456789")

    # ``one_to_one``, or ``dm<N>``: complete training rows are paired N times in their class (MMVAE dm30, MoPoE dm20)
    pairing: str = "one_to_one"

    def __post_init__(self) -> None:
        match = re.fullmatch(r"one_to_one|dm([1-9]\d{0,3})", self.pairing, re.ASCII)
        if not match:
            raise BenchError(f"mnist_svhn[pairing] must be one_to_one or dm<N>, N up to 9999, not '{self.pairing}'.")
        object.__setattr__(self, "pairs", int(match[1] or 1))

    @property
    def modalities(self) -> Sequence["Modality"]:
        """Pixels 0..255 of ``mnist`` [1, 28, 28] and ``svhn`` [3, 32, 32]."""
        from mmvae_bench.types import Modality

        return Modality("mnist", (1, 28, 28)), Modality("svhn", (3, 32, 32))

    @property
    def protocol(self) -> Protocol:
        """The protocol of MEME (protocol 15)."""
        return Protocol(nets="conv", latent_dim=64, epochs=100, batch_size=128, learning_rate=5e-4, rows=56_000)

    @property
    def may_be_shown(self) -> bool:
        """False: SVHN is for non-commercial use only."""
        return False

    def sources(self, data_dir: Path) -> list[Path]:
        """The four files of MNIST and the two of SVHN, train before test."""
        mnist = [data_dir / name for name in MNIST_MD5]
        svhn = [(digits.svhn_folder(data_dir) or data_dir / "svhn") / name for name in SVHN_MD5]
        return digits.existing(mnist + svhn, "mnist_svhn", data_dir, "put them there yourself")

    def build(self, data_dir: Path) -> Built:
        """Pair by digit and shuffle; singles are the full training splits."""
        svhn = self.sources(data_dir)[-2:]
        train, test = zip(digits.read_official_mnist("mnist_svhn", data_dir), map(digits.read_svhn, svhn), strict=True)
        subset = ""
        if not all(digits.md5(path) == SVHN_MD5[path.name] for path in svhn):
            subset = f"svhn {len(train[1][1])}+{len(test[1][1])}"
            warnings.warn(
                f"The SVHN files in {svhn[0].parent} are not the official ones: results carry the subset '{subset}'",
                BenchWarning,
                stacklevel=2,
            )
        return Built(_paired(*train), _paired(*test), subset, {"mnist": train[0], "svhn": train[1]})

    def fetch(self, data_dir: Path) -> None:
        """Download the absent files of MNIST and SVHN and verify them."""
        digits.fetch_mnist(data_dir)
        digits.fetch_svhn(data_dir)


def pair(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair as MEME does: of each digit the first min(n_a, n_b) of both, in order; then one fixed shuffle.

    Returns indices [N] into both, N = sum of the minima.
    """
    found = [(np.flatnonzero(a == digit), np.flatnonzero(b == digit)) for digit in range(10)]
    left = np.concatenate([i[: len(j)] for i, j in found])
    right = np.concatenate([j[: len(i)] for i, j in found])
    order = np.random.default_rng(seed_for("pairs", "mnist_svhn")).permutation(len(left))
    return left[order], right[order]


def _paired(mnist: Images, svhn: Images) -> Rows:
    left, right = pair(mnist[1], svhn[1])
    return Rows({"mnist": mnist[0][left], "svhn": svhn[0][right]}, mnist[1][left])
