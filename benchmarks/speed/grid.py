"""A small real grid by the real command: two runs at once against one after another."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from rows import Row
from turns import ratios, say

GRID = (
    "--models mvae mopoe mmvae[k=3] --seeds 2 --datasets mnist_street --nets conv "
    "--epochs 1 --limit-train 3000 --limit-test 300 --device cpu"
)
WAYS = {"2 jobs of 1 thread": (2, 1), "1 job of 1 thread": (1, 1), "1 job of 2 threads": (1, 2)}


def grid(rounds: int, threads: int) -> list[Row]:
    """Training rows a second of a whole grid: while training, and over the whole command."""
    turns = min(rounds, 2)
    _run(1, 1, warm=True)  # the data and the classifiers that judge are then in the cache
    trained: dict[str, list[float]] = {way: [] for way in WAYS}
    walls: dict[str, list[float]] = {way: [] for way in WAYS}
    rows = 0
    for number in range(turns):
        for way, (jobs, own) in WAYS.items():
            rows, seconds, wall = _run(jobs, own)
            trained[way].append(rows / (seconds / jobs))
            walls[way].append(rows / wall)
            say(f"  round {number + 1}: {way}: {seconds:.1f} s trained, {wall:.1f} s in all")
    first, *others = WAYS
    out = []
    for kind, found in (("training", trained), ("whole command", walls)):
        for way in others:
            note = f"pace of the grid, {first} against {way}"
            pace = median(found[first])
            out.append(Row("grid", f"{kind}: {first} / {way}", 0, pace, *ratios(found[first], found[way]), note))
    return out


def _run(jobs: int, threads: int, warm: bool = False) -> tuple[int, float, float]:
    """(Rows trained on, seconds that the runs say they trained, wall seconds of the command)."""
    with TemporaryDirectory() as folder:
        where = ["--jobs", str(jobs), "--threads", str(threads), "--results-dir", folder]
        words = GRID.replace("3000", "300").split() if warm else GRID.split()
        begin = perf_counter()
        subprocess.run([sys.executable, "-m", "mmvae_bench", "run", *words, *where], check=True, capture_output=True)
        wall = perf_counter() - begin
        runs = [json.loads(path.read_text()) for path in Path(folder).glob("**/run.json")]
    seconds = [run["seconds"]["train"] for run in runs]
    rows = sum(run["rate"] * s for run, s in zip(runs, seconds, strict=True))
    return round(rows), sum(seconds), wall
