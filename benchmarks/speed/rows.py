"""The table of what was measured: tidy, one file, a part replaced as a whole."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ABOUT = "about"  # in ``what``: the row that says where and when a part was measured


@dataclass(frozen=True)
class Row:
    """One measured thing.

    Attributes:
        part: Of the benchmark.
        what: The thing.
        threads: Of the process; 0 where that means nothing.
        samples_per_s: A median over rounds, where samples are what is counted.
        ratio: Median over rounds of this thing's pace by that of what it is compared with; from ``low`` to ``high``.
        note: What it is compared with, and what else a reader must know.
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


def read(path: Path) -> list[Row]:
    """All rows, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [_parsed(line) for line in csv.DictReader(file)]


def replace_part(path: Path, part: str, rows: Iterable[Row]) -> list[Row]:
    """Write a part's rows in place of those it had, and return all."""
    every = [row for row in read(path) if row.part != part] + list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, NAMES, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in asdict(row).items()} for row in every)
    return every


def _text(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


def _parsed(line: dict[str, str]) -> Row:
    numbers = {name: float(line[name]) if line[name] else None for name in ("samples_per_s", "ratio", "low", "high")}
    return Row(line["part"], line["what"], int(line["threads"]), **numbers, note=line["note"])
