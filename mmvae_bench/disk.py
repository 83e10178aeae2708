"""Atomic file writes: no reader, concurrent writer or restart ever sees a partial file. And the cache's lock.

A file is written under a temporary name, synced and renamed: within a folder that is atomic on local disks and on NFS.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from mmvae_bench.errors import BenchError

Read = TypeVar("Read")
Made = TypeVar("Made")


def given_path(path: str | Path) -> Path:
    """Return a path as a user gave it, with the home folder in the place of ``~``; not every shell puts it there.

    Raises:
        BenchError: If the home folder is not known.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError) as error:  # ValueError: no user's name can be read there
        raise BenchError(f"The home folder in '{path}' is not known on this machine. Write the whole path.") from error


def nonce() -> str:
    """Return 16 random hexadecimal digits, unique across machines."""
    return secrets.token_hex(8)


def temporary_beside(path: Path) -> Path:
    """Return a unique hidden name in the same folder."""
    return path.with_name(f".{path.name}.{nonce()}.tmp")


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_utf8(text: str) -> bytes:
    """Return text as UTF-8; bytes of a file's name that are not UTF-8 are written as escapes."""
    return text.encode(errors="backslashreplace")


def replace_file(path: Path, content: bytes | str, *, synced: bool = True) -> None:
    """Write a file atomically, replacing an existing one; text is written as UTF-8.

    With ``synced=False`` it may be lost in a power cut, but readers still never see a part of it.

    Raises:
        OSError: If it cannot be written; an existing file is then unchanged.
    """
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(as_utf8(content) if isinstance(content, str) else content)
        if synced:
            sync(temporary)
        temporary.replace(path)
        if synced:
            sync(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the first error is raised
            temporary.unlink(missing_ok=True)


def free_name(path: Path) -> Path:
    """Return ``path``, or ``path`` with the first free number."""
    number, candidate = 1, path
    while candidate.exists():
        number, candidate = number + 1, path.with_suffix(f"{path.suffix}{number + 1}")
    return candidate


def disk_reason(error: OSError) -> str:
    """Return the file or folder that an error is about, where it names one, and the system's words."""
    path, why = error.filename2 or error.filename, error.strerror or str(error)
    return f"'{path}': {why}" if path else why


@contextlib.contextmanager
def disk_errors(failed: str, way_out: str) -> Iterator[None]:
    """Turn an OSError inside into a sentence: what ``failed``, the file with the reason, and the ``way_out``."""
    try:
        yield
    except OSError as error:
        raise BenchError(f"{failed} ({disk_reason(error)}). {way_out}") from error


def read_json(path: Path, way_out: str) -> dict[str, Any]:
    """Read a file that contains one JSON object, without NaN or infinity.

    Raises:
        BenchError: If it does not. The message ends with ``way_out``.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"Cannot read '{path}' ({type(error).__name__}). {way_out}") from error
    if not isinstance(value, dict):
        raise BenchError(f"'{path}' is not a record. {way_out}")
    return value


def refuse(constant: str) -> float:
    """Reject NaN and infinity, which Python's reader accepts and JSON does not have."""
    raise ValueError(f"{constant} is not JSON")


def built_once(
    cache_dir: Path, path: Path, read: Callable[[], Read | None], make: Callable[[], Made],
    write: Callable[[Made], None],
) -> Read:  # fmt: skip
    """Return a cached value; where it is absent or damaged, one process makes it while the others wait for its lock.

    Args:
        cache_dir: root of the cache; locks are in its folder ``locks``.
        path: file or folder of the value, below a folder of ``cache_dir`` that is made if it is absent.
        read: returns the value, or None where it is absent or damaged.
        make: computes what is to be written; its errors pass through.
        write: writes that to ``path``, atomically.

    Raises:
        BenchError: If the cache cannot be written, or does not return what was written.
    """
    from filelock import FileLock

    found = read()
    if found is not None:
        return found
    way_out = "Choose another place with --cache-dir or MMVAE_BENCH_CACHE."
    failed = f"The cache {cache_dir} cannot be written", way_out
    with contextlib.ExitStack() as held:
        with disk_errors(*failed):
            for folder in (cache_dir / "locks", path.parent):
                folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(cache_dir / "locks" / f"{path.parent.name}-{path.stem}.lock"))
        found = read()  # another process may have written it in the meantime
        if found is None:
            made = make()
            with disk_errors(*failed):
                write(made)
            found = read()
    if found is None:
        raise BenchError(
            f"What was just written to {path} cannot be read back. Check that disk, or choose another --cache-dir."
        )
    return found
