"""Live progress of many runs: workers note how far they are, and the command shows it."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mmvae_bench.store.work import EVERY, UnderWay

LINE_EVERY = 15.0  # seconds between two lines where there is no terminal
PERIOD = 600.0  # seconds of the past from which the time left is estimated


class Board:
    """Shows the runs that are done, the epoch and loss of each run under way, and the time left.

    Args:
        weights: Share of the work of each run id, in any unit.
        root: The results folder, where workers leave notes.
        command: Identifies the command whose runs are shown.
    """

    def __init__(self, weights: Mapping[str, float], root: Path, command: str) -> None:
        self.weights, self.command, self._root = weights, command, root
        self.done: set[str] = set()
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
        self._bars = Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal,
            speed_estimate_period=PERIOD,
        )  # fmt: skip
        self._all = self._bars.add_task("", total=sum(weights.values()))
        self._rows: dict[str, TaskID] = {}
        self._last_line = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Board":
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._bars.stop()

    def finish(self, run_id: str, sentence: str) -> None:
        """Count a run as done and say so in a line."""
        self.done.add(run_id)
        self.say(f"[{len(self.done)}/{len(self.weights)}] {sentence}")

    def say(self, sentence: str) -> None:
        """Print a line above the bars."""
        with suppress(OSError):  # nobody may be left to read it: that is not a reason to stop
            self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            notes = self._notes()
            self._show(notes)
            if not self.console.is_terminal and time.monotonic() - self._last_line > LINE_EVERY:
                self._last_line = time.monotonic()
                running = "; ".join(f"{note['title']}: {progress(note)}" for note in notes.values())
                self.say(f"{self._summary()} | {running}")

    def _notes(self) -> dict[str, dict[str, Any]]:
        """Read the latest note of every run that is under way."""
        names = {path.name for path in (self._root / "work").glob("*")} & self.weights.keys() - self.done.copy()
        notes = {name: UnderWay(self._root, name).read_note() for name in sorted(names)}
        return {name: note for name, note in notes.items() if note.get("command") == self.command}

    def _show(self, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Update the bar of all runs and of each run under way."""
        for run_id in self._rows.keys() - notes.keys():
            self._bars.remove_task(self._rows.pop(run_id))
        ready = sum(self.weights[run_id] for run_id in self.done.copy())
        for run_id, note in notes.items():
            if run_id not in self._rows:
                self._rows[run_id] = self._bars.add_task("", total=note["epochs"])
            text = f"{note['title']}: {progress(note)}"
            self._bars.update(self._rows[run_id], completed=note["epoch"], description=text)
            ready += self.weights[run_id] * note["epoch"] / note["epochs"]
        self._bars.update(self._all, completed=ready, description=f"{len(self.done)} of {len(self.weights)} runs done")

    def _summary(self) -> str:
        """Say how many runs are done and how long the rest may take: ``3 of 12 runs done, 0:02:10 left``."""
        task = self._bars.tasks[0]
        left = f", {TimeRemainingColumn().render(task)} left" if task.time_remaining is not None else ""
        return f"{len(self.done)} of {len(self.weights)} runs done{left}"


def progress(note: Mapping[str, Any]) -> str:
    """Say how far a run is, from its note: ``epoch 3/20, loss 1.50``."""
    if note["epoch"] >= note["epochs"]:
        return "scoring"
    loss = f", loss {note['loss']:.2f}" if note["epoch"] else ""
    return f"epoch {note['epoch']:.0f}/{note['epochs']:.0f}{loss}"
