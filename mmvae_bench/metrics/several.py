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

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, generate, metric, once, or_reason
from mmvae_bench.metrics.classes import Classes, blind_judges, judged_labels, majority
from mmvae_bench.metrics.description import is_blind
from mmvae_bench.metrics.frechet import compared, compared_rows, finite, without_features
from mmvae_bench.metrics.labels import said
from mmvae_bench.metrics.relatedness import squared_distances

ROWS, DRAWS = 250, 10  # given entries at most, and draws of z for each: 2,500 entries are judged for each direction
BINS = 10  # of confidence

Values = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Several:
    """Verdicts of a judge on K generated entries for each of n given ones."""

    classes: Values  # [K, n]
    values: Values  # of all attributes, else the class, [K, n, A]
    apart: Floats | None  # mean distance of the features of two draws, [n]; None where the judge has no features


def several_of_judged(ev: Evaluation) -> NDArray[np.intp]:
    """Return which of the judged rows are given: one of each of at most 250 items, the same for every run."""
    return np.searchsorted(ev.judged_rows, ev.item_rows(ROWS))


@once
def several(ev: Evaluation, given: str, target: str) -> Several:
    """Return the verdict on E[x_t | z] of K draws z ~ q(z | x_m) for each row.

    All targets have the same draws z, where the model has one q(z | x_m) for all of them.
    """
    rows = ev.judged.take(several_of_judged(ev))
    batches = (batch.given(given) for batch in ev.chunks(rows))
    x = generate(ev.model, batches, target, ev.generator("several", given), DRAWS)
    verdict = ev.verdict(target, x.flatten(0, 1))
    shape, features, apart = (DRAWS, len(rows), -1), verdict.features, None
    if features is not None:
        apart = np.array([mean_distance(of_row) for of_row in finite(features).reshape(shape).swapaxes(0, 1)])
    return Several(verdict.classes.reshape(shape[:2]), said(verdict).reshape(shape), apart)


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
    """:func:`mean_distance` of x_t from ten draws of z ~ q(z | x_m), by that of true entries of one class.

    Of at most 250 test rows, m each modality and t each other; a mean over rows. The true entries are those of
    ``frechet``. They are compared by class and not all together, because x_m says the class.
    """
    tasks, _, truths = directions(ev), judged_labels(ev), compared(ev)
    yield from (without_features(name) for name in ev.names if name not in truths)
    for a, t in tasks:
        if t in truths:
            yield from or_reason([ev.row((a,), t)], partial(_diversity, ev, a, t))


def _diversity(ev: Evaluation, given: str, target: str) -> Iterator[Score]:
    reference, apart = _of_true(ev, target), several(ev, given, target).apart
    if reference is None or apart is None:
        raise Undefined(f"no class has two different test entries of {target}")
    yield replace(ev.row((given,), target), chance=reference[1] / reference[0]).mean(apart / reference[0])


@once
def _of_true(ev: Evaluation, name: str) -> tuple[float, float] | None:
    """Return :func:`distances_of_classes` of true test entries, those of ``frechet``."""
    return distances_of_classes(compared(ev)[name].features, np.asarray(compared_rows(ev).label))


# --- calibration -----------------------------------------------------------------------------------------------------


def counted(classes: Classes, count: int) -> Values:
    """Return how many of the K draws of each row have each class, of classes [K, n]: [n, C + 1].

    The last is what cannot be read.
    """
    return np.asarray((np.minimum(classes, count)[..., None] == np.arange(count + 1)).sum(0))


def fair_brier(counts: Values, label: Classes) -> Floats:
    """Return the Brier score of each row without the bias of K draws (Ferro 2014), of counts [n, C], K > 1: [n].

        1 - 2 n_y / K + sum_c n_c (n_c - 1) / (K (K - 1))

    Its mean is sum_c (p_c - 1[c = y])^2 of the distribution p that draws are from: 0 if all are right, at most 2.
    """
    k = counts.sum(1)
    right, agree = counts[np.arange(len(counts)), label] / k, (counts * (counts - 1)).sum(1) / (k * (k - 1))
    return np.asarray(1 - 2 * right + agree)


