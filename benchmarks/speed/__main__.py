"""Measure how fast training is, beside what it can be compared with, and write reports/speed.md and reports/speed.csv.

    pip install -e '.[speed]'            # multivae, which only this needs
    python benchmarks/speed              # ten minutes on a quiet machine
    python benchmarks/speed --only multivae bare --rounds 3

``cli``, ``agreement``, ``scaling`` and ``gpu`` are measured by their own files, whose ``measure()`` returns rows as
dictionaries of the table's columns (``rows.py``) without ``part``.
"""

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter

import page
from aims import CORES
from grid import grid
from parts import bare, compiled, limits, meme, multivae, subsets, switches
from rows import ABOUT, Row, replace_part
from turns import say

REPORTS = Path(__file__).parents[2] / "reports"


def cli(_rounds: int, _threads: int) -> list[Row]:
    """Commands that train nothing."""
    rows = []
    for found in import_module("cli").measure():
        aim, seconds = found["aim"], found["seconds"]
        note = f"{seconds:.2f} s" + (f", aim < {aim:g} s" if aim else "")
        rows.append(Row("cli", found["what"], ratio=aim / seconds if aim else None, note=note))
    return rows


def elsewhere(part: str) -> Callable[[int, int], list[Row]]:
    """A part that its own file measures."""
    return lambda _rounds, _threads: [Row(**{"part": part, **row}) for row in import_module(part).measure()]


PARTS: dict[str, Callable[[int, int], list[Row]]] = {
    "multivae": multivae, "subsets": subsets, "bare": bare, "limits": limits, "meme": meme, "switches": switches,
    "grid": grid, "cli": cli, "compiled": compiled,
    **{part: elsewhere(part) for part in ("agreement", "scaling", "gpu")},
}  # fmt: skip
BY_NAME_ALONE = ("compiled", "agreement", "scaling", "gpu")  # long, or in need of a GPU


def main() -> None:
    parser = argparse.ArgumentParser(prog="python benchmarks/speed", description=str(__doc__).partition("\n")[0])
    usual = [part for part in PARTS if part not in BY_NAME_ALONE]
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART", default=usual,
        help=f"these parts, of {', '.join(PARTS)}; by default all but {', '.join(BY_NAME_ALONE)}",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side; default: 5")
    parser.add_argument("--threads", type=int, default=CORES, help="of each side; default: all cores")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of speed.md and speed.csv; default: reports")
    given = parser.parse_args()
    for part in given.only:
        begin, where = perf_counter(), page.about()
        rows = PARTS[part](given.rounds, given.threads)
        every = replace_part(given.out / "speed.csv", part, [Row(part, ABOUT, note=where), *rows])
        page.write(given.out / "speed.md", every)
        say(f"{part}: {perf_counter() - begin:.0f} s, now in {given.out / 'speed.md'}")


if __name__ == "__main__":
    main()
