"""Seconds of scoring and of training, in whole commands as a user types them.

    python benchmarks/speed scoring            # half an hour
    python benchmarks/speed scoring --quick    # one seed, one epoch: tries the code

The data files are looked for where every command looks: ``data``, or the folder in ``MMVAE_BENCH_DATA``.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from turns import CORES, Row, say

WIDE = [
    *("--models", "all", "--datasets", "mnist_svhn", "cub"),
    *("--epochs", "1", "--limit-train", "256", "--limit-test", "128", "--jobs", "1"),
]


def measure(quick: bool) -> list[Row]:
    """Measure the suite ``quick`` and its report, and all models on the two largest data sets from an empty cache."""
    with TemporaryDirectory() as folder:
        few = ["--seeds", "1", "--epochs", "1"] if quick else []
        rows = list(_suite(Path(folder) / "quick", few))
        return rows if quick else [*rows, _wide(Path(folder))]


def _suite(results: Path, flags: list[str]) -> Iterator[Row]:
    start = perf_counter()
    _command("run", "--suite", "quick", *flags, "--results-dir", str(results))
    _command("report", "--suite", "quick", "--results-dir", str(results), "--out", str(results / "report"))
    minutes = (perf_counter() - start) / 60
    seconds = [json.loads(path.read_bytes())["seconds"] for path in results.rglob("run.json")]
    each = [own["evaluate"] / own["train"] for own in seconds]
    total = sum(own["evaluate"] for own in seconds) / sum(own["train"] for own in seconds)
    yield Row("scoring", "quick: scoring / training, all runs", CORES, ratio=total, note=f"{len(each)} runs")
    yield Row(
        "scoring", "quick: scoring / training of a run", 1, None, median(each), min(each), max(each), "its median"
    )
    yield Row(
        "scoring", "quick: the suite and its report", CORES, note=f"{minutes:.1f} minutes, {CORES} runs at a time"
    )


def _wide(folder: Path) -> Row:
    start = perf_counter()
    flags = ["--results-dir", str(folder / "wide"), "--cache-dir", str(folder / "cache")]
    if not _command("run", *WIDE, *flags, check=False):
        return Row("scoring", "all models on mnist_svhn and cub", note="left out: the data are not there")
    note = f"{(perf_counter() - start) / 60:.1f} minutes from an empty cache, one run at a time: `{' '.join(WIDE)}`"
    return Row("scoring", "all models on mnist_svhn and cub", 1, note=note)


def _command(*arguments: str, check: bool = True) -> bool:
    """Run a command of ours; return whether it succeeded."""
    say(f"mmvae-bench {' '.join(arguments)}")
    done = subprocess.run([sys.executable, "-m", "mmvae_bench", *arguments], check=check, stdout=subprocess.DEVNULL)
    return done.returncode == 0
