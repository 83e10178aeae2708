"""How often one model is better than another over tasks and seeds, and how scores are spread (Agarwal et al. 2021).

The definitions are those of the library rliable, whose last release is of 2024 and which needs arch and absl-py. Its
bootstrap draws each task by itself; here the directions of a seed, which come from one run, are drawn together.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.report.aggregates import MIN_CELLS, RESAMPLES
from mmvae_bench.report.statistics import LEVEL, MIN_SEEDS
from mmvae_bench.report.tasks import Family

Strata = Sequence[NDArray[np.float64]]  # scores [direction, seed] of a model in each block
COLUMNS = ("tier", "metric", "variant", "prior", "better", "worse", "probability", "low", "high", "tasks", "cells")
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def enough(family: Family) -> bool:
    """Return whether a score has two models, two tasks and two seeds of each, so that there is something to compare."""
    return len(family.models) > 1 and family.tasks > 1 and family.least_seeds > 1


def has_intervals(family: Family) -> bool:
    """Return whether there are enough cells and seeds for a bootstrap."""
    return family.cells >= MIN_CELLS and family.least_seeds >= MIN_SEEDS


def wins(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many directions x wins against y, for each pair of their seeds [n, m]; a tie is half a win."""
    x, y = x[:, :, None], y[:, None, :]
    return np.asarray((x > y).sum(0) + 0.5 * (x == y).sum(0), dtype=np.float64)


def improvement(x: Strata, y: Strata, draws: Sequence[Strata] = ()) -> tuple[float, NDArray[np.float64] | None]:
    """Return P(X > Y): the mean over tasks of the share of pairs of runs in which x is better; a tie is half a win.

    Args:
        x: Scores [direction, seed] of a model in each block.
        y: Those of another model.
        draws: :func:`resampled` seeds of both, for an interval.

    Returns:
        The probability, and the ends of its 95 % bootstrap interval, None without draws.
    """
    won = [wins(a, b) for a, b in zip(x, y, strict=True)]
    tasks = sum(len(a) for a in x)
    value = sum(float(w.mean()) for w in won) / tasks
    if not draws:
        return value, None
    total = sum((a @ w * b).sum(1) / w.size for w, a, b in zip(won, *draws, strict=True))
    return value, np.quantile(total / tasks, ENDS)


def profile(
    x: Strata, taus: NDArray[np.float64], draws: Strata = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the share of task x seed cells whose score exceeds each tau, and the ends [2, tau] of its 95 % interval.

    Arguments and the interval are as those of :func:`improvement`.
    """
    above = [(scores[None] > taus[:, None, None]).sum(1) for scores in x]  # [tau, seed] of each block
    cells = sum(scores.size for scores in x)
    value = np.asarray(sum(block.sum(1) for block in above) / cells)
    if not draws:
        return value, None
    total = sum(block @ own.T for block, own in zip(above, draws, strict=True))
    return value, np.quantile(total / cells, ENDS, axis=1)


def resampled(x: Strata, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return how often each seed of each block is drawn in each resampling, with replacement: [resampling, seed]."""
    seeds = [scores.shape[1] for scores in x]
    return [rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64) for n in seeds]


def improvements(found: Iterable[Family]) -> Iterator[dict[str, object]]:
    """Yield a row for each pair of models of each score, the one that is better more often first."""
    for family in filter(enough, found):
        rng, scores = np.random.default_rng(0), [family.scores_of(i) for i in range(len(family.models))]
        draws = [resampled(x, rng) if has_intervals(family) else [] for x in scores]
        where = {"score": family.title, "tier": family.tier}
        where |= dict(zip(("metric", "variant", "prior"), family.key, strict=True))
        for i, j in combinations(range(len(family.models)), 2):
            if improvement(scores[i], scores[j])[0] < 0.5:
                i, j = j, i  # noqa: PLW2901
            value, ends = improvement(scores[i], scores[j], [draws[i], draws[j]] if draws[i] else [])
            low, high = (None, None) if ends is None else map(float, ends)
            row = {"better": family.models[i], "worse": family.models[j], "probability": value}
            yield where | row | {"low": low, "high": high, "tasks": family.tasks, "cells": family.cells}


def shown(rows: Iterable[dict[str, object]]) -> list[dict[str, str]]:
    """Return the table of the page, one row per score and pair of models."""
    return [
        {
            "score": str(row["score"]),
            **({"tier": str(row["tier"])} if row["tier"] else {}),
            "model": str(row["better"]),
            "than": str(row["worse"]),
            "probability": f"{row['probability']:.2f}"
            + ("" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"),
            "tasks": str(row["tasks"]),
            "task x seed cells": str(row["cells"]),
        }
        for row in rows
    ]
