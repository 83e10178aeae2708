"""The official files of MNIST and SVHN: finding, checking, reading and downloading them."""

import hashlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import DataError

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
SVHN_FOLDERS = ("", "svhn", "SVHN", "svhn_10k")  # below data_dir, searched in this order


def fetch_command(data_dir: Path) -> str:
    """What a user types to get all of these files."""
    return f"mmvae-bench data fetch mnist_svhn --data-dir {data_dir}"


def md5(path: Path) -> str:
    """The MD5 of a file's content, by which the official files are known."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def svhn_folder(data_dir: Path) -> Path | None:
    """The first folder of :data:`SVHN_FOLDERS` that holds a file of SVHN, or None."""
    folders = (data_dir / name for name in SVHN_FOLDERS)
    return next((folder for folder in folders if any((folder / name).is_file() for name in SVHN_MD5)), None)


def check_mnist(data_dir: Path) -> None:
    """Raise :class:`DataError` unless the four files of MNIST are there and official."""
    for name, digest in MNIST_MD5.items():
        path = data_dir / name
        if not path.is_file() or md5(path) != digest:
            raise DataError(
                f"{path} is absent, truncated or not the official MNIST file (its MD5 differs): "
                f"{fetch_command(data_dir)} replaces it"
            )


def read_mnist(images: Path, labels: Path) -> Images:
    """Read two IDX files: images [N, 1, 28, 28] and their digits.

    Raises:
        DataError: If they are not what their names say.
    """
    # torchvision's reader, but not its class: that one prefers an old, unchecked processed/training.pt if there is one
    from torchvision.datasets.mnist import read_image_file, read_label_file

    try:
        x, y = read_image_file(str(images)).numpy(), read_label_file(str(labels)).numpy()
    except Exception as error:  # of broken bytes; no two errors are the same
        raise DataError(f"{images} or {labels.name} is no IDX file: delete both and fetch MNIST again") from error
    if x.shape != (len(y), 28, 28):
        raise DataError(f"{images} and {labels.name} do not belong together: delete both and fetch MNIST again")
    return x[:, None], y


def read_svhn(path: Path) -> Images:
    """Read a ``.mat`` file of SVHN: images [N, 3, 32, 32] and their digits (10 means zero).

    Raises:
        DataError: If it is truncated or does not have the official layout.
    """
    from scipy.io import loadmat

    way_out = "delete it and run mmvae-bench data fetch mnist_svhn, or put the official file there"
    try:
        content = loadmat(path, variable_names=["X", "y"])
        x, y = content["X"], np.asarray(content["y"]).ravel()
    except Exception as error:  # SciPy's reader raises nearly anything on broken bytes
        raise DataError(f"{path} is truncated or no SVHN file ({type(error).__name__}: {error}); {way_out}") from error
    if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)) or not np.isin(y, np.arange(1, 11)).all():
        raise DataError(
            f"{path} must hold X, uint8, 32x32x3xN, and y, N labels 1..10, not {x.dtype} {x.shape} and {len(y)} labels "
            f"{sorted(set(y.tolist()))[:12]}; {way_out}"
        )
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y.astype(np.int64) % 10


def fetch(data_dir: Path) -> None:
    """Download by torchvision's downloader what is not there yet, into ``MNIST/raw`` and ``svhn`` below ``data_dir``.

    Raises:
        DataError: If a download fails or a file with another content is in the way.
    """
    try:
        _fetch_mnist(data_dir)
        _fetch_svhn(data_dir)
    except (RuntimeError, OSError, HTTPException) as error:
        raise DataError(
            f"MNIST and SVHN cannot be downloaded into {data_dir} ({type(error).__name__}: {error}); run "
            f"{fetch_command(data_dir)} again (finished files are kept), or put the files there yourself"
        ) from error
    check_mnist(data_dir)


def _fetch_mnist(data_dir: Path) -> None:
    from torchvision.datasets import MNIST

    for (name, digest), (archive, archive_md5) in zip(MNIST_MD5.items(), MNIST.resources, strict=True):
        path = data_dir / name
        if not path.is_file() or md5(path) != digest:
            _first_mirror([mirror + archive for mirror in MNIST.mirrors], path.parent, archive, archive_md5)


def _first_mirror(urls: Sequence[str], folder: Path, archive: str, archive_md5: str) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    for url in urls:
        try:
            download_and_extract_archive(url, str(folder), filename=archive, md5=archive_md5)
            return
        except (RuntimeError, OSError, HTTPException):
            if url == urls[-1]:
                raise


def _fetch_svhn(data_dir: Path) -> None:
    from torchvision.datasets import SVHN
    from torchvision.datasets.utils import download_url

    folder = svhn_folder(data_dir)
    if folder is None or folder.name == "svhn_10k":  # a cut of the official data: svhn comes before it
        folder = data_dir / "svhn"
    for url, name, _ in (SVHN.split_list["train"], SVHN.split_list["test"]):
        path = folder / name
        if not path.is_file():
            part = path.with_name(f"{name}.part")  # so that an interrupted download is never taken for the file
            download_url(url, str(folder), part.name, SVHN_MD5[name])
            part.replace(path)
        elif md5(path) != SVHN_MD5[name]:
            raise DataError(f"{path} is truncated or not the official SVHN file: move it away and fetch again")
