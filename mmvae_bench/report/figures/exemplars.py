"""Runs that represent their models in figures of single runs: the lowest seed at ratio 0 and the highest ratio."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mmvae_bench.report.select import Run
from mmvae_bench.spec import Missing

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Exemplar:
    """One run of each model under one missing pattern: a row of panels.

    Attributes:
        seed: Lowest seed with the most models.
        arrays: Model label -> artifacts of its run.
    """

    missing: Missing
    seed: int
    arrays: dict[str, Arrays]


def exemplars(runs: Sequence[Run], group: str, labels: Sequence[str]) -> list[Exemplar]:
    """Return the panel rows of a data set's figures: its lowest ratio and, if different, its highest (first scheme)."""
    own = [run for run in runs if run.group == group and (run.folder / "artifacts.npz").exists()]
    if not own:
        return []
    ratios = sorted({run.spec.missing.ratio for run in own})
    ends = dict.fromkeys((ratios[0], ratios[-1]))
    return [_exemplar([run for run in own if run.spec.missing.ratio == ratio], labels) for ratio in ends]


def _exemplar(runs: list[Run], labels: Sequence[str]) -> Exemplar:
    missing = runs[0].spec.missing
    runs = [run for run in runs if run.spec.missing == missing]
    by_seed = {
        seed: {run.label: run for run in runs if run.spec.seed == seed} for seed in sorted({r.spec.seed for r in runs})
    }
    most = max(len(found) for found in by_seed.values())
    seed = next(seed for seed, found in by_seed.items() if len(found) == most)
    found = by_seed[seed]
    return Exemplar(missing, seed, {name: found[name].arrays("artifacts.npz") for name in labels if name in found})


def describe_rows(rows: Sequence[Exemplar]) -> str:
    """Return the text ``Rows: complete (seed 0), split 0.5 (seed 0).`` for captions."""
    listed = ", ".join(f"{row.missing.text} (seed {row.seed})" for row in rows)
    return f"{'Rows' if len(rows) > 1 else 'Runs'}: {listed}."


def panels(rows: Sequence[Exemplar], prefix: str) -> list[str]:
    """Return the models with artifacts whose key begins with ``prefix`` in any row, in order."""
    found = {label for row in rows for label, arrays in row.arrays.items() if any(k.startswith(prefix) for k in arrays)}
    order = dict.fromkeys(label for row in rows for label in row.arrays)
    return [label for label in order if label in found]
