"""Do the switches change scores? The paired difference from plain fp32, over models and seeds (protocol 27).

    python benchmarks/speed/agreement.py --switches bf16 compile --seeds 10 --folder agreement

runs the real command once plainly and once under each switch, the same models and seeds, into one results folder a
switch (nothing that is stored is run again), and prints for each score the mean difference with its 95 % t-interval.
A switch passes where the interval lies within +-.02.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from scipy import stats

from mmvae_bench.store import Store

FLAGS = {"plain": [], "bf16": ["--precision", "bf16"], "tf32": ["--precision", "tf32"], "compile": ["--compile"]}
MODELS = ["mopoe", "mmvm", "mvae"]
GRID = ["--datasets", "mnist_street", "--missing", "0.5", "--epochs", "12"]
SCORES = {"cross_coherence": "", "linear_probe": "mean"}  # metric -> variant, or any
WITHIN = 0.02


def run(switch: str, seeds: int, folder: Path) -> None:
    """The grid under one switch, two processes of one thread at a time; stored runs are kept."""
    command = [sys.executable, "-m", "mmvae_bench", "run", "--models", *MODELS, *GRID, "--seeds", str(seeds)]
    subprocess.run([*command, *FLAGS[switch], "--results-dir", str(folder / switch)], check=True)


def scores(folder: Path) -> pd.Series:
    """Value by (metric, given, target, model, seed)."""
    frame = Store(folder).scores()
    frame = frame[frame.metric.isin(SCORES) & (frame.status == "ok") & (frame.given != frame.target)]
    frame = frame[[SCORES[m] in ("", v) for m, v in zip(frame.metric, frame.variant, strict=True)]]
    keys = ["metric", "variant", "given", "target", "model", "seed"]
    return frame.set_index(keys).value.astype(float)


def measure(switches: Sequence[str], folder: Path) -> pd.DataFrame:
    """One row a switch and score: n pairs, mean difference, its interval, and whether that lies within the bounds."""
    plain, rows = scores(folder / "plain"), []
    for switch in switches:
        difference = (scores(folder / switch) - plain).dropna()
        for key, pairs in difference.groupby(["metric", "variant", "given", "target"], dropna=False):
            n, mean, se = len(pairs), pairs.mean(), pairs.sem()
            half = se * stats.t.ppf(0.975, n - 1) if n > 1 else float("inf")
            passed = abs(mean) + half <= WITHIN
            rows.append([switch, " ".join(map(str, key)), n, mean, mean - half, mean + half, passed])
    return pd.DataFrame(rows, columns=["switch", "score", "n", "difference", "low", "high", "within"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--switches", nargs="+", default=["bf16", "compile"], choices=list(FLAGS)[1:])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("results/agreement"))
    parser.add_argument("--only-read", action="store_true", help="run nothing")
    given = parser.parse_args()
    for each in () if given.only_read else ("plain", *given.switches):
        run(each, given.seeds, given.folder)
    print(measure(given.switches, given.folder).to_string(index=False, float_format="{:+.4f}".format))
