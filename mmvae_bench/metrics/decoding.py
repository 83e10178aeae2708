"""Errors in bins, where classes are bins of a line or a circle: of positions read off latents and generated entries."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, or_reason
from mmvae_bench.metrics.classes import Classes, class_labels, judged_labels, probed, probed_labels, probed_parts
from mmvae_bench.metrics.oracle import CPU, to_device


def distance(predicted: Classes, label: Classes, classes: int, *, circle: bool = False) -> NDArray[np.int64]:
    """Return the distance of each prediction in bins, [N]: |s' - s|, and on a circle min(|s' - s|, C - |s' - s|).

    What cannot be read (s' = C) is as far away as two bins can be: C - 1 bins, and on a circle C // 2.
    """
    apart = np.abs(predicted - label)
    apart = np.minimum(apart, classes - apart) if circle else apart
    return np.where(predicted < classes, apart, classes // 2 if circle else classes - 1)


def constant_error(label: Classes, classes: int, *, circle: bool = False) -> float:
    """Return the mean distance of the best constant guess."""
    guesses = [np.full_like(label, s) for s in range(classes)]
    return min(float(distance(guess, label, classes, circle=circle).mean()) for guess in guesses)


def errors(ev: Evaluation, predicted: Classes) -> NDArray[np.int64]:
    """Return the :func:`distance` of predictions on the judged rows, [N]."""
    return distance(predicted, np.asarray(ev.judged.label), ev.classes, circle=ev.ordered == "circle")


def _chance(ev: Evaluation) -> float:
    """Return the error of the best constant guess.

    Raises:
        Undefined: If the classes have no order.
    """
    if not ev.ordered:
        raise Undefined("the data set has no classes in an order, such as bins of a track")
    return constant_error(class_labels(ev), ev.classes, circle=ev.ordered == "circle")


def best_error(ev: Evaluation, given: tuple[str, ...]) -> float | None:
    """Return the mean error of the judges on the true entries of x_A; None if they cannot judge them together.

    One entry is judged as everywhere. Several are judged together if the judges know log p(x_m | s, k), k being what
    else the modalities share: the guess is then argmax_s log sum_k prod_m p(x_m | s, k).
    """
    judges: list[Any] = [ev.oracles.get(name) for name in given]
    if len(given) == 1 and judges[0]:
        return float(errors(ev, ev.recognised(given[0])).mean())
    if not all(hasattr(judge, "log_likelihood") for judge in judges):
        return None
    entries = [to_device(ev.judged.x[name], CPU) for name in given]
    log_p = np.sum([judge.log_likelihood(x) for judge, x in zip(judges, entries, strict=True)], 0)
    return float(errors(ev, logsumexp(log_p, 2).argmax(1)).mean())


@metric(
    Description(
        "Decoding error, {}",
        "Mean distance in bins between the true position and the one that a logistic regression reads off latents, "
        "fitted on complete training rows.",
        {
            "latents": "the mean of q(z given x_A)",
            "shared": "the latent that modalities share; only for models with private latents",
            "private": "the given modality's own latent, where the position is not expected, so that no best is "
            "marked; only for models with private latents",
        },
        higher_is_better=False,
        bounds=(0.0, None),
        unranked=("private",),
        drawn=("latents", "shared", "private"),
        key=True,
        coarse="mean of each",
    )
)
def decoding_error(ev: Evaluation) -> Iterator[Score]:
    """Error in bins of a linear probe on the mean of q(z | x_A), for every A; several only if the paper has such a q.

    Where a model has private latents, the ``shared`` part and the ``private`` one of a single x_m are read as well.
    The probe and its rows are those of ``linear_probe``. Chance: the best constant guess. Ceiling: :func:`best_error`.
    """
    chance = _chance(ev)
    probed_labels(ev)
    for given in ev.subsets:
        if len(given) == 1 or ev.model.joint_posterior:
            rows = [Score(None, "latents", given="+".join(given))]
            yield from or_reason(rows, partial(_of_latents, ev, given, chance))


def _of_latents(ev: Evaluation, given: tuple[str, ...], chance: float) -> Iterator[Score]:
    ceiling = best_error(ev, given)
    for part in probed_parts(ev, given):
        if not part or len(given) == 1:
            row = Score(None, part or "latents", given="+".join(given), chance=chance, ceiling=ceiling)
            yield row.mean(errors(ev, probed(ev, given, part, "mean")))


@metric(
    Description(
        "Decoding error, generated",
        "Mean distance in bins between the true position and the one that the judge sees in a generated target.",
        higher_is_better=False,
        bounds=(0.0, None),
        key=True,
        columns="size",
    )
)
def decoding_error_generated(ev: Evaluation) -> Iterator[Score]:
    """Error in bins of x_t generated from x_A, t outside A, as ``cross_coherence`` judges it.

    Chance: the best constant guess. Ceiling: the judge's error on the true x_t.
    """
    ev.check_decoders()
    chance = _chance(ev)
    judged_labels(ev)
    for given in ev.subsets:
        for target in (name for name in ev.names if name not in given and name in ev.oracles):
            row = ev.row(given, target)
            yield from or_reason([row], partial(_of_generated, ev, row, given, chance))


def _of_generated(ev: Evaluation, row: Score, given: tuple[str, ...], chance: float) -> Iterator[Score]:
    ceiling = best_error(ev, (row.target,))
    yield replace(row, chance=chance, ceiling=ceiling).mean(errors(ev, ev.predicted(given, row.target)))
