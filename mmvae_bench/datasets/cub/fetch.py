"""Bringing the files of CUB-200-2011 to where they are read: downloaded, or from a file that a user has."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from filelock import FileLock

from mmvae_bench.datasets.archives import kind, names
from mmvae_bench.datasets.cub.files import CAPTION, CAPTIONS, OFFICIAL, PICTURE, PICTURES, TABLE, first, places
from mmvae_bench.datasets.download import CHUNK, Pinned, download, sha256
from mmvae_bench.datasets.resnet import WEIGHTS_NAME, is_resnet101
from mmvae_bench.errors import BenchWarning, DataError

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
NAMES: Mapping[tuple[str, str | None], str] = {  # of what a user gives, by content
    ("pictures", "gzip"): "CUB_200_2011.tgz",
    ("pictures", "zip"): "CUB_200_2011.zip",
    ("captions", "gzip"): "cvpr2016_cub.tar.gz",
    ("captions", "xz"): "cub_captions_text_c10.tar.xz",
    ("captions", "zip"): "cub_captions_text_c10.zip",
}
RECORD = "SOURCES.json"


def fetch(data_dir: Path, given: Sequence[Path]) -> None:
    """Take ``given`` files into ``data_dir/cub``; without any, download the pictures, or examine those that are there.

    Raises:
        DataError: If a file is not of CUB or would not be read, a download fails, or what is there is no CUB.
    """
    roles = [(file, recognise(file)) for file in given]
    for file, name in roles:
        if name in PICTURES:
            _examine(file)
    if given:
        with _writing(data_dir / "cub"):
            for file, name in roles:
                _take(file, name, data_dir)
    elif pictures := first(data_dir, PICTURES):
        _examine(pictures)
        click.echo(f"Found: {pictures}")
    else:
        path = data_dir / "cub" / "CUB_200_2011.tgz"
        with _writing(path.parent):
            if not first(data_dir, PICTURES):  # another process may have brought them while we waited
                _record(path, CUB.sha256, download(CUB, path))
                click.echo(f"Downloaded: {path}")


def recognise(path: Path) -> str:
    """The name under which :func:`~mmvae_bench.datasets.cub.files.find` looks for what a file holds.

    Raises:
        DataError: If it holds nothing of CUB, or is damaged.
    """
    if not path.is_file():
        raise DataError(f"--from takes a file, and {path} is none; put a folder into data_dir/cub yourself")
    if is_resnet101(path):
        return WEIGHTS_NAME
    packed = kind(path)
    inside = names(path) if packed else []
    for what, pattern in (("pictures", PICTURE), ("captions", CAPTION)):
        if (what, packed) in NAMES and any(map(pattern.fullmatch, inside)):
            return NAMES[what, packed]
    raise DataError(
        f"{path} is none of what cub takes: CUB_200_2011 (.tgz, .zip), the captions text_c10 (.tar.gz, .tar.xz, .zip) "
        "or a ResNet-101 in safetensors' format"
    )


def _examine(pictures: Path) -> None:
    """Warn of pictures that are not the official archive; refuse a broken archive, and what has no rows."""
    if pictures.is_file() and sha256(pictures) == CUB.sha256:
        return
    inside = names(pictures)
    count = sum(PICTURE.fullmatch(name) is not None for name in inside)
    tables = {match[1] for match in map(TABLE.fullmatch, inside) if match}
    if not count or len(tables) < 2:
        raise DataError(
            f"{pictures} holds {count:,} pictures images/<class>/<name>.jpg and {len(tables)} of the tables images.txt "
            "and train_test_split.txt, so it cannot be used: move it away and run mmvae-bench data fetch cub"
        )
    what = "unverified" if count == OFFICIAL else "as a subset"
    warnings.warn(
        f"{pictures} is not the official archive of CUB-200-2011: its {count:,} pictures are used {what}; move it away "
        "and run mmvae-bench data fetch cub to get all",
        BenchWarning,
        stacklevel=2,
    )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder and lock out other processes; an OSError inside is one sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield
    except OSError as error:
        place = error.filename or folder
        raise DataError(
            f"{place} cannot be read or written ({error.strerror or error}); mend that and run it again"
        ) from error


def _take(file: Path, name: str, data_dir: Path) -> None:
    group = next((group for group in (PICTURES, CAPTIONS) if name in group), (WEIGHTS_NAME,))
    path, digest = data_dir / "cub" / name, sha256(file)
    looked = places(data_dir, group)
    there = next((other for other in looked[: looked.index(path) + 1] if other.exists()), None)
    if there is None:
        _copy(file, path, digest)
    elif there.is_file() and sha256(there) == digest:
        path = there
    elif there == path:
        raise DataError(f"{path} is there with another content: move it away to take {file}")
    else:
        raise DataError(f"{file} would be {path}, but {there} is read before it: move it away and run it again")
    _record(path, digest, file.name)


def _copy(file: Path, path: Path, digest: str) -> None:
    """Copy under another name, verify, sync and rename: a broken copy is never taken for the file."""
    part, seen = path.with_name(f"{path.name}.copy"), hashlib.sha256()
    with file.open("rb") as source, part.open("wb") as target:
        while chunk := source.read(CHUNK):
            seen.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if seen.hexdigest() != digest:
        raise DataError(f"{file} changed while it was copied; run it again")
    part.replace(path)


def _record(path: Path, digest: str, origin: str) -> None:
    """Note in ``SOURCES.json`` what was taken and whence: for captions and weights the only checksum there is."""
    record = path.with_name(RECORD)
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict):
        known = {}
    known[path.name] = {"sha256": digest, "from": origin}
    part = record.with_name(f"{RECORD}.part")
    part.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(record)
