"""The sides of a comparison, measured in turn (A B C A B C ...), and the table of what was measured.

Each side is a process of its own that waits while another one is measured.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TURN = 0.8  # seconds that a turn lasts at least: as many steps as fit
SIDES = Path(__file__).with_name("sides.py")
ABOUT = "about"  # in ``what``: the row that says where and when a part was measured


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        part: Name of the subcommand.
        what: Name of the thing measured.
        threads: Threads of the process; 0 where that means nothing.
        samples_per_s: Median over rounds, where samples are counted.
        ratio: Median over rounds of this thing's pace divided by the pace of what it is compared with.
        low: Smallest ratio of a round.
        high: Largest ratio of a round.
        note: What it is compared with, and other facts that a reader needs.
    """

    part: str
    what: str
    threads: int = 0
    samples_per_s: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


NAMES = [field.name for field in fields(Row)]


def replace_part(path: Path, part: str, rows: Iterable[Row]) -> None:
    """Write the rows of a part to a CSV file, in place of the rows that the part had there."""
    lines = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if line["part"] != part]
    lines += [{name: _text(value) for name, value in asdict(row).items()} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, NAMES, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _text(value: object) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


class Side:
    """A process that times steps by name, see ``sides.py``.

    Args:
        name: Name of the side.
        threads: Threads it computes with.
        environment: Environment variables to set in addition to ours.
    """

    def __init__(self, name: str, threads: int, **environment: str) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (closed on exit)
        self.process = subprocess.Popen(
            [sys.executable, str(SIDES), name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip

    def ask(self, name: str, steps: int) -> Any:
        """Return the seconds that ``steps`` steps took, or the facts of one step for 0; exit if the process died."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            print(name, steps, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.errors.seek(0)
            sys.exit(f"{self.errors.read()[-2000:]}\nThe process of '{self.name}' died when asked for {name}.")
        return json.loads(answer)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


@dataclass(frozen=True)
class Thing:
    """A named step of a side."""

    side: Side
    name: str

    def facts(self) -> dict[str, Any]:
        """Return what was counted in one step; the key ``unavailable`` alone where it cannot run here."""
        facts: dict[str, Any] = self.side.ask(self.name, 0)
        return facts


def paces(things: Mapping[str, Thing], rounds: int) -> dict[str, list[float]]:
    """Return the steps per second of each thing in each round."""
    steps = {key: max(1, round(TURN / thing.side.ask(thing.name, 1))) for key, thing in things.items()}
    found: dict[str, list[float]] = {key: [] for key in things}
    for number in range(rounds):
        for key, thing in things.items():
            found[key].append(steps[key] / thing.side.ask(thing.name, steps[key]))
        say(f"  round {number + 1}: " + ", ".join(f"{key} {own[-1]:.3g}/s" for key, own in found.items()))
    return found


def compared(
    part: str, threads: int, things: Mapping[str, Thing], rounds: int, notes: Mapping[str, str] | None = None
) -> list[Row]:
    """Return one row per thing; ratios are to the first thing, whose own row comes last."""
    say(f"{part}, {threads} threads: {', '.join(things)}")
    size = {key: thing.facts()["rows"] for key, thing in things.items()}
    found = {key: [size[key] * pace for pace in own] for key, own in paces(things, rounds).items()}
    base, *others = found
    notes = notes or {}
    rows = []
    for key in others:
        ratio, low, high = ratios(found[key], found[base])
        note = "; ".join(filter(None, (f"against {base}", notes.get(key, ""))))
        rows.append(Row(part, key, threads, median(found[key]), ratio, low, high, note))
    return [*rows, Row(part, base, threads, median(found[base]), note=notes.get(base, ""))]


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Return the median, least and greatest of the ratios of the rounds."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return median(each), min(each), max(each)


def say(sentence: str) -> None:
    """Print progress to stderr."""
    print(sentence, file=sys.stderr, flush=True)
