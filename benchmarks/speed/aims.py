"""What is aimed at, and whether it is met: read from the measured rows."""

import os
from dataclasses import dataclass

from rows import Row

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TASKS = {"mvae": "MVAE", "mopoe": "MoPoE", "mmvae-k10": "MMVAE DReG K=10"}


@dataclass(frozen=True)
class Aim:
    """A ratio that a row must reach; of rows that differ in threads alone, the first is meant."""

    text: str
    part: str
    what: str
    least: float

    def row(self, rows: list[Row]) -> Row | None:
        """The row that it is about, if it has been measured."""
        return next((row for row in rows if (row.part, row.what) == (self.part, self.what)), None)

    def verdict(self, rows: list[Row]) -> str:
        """``met``; ``not met: `` and what binds, as far as the rows say; or what to run."""
        row = self.row(rows)
        if row is None or row.ratio is None:
            return row.note if row else f"not measured: `python benchmarks/speed --only {self.part}`"
        return "met" if row.ratio >= self.least else f"not met: {_binds(self, rows)}"


AIMS = [
    *(Aim(f"CPU fp32 against MultiVae: {TASKS[task]}", "multivae", f"{task}: ours fp32", least)
      for task, least in (("mvae", 1.2), ("mopoe", 1.2), ("mmvae-k10", 1.3))),
    *(Aim(f"CPU bf16 against MultiVae fp32: {TASKS[task]}", "multivae", f"{task}: ours bf16", 1.8) for task in TASKS),
    Aim("MEME, the authors' nets, latent 64, 10+1 decodes, against a faithful plain step",
        "meme", "ours, published nets, fp32", 5.0),
    Aim("the same against the authors' code elsewhere, 40 samples/s",
        "meme", "ours, published nets, fp32 / the authors' code", 5.0),
    Aim("the same in bf16, against a faithful plain step", "meme", "ours, published nets, bf16", 5.0),
    Aim("MoPoE M = 8, tiny nets, against MultiVae (1 thread)", "subsets", "mopoe-m8: ours fp32", 50.0),
    Aim("CPU grid: 2 runs at once against one after another (1 thread each)",
        "grid", "training: 2 jobs of 1 thread / 1 job of 1 thread", 1.25),
    Aim("CPU grid: 2 runs at once against one after another (2 threads)",
        "grid", "training: 2 jobs of 1 thread / 1 job of 2 threads", 1.25),
    *(Aim(f"against the bare forward+backward of the same nets: {TASKS[task]}", "bare", f"{task}: ours", 0.85)
      for task in TASKS),
    Aim("CLI: `--help` in 0.5 s", "cli", "mmvae-bench --help", 1.0),
    Aim("CLI: `list` in 0.5 s", "cli", "mmvae-bench list models", 1.0),
    Aim("CLI: `report` of 500 runs in 20 s", "cli", "mmvae-bench report, 500 runs", 1.0),
    Aim("GPU: runs/hour of the MNIST-SVHN grid against eager one-by-one", "gpu", "runs/hour against one by one", 10.0),
    Aim("GPU: MEME's whole MNIST-SVHN grid in 30 min (or 25 % of the arithmetic bound)",
        "gpu", "meme grid in 30 min", 1.0),
]  # fmt: skip


BINDS = {
    "meme": "both do the same decodes by the same products (GFLOP a step below); a plain step wastes less than that",
    "subsets": "calls, not arithmetic: two nets a modality, one after the other, for some 0.01 GFLOP a step",
    "grid": "two threads or runs share memory and caches; scoring is part of the whole command",
}


def _binds(aim: Aim, rows: list[Row]) -> str:
    """What the other parts say about a step that is too slow."""
    task = aim.what.split(":")[0]
    if task not in TASKS:
        return BINDS.get(aim.part, "see this part's table")
    name = f"{task}+bf16" if "bf16" in aim.what else task
    found = {(row.part, row.what): row.ratio for row in rows}
    bare, arithmetic = found.get(("bare", f"{name}: ours")), found.get(("limits", f"{name}: arithmetic"))
    if bare is None or arithmetic is None:
        return "run the parts bare and limits, too"
    if aim.part == "bare":
        rest = f"batch, densities and update take {1 - bare:.0%} of the step"
        return f"{rest}; all of it reaches {arithmetic:.0%} of the pace of matrix products"
    return f"the nets alone take {bare:.0%} of the step, which reaches {arithmetic:.0%} of the pace of matrix products"
