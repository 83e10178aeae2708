"""Precision and recall of generated entries (Kynkäänniemi et al., NeurIPS 2019) in the oracle's features."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once, or_reason
from mmvae_bench.metrics.frechet import compared, conditions, of_generated, of_priors, without_features
from mmvae_bench.metrics.relatedness import squared_distances

NEIGHBOURS = 3  # k of the paper

Features = NDArray[np.floating[Any]]


def radii(x: Features, k: int = NEIGHBOURS) -> NDArray[np.float64]:
    """Return the squared distance of each point of x [N, F] from its k-th nearest other point, N > k: [N]."""
    apart = squared_distances(x, x)
    np.fill_diagonal(apart, np.inf)
    return np.asarray(np.partition(apart, k - 1, axis=1)[:, k - 1])


def covered(points: Features, of: Features, radius: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points [n, F] are in the ball of some point of ``of`` [N, F], by squared radii [N]: [n]."""
    return np.asarray((squared_distances(points, of) <= radius).any(1))


def precision_and_recall(made: Features, true: Features, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Return the share of made points in a ball of a true one, and of true points in a ball of a made one.

    The ball of a point reaches to its k-th nearest neighbour in its own set: the paper's estimate of the manifold.
    """
    precision, recall = covered(made, true, radii(true, k)), covered(true, made, radii(made, k))
    return float(precision.mean()), float(recall.mean())


@once
def _ceilings(ev: Evaluation, name: str) -> tuple[float | None, float | None]:
    """Return precision and recall of as many true training entries."""
    truth = compared(ev)[name]
    return (None, None) if truth.training is None else precision_and_recall(truth.training, truth.features)


@metric(
    Description(
        "Nearest-neighbour {}",
        "By balls around the oracle's features that reach to the third nearest neighbour, of as many generated as true "
        "test entries; the ceiling is that of as many true training entries.",
        {
            "precision": "share of generated entries inside a ball of a true one, so that they look like true ones",
            "recall": "share of true entries inside a ball of a generated one, so that their variety is generated",
        },
        bounds=(0.0, 1.0),
        drawn=("precision", "recall"),
        ceiling="true training entries",
    ),
    of_priors=True,
)
def precision_recall(ev: Evaluation) -> Iterator[Score]:
    """:func:`precision_and_recall` of the entries that ``frechet`` compares: n generated and the n true ones of a row.

    Given any subset of the others (of more than three modalities the first k others), one z a row, or drawn from a
    prior. Both depend on n, which is in every row. Rows share the balls, so that neither is a mean over rows.
    """
    truths = compared(ev)
    if truths and len(next(iter(truths.values())).features) <= NEIGHBOURS:
        raise Undefined(f"precision and recall need more than {NEIGHBOURS} test entries")
    for name in ev.names:
        if name not in truths:
            yield without_features(name)
    for name in truths:
        for given in conditions(ev.names, name):
            rows = [ev.row(given, name, variant) for variant in ("precision", "recall")]
            yield from or_reason(rows, partial(_given, ev, given, name))
    for row, made in of_priors(ev):
        yield from [row] if made is None else _both(ev, row, made)


def _given(ev: Evaluation, given: tuple[str, ...], target: str) -> Iterator[Score]:
    yield from _both(ev, ev.row(given, target), of_generated(ev, given, target))


def _both(ev: Evaluation, row: Score, made: Features) -> Iterator[Score]:
    values, limits = precision_and_recall(made, compared(ev)[row.target].features), _ceilings(ev, row.target)
    for variant, value, ceiling in zip(("precision", "recall"), values, limits, strict=True):
        yield replace(row, variant=variant, value=value, n=len(made), ceiling=ceiling)
