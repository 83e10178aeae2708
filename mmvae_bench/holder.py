"""A process that has a run, as others see it: on its own machine it can be told whether it lives."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path


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
