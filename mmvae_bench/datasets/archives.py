"""Members of an archive or a folder as a stream. Nothing is ever extracted to disk, and nothing is trusted."""

import gzip
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

MAGIC = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}


def kind(path: Path) -> str | None:
    """``gzip``, ``xz`` or ``zip`` by a file's first bytes, whatever its name; None for anything else."""
    with path.open("rb") as file:
        start = file.read(6)
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
        DataError: If the archive is truncated, damaged, suspicious or larger than the bounds above.
    """
    readers = {"gzip": _tar, "xz": _tar, "zip": _zip}
    try:
        reader = _folder if path.is_dir() else readers.get(kind(path) or "")
        if reader is None:
            raise DataError(f"{path} is no .tar.gz, .tar.xz or .zip archive; get it again, or give its folder")
        yield from reader(path, wanted)
    except DataError:
        raise
    except Exception as error:  # of broken bytes; the readers of the standard library raise nearly anything
        raise DataError(
            f"{path} is truncated or damaged ({type(error).__name__}: {error}); delete it and get it again"
        ) from error


def names(path: Path) -> list[str]:
    """The names of all files inside, as :func:`members` gives them; a ``.tar`` is read whole for that."""
    found: list[str] = []

    def note(name: str) -> bool:
        found.append(name)
        return False

    for _ in members(path, note):
        pass
    return found


def _folder(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and not _is_litter(name) and wanted(name):
            _check_size(file, name, file.stat().st_size)
            yield name, file.read_bytes()


def _tar(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    opened = gzip.open if kind(path) == "gzip" else lzma.open
    with cast(IO[bytes], opened(path)) as file:
        bounded = _Bounded(file, path)
        tar = tarfile.open(fileobj=cast(Any, bounded), mode="r:")  # noqa: SIM115  # closing it would close no file
        seen: set[str] = set()
        for count, member in enumerate(tar):
            _check_count(path, count)
            name = _checked(path, member.name)
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise DataError(f"{path} holds the link or device {name}, which no archive of a data set does")
            if member.isfile() and not _is_litter(name) and wanted(name):
                _check_size(path, name, member.size)
                _check_new(path, name, seen)
                yield name, cast(IO[bytes], tar.extractfile(member)).read()
        if bounded.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a broken header for the end
            raise DataError(f"{path} is truncated or damaged: it has no end mark; delete it and get it again")
        while bounded.read(1 << 14):  # to the checksum behind the padding
            pass


def _zip(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_count(path, len(infos))
        _check_total(path, sum(info.file_size for info in infos))
        for info in infos:
            name = _checked(path, info.filename)
            mode = stat.S_IFMT(info.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{path} holds the link or device {name}, which no archive of a data set does")
            if not info.is_dir() and not _is_litter(name) and wanted(name):
                _check_size(path, name, info.file_size)  # zipfile reads no more than it declares
                _check_new(path, name, seen)
                yield name, archive.read(info)


class _Bounded:
    """A decompressed stream that goes forward only and not beyond :data:`EXPANDED`, in pieces of at most MEMBER.

    Attributes:
        last: What was read last.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path, self.last = file, path, b""

    def read(self, n: int = -1) -> bytes:
        # tarfile reads long names and extended headers whole, whatever length they declare
        _check_size(self.path, "a header", MEMBER + 1 if n < 0 else n)
        self.last = self.file.read(n)
        _check_total(self.path, self.file.tell())
        return self.last

    def seek(self, position: int) -> int:
        _check_total(self.path, position)
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()


def _checked(path: Path, name: str) -> str:
    """The name without a leading ``./``."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise DataError(f"{path} holds a member named '{name}', outside its own folder; get it from another place")
    return "/".join(part for part in parts if part not in ("", "."))


def _is_litter(name: str) -> bool:
    """Whether macOS left it: the tail of another file, under a name like that file's."""
    return name.rpartition("/")[2].startswith("._") or name.startswith("__MACOSX/")


def _check_size(path: Path, name: str, size: int) -> None:
    if size > MEMBER:
        raise DataError(f"{path} holds {name} of {size:,} bytes, more than {MEMBER:,}; that is no file of a data set")


def _check_total(path: Path, size: int) -> None:
    if size > EXPANDED:
        raise DataError(f"{path} expands to more than {EXPANDED:,} bytes; that is no archive of a data set")


def _check_count(path: Path, count: int) -> None:
    if count > MEMBERS:
        raise DataError(f"{path} holds more than {MEMBERS:,} members; that is no archive of a data set")


def _check_new(path: Path, name: str, seen: set[str]) -> None:
    if name in seen:
        raise DataError(f"{path} holds {name} twice; get it from another place")
    seen.add(name)
