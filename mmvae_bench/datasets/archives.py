"""Members of an archive or a folder as a stream. Nothing is ever extracted to disk, and nothing is trusted."""

import errno
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from mmvae_bench.errors import DataError

# Bounds for what official archives hold; CUB-200-2011 is 1.2 GB in 12 thousand files.
MEMBER = 64 << 20  # bytes of one that is read
EXPANDED = 16 << 30  # bytes of all, read or not
MEMBERS = 200_000
HEADERS = 1 << 16  # bytes of one member's headers, extended ones included
NAME = 1000  # characters

AGAIN = "move it away and get it again"
ELSEWHERE = "move it away and get it elsewhere"

MAGIC = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}


def kind(path: Path) -> str | None:
    """``gzip``, ``xz`` or ``zip`` by a file's first bytes, whatever its name; None for anything else.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise _unreadable(path, error) from error
    return next((name for magic, name in MAGIC.items() if start.startswith(magic)), None)


def members(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    """Read the members of a ``.tar.gz``, ``.tar.xz``, ``.zip`` or folder, in its order (a folder's: sorted).

    What no archive of a data set has (absolute names, ``..``, links, devices) is refused even where it is not wanted.
    All of a ``.tar`` is read, so that a truncated one is known as such. In a folder, links are followed to files but
    not to folders: it is the user's own.

    Args:
        path: The archive or folder.
        wanted: Says of a name whether to read it.

    Yields:
        Name, with ``/`` and no leading ``./``, and content.

    Raises:
        DataError: If the archive is unreadable, truncated, damaged, suspicious or larger than the bounds above.
    """
    readers = {"gzip": _tar, "xz": _tar, "zip": _zip}
    try:
        reader = _folder if path.is_dir() else readers.get(kind(path) or "")
        if reader is None:
            raise DataError(f"{path} is no .tar.gz, .tar.xz or .zip archive; {AGAIN}, or give its folder")
        yield from reader(path, wanted)
    except DataError:
        raise
    except Exception as error:  # of broken bytes; the readers of the standard library raise nearly anything
        # An error of the disk has a number; gzip's have none, and a broken zip makes zipfile seek to nowhere
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise _unreadable(path, error) from error
        raise DataError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); {AGAIN}") from error


def names(path: Path) -> list[str]:
    """The names of all files inside, as :func:`members` gives them; a ``.tar`` is read whole for that."""
    found: list[str] = []
    for _ in members(path, found.append):  # None: no member is wanted
        pass
    return found


def _folder(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and not _is_litter(name) and wanted(name):
            _admit(path, _checked(path, name), file.stat().st_size, set())
            yield name, file.read_bytes()


def _tar(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    opened = gzip.open if kind(path) == "gzip" else lzma.open
    with cast(IO[bytes], opened(path)) as file:
        bounded = _Bounded(file, path)
        tar: Any = tarfile.open(fileobj=cast(Any, bounded), mode="r:")  # noqa: SIM115  # closing it would close no file
        seen: set[str] = set()
        for count, member in enumerate(iter(tar.next, None)):
            tar.members.clear()  # tarfile keeps every header, and what pax headers say of all members
            tar.pax_headers.clear()
            _bound(path, count, MEMBERS, "members")
            name = _checked(path, member.name)
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise DataError(f"{path} holds the link or device {name!a}, which no archive of a data set does")
            if member.isfile() and not _is_litter(name) and wanted(name):
                _admit(path, name, member.size, seen)
                bounded.left = member.size
                yield name, tar.extractfile(member).read()
            bounded.left = HEADERS
        if bounded.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a broken header for the end
            raise DataError(f"{path} is truncated or damaged: it has no end mark; {AGAIN}")
        while file.read(1 << 14):  # to the checksum behind the padding
            _bound(path, file.tell(), EXPANDED, "bytes")


def _zip(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    with _Pieces(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        _bound(path, len(infos), MEMBERS, "members")
        _bound(path, sum(info.file_size for info in infos), EXPANDED, "bytes")
        for info in infos:
            name = _checked(path, info.filename)
            mode = stat.S_IFMT(info.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{path} holds the link or device {name!a}, which no archive of a data set does")
            if not info.is_dir() and not _is_litter(name) and wanted(name):
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others have no bounds
                    raise DataError(f"{path} holds {name!a}, compressed in a way that no archive of a data set is")
                _admit(path, name, info.file_size, seen)
                with archive.open(info) as member:
                    yield name, member.read(info.file_size)  # asked for all, zipfile expands more than is declared


class _Pieces(io.BufferedReader):
    """A zip, never read in larger pieces than :data:`MEMBER`: its list of members is one piece, of any length."""

    def read(self, size: int | None = -1, /) -> bytes:
        _bound(Path(str(self.name)), size or 0, MEMBER, "bytes of names")
        return super().read(size)


class _Bounded:
    """A decompressed stream that goes forward only and not beyond :data:`EXPANDED`.

    Attributes:
        left: How many bytes may still be read, of a member or of the headers before it: tarfile reads long names and
            extended headers whole, whatever length they declare, and any number of them.
        last: What was read last.
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
        if position < self.file.tell():  # behind a member of negative size, and so round and round
            raise tarfile.ReadError("a negative size")
        _bound(self.path, position, EXPANDED, "bytes")
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{error.filename or path} cannot be read ({error.strerror or error}); mend that and run it again")


def _checked(path: Path, name: str) -> str:
    """The name without a leading ``./``, fit to be printed."""
    if len(name) > NAME or not name.isprintable():
        raise DataError(f"{path} holds a member named {name[:NAME]!a}, which no data set does; {ELSEWHERE}")
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise DataError(f"{path} holds a member named {name!a}, outside its own folder; {ELSEWHERE}")
    return "/".join(part for part in parts if part not in ("", "."))


def _is_litter(name: str) -> bool:
    """Whether macOS left it: the tail of another file, under a name like that file's."""
    return name.rpartition("/")[2].startswith("._") or name.startswith("__MACOSX/")


def _admit(path: Path, name: str, size: int, seen: set[str]) -> None:
    """Refuse a member that is too large or was there already."""
    if size > MEMBER:
        raise DataError(f"{path} holds {name!a} of {size:,} bytes, more than {MEMBER:,}; that is no file of a data set")
    if name in seen:
        raise DataError(f"{path} holds {name!a} twice; {ELSEWHERE}")
    seen.add(name)


def _bound(path: Path, count: int, limit: int, what: str) -> None:
    if count > limit:
        raise DataError(f"{path} holds more than {limit:,} {what}; that is no archive of a data set")
