"""Do the switches change scores? The paired difference from plain fp32, over models and seeds (protocol 27).

    python benchmarks/speed --only agreement        # about a quarter of an hour; AGREEMENT=FOLDER keeps its runs there

runs the real command once plainly and once under each switch, the same models and seeds, into one results folder a
switch (what is stored is not run again). A score's differences are paired by model and seed.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from mmvae_bench.store.store import Store

FLAGS = {"plain": [], "bf16": ["--precision", "bf16"], "compile": ["--compile"]}
GRID = [
    *("--models", "mopoe", "mmvm", "mvae", "--datasets", "mnist_street", "--missing", "0.5"),
    *("--epochs", "12", "--seeds", "12"),
]
SCORES = {"cross_coherence": "micro", "linear_probe": "mean"}  # metric -> variant
FOLDER = Path(os.environ.get("AGREEMENT", "results/agreement"))
WITHIN = 0.02


def run(switch: str) -> None:
    """The grid under one switch; stored runs are kept."""
    command = [sys.executable, "-m", "mmvae_bench", "run", *GRID, *FLAGS[switch]]
    subprocess.run([*command, "--results-dir", str(FOLDER / switch)], check=True)


def scores(switch: str) -> pd.Series:
    """Value by (metric, given, target, model, seed)."""
    frame = Store(FOLDER / switch).scores()
    frame = frame[(frame.status == "ok") & (frame.metric.map(SCORES) == frame.variant)]
    return frame.set_index(["metric", "given", "target", "model", "seed"]).value.astype(float)


def measure() -> list[dict[str, Any]]:
    """One row a switch and score, and one for the mean over a run's scores: the mean difference and its interval."""
    for switch in FLAGS:
        run(switch)
    plain, rows = scores("plain"), []
    for switch in list(FLAGS)[1:]:
        difference = (scores(switch) - plain).dropna()
        whole = difference.groupby(["model", "seed"]).mean()
        each = {" ".join(filter(None, key)): pairs for key, pairs in difference.groupby(["metric", "given", "target"])}
        for what, pairs in {"mean over a run's scores": whole, **each}.items():
            half = pairs.sem() * stats.t.ppf(0.975, len(pairs) - 1)
            low, high = pairs.mean() - half, pairs.mean() + half
            verdict = "within" if max(-low, high) <= WITHIN else "beyond" if low > 0 or high < 0 else "not told from"
            note = f"{len(pairs)} pairs, 95 % interval; {verdict} +-{WITHIN}"
            note += f"; plain {plain[pairs.index].mean():.3f}" if what in each else ""
            rows.append({"what": f"{switch}: {what}", "ratio": pairs.mean(), "low": low, "high": high, "note": note})
    return rows
