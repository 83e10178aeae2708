"""Mean ranks of models over blocks, and where there are blocks enough which of them differ (Demšar 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

MIN_BLOCKS = 10  # below this no test of ranks
MIN_MODELS = 3  # Friedman's test is of three and more
ALPHA = 0.05


@dataclass(frozen=True)
class Ranks:
    """Models ranked in each block.

    Attributes:
        mean: Mean rank of each model, 1 the best, ties averaged.
        blocks: How many.
        friedman: p of Friedman's test that no model ranks higher than another; None below 10 blocks or 3 models.
        nemenyi: p of each pair in Nemenyi's test, 1 for all where Friedman's p is not below .05: no test follows it
            then. Empty where there is no ``friedman``.
    """

    mean: dict[str, float]
    blocks: int
    friedman: float | None = None
    nemenyi: dict[tuple[str, str], float] = field(default_factory=dict)


def mean_ranks(scores: NDArray[np.float64], models: Sequence[str]) -> Ranks | None:
    """Rank models by scores [block, model], the highest first; None below 2 blocks or 2 models."""
    blocks, n = scores.shape
    if min(blocks, n) < 2:
        return None
    from scipy import stats

    mean = dict(zip(models, map(float, stats.rankdata(-scores, axis=1).mean(0)), strict=True))
    if blocks < MIN_BLOCKS or n < MIN_MODELS:
        return Ranks(mean, blocks)
    from scikit_posthocs import posthoc_nemenyi_friedman

    tied = bool((np.ptp(scores, axis=1) == 0).all())  # a test statistic of 0 / 0
    friedman = 1.0 if tied else float(stats.friedmanchisquare(*scores.T).pvalue)
    p = posthoc_nemenyi_friedman(scores).to_numpy() if friedman < ALPHA else np.ones((n, n))
    return Ranks(mean, blocks, friedman, {(models[i], models[j]): float(p[i, j]) for i, j in combinations(range(n), 2)})
