"""A run under way, in ``<root>/work/``: its lock, and in ``<run_id>/`` its checkpoint, log, progress and owner.

``<run_id>.lock`` is locked (``flock``, by :mod:`filelock`) for as long as the process lives that has the run. The
kernel, or an NFS server, frees it when that process dies, however it dies.
"""

import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mmvae_bench.disk import replace_file

EVERY = 0.5  # seconds between two looks at the disk, and between two notes
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@dataclass(frozen=True)
class Owner:
    """The process that has a run, or that died in it."""

    command: str  # identifies the command that the process works for
    host: str  # name of its machine
    pid: int  # number of the process on that machine
    since: str  # when it took the run, in UTC
    crashes: int  # processes of this command that died in the run before this one, since the last checkpoint
    checkpoint: int  # modification time in ns of the checkpoint it found, 0 for none

    def __str__(self) -> str:
        """Name the process for people."""
        return f"process {self.pid} on {self.host}"


class UnderWay:
    """The lock and the folder of one run. Only :meth:`start` makes the folder, so one that was removed stays away."""

    def __init__(self, root: Path, run_id: str) -> None:
        self.folder = root / "work" / run_id
        self._path = root / "work" / f"{run_id}.lock"
        self._noted = -EVERY

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Lock the run, as a context; gives False at once if another process has it.

        Raises:
            OSError: If the results folder takes no files, or its file system has no locks.
        """
        self._path.parent.mkdir(exist_ok=True)  # a results folder that is gone must not come back empty
        lock = FileLock(self._path, blocking=False, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise OSError(
                    error.errno, "its file system has no locks: give each command a --results-dir and a --shard of "
                    "its own, and join them with mmvae-bench merge",
                ) from error  # fmt: skip
            raise
        try:
            yield True
        finally:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)  # whoever has opened it meanwhile sees that, and opens a new one
            lock.release()

    @property
    def taken(self) -> bool:
        """Whether a process has the run now; another user's, too. Shares the lock for an instant."""
        try:
            with self._path.open("rb") as file:  # filelock would write
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno == errno.EWOULDBLOCK
        return False

    def start(self, command: str) -> Owner:
        """Make the folder, if it is not there, and write this process into it as the run's owner.

        Raises:
            OSError: If it cannot be written.
        """
        self.folder.mkdir(exist_ok=True)
        before, at = self.owner(), self.checkpoint.stat().st_mtime_ns if self.checkpoint.exists() else 0
        crashed = before is not None and before.command == command
        crashes = (before.crashes if before and before.checkpoint == at else 0) + 1 if crashed else 0
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        owner = Owner(command, socket.gethostname(), os.getpid(), now, crashes, at)
        replace_file(self.folder / "owner.json", json.dumps(asdict(owner)))
        return owner

    def owner(self) -> Owner | None:
        """Read who has the run, or who died in it; None where nobody took it or its process ended in order."""
        try:
            return Owner(**json.loads((self.folder / "owner.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def leave(self) -> None:
        """Leave the run in order: its checkpoint and log stay for the next process."""
        with suppress(OSError):
            (self.folder / "owner.json").unlink(missing_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Path of its checkpoint, present or not."""
        return self.folder / "checkpoint.safetensors"

    def note(self, **facts: float | str) -> None:
        """Note how far the run is, at most every :data:`EVERY` seconds, and always at its first and last epoch."""
        if facts["epoch"] in (0, facts["epochs"]) or time.monotonic() - self._noted >= EVERY:
            self._noted = time.monotonic()
            with suppress(OSError):  # a note that cannot be written stops no run
                replace_file(self.folder / "progress.json", json.dumps(facts), synced=False)

    def read_note(self) -> dict[str, Any]:
        """Read the last note; empty if there is none."""
        try:
            note = json.loads((self.folder / "progress.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) and note.keys() >= {"command", "title", "epoch", "epochs", "loss"} else {}

    def say(self, sentence: str) -> None:
        """Add a line to the log."""
        line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {sentence}\n"
        path = self.folder / "log.txt"
        with suppress(OSError), path.open("a", encoding="utf-8", errors="backslashreplace") as file:  # nor does a log
            file.write(line)

    def log(self) -> str:
        """Read the log so far, of all processes that worked on the run."""
        try:
            return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def clear(self) -> None:
        """Remove the folder: the run is published."""
        shutil.rmtree(self.folder, ignore_errors=True)
