"""Bringing the files of CUB-200-2011 to where they are read: downloaded, or from a file that a user has."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmvae_bench.datasets.archives import kind, names
from mmvae_bench.datasets.cub_files import CAPTION, PICTURE, PICTURES, find, first
from mmvae_bench.datasets.download import CHUNK, Pinned, download, sha256
from mmvae_bench.datasets.resnet import WEIGHTS_NAME, is_resnet101
from mmvae_bench.errors import DataError

# Size and checksum as in torchvision's prototype data set (prototype/datasets/_builtin/cub200.py).
CUB = Pinned(
    urls=(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        "https://data.caltech.edu/api/records/65de6-vp158/files/CUB_200_2011.tgz/content",
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
    """Take ``given`` files into ``data_dir/cub``; without any, download the pictures if there are none.

    Raises:
        DataError: If a file is not of CUB, a download fails, or captions, which cannot be downloaded, are missing.
    """
    folder = data_dir / "cub"
    for file in given:
        _take(file, folder)
    if given:
        return
    if not first(data_dir, PICTURES):
        path = folder / "CUB_200_2011.tgz"
        download(CUB, path)
        _record(path, CUB.sha256, CUB.urls[0])
    find(data_dir)  # says how to get the captions if they are missing


def recognise(path: Path) -> str:
    """The name under which :func:`~mmvae_bench.datasets.cub_files.find` looks for what a file holds.

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


def _take(file: Path, folder: Path) -> None:
    path = folder / recognise(file)
    digest = sha256(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _copy(file, path, digest)
        elif sha256(path) != digest:
            raise DataError(f"{path} is there with another content: move it away to take {file}")
        _record(path, digest, file.name)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error}); mend that and run it again") from error


def _copy(file: Path, path: Path, digest: str) -> None:
    """Copy under another name, verify, sync and rename: a broken copy is never taken for the file."""
    part, seen = path.with_name(f"{path.name}.part"), hashlib.sha256()
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
    known[path.name] = {"sha256": digest, "from": origin}
    part = record.with_name(f"{RECORD}.part")
    part.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(record)
