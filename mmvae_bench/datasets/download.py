"""Resumable downloads of files whose checksum is pinned.

By urllib: the downloaders of torchvision and pooch do not resume.
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

UNVERIFIED = "unverified"  # last word of the subset of complete data without a checksum of the official ones


@dataclass(frozen=True)
class Pinned:
    """A published file."""

    urls: Sequence[str]  # tried in order; plain http is allowed since the content is pinned
    size: int  # in bytes
    sha256: str  # of the content, in hexadecimal


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; an unchanged file is not read again.

    Raises:
        DataError: If the file cannot be read.
    """
    with disk_errors(path):
        facts = path.stat()
        return _sha256(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside into a :class:`DataError` that names its file, or ``path``."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the sentence of an error of the disk, which names its file, or ``path``."""
    place, why = error.filename or path, error.strerror or error
    return DataError(f"{place} cannot be read or written ({why}). Fix that and run the same command again.")


@cache
def _sha256(path: Path, *_facts: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(pinned: Pinned, path: Path) -> None:
    """Download a file to ``path``. A broken download stays in ``<path>.part``; the next one resumes it.

    The source is asked for the rest by HTTP Range. If it sends the whole file instead, or the rest of a different file
    (wrong checksum), the file is read again from its first byte.

    Args:
        pinned: addresses, size and checksum.
        path: target; written under a temporary name, synced to disk and renamed.

    Raises:
        DataError: If every source fails. The message gives each reason, and the place for a copy obtained by hand.
    """
    failures = []
    part = path.with_name(f"{path.name}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for url in pinned.urls:
            try:
                _bring(url, pinned, part)
                part.replace(path)
                return
            except _Failed as error:
                failures.append(f"{url}: {error}")
    raise DataError(
        f"{path.name} cannot be downloaded ({'; '.join(failures)}). Run the same command again, which resumes the "
        f"download, or get the file by hand ({pinned.size:,} bytes, SHA-256 {pinned.sha256}) and put it at {path}."
    )


class _Failed(Exception):
    """A source did not send the file. The message says why."""


@contextmanager
def _network() -> Iterator[None]:
    """Turn errors inside into failures of the source; an OSError anywhere else is an error of the disk."""
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:
        what = error.reason if type(error) is URLError else error
        raise _Failed(" ".join(str(what).split()) or type(error).__name__) from error


class _OnlyHttp(HTTPRedirectHandler):
    """Follows redirects to http and https alone; urllib would also follow them to ftp."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("https", "http"):
            raise _Failed(f"'{newurl}' is not an https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _bring(url: str, pinned: Pinned, part: Path) -> None:
    """Complete ``part`` from ``url`` and verify it."""
    resumed = part.exists() and part.stat().st_size > 0
    for attempt in range(1 + resumed):  # the second after a rest with a wrong checksum
        if attempt:
            part.unlink()
        _append(url, pinned, part)
        if (size := part.stat().st_size) < pinned.size:
            raise _Failed(f"the connection broke after {size:,} of {pinned.size:,} bytes")
        if size == pinned.size and sha256(part) == pinned.sha256:
            return
    part.unlink()
    raise _Failed(f"it is a different file (its SHA-256 is not {pinned.sha256[:12]}...)")


def _append(url: str, pinned: Pinned, part: Path) -> None:
    """Download the rest of ``part``."""
    start = part.stat().st_size if part.exists() else 0
    if start >= pinned.size:
        return  # complete: the checksum decides
    headers = {"User-Agent": f"mmvae-bench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = Request(url, headers=headers)  # noqa: S310  # pinned, and _OnlyHttp
    with _network():
        opened = cast(HTTPResponse, build_opener(_OnlyHttp).open(request, timeout=TIMEOUT))
    with opened as answer:
        sent = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", "")) if answer.status == 206 else None
        start = int(sent[1]) if sent else 0  # 200: the server ignores Range and sends all
        length = answer.length if answer.length is not None else pinned.size - start
        if start + length != pinned.size:  # an error page must not replace a partial download
            raise _Failed(f"it is a different file, of {start + length:,} bytes")
        with part.open("r+b" if part.exists() else "wb") as file:
            if start > file.seek(0, os.SEEK_END):
                raise _Failed("it sent a part of the file that was not requested")
            file.seek(start)
            file.truncate()
            with click.progressbar(length=length, label=part.stem, file=sys.stderr) as bar:
                while length > 0:
                    with _network():
                        chunk = answer.read(min(CHUNK, length))
                    if not chunk:
                        break
                    file.write(chunk)
                    bar.update(len(chunk))
                    length -= len(chunk)
            file.flush()
            os.fsync(file.fileno())
