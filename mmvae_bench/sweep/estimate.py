"""Estimated time of a plan: from the rates of stored runs where there are any, else a guess."""

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from mmvae_bench import datasets, models
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.store import Store

# Guesses where there is no stored run, measured on one core of a small virtual machine. A model's ``cost`` and a data
# set's ``Protocol.cost`` divide the rate.
RATE = 8000.0  # rows per second of a model of cost 1 with the mlp nets on a data set of cost 1
CONV = 12.0  # cost of any other nets
SCORING = 10.0  # seconds per run
Pace = tuple[float, float, float]  # rows per second, rows per epoch, seconds of scoring


def estimate(specs: Iterable[RunSpec], store: Store) -> list[float]:
    """Return the seconds of each run, without those of building data sets and training oracles."""
    measured = cache(_measured)  # every model's stored runs are read once
    found = []
    for spec in specs:
        folder = store.folder(spec).parent
        rate, rows, scoring = measured(folder) or _guessed(spec, folder.parent, measured)
        found.append(spec.train.epochs * min(rows, spec.limit_train or rows) / rate + scoring)
    return found


def in_words(seconds: float, runs: int, jobs: int = 1) -> str:
    """Return a text about the time of all runs, ``jobs`` at a time."""
    jobs = max(jobs, 1)
    beside = f", {jobs} runs at a time" if jobs > 1 else ", one run after the other" * (runs > 1)
    return f"about {duration(seconds / jobs)}{beside} (a rough estimate)"


def _guessed(spec: RunSpec, folder: Path, measured: Callable[[Path], Pace | None]) -> Pace:
    """Return a guess: from stored runs of other models on the data set, in ``folder``, if there are any."""
    cost = _cost(spec.model.name)
    for other in sorted(folder.glob("*")):
        if found := measured(other):
            return found[0] * _cost(other.name) / cost, *found[1:]
    nets = 1.0 if spec.nets.name in ("mlp", "linear") else CONV
    protocol = datasets.make(spec.dataset.name, spec.dataset.options).protocol
    return RATE / (cost * nets * protocol.cost), float(protocol.rows), SCORING


def _cost(model: str) -> float:
    """Return a model's cost; 1 for a model that is not installed any more."""
    try:
        return models.registry.get(model).cost
    except BenchError:
        return 1.0


def _measured(folder: Path) -> Pace | None:
    """Return the pace of the newest finished run of a model on a data set, or None."""
    for path in sorted(folder.glob("*/run.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            record = json.loads(path.read_bytes())
            spec, rows = record["spec"], record["steps"] * record["spec"]["train"]["batch_size"]
            rows /= spec["train"]["epochs"]
            if spec["limit_train"]:
                rows = datasets.make(spec["dataset"]["name"], spec["dataset"]["options"]).protocol.rows
            if record["status"] == "done" and record["rate"] > 0:
                return float(record["rate"]), float(rows), float(record["seconds"]["evaluate"])
        except (OSError, ValueError, KeyError, TypeError, BenchError):
            continue  # the plan reports a broken record
    return None


def duration(seconds: float) -> str:
    """Return a duration as text in a fitting unit."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
