"""Live progress of many runs: workers leave notes in a folder, one thread of the parent reads and shows them."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from mmvae_bench.store.work import UnderWay

EVERY = 0.5  # seconds between two looks
LINE_EVERY = 15.0  # seconds between two lines where there is no terminal


class Board:
    """Shows runs done, each running model's epoch and loss, and the time left.

    Args:
        weights: For each run's id its share of the work, in any unit.
        root: The results folder, where workers leave notes.
        command: Whose workers are shown.
    """

    def __init__(self, weights: Mapping[str, float], root: Path, command: str) -> None:
        self.weights, self.command = weights, command
        self._root = root
        self._begun: tuple[float, float] | None = None  # when work was first seen, and how much was done by then
        self.done: set[str] = set()
        self.console = Console(stderr=True)
        self._last_line = time.monotonic()
        self._stop = threading.Event()
        self._live = Live(console=self.console, refresh_per_second=4, transient=True)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self.console.is_terminal:
            self._live.stop()

    def finish(self, run_id: str, sentence: str) -> None:
        """Count a run as done and say so in a line."""
        self.done.add(run_id)
        self.say(f"[{len(self.done)}/{len(self.weights)}] {sentence}")

    def say(self, sentence: str) -> None:
        """Print a line above what moves."""
        with suppress(OSError):  # nobody may be left to read it: no reason to stop
            self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            notes = self._notes()
            if self.console.is_terminal:
                self._live.update(self._table(notes))
            elif time.monotonic() - self._last_line > LINE_EVERY:
                self._last_line = time.monotonic()
                running = "; ".join(f"{note['title']}: {state(note)}" for note in notes.values())
                self.say(f"{self._summary(notes)} | {running}")

    def _notes(self) -> dict[str, dict[str, Any]]:
        """The latest note of every run that is under way."""
        names = {path.name for path in (self._root / "work").glob("*")} & self.weights.keys() - self.done.copy()
        notes = {name: UnderWay(self._root, name).read_note() for name in sorted(names)}
        return {name: note for name, note in notes.items() if note.get("command") == self.command}

    def _table(self, notes: Mapping[str, Mapping[str, Any]]) -> Table:
        table = Table.grid(padding=(0, 2))
        for note in notes.values():
            table.add_row(str(note["title"]), state(note))
        table.add_row(self._summary(notes), "")
        return table

    def _summary(self, notes: Mapping[str, Mapping[str, Any]]) -> str:
        """``3 of 12 runs done, 2 min 10 s left``."""
        total = sum(self.weights.values())
        ready = sum(self.weights[run_id] for run_id in self.done)
        ready += sum(self.weights[run_id] * note["epoch"] / note["epochs"] for run_id, note in notes.items())
        left = ""
        if ready > 0:  # neither imports nor what a resumed run brings along is this command's pace
            since, before = self._begun = self._begun or (time.monotonic(), ready)
            if ready > before:
                left = f", {_clock((time.monotonic() - since) * (total - ready) / (ready - before))} left"
        return f"{len(self.done)} of {len(self.weights)} runs done{left}"


def state(note: Mapping[str, Any]) -> str:
    """``epoch 3/20, loss 1.50``, of what :meth:`UnderWay.read_note` returns."""
    if note["epoch"] >= note["epochs"]:
        return "scoring"
    loss = f", loss {note['loss']:.2f}" if note["epoch"] else ""
    return f"epoch {note['epoch']:.0f}/{note['epochs']:.0f}{loss}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
