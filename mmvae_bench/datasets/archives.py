"""Members of an archive or a folder as a stream. Nothing is extracted to disk; names and sizes are checked."""

import gzip
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from mmvae_bench.errors import DataError

# Bounds. The largest official archive, CUB-200-2011, has 1.2 GB in 12 thousand files.
MEMBER = 64 << 20  # bytes of a member that is read
EXPANDED = 16 << 30  # bytes of all members, read or not
MEMBERS = 200_000
HEADERS = 1 << 16  # bytes of the headers of a member, extended ones included
NAME = 1000  # characters

AGAIN = "Move it away and get it again."
ELSEWHERE = "Move it away and get it elsewhere."

PACKED = {b"\x1f\x8b": gzip, b"\xfd7zXZ\x00": lzma}  # by a file's first bytes


def members(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a ``.tar.gz``, ``.tar.xz`` or folder, in its order (a folder's: sorted).

    Absolute names, ``..``, links and devices are errors even where they are not wanted. A ``.tar`` is read to its end,
    so that truncation is noticed. In a folder, links to files are followed, links to folders are not.

    Args:
        path: archive or folder.
        wanted: returns True for the names of the members to read.

    Yields:
        Name, with ``/`` and no leading ``./``, and content.

    Raises:
        DataError: If the archive is unreadable, truncated, damaged, suspicious or larger than the bounds above.
    """
    try:
        yield from (_folder if path.is_dir() else _tar)(path, wanted)
    except DataError:
        raise
    except Exception as error:  # readers raise many exceptions on damaged files
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk; those of gzip have no number
            why = error.strerror or error
            place = error.filename or path
            raise DataError(f"{place} cannot be read ({why}). Fix that and run the same command again.") from error
        raise DataError(f"{path} is truncated or damaged ({type(error).__name__}: {error}). {AGAIN}") from error


def _folder(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and not _is_litter(name) and wanted(name):
            _admit(path, _checked(path, name), file.stat().st_size, set())
            yield name, file.read_bytes()


def _tar(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        start = file.read(6)
    packed = next((module for magic, module in PACKED.items() if start.startswith(magic)), None)
    if packed is None:
        raise DataError(f"{path} is not a .tar.gz or .tar.xz archive. {AGAIN}")
    with cast(IO[bytes], packed.open(path)) as file:
        bounded = _Bounded(file, path)
        tar: Any = tarfile.open(fileobj=cast(Any, bounded), mode="r:")  # noqa: SIM115  # it closes no file
        seen: set[str] = set()
        for count, member in enumerate(iter(tar.next, None)):
            tar.members.clear()  # tarfile keeps every header, and the pax headers for all members
            tar.pax_headers.clear()
            _bound(path, count, MEMBERS, "members")
            name = _checked(path, member.name)
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise DataError(f"{path} contains the link or device {name!a}. {ELSEWHERE}")
            if member.isfile() and not _is_litter(name) and wanted(name):
                _admit(path, name, member.size, seen)
                bounded.left = member.size
                yield name, tar.extractfile(member).read()
            bounded.left = HEADERS
        if bounded.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header for the end
            raise DataError(f"{path} is truncated or damaged: it has no end mark. {AGAIN}")
        while file.read(1 << 14):  # to the checksum behind the padding
            _bound(path, file.tell(), EXPANDED, "bytes")


class _Bounded:
    """A decompressed stream that only moves forward, and not beyond :data:`EXPANDED`.

    Attributes:
        left: number of bytes that may still be read of a member or of the headers before it: tarfile reads long names
            and extended headers of any length and number.
        last: bytes that were read last.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path, self.left, self.last = file, path, HEADERS, b""

    def read(self, n: int) -> bytes:
        self.left -= n
        _bound(self.path, HEADERS - self.left, HEADERS, "bytes of headers")
        self.last = self.file.read(n)
        _bound(self.path, self.file.tell(), EXPANDED, "bytes")
        return self.last

    def seek(self, position: int) -> int:
        if position < self.file.tell():  # after a member of negative size: an endless loop
            raise tarfile.ReadError("a negative size")
        _bound(self.path, position, EXPANDED, "bytes")
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()


def _checked(path: Path, name: str) -> str:
    """Return the name without a leading ``./``, after checks."""
    if len(name) > NAME or not name.isprintable():
        raise DataError(f"{path} contains a member named {name[:NAME]!a}, too long or not printable. {ELSEWHERE}")
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise DataError(f"{path} contains a member named {name!a}, outside its own folder. {ELSEWHERE}")
    return "/".join(part for part in parts if part not in ("", "."))


def _is_litter(name: str) -> bool:
    """Return True for a file that macOS adds: attributes of another file, under a similar name."""
    return name.rpartition("/")[2].startswith("._") or name.startswith("__MACOSX/")


def _admit(path: Path, name: str, size: int, seen: set[str]) -> None:
    """Raise if a member is too large or occurs twice."""
    if size > MEMBER:
        raise DataError(f"{path} contains {name!a} of {size:,} bytes, more than {MEMBER:,}. {ELSEWHERE}")
    if name in seen:
        raise DataError(f"{path} contains {name!a} twice. {ELSEWHERE}")
    seen.add(name)


def _bound(path: Path, count: int, limit: int, what: str) -> None:
    if count > limit:
        raise DataError(f"{path} contains more than {limit:,} {what}, more than any data set. {ELSEWHERE}")
