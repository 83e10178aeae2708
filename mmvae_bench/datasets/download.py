"""Downloads that go on where they stopped, of files whose checksum is pinned.

Plain urllib: torchvision's downloader and pooch start a file afresh after a break.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, cast
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click

from mmvae_bench import __version__
from mmvae_bench.errors import DataError

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte

UNVERIFIED = "unverified"  # ends the subset of data that is complete, but no checksum says that it is the official one


@dataclass(frozen=True)
class Pinned:
    """A file as its publisher published it.

    Attributes:
        urls: Where it is, tried in order.
        size: In bytes.
        sha256: Of its content, in hexadecimal. That it is pinned is why a mirror may be plain http.
    """

    urls: Sequence[str]
    size: int
    sha256: str


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal; a file that has not changed since is not read again.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        facts = path.stat()
        return _known(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); mend that and run it again") from error


@cache
def _known(path: Path, *_facts: int) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(pinned: Pinned, path: Path) -> str:
    """Bring a file to ``path``; what a broken attempt left in ``<path>.part`` is kept, and the next goes on from it.

    The source is asked for the rest by HTTP Range. One that sends the whole file instead, or another file's rest (the
    checksum tells), is read again from its first byte.

    Args:
        pinned: What it must be.
        path: Where; made whole under another name, synced to disk and renamed.

    Returns:
        Which of the urls gave it, or its last bytes.

    Raises:
        DataError: If no source has it: says why of each, and where to put a copy obtained by hand.
    """
    failures = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        for url in pinned.urls:
            try:
                _bring(url, pinned, part)
                part.replace(path)
                return url
            except _Failed as error:
                failures.append(f"{url}: {error}")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error}); mend that and run it again") from error
    raise DataError(
        f"{path.name} cannot be downloaded ({'; '.join(failures)}): run the same command again, which goes on where it "
        f"stopped, or get the file by hand ({pinned.size:,} bytes, SHA-256 {pinned.sha256}) and put it at {path}"
    )


class _Failed(Exception):
    """Why a source did not give the file."""


@contextmanager
def _network() -> Iterator[None]:
    """What goes wrong inside is the source's failure; an OSError anywhere else is the disk's."""
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:
        what = error.reason if type(error) is URLError else error  # its own text wraps the reason's
        raise _Failed(" ".join(str(what).split()) or type(error).__name__) from error


class _OnlyHttp(HTTPRedirectHandler):
    """Follows redirects to http and https alone; urllib would go on to ftp."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("https", "http"):
        raise _Failed(f"'{url}' is no https address")


def _bring(url: str, pinned: Pinned, part: Path) -> None:
    """Complete ``part`` from ``url``, verified."""
    _check_scheme(url)
    resumed = part.exists() and part.stat().st_size > 0
    for attempt in range(1 + resumed):  # the second after a rest that did not fit
        if attempt:
            part.unlink()
        _append(url, pinned, part)
        if (size := part.stat().st_size) < pinned.size:
            raise _Failed(f"the connection broke after {size:,} of {pinned.size:,} bytes")
        if size == pinned.size and _sha256(part) == pinned.sha256:
            return
    part.unlink()
    raise _Failed(f"it is another file (its SHA-256 is not {pinned.sha256[:12]}...)")


def _append(url: str, pinned: Pinned, part: Path) -> None:
    """Ask for what ``part`` lacks, and write what comes."""
    start = part.stat().st_size if part.exists() else 0
    if start >= pinned.size:
        return  # nothing lacks: the checksum decides
    headers = {"User-Agent": f"mmvae-bench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = Request(url, headers=headers)  # noqa: S310  # _check_scheme
    with _network():
        opened = cast(HTTPResponse, build_opener(_OnlyHttp).open(request, timeout=TIMEOUT))
    with opened as answer:
        sent = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", "")) if answer.status == 206 else None
        start = int(sent[1]) if sent else 0  # 200: it ignores Range, and sends all
        length = answer.length if answer.length is not None else pinned.size - start
        if start + length != pinned.size:  # a page that says sorry must not replace a gigabyte that is right
            raise _Failed(f"it is another file, of {start + length:,} bytes")
        with part.open("r+b" if part.exists() else "wb") as file:
            if start > file.seek(0, os.SEEK_END):
                raise _Failed("it sent another part of the file than it was asked for")
            file.seek(start)
            file.truncate()
            _copy(answer, file, length, part.stem)
            file.flush()
            os.fsync(file.fileno())


def _copy(answer: HTTPResponse, file: IO[bytes], length: int, label: str) -> None:
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        while length > 0:
            with _network():
                chunk = answer.read(min(CHUNK, length))
            if not chunk:
                return
            file.write(chunk)
            length -= len(chunk)
            bar.update(len(chunk))
