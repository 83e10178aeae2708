"""Files of a results folder that somebody else made: which there may be, and how large, before any of them is read."""

import lzma
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mmvae_bench.store.run import OUTCOMES, RECORD, RUN_ID
from mmvae_bench.store.store import PUBLISHED, RECORDS

TEXTS = ("run.json", RECORD, "history.csv", "log.txt", "environment.json")
ARRAYS = (OUTCOMES, "artifacts.npz", "model.safetensors")
RESULTS = "|".join(map(re.escape, (PUBLISHED, OUTCOMES, RECORDS, "environment.json")))
RUNS = (  # beside them, published folders may lie, as in a clone of the repository
    rf"runs/[\w.-]+/[\w.-]+/{RUN_ID}/({'|'.join(map(re.escape, (*TEXTS[:-1], *ARRAYS)))})|plans/[\w-]+\.json|"
    rf"scores\.csv|work/{RUN_ID}\.lock|[\w-]+/({RESULTS})"
)
MOST_TEXT, MOST_ARRAYS = 256 << 20, 2 << 30  # bytes of a file, unpacked


def foreign(folder: Path, allowed: str) -> list[str]:
    """Return a sentence for each thing below a folder that does not belong there, is a link, or is too large.

    Nothing is read but the tables of contents of archives. No link is followed.

    Args:
        folder: Folder of results.
        allowed: Pattern of the paths below it: :data:`RUNS` or :data:`RESULTS`.
    """
    return [sentence for path in _files(folder) if (sentence := _fault(folder, path, allowed))]


def _files(folder: Path) -> Iterator[Path]:
    """Yield all that is not a plain folder."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry))
        else:
            yield Path(entry)


def _fault(folder: Path, path: Path, allowed: str) -> str:
    """Return what is wrong with a file, or an empty text."""
    if path.is_symlink():
        return f"'{path}' is a link. Put the file itself there."
    if not path.is_file() or not re.fullmatch(allowed, path.relative_to(folder).as_posix()):
        return f"'{path}' does not belong to the results. Move it elsewhere."
    most = MOST_ARRAYS if path.name in ARRAYS else MOST_TEXT
    if (size := path.stat().st_size) > most:
        return f"'{path}' is too large: {size:,} bytes, and at most {most:,} are read."
    if path.suffix == ".npz":
        return _archive(path, most)
    return _packed(path, most) if path.suffix == ".xz" else ""


def _archive(path: Path, most: int) -> str:
    """Return what is wrong with the table of contents of an archive of arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return f"'{path}' is not an archive of arrays ({type(error).__name__}). Make it again."
    for member in inside:
        parts = member.filename.split("/")
        if not member.filename.endswith(".npy") or parts[0] == "" or ".." in parts or "\\" in member.filename:
            return f"'{path}' contains {member.filename!a}, which is not the name of an array. Make it again."
    if (size := sum(member.file_size for member in inside)) > most:
        return f"'{path}' is too large: {size:,} bytes when unpacked, and at most {most:,} are read."
    return ""


def _packed(path: Path, most: int) -> str:
    """Return what is wrong with a packed text; it is unpacked piece by piece, and no further than the limit."""
    size = 0
    try:
        with lzma.open(path) as file:
            while size <= most and (piece := file.read(1 << 20)):
                size += len(piece)
    except (lzma.LZMAError, EOFError, OSError) as error:
        return f"'{path}' cannot be unpacked ({type(error).__name__}). Make it again."
    return f"'{path}' is too large when unpacked: at most {most:,} bytes are read." if size > most else ""
