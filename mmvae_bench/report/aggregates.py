"""One metric over many tasks: interquartile means and mean ranks (protocol 26).

Only the summary's scores are aggregated, which are shares or cosines everywhere; :mod:`mmvae_bench.report.tasks` says
over which tasks.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.report.statistics import LEVEL, MIN_SEEDS
from mmvae_bench.report.tasks import Family

MIN_CELLS = 20  # task x seed cells, for a bootstrap
RESAMPLES = 5000
COLUMNS = [
    "tier", "metric", "variant", "prior", "model", "tasks", "of", "cells", "dead", "iqm", "low", "high", "mean_rank",
    "blocks",
]  # fmt: skip


def aggregate(found: Iterable[Family]) -> pd.DataFrame:
    """Aggregate each of the summary's scores for which two models have enough cells or blocks: a row per model.

    Columns that do not explain themselves:
        tasks: Number of tasks that all models share.
        of: Number of tasks that any model has.
        cells: Number of task x seed cells, the same for each model.
        dead: Number of them in which a branch that is scored was never trained; they are averaged with the others.
        iqm: Interquartile mean; None below 20 cells.
        low, high: Ends of its 95 % interval, None where a task has fewer than 3 seeds.
        mean_rank: Mean rank over blocks, 1 the best; None below 2 blocks, and for a model with dead runs there. In a
            block it is the mean over columns of the ranks that models share (:func:`mmvae_bench.report.tables.ranks`).
        blocks: Number of blocks with ranks: data sets, after training on complete data. Two directions of one data set
            depend on each other, so they are in one block.
    """
    rows = [row for family in found for row in _aggregate(family)]
    return pd.DataFrame(rows, columns=["score", *COLUMNS], dtype=object)


def _aggregate(family: Family) -> Iterator[tuple[object, ...]]:
    ranks, count = mean_ranks([block.ranks for block in family.blocks if block.missing.ratio == 0])
    if len(family.models) < 2 or (family.cells < MIN_CELLS and not count):
        return
    for i, model in enumerate(family.models):
        enough = family.cells >= MIN_CELLS
        iqm = interquartile_mean(family.scores_of(i)) if enough else (None, None, None)
        rank = None if not count or np.isnan(ranks[i]) else float(ranks[i])
        dead = sum(int(block.dead[i]) for block in family.blocks)
        counts = (family.tasks, family.of, family.cells, dead)
        yield (family.title, family.tier, *family.key, model, *counts, *iqm, rank, count or None)


def mean_ranks(blocks: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], int]:
    """Return the mean over blocks of the means over their columns, from ranks [model, column], and their number.

    Columns, and blocks, in which no model has a rank do not count; fewer than 2 other blocks count as none.
    """
    known = [block[:, ~np.isnan(block).all(0)] for block in blocks]
    means = [block.mean(1) for block in known if block.size]
    return (np.mean(means, axis=0), len(means)) if len(means) > 1 else (np.zeros(0), 0)


def interquartile_mean(strata: Sequence[NDArray[np.float64]]) -> tuple[float, float | None, float | None]:
    """Return the mean of the middle half of all scores, and the ends of its stratified bootstrap interval.

    After Agarwal et al. 2021: the ends are percentiles over 5000 resamplings of the seeds within each stratum, None if
    a stratum has fewer than 3 seeds. The directions of a seed come from one run and are drawn together. With few seeds
    the interval is too narrow, as any bootstrap, by about sqrt(1 - 1/n): in simulations it covered 85 % with 3 seeds,
    88 % with 5, 92 % with 10.

    Args:
        strata: Scores of a model [direction, seed] for each data set x missing pattern.
    """
    from scipy import stats

    value = float(stats.trim_mean(np.concatenate([x.ravel() for x in strata]), 0.25))
    if min(x.shape[1] for x in strata) < MIN_SEEDS:
        return value, None, None
    rng = np.random.default_rng(0)
    drawn = [x[:, rng.integers(x.shape[1], size=(RESAMPLES, x.shape[1]))] for x in strata]
    flat = np.concatenate([np.moveaxis(x, 1, 0).reshape(RESAMPLES, -1) for x in drawn], axis=1)
    low, high = np.quantile(stats.trim_mean(flat, 0.25, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, float(low), float(high)


def shown(aggregates: pd.DataFrame) -> list[dict[str, str]]:
    """Return the table of the page, one row per metric and model."""
    rows: Iterable[Any] = aggregates.itertuples()
    return [
        {
            "score": a.score,
            **({"tier": a.tier} if a.tier else {}),
            "model": a.model,
            "interquartile mean": "-"
            if a.iqm is None
            else f"{a.iqm:.3f}" + (f" [{a.low:.3f}, {a.high:.3f}]" if a.low is not None else ""),
            "tasks": f"{a.tasks} of {a.of}",
            "task x seed cells": str(a.cells) + (f" ({a.dead} dead)" if a.dead else ""),
            "mean rank": "-" if a.mean_rank is None else f"{a.mean_rank:.2f}",
            "blocks": str(a.blocks or "-"),
        }
        for a in rows
    ]
