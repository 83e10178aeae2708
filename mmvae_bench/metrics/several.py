"""Scores of several draws of z given one entry: what coherence, which has one draw, cannot see.

Diversity: do entries differ as true ones do? Calibration: is a class drawn as often as it is right? Joint completion
(after MUNITE, KAIST 2026): do targets of one z agree on what the given entry leaves open?
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import TrainingFailed, Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, generate, metric, once, or_reason
from mmvae_bench.metrics.classes import Classes, blind_judges, judged_labels, majority
from mmvae_bench.metrics.description import is_blind
from mmvae_bench.metrics.labels import said
from mmvae_bench.metrics.relatedness import squared_distances

ROWS, DRAWS = 250, 10  # given entries at most, and draws of z for each: 2,500 entries are judged for each direction
BINS = 10  # of confidence

Values = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Several:
    """What a judge says of K entries that are generated from each of n given ones."""

    classes: Values  # [K, n]
    values: Values  # of all attributes, else the class, [K, n, A]
    apart: Floats | None  # mean distance of the features of two draws, [n]; None where the judge has no features


def several_rows(ev: Evaluation) -> Rows:
    """Return the test rows whose entries are given, one of each item, the same for every run."""
    return ev.test.take(ev.item_rows(ROWS))


@once
def several(ev: Evaluation, given: str, target: str) -> Several:
    """Return the verdict on E[x_t | z] of K draws z ~ q(z | x_m) for each row.

    All targets have the same draws z, where the model has one q(z | x_m) for all of them.
    """
    rows = several_rows(ev)
    batches = (batch.given(given) for batch in ev.chunks(rows))
    x = generate(ev.model, batches, target, ev.generator("several", given), DRAWS)
    verdict = ev.verdict(target, x.flatten(0, 1))
    values, features = said(verdict), verdict.features
    if features is not None and not np.isfinite(features).all():
        raise TrainingFailed("generated entries have features that are not finite")
    of_rows = None if features is None else features.reshape(DRAWS, len(rows), -1).transpose(1, 0, 2)
    return Several(
        verdict.classes.reshape(DRAWS, -1),
        values.reshape(DRAWS, len(rows), -1),
        None if of_rows is None else np.array([mean_distance(f) for f in of_rows]),
    )


def mean_distance(x: NDArray[np.floating]) -> float:
    """Return the mean Euclidean distance of two different points of x [N, F], N >= 2."""
    return float(np.sqrt(squared_distances(x, x))[np.triu_indices(len(x), 1)].mean())


def directions(ev: Evaluation) -> list[tuple[str, str]]:
    """Return all pairs of a given modality and another that is judged; raises Undefined where nothing is generated."""
    ev.check_decoders()
    return [(a, t) for a, t in permutations(ev.names, 2) if t in ev.oracles]


# --- diversity -------------------------------------------------------------------------------------------------------


def distances_of_classes(x: NDArray[np.floating], label: Classes) -> tuple[float, float] | None:
    """Return the mean distance of two points of x [N, F] of one class, and of any two; None if no class has two."""
    first, second = np.triu_indices(len(x), 1)
    apart, same = np.sqrt(squared_distances(x, x))[first, second], label[first] == label[second]
    return (float(apart[same].mean()), float(apart.mean())) if same.any() and apart[same].any() else None


@metric(
    Description(
        "Diversity",
        "Mean distance, in the oracle's features, of two entries generated from the same given one, divided by that of "
        "two true entries of one class: 1 is as diverse as a class, and chance as diverse as all true entries. Neither "
        "high nor low is best.",
        bounds=(0.0, None),
        unranked=("",),
    )
)
def diversity(ev: Evaluation) -> Iterator[Score]:
    """Diversity of entries generated from one: :func:`mean_distance` of ten draws of z ~ q(z | x_m), by that of a class.

    Of at most 250 test rows, m each modality and t each other whose judge has features; a mean over rows. The distances
    of true entries are those of all judged test rows, by class (not of all: a given entry says the class).
    """
    tasks, label = directions(ev), judged_labels(ev)
    for a, t in tasks:
        yield from or_reason([ev.row((a,), t)], partial(_diversity, ev, a, t, label))


def _diversity(ev: Evaluation, given: str, target: str, label: Classes) -> Iterator[Score]:
    reference, apart = _of_true(ev, target), several(ev, given, target).apart
    if reference is None or apart is None:
        raise Undefined(f"{target} has no features, or no class with two different test entries")
    yield replace(ev.row((given,), target), chance=reference[1] / reference[0]).mean(apart / reference[0])


@once
def _of_true(ev: Evaluation, name: str) -> tuple[float, float] | None:
    """Return :func:`distances_of_classes` of true entries."""
    rows = several_rows(ev)
    features = ev.verdict(name, ev.batch(rows).x[name].cpu()).features
    return None if features is None else distances_of_classes(features, np.asarray(rows.label))
