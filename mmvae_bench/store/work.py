"""What a run leaves on disk while it is under way, in ``<root>/work/<run_id>/``: checkpoint, log, how far it is."""

import json
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmvae_bench.disk import replace_file

EVERY = 0.5  # seconds between two looks at the disk, and between two notes


class UnderWay:
    """The folder of one run, made by :meth:`start`; nothing else makes it, so one that was removed stays away.

    Args:
        root: The results folder.
        run_id: Which run.
    """

    def __init__(self, root: Path, run_id: str) -> None:
        self.folder = root / "work" / run_id
        self._noted = -EVERY

    def start(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            OSError: If it cannot be made.
        """
        self.folder.parent.mkdir(exist_ok=True)
        self.folder.mkdir(exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where its checkpoint is or will be."""
        return self.folder / "checkpoint.safetensors"

    def note(self, **facts: float | str) -> None:
        """Say how far the run is, for people; not more often than they look, unless it is the last that is said."""
        if facts["epoch"] in (0, facts["epochs"]) or time.monotonic() - self._noted >= EVERY:
            self._noted = time.monotonic()
            with suppress(OSError):  # a note that cannot be written stops no run
                replace_file(self.folder / "progress.json", json.dumps(facts), synced=False)

    def read_note(self) -> dict[str, Any]:
        """What was noted last; empty if nothing."""
        try:
            note = json.loads((self.folder / "progress.json").read_text())
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
        """The log so far, of all processes that worked on the run."""
        try:
            return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def deaths(self, command: str, *, another: bool) -> int:
        """How many processes died in this run while their command lived on, with another one counted first.

        Those before the last checkpoint was written do not count: the run gets on.
        """
        path = self.folder / f"deaths-{command}.json"
        at = self.checkpoint.stat().st_mtime_ns if self.checkpoint.exists() else 0
        count, since = json.loads(path.read_text()) if path.exists() else (0, at)
        count = count * (since == at) + another
        if another:
            replace_file(path, json.dumps([count, at]))
        return int(count)

    def clear(self) -> None:
        """Remove the folder: the run is published."""
        shutil.rmtree(self.folder, ignore_errors=True)
