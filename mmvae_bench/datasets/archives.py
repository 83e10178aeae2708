"""Members of an archive or a folder as a stream. Nothing is extracted to disk; names and sizes are checked."""

import errno
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from mmvae_bench.datasets.download import disk_errors, unreadable
from mmvae_bench.errors import DataError

# Bounds. The largest official archives: CelebA has 1.4 GB in 203 thousand files, CUB-200-2011 1.2 GB in 12 thousand.
MEMBER = 64 << 20  # bytes of a member that is read
EXPANDED = 16 << 30  # bytes of all members, read or not
MEMBERS = 250_000
HEADERS = 1 << 16  # bytes of the headers of a member, extended ones included
NAME = 1000  # characters

AGAIN = "Move it away and get it again."
ELSEWHERE = "Move it away and get it elsewhere."

# Name as it stands there, "file", "folder" or "other", size, and what reads the content
Entries = Iterator[tuple[str, str, int, Callable[[], bytes]]]


def kind(path: Path) -> str | None:
    """Return ``gzip``, ``xz`` or ``zip`` by a file's first bytes, whatever its name; None for anything else.

    Raises:
        DataError: If it cannot be read.
    """
    with disk_errors(path), path.open("rb") as file:
        start = file.read(6)
    magic = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
    return next((name for own, name in magic.items() if start.startswith(own)), None)


def members(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a ``.tar.gz``, ``.tar.xz``, ``.zip`` or folder, in its order (a folder's: sorted).

    Absolute names, ``..``, links and devices are errors even where they are not wanted. A ``.tar`` is read to its end,
    so that truncation is noticed. In a folder, links to files are followed, links to folders are not.
    Yielded are the contents of those whose names are ``wanted``, after the names, with ``/`` and no leading ``./``.

    Raises:
        DataError: If the archive is unreadable, truncated, damaged, suspicious or larger than the bounds above.
    """
    gzipped, xzipped = partial(_tar, gzip.open), partial(_tar, lzma.open)
    readers: dict[str, Callable[[Path], Entries]] = {"gzip": gzipped, "xz": xzipped, "zip": _zip}
    reader = _folder if path.is_dir() else readers.get(kind(path) or "")
    if reader is None:
        raise DataError(f"{path} is not a .tar.gz, .tar.xz or .zip archive. {AGAIN}")
    try:
        yield from _admitted(path, reader(path), wanted)
    except DataError:
        raise
    except Exception as error:  # readers raise many exceptions on damaged files
        # Errors of the disk have a number; those of gzip have none, and zipfile seeks to invalid places
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise unreadable(path, error) from error
        raise DataError(f"{path} is truncated or damaged ({type(error).__name__}: {error}). {AGAIN}") from error


def _admitted(path: Path, entries: Entries, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for count, (said, what, size, read) in enumerate(entries):
        _bound(path, count, MEMBERS, "members")
        if len(said) > NAME or not said.isprintable():
            raise DataError(f"{path} contains a member named {said[:NAME]!a}. No data set does. {ELSEWHERE}")
        parts = said.replace("\\", "/").split("/")
        if said.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", said):
            raise DataError(f"{path} contains a member named {said!a}, outside its own folder. {ELSEWHERE}")
        name = "/".join(part for part in parts if part not in ("", "."))
        if what == "other":
            raise DataError(f"{path} contains the link or device {name!a}. No archive of a data set does.")
        # macOS adds files beside others
        litter = name.rpartition("/")[2].startswith("._") or name.startswith("__MACOSX/")
        if what == "folder" or litter or not wanted(name):
            continue
        if size > MEMBER:
            raise DataError(f"{path} contains {name!a} of {size:,} bytes, more than {MEMBER:,}. {ELSEWHERE}")
        if name in seen:
            raise DataError(f"{path} contains {name!a} twice. {ELSEWHERE}")
        seen.add(name)
        yield name, read()


def _folder(path: Path) -> Entries:
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield file.relative_to(path).as_posix(), "file", file.stat().st_size, file.read_bytes


def _tar(opened: Callable[[Path], Any], path: Path) -> Entries:
    with opened(path) as file:
        bounded = _Bounded(file, path)
        tar: Any = tarfile.open(fileobj=cast(Any, bounded), mode="r:")  # noqa: SIM115  # closing it would close no file
        for member in iter(tar.next, None):
            tar.members.clear()  # tarfile keeps every header, and what pax headers say of all members
            tar.pax_headers.clear()
            what = "folder" if member.isdir() else "file" if member.isfile() and not member.issparse() else "other"
            bounded.left = member.size
            yield member.name, what, member.size, partial(lambda member: tar.extractfile(member).read(), member)
            bounded.left = HEADERS
        if bounded.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a broken header for the end
            raise DataError(f"{path} is truncated or damaged: it has no end mark. {AGAIN}")
        while file.read(1 << 14):  # to the checksum behind the padding
            _bound(path, file.tell(), EXPANDED, "bytes")


def _zip(path: Path) -> Entries:
    with _Pieces(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        _bound(path, sum(info.file_size for info in archive.infolist()), EXPANDED, "bytes")
        for info in archive.infolist():
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
            what = "other" if not plain else "folder" if info.is_dir() else "file"
            yield info.filename, what, info.file_size, partial(_read, path, archive, info)


def _read(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others have no bounds
        raise DataError(f"{path} contains {info.filename!a} in an unknown compression.")
    with archive.open(info) as member:
        return member.read(info.file_size)  # asked for all, zipfile expands more than is declared


class _Pieces(io.BufferedReader):
    """A zip file, read in pieces of at most :data:`MEMBER`: its list of members is one piece, of any length."""

    def read(self, size: int | None = -1, /) -> bytes:
        _bound(Path(str(self.name)), size or 0, MEMBER, "bytes of names")
        return super().read(size)


class _Bounded:
    """A decompressed stream that goes forward only, and not beyond :data:`EXPANDED`."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        # Bytes that may still be read of a member or of the headers before it; tarfile reads any number of long names
        # and extended headers, of any declared length
        self.left = HEADERS
        self.last = b""  # the block read last

    def read(self, n: int) -> bytes:
        self.left -= n
        _bound(self.path, HEADERS - self.left, HEADERS, "bytes of headers")
        self.last = self.file.read(n)
        _bound(self.path, self.file.tell(), EXPANDED, "bytes")
        return self.last

    def seek(self, position: int) -> int:
        if position < self.file.tell():  # behind a member of negative size, and so round and round
            raise tarfile.ReadError("a negative size")
        _bound(self.path, position, EXPANDED, "bytes")
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()


def _bound(path: Path, count: int, limit: int, what: str) -> None:
    if count > limit:
        raise DataError(f"{path} contains more than {limit:,} {what}. No archive of a data set does.")
