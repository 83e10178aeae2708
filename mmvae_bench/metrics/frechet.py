"""Fréchet distance of generated and true entries in the oracle's features. Protocol 24.

Heusel et al. (2017, arXiv 1706.08500) took Inception's features, and FID is the name of that alone. Here they are of
the oracle's last hidden layer, which knows the classes of this data set: numbers compare models judged by one oracle at
one n, and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import TrainingFailed, Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once, one_each, or_reason
from mmvae_bench.metrics.oracle import CPU, to_device
from mmvae_bench.metrics.priors import under_priors

ROWS = 1000  # on each side; a finite sample adds to the distance, so n is in every row


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians fitted to a [N_a, F] and b [N_b, F], N >= 2; >= 0.

        d^2 = |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^{1/2})        (Dowson and Landau 1982)

    S has N - 1 in its denominator. S_a S_b has the eigenvalues of the symmetric S_a^{1/2} S_b S_a^{1/2}, so the trace
    of its root is the sum of their roots, also where N <= F makes S singular. In double precision.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    s_a, s_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    value, vector = np.linalg.eigh(s_a)
    root = (vector * np.sqrt(np.maximum(value, 0.0))) @ vector.T  # S_a^{1/2}
    product = np.linalg.eigvalsh(root @ s_b @ root)
    cross = np.sqrt(np.maximum(product, 0.0)).sum()
    return max(float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s_a) + np.trace(s_b) - 2 * cross), 0.0)


@dataclass(frozen=True)
class Truth:
    """The reference for the entries that are generated for a modality."""

    features: NDArray[np.float32]  # the oracle's of the n true test entries, [n, F]
    training: NDArray[np.float32] | None  # those of n true training entries, or None where there are fewer

    @cached_property
    def ceiling(self) -> float | None:
        """Distance of the training entries."""
        return None if self.training is None else frechet_distance(self.training, self.features)

    def distance(self, made: NDArray[np.float32]) -> float:
        """Distance of generated entries from the true ones, by their features."""
        return frechet_distance(made, self.features)


@once
def compared(ev: Evaluation) -> dict[str, Truth]:
    """Return the reference of each modality whose judge has features: at most 1,000 entries, one of each item.

    Raises:
        Undefined: If nothing is generated, there is no oracle, or there is one test entry.
    """
    ev.check_decoders()
    if not ev.oracles:
        raise Undefined("there is no oracle whose features could be compared")
    test = compared_rows(ev)
    if len(test) < 2:
        raise Undefined("one test entry is too few to be compared")
    train = ev.train.take(one_each(ev.train.items, len(test), ev.order("frechet", len(ev.train))))
    truths = {}
    for name in ev.names:
        if read := getattr(ev.oracles.get(name), "features", None):
            true, seen = (read(to_device(rows.x[name], CPU)) for rows in (test, train))
            truths[name] = Truth(true, seen if len(seen) == len(true) else None)
    return truths


def compared_rows(ev: Evaluation) -> Rows:
    """Return the test rows whose entries are compared, the same for every run."""
    return ev.test.take(ev.item_rows(ROWS))


def without_features(name: str) -> Score:
    """Return the skipped row of a modality that :func:`compared` leaves out."""
    return Score(None, target=name, reason=f"{name} is judged without features that could be compared")


def finite(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features of generated entries; raises TrainingFailed if they are not finite."""
    if not np.isfinite(features).all():
        raise TrainingFailed("generated entries have features that are not finite")
    return features


@once
def of_generated(ev: Evaluation, given: tuple[str, ...], target: str) -> NDArray[np.float32]:
    """Return the features of the entries generated for :func:`compared_rows`, one z per row: [n, F]."""
    features: NDArray[np.float32] = getattr(ev.oracles[target], "features")(  # noqa: B009 # of an oracle
        ev.generate(compared_rows(ev), given, target)
    )
    return finite(features)


def of_priors(ev: Evaluation) -> Iterator[tuple[Score, NDArray[np.float32] | None]]:
    """Yield for each prior and modality of :func:`compared` a score without value, and features of as many draws.

    Where the model has no such prior they are None, and the score has the reason.
    """
    truths = compared(ev)
    n = len(next(iter(truths.values())).features) if truths else 0
    if not n:
        return
    for row, parts in under_priors(ev, lambda part: {m: part.verdict(m).features for m in truths}, n):
        for name in truths:
            score = replace(row, target=name, control=False)  # of each modality by itself
            found = [features for part in parts if (features := part[name]) is not None]
            yield score, finite(np.concatenate(found)[:n]) if found else None


@metric(
    Description(
        "Fréchet distance",
        "Between Gaussians fitted to the oracle's features of generated and of as many true test entries: no FID, for "
        "which Inception's are taken, and comparable within one table alone. The ceiling is the distance of as many "
        "true training entries.",
        {"self": "the target being the one given: a perfect copy scores 0"},
        higher_is_better=False,
        bounds=(0.0, None),
        ceiling="true training entries",
    ),
    version=2,
    of_priors=True,
)
def frechet(ev: Evaluation) -> Iterator[Score]:
    """:func:`frechet_distance` between n generated entries of a modality and the n true ones of the same test rows.

    x_t is E[x_t | z] of one z ~ q(z | x_A) a row, A any subset of the others (of more than three modalities the first
    k others); variant ``self``: A = {t}, where a perfect copy scores 0; without a given modality: z from a prior. n is
    at most 1,000, one entry of each item, the same for every run. Ceiling: the distance of n true training entries,
    which a perfect sampler of the training data would score.
    """
    truths = compared(ev)
    for name in ev.names:
        if name not in truths:
            yield without_features(name)
    for name, truth in truths.items():
        for given in [*conditions(ev.names, name), (name,)]:
            row = ev.row(given, name, "self" if given == (name,) else "")
            yield from or_reason([row], partial(_generated, ev, truth, row))
    for row, made in of_priors(ev):
        truth = truths[row.target]
        yield row if made is None else replace(row, value=truth.distance(made), n=len(made), ceiling=truth.ceiling)


def _generated(ev: Evaluation, truth: Truth, row: Score) -> Iterator[Score]:
    value = truth.distance(of_generated(ev, tuple(row.given.split("+")), row.target))
    yield replace(row, value=value, n=len(truth.features), ceiling=None if row.variant else truth.ceiling)


def conditions(names: tuple[str, ...], target: str) -> list[tuple[str, ...]]:
    """Return the sets given to generate a target: every subset of the others, or of many modalities the first k."""
    others = tuple(name for name in names if name != target)
    if len(names) > 3:  # as Hwang et al. (2021, Fig. 2)
        return [others[:k] for k in range(1, len(others) + 1)]
    return [given for k in range(1, len(others) + 1) for given in combinations(others, k)]
