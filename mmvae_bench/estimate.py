"""How long a plan will take, roughly: from the rates of stored runs where there are any, else from a guess."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmvae_bench.spec import RunSpec
from mmvae_bench.store import Store

ROWS = 10_000  # of a data set that no stored run tells about
RATES = {"mvae": 3000.0, "mmvae": 1000.0, "mopoe": 3000.0, "mmvm": 3000.0, "meme": 2000.0, "unimodal": 5000.0}
RATE = 2000.0  # rows a second on one core, of any other model


@dataclass(frozen=True)
class Estimate:
    """Seconds of training, one run after the other, and how many of the runs are guesses."""

    seconds: float
    runs: int
    guessed: int

    def text(self, jobs: int = 1) -> str:
        """One sentence: ``about 12 minutes (...)``."""
        if not self.runs:
            return "nothing to train"
        source = "a guess without stored runs" if self.guessed == self.runs else "from the rates of stored runs"
        if 0 < self.guessed < self.runs:
            source += f", {self.guessed} of {self.runs} runs guessed"
        beside = f", {jobs} runs at a time" if jobs > 1 else ", one run after the other"
        return f"about {_duration(self.seconds / jobs)} of training{beside} (rough: {source})"


def estimate(specs: Iterable[RunSpec], store: Store) -> Estimate:
    """Estimate the training time of ``specs``, without the data sets' and oracles' own."""
    known: dict[Path, tuple[float, float] | None] = {}
    seconds, runs, guessed = 0.0, 0, 0
    for spec in specs:
        folder = store.folder(spec).parent
        if folder not in known:
            known[folder] = _measured(folder)
        rate, rows = known[folder] or (RATES.get(spec.model.name, RATE), ROWS)
        limited = min(rows, spec.limit_train or rows)
        seconds += spec.train.epochs * limited / rate
        runs += 1
        guessed += known[folder] is None
    return Estimate(seconds, runs, guessed)


def _measured(folder: Path) -> tuple[float, float] | None:
    """Rows a second and rows an epoch of the newest finished run of a model on a data set."""
    for path in sorted(folder.glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            record = json.loads(path.read_text())
            train = record["spec"]["train"]
            rows = record["steps"] * train["batch_size"] / train["epochs"]
            if record["status"] == "done" and record["rate"] > 0:
                return float(record["rate"]), float(rows)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a broken record says nothing; the plan reports it
    return None


def _duration(seconds: float) -> str:
    """Two digits at most, in the unit that fits."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
