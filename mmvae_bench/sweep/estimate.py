"""How long a plan will take, roughly: from the rates of stored runs where there are any, else from a guess."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmvae_bench.spec import RunSpec
from mmvae_bench.store.store import Store

# Guesses where no stored run tells: measured once on one core of a small virtual machine.
ROWS = {"mnist_street": 3_800, "captioned_shapes": 3_800, "mnist_svhn": 56_000, "polymnist": 57_000, "cub": 84_000}
OTHER_ROWS = 10_000  # of training, of any other data set
RATES = {"mmvae": 1100.0, "meme": 1600.0}  # rows a second with the mlp nets, slowed by CONV with others
OTHER_RATE = 8000.0
CONV = 12.0
SLOWER = {"cub": 4.0}  # with the mlp nets: 64x64 pictures and 32 words of 1,700 beside two small pictures
SCORING = 10.0  # seconds a run
Pace = tuple[float, float, float]  # rows a second, rows an epoch, seconds of scoring


@dataclass(frozen=True)
class Estimate:
    """Seconds of training and scoring, one run after the other, and how many of the runs are guesses."""

    seconds: float
    runs: int
    guessed: int

    def text(self, jobs: int = 1) -> str:
        """One sentence: ``about 12 minutes (...)``."""
        if not self.runs:
            return "nothing to run"
        source = "a guess without stored runs" if self.guessed == self.runs else "from the rates of stored runs"
        if 0 < self.guessed < self.runs:
            source += f", {self.guessed} of {self.runs} runs guessed"
        beside = f"{jobs} runs at a time" if jobs > 1 else "one run after the other"
        return f"about {duration(self.seconds / jobs)}, {beside} (rough: {source})"


def estimate(specs: Iterable[RunSpec], store: Store) -> Estimate:
    """Estimate the time of ``specs``, without that of building data sets and training oracles."""
    each = estimate_each(specs, store)
    return Estimate(sum(seconds for seconds, _ in each), len(each), sum(guessed for _, guessed in each))


def estimate_each(specs: Iterable[RunSpec], store: Store) -> list[tuple[float, bool]]:
    """Seconds of each run, and whether they are a guess; every model's stored runs are looked at once."""
    measured = cache(_measured)
    found = []
    for spec in specs:
        folder = store.folder(spec).parent
        stored = measured(folder)
        rate, rows, scoring = stored or _guessed(spec, folder.parent, measured)
        seconds = spec.train.epochs * min(rows, spec.limit_train or rows) / rate + scoring
        found.append((seconds, stored is None))
    return found


def _guessed(spec: RunSpec, folder: Path, measured: Callable[[Path], Pace | None]) -> Pace:
    """What :func:`_measured` says, without a stored run: from other models' in ``folder``, the data set's, if any."""
    rate = RATES.get(spec.model.name, OTHER_RATE)
    for other in sorted(folder.glob("*")):
        if found := measured(other):
            return found[0] * rate / RATES.get(other.name, OTHER_RATE), *found[1:]
    rate /= 1.0 if spec.nets.name in ("mlp", "linear") else CONV
    rate /= SLOWER.get(spec.dataset.name, 1.0)
    return rate, float(ROWS.get(spec.dataset.name, OTHER_ROWS)), SCORING


def _measured(folder: Path) -> Pace | None:
    """Rows a second, rows an epoch and seconds of scoring of the newest finished run of a model on a data set."""
    for path in sorted(folder.glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            record = json.loads(path.read_text())
            spec = record["spec"]
            rows = float(record["steps"] * spec["train"]["batch_size"] / spec["train"]["epochs"])
            if spec["limit_train"]:
                rows = float(ROWS.get(spec["dataset"]["name"], OTHER_ROWS))
            if record["status"] == "done" and record["rate"] > 0:
                return float(record["rate"]), rows, float(record["seconds"]["evaluate"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a broken record says nothing; the plan reports it
    return None


def duration(seconds: float) -> str:
    """In the unit that fits."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