def calibration_error(counts: Values, label: Classes, bins: int = BINS) -> float:
    """Return the expected calibration error of the most frequent class, of counts [n, C]; ties share what is right.

    sum_b |b| / n |share right in b - mean confidence in b|, a confidence being max_c n_c / K. Bins have equal masses,
    but rows of one confidence are all in the bin of the first of them.
    """
    n, most = len(counts), counts.max(1)
    top, sure = counts == most[:, None], most / counts.sum(1)
    over = sure - top[np.arange(n), label] / top.sum(1)  # confidence less what is right
    _, level, size = np.unique(sure, return_inverse=True, return_counts=True)
    bin_of = (np.cumsum(size) - size) * bins // n
    return float(np.abs(np.bincount(bin_of[level], over)).sum() / n)


def calibration_and_floor(classes: Classes, label: Classes, count: int) -> tuple[float, float]:
    """Return the :func:`calibration_error` of K - 1 of the draws, [K, n], and what a calibrated forecaster has.

    Each draw is left out in turn; both are means over them. The floor has the class that was left out in place of the
    true one: if a class is distributed as the draws are, both have the same expectation at every n and K.
    """
    counts, found = counted(classes, count), []
    for draw in np.minimum(classes, count):
        others = counts - (draw[:, None] == np.arange(count + 1))
        found.append([calibration_error(others, truth) for truth in (label, draw)])
    value, floor = np.mean(found, 0)
    return float(value), float(floor)


@metric(
    Description(
        "Calibration, {}",
        "Classes of entries generated from the same given one, as a forecast of its class.",
        {
            "brier": "sum over the classes of the squared difference between the share of draws and the truth, without "
            "the bias of few draws: 0 if all draws are right, above chance if draws are surer than they are right",
            "ece": "expected calibration error of the most frequent class; it is above 0 for finite samples, and its "
            "ceiling is what a calibrated forecaster has with these draws; draws that ignore what is given may be "
            "calibrated, so that no best is marked",
        },
        higher_is_better=False,
        bounds=(0.0, 2.0),
        unranked=("ece",),
        drawn=("brier",),
    )
)
def calibration(ev: Evaluation) -> Iterator[Score]:
    """Ten draws of z ~ q(z | x_m) a row as a forecast of the class: :func:`fair_brier`, and calibration error.

    Of at most 250 test rows, m each modality and t each other. Chance of the Brier score is that of a forecast of the
    classes' shares; its ceiling that of a forecast of the oracle's class of the true entry.
    """
    tasks, label = directions(ev), judged_labels(ev)
    for a, t in tasks:
        rows = [ev.row((a,), t, variant) for variant in ("brier", "ece")]
        yield from or_reason(rows, partial(_calibration, ev, a, t, label))


def _calibration(ev: Evaluation, given: str, target: str, label: Classes) -> Iterator[Score]:
    classes, row = several(ev, given, target).classes, ev.row((given,), target)
    row = replace(row, reason=blind_judges(ev).get(target, ""))
    true = ev.recognised(target)[several_of_judged(ev)]
    label = label[several_of_judged(ev)]
    limits = 1 - np.square(np.bincount(label) / len(label)).sum(), 2 * (true != label).mean()
    brier = replace(row, variant="brier", chance=float(limits[0]), ceiling=float(limits[1]))
    yield brier.mean(fair_brier(counted(classes, ev.classes), label))
    value, floor = calibration_and_floor(classes, label, ev.classes)
    yield replace(row, variant="ece", value=value, n=len(label), ceiling=floor)


# --- joint completion ------------------------------------------------------------------------------------------------


def agreeing(values: Sequence[Values], count: int) -> NDArray[np.bool_]:
    """Return where T targets have the same value below ``count``, of values [K, n] each: [K, n]."""
    return np.asarray(np.all([each == values[0] for each in values[1:]], 0) & (values[0] < count))


def crossed(values: Sequence[Values], count: int) -> Floats:
    """Return, for each row, the share of :func:`agreeing` targets if each has another of the K >= T draws: [n]."""
    return np.asarray(agreeing([np.roll(each, t, 0) for t, each in enumerate(values)], count).mean(0))


