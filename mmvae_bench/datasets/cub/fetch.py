"""Files of CUB-200-2011: the pictures are downloaded, files that a user has are recognised and copied."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from filelock import FileLock

from mmvae_bench.datasets.archives import kind, names
from mmvae_bench.datasets.cub.files import CAPTION, CAPTIONS, PICTURE, PICTURES, first
from mmvae_bench.datasets.download import CHUNK, Pinned, disk_errors, download, sha256
from mmvae_bench.datasets.resnet import WEIGHTS_NAME, is_resnet101
from mmvae_bench.errors import DataError

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


def fetch(data_dir: Path) -> None:
    """Download the pictures into ``data_dir/cub``, unless there are pictures already.

    Raises:
        DataError: If the download fails.
    """
    path = data_dir / "cub" / "CUB_200_2011.tgz"
    with _locked(path.parent):
        if found := first(data_dir, PICTURES):  # perhaps downloaded by another process in the meantime
            click.echo(f"Found: {found} (mmvae-bench data check cub examines it)")
        else:
            download(CUB, path)
            click.echo(f"Downloaded: {path}")


def take(files: Sequence[Path], data_dir: Path) -> None:
    """Copy a user's files into ``data_dir/cub``, under the names by which they are read.

    Raises:
        DataError: If a file is not of CUB, or would not be read.
    """
    roles = [(file, recognise(file)) for file in files]
    with _locked(data_dir / "cub"):
        for file, name in roles:
            _take(file, name, data_dir)
            click.echo(f"Taken: {file}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield


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
    inside = names(path) if packed else []
    for what, pattern in (("pictures", PICTURE), ("captions", CAPTION)):
        if (what, packed) in NAMES and any(map(pattern.fullmatch, inside)):
            return NAMES[what, packed]
    raise DataError(
        f"{path} is not one of the files that cub reads: CUB_200_2011 (.tgz, .zip), the captions text_c10 (.tar.gz, "
        ".tar.xz, .zip) or a ResNet-101 in safetensors' format."
    )


def _take(file: Path, name: str, data_dir: Path) -> None:
    """Copy a user's file to where it is read, unless the same file is there."""
    group = next((group for group in (PICTURES, CAPTIONS) if name in group), (WEIGHTS_NAME,))
    path, digest, found = data_dir / "cub" / name, sha256(file), first(data_dir, group)
    if found and found.is_file() and sha256(found) == digest:
        return
    if found == path:
        raise DataError(f"{path} exists with a different content. Move it away to take {file}.")
    if found and group.index(found.name) <= group.index(name):
        raise DataError(f"{file} would not be read: {found} is read before it. Move that away and run it again.")
    part, seen = path.with_name(f"{name}.copy"), hashlib.sha256()
    with file.open("rb") as source, part.open("wb") as target:
        while chunk := source.read(CHUNK):
            seen.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if seen.hexdigest() != digest:
        raise DataError(f"{file} changed while it was copied. Run the same command again.")
    part.replace(path)
