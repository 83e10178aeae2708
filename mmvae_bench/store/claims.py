"""Whose a run is while it is under way: any number of processes on one folder, on one machine or on many.

``<root>/claims/<run_id>/<nonce>.json`` says it: the nonce is the holder's name for this one claim, the content is its
host, its pid and a counter that it raises every :data:`BEAT` seconds. Three steps, each one rename, decide everything:

- to take a run, a folder with the own file in it is renamed to ``claims/<run_id>``, which fails if that is taken;
- to steal it from a holder that died, the holder's file is renamed to an own nonce, which fails if another was quicker
  or if the claim is not the one that was watched;
- a holder whose file is gone has lost the run, and publishes nothing.

Clocks of different machines are never compared: a claim has expired when its counter did not move for
:data:`EXPIRY` seconds by the clock of who looks. On the same machine a holder whose process is gone is known at once.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from mmvae_bench.disk import nonce, rename_new, temporary_beside


@dataclass(frozen=True)
class Holder:
    """Who has a run.

    Attributes:
        nonce: Of this claim.
        beat: How often it was renewed.
        runner: The nonce of the command that the process works for.
        host: Where the process is; ``pid`` is its number there.
        born: What tells the process from a later one of the same number; empty where that cannot be known.
    """

    nonce: str
    beat: int
    runner: str
    host: str
    pid: int
    born: str

    @classmethod
    def here(cls, nonce: str, runner: str) -> "Holder":
        """This process."""
        return cls(nonce, 0, runner, socket.gethostname(), os.getpid(), _born(os.getpid()))

    @property
    def gone(self) -> bool:
        """Whether it is known, here and now, that the process is no more."""
        if not self.born or _machine(self.born) != _machine(_born(os.getpid())):
            return False
        now = _born(self.pid)
        return now != self.born if now else not _exists(self.pid)

    def __str__(self) -> str:
        """For people."""
        return f"process {self.pid} on {self.host}"


def _born(pid: int) -> str:
    """Boot, process namespace and start of a process of this machine; empty where that cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot} {space} {start}"


def _exists(pid: int) -> bool:
    """Whether a process is there; /proc may hide those of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _machine(born: str) -> str:
    return born.rpartition(" ")[0]


BEAT = 2.0  # seconds
EXPIRY = 60.0  # seconds: a holder may be paused for so long, or its file system away
GLANCE = 5.0  # seconds that one look may add to a silence: while we could not look, nor could its holder write
WIDTH = 400  # bytes of a claim's file, so that a counter is overwritten in place


class Claims:
    """The claims under a results folder.

    Args:
        root: The results folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "claims"

    def holder(self, run_id: str) -> Holder | None:
        """Who has a run, or None. A file that its holder has not written yet reads as a holder of unknown beat, -1."""
        try:
            found = sorted(path for path in (self.root / run_id).iterdir() if path.suffix == ".json")
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not found:
            return None
        try:
            holder = Holder(**json.loads(found[0].read_text()))
            if holder.nonce == found[0].stem:  # else a thief has just renamed it, or its victim has written late
                return holder
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            pass
        return Holder(found[0].stem, -1, "", "?", 0, "")

    def held(self) -> dict[str, Holder]:
        """Every run that has a holder."""
        runs = [path.name for path in self.root.glob("*") if not path.name.startswith(".") and path.is_dir()]
        return {run_id: holder for run_id in sorted(runs) if (holder := self.holder(run_id))}

    def take(self, run_id: str, runner: str = "", expired: Holder | None = None) -> "Claim | None":
        """Claim a run; None if it is another's, who is neither gone nor the one whose claim has ``expired``.

        Args:
            run_id: Which.
            runner: The nonce of the command that this process works for.
            expired: Whose counter stood still long enough, see :class:`Watch`; if it has moved since, it lives.

        Raises:
            OSError: If the folder cannot be written to.
        """
        own = Holder.here(nonce(), runner)
        folder = self.root / run_id
        self.root.mkdir(exist_ok=True)  # a results folder that is gone must not come back empty
        new = temporary_beside(folder)
        new.mkdir()
        try:
            _write(new / f"{own.nonce}.json", own, os.O_CREAT)
            if rename_new(new, folder):
                return Claim(folder / f"{own.nonce}.json", own)
        finally:
            for path in new.glob("*"):
                path.unlink()
            with contextlib.suppress(OSError):  # renamed
                new.rmdir()
        before = self.holder(run_id)
        if before is None:
            self._clear_strays(folder)
            return None
        if not (before.gone or before == expired):
            return None
        claim = Claim(folder / f"{own.nonce}.json", own, before)
        try:
            (folder / f"{before.nonce}.json").rename(claim.path)
        except FileNotFoundError:
            return None  # another was quicker
        claim.beat()
        return None if claim.lost else claim

    def _clear_strays(self, folder: Path) -> None:
        """Move away a folder that is nobody's and yet taken: by a file that a file system or a person left in it."""
        with contextlib.suppress(OSError):
            if not folder.is_dir() or any(path.suffix != ".json" for path in folder.iterdir()):
                folder.rename(temporary_beside(folder))


class Claim:
    """A run that is ours. As a context it is renewed by a thread, and released at the end.

    Attributes:
        before: From whom it was taken over, if from anybody.
        lost: Whether another has taken it over, as far as is known.
    """

    def __init__(self, path: Path, holder: Holder, before: Holder | None = None) -> None:
        self.path, self.holder, self.before, self.lost = path, holder, before, False
        self._beats = 0
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def beat(self) -> None:
        """Raise the counter."""
        self._beats += 1
        try:
            _write(self.path, self.holder, 0, self._beats)
        except FileNotFoundError:
            self.lost = True
        except OSError:  # no room, no right: publishing will tell, and until then nothing is gained by stopping
            return

    def held(self) -> bool:
        """Look whether the run is still ours.

        Raises:
            OSError: If that cannot be seen.
        """
        try:
            os.close(os.open(self.path, os.O_RDONLY))  # on NFS this may be late: what decides is the rename
        except FileNotFoundError:
            self.lost = True
        return not self.lost

    def release(self) -> None:
        """Let others have it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()  # fails if another has it already

    def __enter__(self) -> "Claim":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._thread.join()
        self.release()

    def _renew(self) -> None:
        while not self._released.wait(BEAT) and not self.lost:
            self.beat()


def _write(path: Path, holder: Holder, flags: int, beat: int = 0) -> None:
    """Write a claim's file in place and never anew: one that was renamed by a thief must not come back."""
    text = json.dumps({**asdict(holder), "beat": beat}).ljust(WIDTH)
    descriptor = os.open(path, os.O_WRONLY | flags, 0o666)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


class Watch:
    """Sees claims expire, by its own clock.

    Args:
        claims: What is watched.
        now: The clock, in seconds.
    """

    def __init__(self, claims: Claims, now: Callable[[], float] = time.monotonic) -> None:
        self.claims, self.now = claims, now
        self._seen: dict[str, tuple[Holder, float, float]] = {}

    def look(self, run_id: str) -> tuple[Holder | None, bool]:
        """Who has a run, and whether that is over: it is nobody's, or its holder is gone or silent for too long."""
        holder = self.claims.holder(run_id)
        if holder is None:
            self._seen.pop(run_id, None)
            return None, True
        now = self.now()
        before, last, silent = self._seen.get(run_id, (None, now, 0.0))
        silent = silent + min(now - last, GLANCE) if before == holder else 0.0
        self._seen[run_id] = holder, now, silent
        return holder, holder.gone or silent >= EXPIRY