def entropy_of_draws(values: Values, count: int) -> Floats:
    """Return -sum_c (n_c / K) log(n_c / K) of the K draws of each row, of values [K, n]: [n]."""
    p = counted(values, count) / len(values)
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(1))


def expected_entropy(p: Floats, k: int) -> float:
    """Return the mean :func:`entropy_of_draws` of k independent draws with shares p [C], which is below that of p."""
    share = np.arange(1, k + 1) / k
    return float(-(binom.pmf(np.arange(1, k + 1), k, p[:, None]) * share * np.log(share)).sum())


@once
def shown(ev: Evaluation, name: str) -> NDArray[np.bool_]:
    """Return which attributes (else the class) a modality shows: its judge is above chance on true entries, [A]."""
    read, truth = said(ev.of_true(name)), np.asarray(ev.judged.values)
    right = (read == truth).mean(0)
    return np.array([not is_blind(r, majority(each), len(truth)) for r, each in zip(right, truth.T, strict=True)])


@metric(
    Description(
        "Joint completion, {}",
        "Targets that are generated from one z, given a modality that does not say an attribute.",
        {
            "gain": "agreement less its chance: 0 if targets are independent, and also if a model always generates one "
            "value",
            "agreement": "share of draws whose targets all show the same value of the attribute; chance is that of "
            "targets of different draws given the same entry, which is high where draws hardly vary, so that no best "
            "is marked",
            "spread": "entropy of a target's values over ten draws given one entry, divided by that of ten draws of "
            "the data: 0 if they are all the same, 1 if they vary as the data do; independent targets reach 1, too, so "
            "that no best is marked",
        },
        bounds=(-1.0, None),
        unranked=("agreement", "spread"),
        drawn=("gain", "spread"),
    )
)
def joint_completion(ev: Evaluation) -> Iterator[Score]:
    """Agreement of what a given modality leaves open, in several others decoded from one z, its gain, and its spread.

    z ~ q(z | x_m), ten draws a row of at most 250 test rows; private latents of targets are drawn from their priors. An
    attribute (without attributes: the class) is open if the judge of x_m is at chance on true entries, and targets are
    all modalities whose judge is not. Ceilings of agreement and gain: those of true entries as they are judged. Where
    the class is given, ``cross_coherence`` says whether targets agree. Computed only when it is named.
    """
    ev.check_decoders()
    judged_labels(ev)
    names = list(ev.attributes or {"class": ()})
    found = False
    for given in (name for name in ev.names if name in ev.oracles):
        for a, attribute in enumerate(names):
            targets = tuple(t for t in ev.names if t != given and t in ev.oracles and shown(ev, t)[a])
            if len(targets) > 1 and not shown(ev, given)[a]:
                found = True
                both = [ev.row((given,), "+".join(targets), f"{form} {attribute}") for form in ("gain", "agreement")]
                spreads = [ev.row((given,), t, f"spread {attribute}") for t in targets]
                yield from or_reason([*both, *spreads], partial(_completion, ev, both, spreads, a))
    if not found:
        raise Undefined("no modality leaves open an attribute that two others show, as judges read true entries")


def _completion(ev: Evaluation, both: Sequence[Score], spreads: Sequence[Score], a: int) -> Iterator[Score]:
    targets, truth = [spread.target for spread in spreads], np.asarray(ev.judged.values)[:, a]
    values = [several(ev, both[0].given, t).values[..., a] for t in targets]
    count = int(truth.max()) + 1 if ev.attributes is None else len(list(ev.attributes.values())[a])
    true = float(agreeing([said(ev.of_true(t))[None, :, a] for t in targets], count).mean())
    shares = np.bincount(truth, minlength=count) / len(truth)
    together, apart = agreeing(values, count).mean(0), crossed(values, count)
    yield replace(both[0], chance=0.0, ceiling=true - float((shares ** len(targets)).sum())).mean(together - apart)
    yield replace(both[1], chance=float(apart.mean()), ceiling=true).mean(together)
    for spread, each in zip(spreads, values, strict=True):
        yield replace(spread, ceiling=1.0).mean(entropy_of_draws(each, count) / expected_entropy(shares, DRAWS))
