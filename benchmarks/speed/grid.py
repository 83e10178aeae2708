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

DATA = ["--datasets", "mnist_street[level=svhn]", "--nets", "conv", "--epochs", "1", "--limit-test", "200"]
GRID = ["--models", "mopoe", "mmvae[k=3]", "--seeds", "2", "--limit-train", "2000"]
WARM = ["--models", "mopoe", "--limit-train", "200"]
WAYS = {"2 jobs of 1 thread": (2, 1), "1 job of 1 thread": (1, 1), "1 job of 2 threads": (1, 2)}
MOST_TURNS = 2  # a turn takes a minute


def grid(rounds: int, _threads: int) -> list[Row]:
    """Training rows a second of a whole grid: while training, and over the whole command."""
    _run(WARM, 1, 1)  # the data and the classifiers that judge are in the cache from then on
    trained: dict[str, list[float]] = {way: [] for way in WAYS}
    walls: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(min(rounds, MOST_TURNS)):
        for way, (jobs, threads) in WAYS.items():
            rows, seconds, wall = _run(GRID, jobs, threads)
            trained[way].append(rows / (seconds / jobs))
            walls[way].append(rows / wall)
            say(f"  round {number + 1}: {way}: trained for {seconds:.1f} s, {wall:.1f} s in all")
    first, *others = WAYS
    out = []
    for kind, found in (("training", trained), ("whole command", walls)):
        for way in others:
            pace, against = median(found[first]), f"{median(found[way]):,.0f} samples/s with {way}"
            out.append(Row("grid", f"{kind}: {first} / {way}", 0, pace, *ratios(found[first], found[way]), against))
    return out


def _run(what: list[str], jobs: int, threads: int) -> tuple[float, float, float]:
    """(Rows trained on, seconds that the runs say they trained, wall seconds of the command)."""
    with TemporaryDirectory() as folder:
        how = ["--jobs", str(jobs), "--threads", str(threads), "--results-dir", folder]
        command = [sys.executable, "-m", "mmvae_bench", "run", *what, *DATA, "--device", "cpu", *how]
        begin = perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        wall = perf_counter() - begin
        if done.returncode:
            sys.exit(f"{done.stderr[-2000:]}\nthis command failed, why is above: {' '.join(command)}")
        runs = [json.loads(path.read_text()) for path in Path(folder).glob("**/run.json")]
    seconds = [run["seconds"]["train"] for run in runs]
    return sum(run["rate"] * own for run, own in zip(runs, seconds, strict=True)), sum(seconds), wall
