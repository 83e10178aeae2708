"""Measure how fast training is, compared with other code, and write reports/speed.md and reports/speed.csv.

pip install -e '.[speed]'            # multivae, which only this script needs
python benchmarks/speed multivae bare --rounds 3
python benchmarks/speed scaling --quick
python benchmarks/speed gpu --out $OUT
"""

import argparse
from importlib import import_module
from pathlib import Path
from time import perf_counter

import page
from turns import ABOUT, CORES, Row, replace_part, say

REPORTS = Path(__file__).parents[2] / "reports"
PARTS = {
    "multivae": "our step and the step of PyPI's multivae",
    "subsets": "the same for MoPoE of eight modalities",
    "bare": "our step and the same nets' forward and backward alone",
    "meme": "our MEME and the published training's step",
    "switches": "the plain step with and without each switch",
    "compiled": "the plain step and torch.compile",
    "agreement": "scores of whole runs with and without switches; a quarter of an hour",
    "scoring": "scoring and training in whole commands; half an hour",
    "scaling": "growth of time and memory with the work",
    "gpu": "everything about one GPU; ten minutes",
}


def measure(part: str, given: argparse.Namespace) -> list[Row]:
    """Measure a part; its module is imported only now, since torch and pandas would count as its memory."""
    if part == "gpu":
        rows: list[Row] = import_module("gpu").measure(given.device, given.quick, given.out)
    elif part == "scoring":
        rows = import_module("scoring").measure(given.quick)
    elif part == "scaling":
        rows = import_module("scaling").measure(given.quick, given.out)
    else:
        parts = import_module("parts")
        if given.quick:
            parts.shrink()
        rows = getattr(parts, part)(1 if given.quick else given.rounds, given.threads)
    return rows


def main() -> None:
    """Measure the parts named on the command line, and write after each."""
    names = "\n".join(f"  {part:10} {text}" for part, text in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python benchmarks/speed",
        description=f"{__doc__}\nparts:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help="one of the parts above")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side; default: 5")
    parser.add_argument("--threads", type=int, default=CORES, help="threads of each side; default: all cores")
    parser.add_argument("--quick", action="store_true", help="smallest sizes: tries the code")
    parser.add_argument("--device", default="cuda:0", help="device of the part gpu; default: cuda:0")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder to write into; default: reports")
    given = parser.parse_args()
    for part in given.parts:
        begin, where = perf_counter(), page.about()
        rows = [Row(part, ABOUT, note=where), *measure(part, given)]
        replace_part(given.out / "speed.csv", part, rows)
        page.replace_section(given.out / "speed.md", part, rows)
        say(f"{part}: {perf_counter() - begin:.0f} s, now in {given.out / 'speed.md'}")


if __name__ == "__main__":
    main()
