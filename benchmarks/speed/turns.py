"""Sides measured in turn, A B C A B C ...: each in a process of its own that waits while others run."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from rows import Row

TURN = 0.8  # seconds that a turn lasts, at least: as many steps as fit
SIDES = Path(__file__).with_name("sides.py")


class Side:
    """A process that times things by name, see ``sides.py``.

    Args:
        name: Of the side.
        threads: It computes with.
        environment: Variables that it gets beside ours.
    """

    def __init__(self, name: str, threads: int, **environment: str) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed on exit)
        self.process = subprocess.Popen(
            [sys.executable, str(SIDES), name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip

    def ask(self, name: str, steps: int) -> Any:
        """Seconds of ``steps`` steps, or for 0 the facts of one; ends the program where the side has died."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            print(name, steps, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.errors.seek(0)
            sys.exit(f"{self.errors.read()[-2000:]}\nthe side '{self.name}' has died, asked for {name}; why is above")
        return json.loads(answer)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


@dataclass(frozen=True)
class Thing:
    """Something that a side can time."""

    side: Side
    name: str

    def facts(self) -> dict[str, Any]:
        """What is known of a step of it; ``unavailable`` alone where it cannot be had here."""
        facts: dict[str, Any] = self.side.ask(self.name, 0)
        return facts


def paces(things: Mapping[str, Thing], rounds: int) -> dict[str, list[float]]:
    """Steps a second of each thing in each round."""
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
    """A row a thing; ratios are to the first, whose row is the last."""
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
    """Median, least and greatest of the ratios of the rounds."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return median(each), min(each), max(each)


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
