"""Standard output and error that cost no run: nobody may be left to read them, or they may lack a letter."""

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Unread(io.FileIO):
    """A standard stream that drops what nobody can read any more: its pipe is closed, or its terminal is gone."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._gone = (errno.EPIPE, errno.EIO) if self.isatty() else (errno.EPIPE,)  # EIO of a file is a broken disk

    def write(self, content: Any, /) -> int:
        """Write a buffer of bytes, and return how many were written or dropped."""
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in self._gone:
                raise
            return len(content)


@contextmanager
def unread() -> Iterator[None]:
    """Let standard output and error drop what nobody reads, and replace letters that their encoding lacks."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_forgiving, before)
    try:
        yield
    finally:
        now, (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), before
        for stream in now:
            with suppress(AttributeError, OSError):  # there may be none; an error of the disk was raised by its write
                stream.flush()


def _forgiving(stream: TextIO) -> TextIO:
    """Return a stream to the same file; a stream of another kind, such as a notebook's, stays as it is."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO:  # in memory, or forgiving already
        stream.reconfigure(errors="replace")
        return stream
    with suppress(OSError):
        stream.flush()
    at_once = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(io.BufferedWriter(Unread(raw.fileno())), stream.encoding, "replace", line_buffering=at_once)
