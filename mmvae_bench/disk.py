"""Writing so that nobody ever reads half of it: not a reader beside us, not another writer, not we after a crash.

Everything is written under a temporary name, synced, and renamed. Renames within a folder are atomic on local disks
and on NFS; hard links, locks and clocks, on which shared file systems differ, are not needed.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from mmvae_bench.errors import BenchError


def nonce() -> str:
    """16 hexadecimal digits that nobody else has, on no machine."""
    return secrets.token_hex(8)


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder that nobody else uses."""
    return path.with_name(f".{path.name}.{nonce()}.tmp")


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes | str, *, synced: bool = True) -> None:
    """Write a file whole, in place of the one that is there.

    Args:
        path: Where.
        content: Text is written as UTF-8.
        synced: False for what may be lost in a power cut (it is still never half there for a reader).

    Raises:
        OSError: If it cannot be written; what was there is still there.
    """
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        if synced:
            sync(temporary)
        temporary.replace(path)
        if synced:
            sync(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)


def free_name(path: Path) -> Path:
    """``path``, or with the first number that is free."""
    number, candidate = 1, path
    while candidate.exists():
        number, candidate = number + 1, path.with_suffix(f"{path.suffix}{number + 1}")
    return candidate


def read_json(path: Path, way_out: str) -> dict[str, Any]:
    """Read a file that holds one JSON object, without NaN or infinity.

    Raises:
        BenchError: If it does not; ends with ``way_out``.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"Cannot read '{path}' ({type(error).__name__}). {way_out}") from error
    if not isinstance(value, dict):
        raise BenchError(f"'{path}' is not a record. {way_out}")
    return value


def refuse(constant: str) -> float:
    """NaN and infinity, which Python's reader takes and JSON does not have."""
    raise ValueError(f"{constant} is no JSON")
