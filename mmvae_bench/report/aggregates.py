"""One metric over many tasks: interquartile means and mean ranks (protocol 26).

A task is data set x missing pattern x what is scored. Only the summary's scores are aggregated, which are shares or
cosines everywhere, and only tasks, and seeds of them, that all models of the metric have; chance controls are left out.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.report.statistics import LEVEL, MIN_SEEDS
from mmvae_bench.report.summary import PARTS
from mmvae_bench.report.tables import Table
from mmvae_bench.report.words import metric_title
from mmvae_bench.spec import Missing


@dataclass(frozen=True)
class Ranks:
    """Models ranked in each block.

    Attributes:
        mean: Mean rank of each model, 1 the best, ties averaged.
        blocks: How many.
    """

    mean: dict[str, float]
    blocks: int


def mean_ranks(scores: NDArray[np.float64], models: Sequence[str]) -> Ranks | None:
    """Rank models by scores [block, model], the highest first; None below 2 blocks or 2 models."""
    if min(scores.shape) < 2:
        return None
    from scipy import stats

    mean = stats.rankdata(-scores, axis=1).mean(0)
    return Ranks(dict(zip(models, map(float, mean), strict=True)), len(scores))


MIN_CELLS = 20  # task x seed cells; below this no interquartile mean
RESAMPLES = 5000
FIELDS = (
    "metric", "variant", "prior", "model", "tasks", "of", "cells", "iqm", "low", "high", "mean_rank", "blocks",
)  # fmt: skip
Stratum = tuple[str, Missing]  # data set, missing pattern
Columns = dict[str, dict[str, dict[int, float]]]  # what is scored -> model -> seed -> score


@dataclass(frozen=True)
class Estimate:
    """An interquartile mean with the ends of its 95 % interval, None where a task has fewer than 3 seeds."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Aggregate:
    """One metric over tasks.

    Attributes:
        tasks: Tasks that all models share, ``of`` those that any model has.
        cells: Task x seed cells, the same number for each model.
        iqm: Of each model; empty below 20 cells.
        ranks: Over blocks: data set x direction after training on complete data (ratio 0), averaged over seeds.
    """

    metric: str
    variant: str
    prior: str
    models: list[str]
    tasks: int
    of: int
    cells: int
    iqm: dict[str, Estimate]
    ranks: Ranks | None

    @property
    def title(self) -> str:
        """``Cross-coherence (micro)``."""
        return metric_title(self.metric, self.variant, self.prior)


def aggregate(tables: Sequence[Table]) -> list[Aggregate]:
    """Aggregate each of the summary's scores for which two models have cells or blocks enough."""
    keys = dict.fromkeys((part.metric, part.variant, part.prior) for line in PARTS for part in line)
    found = [_aggregate(key, [t for t in tables if (t.metric, t.variant, t.prior) == key]) for key in keys]
    return [one for one in found if len(one.models) > 1 and (one.iqm or one.ranks)]


def _aggregate(key: tuple[str, str, str], tables: Sequence[Table]) -> Aggregate:
    scored = _scored(tables)
    models = list(dict.fromkeys(label for columns in scored.values() for row in columns.values() for label in row))
    strata = {stratum: x for stratum, columns in scored.items() if (x := _shared(columns, models)).size}
    cells = sum(x[0].size for x in strata.values())
    iqm = {}
    if cells >= MIN_CELLS:
        iqm = {model: interquartile_mean([x[i] for x in strata.values()]) for i, model in enumerate(models)}
    blocks = [x.mean(-1).T for (_, missing), x in strata.items() if missing.ratio == 0]
    ranks = mean_ranks(np.concatenate(blocks), models) if blocks else None
    tasks = sum(x.shape[1] for x in strata.values())
    return Aggregate(*key, models, tasks, sum(map(len, scored.values())), cells, iqm, ranks)


def _scored(tables: Sequence[Table]) -> dict[Stratum, Columns]:
    """What may be compared."""
    found: dict[Stratum, Columns] = defaultdict(dict)
    for table in tables:
        for c in (c for c in table.columns if c in table.comparable):
            cells = {label: row[c] for label, row in table.cells.items() if row[c].score and not row[c].control}
            found[table.group, c.missing][c.text] = {label: cell.by_seed for label, cell in cells.items()}
    return found


def _shared(columns: Columns, models: Sequence[str]) -> NDArray[np.float64]:
    """Scores [model, direction, seed] of the directions and seeds that all models have; empty if there are none."""
    full = [row for row in columns.values() if models and row.keys() == set(models)]
    seeds = set.intersection(*(set(by_seed) for row in full for by_seed in row.values())) if full else set()
    return np.array([[[row[m][seed] for seed in sorted(seeds)] for row in full] for m in models], dtype=np.float64)


def interquartile_mean(strata: Sequence[NDArray[np.float64]]) -> Estimate:
    """Mean of the middle half of all scores, and its stratified bootstrap interval (Agarwal et al. 2021).

    The interval's ends are percentiles over 5000 resamplings of the seeds within each stratum. The directions of a seed
    are drawn together: they are one run's. Of few seeds it is too narrow, as any bootstrap is, by about sqrt(1 - 1/n):
    in simulations it covered 85 % of the time with 3 seeds, 88 % with 5, 92 % with 10.

    Args:
        strata: Of each data set x missing pattern, a model's scores [direction, seed].
    """
    from scipy import stats

    value = float(stats.trim_mean(np.concatenate([x.ravel() for x in strata]), 0.25))
    if min(x.shape[1] for x in strata) < MIN_SEEDS:
        return Estimate(value, None, None)
    rng = np.random.default_rng(0)
    drawn = [x[:, rng.integers(x.shape[1], size=(RESAMPLES, x.shape[1]))] for x in strata]
    flat = np.concatenate([np.moveaxis(x, 1, 0).reshape(RESAMPLES, -1) for x in drawn], axis=1)
    low, high = np.quantile(stats.trim_mean(flat, 0.25, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def rows(aggregates: Sequence[Aggregate]) -> list[dict[str, str]]:
    """The page's table: a row a metric and model."""
    return [
        {
            "score": a.title,
            "model": model,
            "interquartile mean": _text(a.iqm.get(model)),
            "tasks": f"{a.tasks} of {a.of}",
            "task x seed cells": str(a.cells),
            "mean rank": f"{a.ranks.mean[model]:.2f}" if a.ranks else "-",
            "blocks": str(a.ranks.blocks) if a.ranks else "-",
        }
        for a in aggregates
        for model in a.models
    ]


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    ends = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{ends}"


def write_aggregates(aggregates: Sequence[Aggregate], path: Path) -> None:
    """The same in full precision, as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for a in aggregates:
            for model in a.models:
                where = [a.metric, a.variant, a.prior, model, a.tasks, a.of, a.cells]
                iqm = [e.value, e.low, e.high] if (e := a.iqm.get(model)) else [None] * 3
                ranks = [a.ranks.mean[model], a.ranks.blocks] if a.ranks else [None] * 2
                writer.writerow([*where, *iqm, *ranks])
