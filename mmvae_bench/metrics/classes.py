"""Classes of what is generated, and of latents.

Coherence (Shi et al. 2019, Sec. 4.1; protocol 16): agreement of generated entries with their class, by oracles. Linear
probe (Shi et al. 2019; Sutter et al. 2021; protocol 20): classes predicted from latents.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once, or_reason
from mmvae_bench.metrics.description import is_blind
from mmvae_bench.metrics.priors import under_priors

Classes = NDArray[np.int64]


def macro_accuracy(predicted: Classes, label: Classes) -> tuple[float, float]:
    """Return the mean over the C classes present in ``label`` of their accuracies a_c, in [0, 1]: balanced accuracy.

    Its standard error is sqrt(sum_c a_c (1 - a_c) / n_c) / C.
    """
    a, n = np.array([((predicted == label)[label == c].mean(), (label == c).sum()) for c in np.unique(label)]).T
    return float(a.mean()), float(np.sqrt((a * (1 - a) / n).sum()) / len(a))


def majority(label: Classes) -> float:
    """Return the share of the most frequent class, the accuracy of the best constant guess."""
    return float(np.bincount(label).max() / len(label))


def joint_agreement(predicted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return on which draws all M oracles agree, of predicted [M, N]: [N]."""
    return np.asarray((predicted == predicted[0]).all(0))


def agreement_by_chance(predicted: Sequence[Classes], count: int) -> float:
    """Return sum_c prod_m p_m(c) over ``count`` classes: agreement of independent draws with the same M marginals."""
    shares = [np.bincount(c[(c >= 0) & (c < count)], minlength=count) / max(len(c), 1) for c in predicted]
    return float(np.prod(shares, 0).sum())


def normalised_entropy(predicted: Classes, classes: int) -> float:
    """Return -sum_c p_c log p_c / log C of the predicted classes: 0 if all are one class, 1 if uniform."""
    p = np.bincount(predicted, minlength=classes) / len(predicted)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum() / math.log(max(classes, 2))) + 0.0


def class_labels(ev: Evaluation) -> Classes:
    """Return the classes of the judged test rows.

    Raises:
        Undefined: If there are none, or none that training and test share (zero-shot splits).
    """
    if ev.test.label is None or ev.train.label is None or not ev.classes:
        raise Undefined("the data set has no classes")
    if not np.intersect1d(ev.train.label, ev.test.label).size:
        raise Undefined("no class is both among the training rows and among the test rows")
    return np.asarray(ev.judged.label)


def judged_labels(ev: Evaluation) -> Classes:
    """Return :func:`class_labels`, or raise :class:`Undefined` if there is no oracle."""
    if not ev.oracles:
        raise Undefined("there is no oracle to judge classes")
    return class_labels(ev)


@once
def blind_judges(ev: Evaluation) -> dict[str, str]:
    """Return a remark for each modality whose judge is at chance on true test entries; empty without classes."""
    try:
        label = judged_labels(ev)
    except Undefined:
        return {}
    chance, known = majority(label), {name: judge.accuracy for name, judge in ev.oracles.items()}
    return {
        name: f"the judge of {name} is at chance (accuracy {accuracy:.3f}, chance {chance:.3f})"
        for name, accuracy in known.items()
        if accuracy is not None and is_blind(accuracy, chance, len(label))
    }


def _blind(ev: Evaluation, *names: str) -> str:
    """Return the remarks on those of some judges that are at chance; empty if none is."""
    return "; ".join(remark for name, remark in blind_judges(ev).items() if name in names)


COHERENCE = {
    "micro": "over all test rows",
    "macro": "mean over the classes present",
    "agreement": "against the oracle's prediction on the source instead of the label",
}


@metric(
    Description(
        "Oracle accuracy",
        "Test accuracy of the classifier that judges a modality: the ceiling of the coherences.",
        bounds=(0.0, 1.0),
        unranked=("",),
        drawn=(),
    ),
    version=2,
)
def oracle_accuracy(ev: Evaluation) -> Iterator[Score]:
    """The oracle on the true test entries of each modality: the ceiling. Chance: the share of the largest class."""
    label = judged_labels(ev)
    for name in ev.oracles:
        row = Score(None, target=name, chance=majority(label), reason=_blind(ev, name))
        yield row.mean(ev.recognised(name) == label)


@metric(
    Description(
        "Cross-coherence",
        "Share of generated targets that the oracle puts into the class of the modalities given.",
        COHERENCE,
        bounds=(0.0, 1.0),
        drawn=("micro",),
        key=True,
        columns="size",
    ),
    version=2,
)
def cross_coherence(ev: Evaluation) -> Iterator[Score]:
    """Classes of x_t generated from x_A, t not in A: one z ~ q(z | x_A) a test row, the decoder's mean judged.

    ``micro`` and ``macro`` compare with the label; ``agreement`` (MEME's wording, |A| = 1) with the oracle's class of
    the source entry, whose ceiling is the agreement on true pairs. Chance: the share of the most frequent class that
    is compared with, 1/C for macro. ``micro k`` (M > 2) is the mean over all |A| = k and t outside A whose judge is
    above chance.
    """
    ev.check_decoders()
    label = judged_labels(ev)
    for size in range(1, len(ev.names)):
        tasks = [(a, t) for a in ev.subsets if len(a) == size for t in ev.names if t not in a and t in ev.oracles]
        for a, t in tasks:
            yield from or_reason(_skipped(ev, a, t), partial(_cross, ev, a, t, label))
        if len(ev.names) > 2 and tasks:
            row = Score(None, f"micro {size}", chance=majority(label), control=ev.model.cross_is_chance)
            row = replace(row, reason=_blind(ev, *ev.names))
            yield from or_reason([row], partial(_mean_of, ev, row, tasks, label))


def _skipped(ev: Evaluation, given: tuple[str, ...], target: str) -> list[Score]:
    return [ev.row(given, target, variant) for variant in ("micro", "macro")]


def _mean_of(
    ev: Evaluation, row: Score, tasks: Sequence[tuple[tuple[str, ...], str]], label: Classes
) -> Iterator[Score]:
    """Yield the mean over directions whose judge is above chance, which are dependent, and then over rows."""
    good = [(a, t) for a, t in tasks if not _blind(ev, t)]
    yield row.mean(np.mean([ev.predicted(a, t) == label for a, t in good], 0)) if good else row


def _cross(ev: Evaluation, a: tuple[str, ...], t: str, label: Classes) -> Iterator[Score]:
    yield from _rows(ev, a, t, label)
    if len(a) == 1 and a[0] in ev.oracles:
        seen = ev.recognised(a[0])
        ceiling = float((ev.recognised(t) == seen).mean())
        row = replace(ev.row(a, t, "agreement"), chance=majority(seen), ceiling=ceiling)
        yield replace(row, reason=_blind(ev, a[0], t)).mean(ev.predicted(a, t) == seen)


@metric(
    Description(
        "Self-coherence",
        "Share of reconstructions that the oracle puts into the right class, the target being among the given.",
        COHERENCE,
        bounds=(0.0, 1.0),
        drawn=(),
        columns="size",
    ),
    version=2,
)
def self_coherence(ev: Evaluation) -> Iterator[Score]:
    """Like :func:`cross_coherence` for t in A: agreement of a reconstruction with its class."""
    ev.check_decoders()
    label = judged_labels(ev)
    for a in ev.subsets:
        for t in a:
            if t in ev.oracles:
                yield from or_reason(_skipped(ev, a, t), partial(_rows, ev, a, t, label))


@metric(
    Description(
        "Joint coherence",
        "Share of draws from the prior whose modalities the oracles put into one class.",
        {"entropy": "entropy of the predicted classes / log C: near 0 means always the same class"},
        bounds=(0.0, 1.0),
        unranked=("entropy", "aggregate"),
    ),
    version=2,
    of_priors=True,
)
def joint_coherence(ev: Evaluation) -> Iterator[Score]:
    """Agreement of all oracles on entries decoded from one z ~ p(z), and the ``entropy`` of each modality's classes.

    Chance: sum_c prod_m p_m(c) of the predicted marginals; ceiling: the oracles' agreement on true test rows. The prior
    is the model's own, the aggregate posterior's, or learned (protocol 17); priors are never ranked together.
    """
    judged_labels(ev)
    if set(ev.oracles) != set(ev.names):
        raise Undefined("not every modality has an oracle")
    ceiling = float(joint_agreement(np.stack([ev.recognised(name) for name in ev.names])).mean())
    for row, parts in under_priors(ev, lambda part: np.stack([part.verdict(m).classes for m in ev.names])):
        if not parts:
            yield row
            continue
        predicted = np.concatenate(parts, 1)
        chance = agreement_by_chance(list(predicted), int(predicted.max()) + 1)
        limits = replace(row, chance=chance, ceiling=ceiling, reason=_blind(ev, *ev.names))
        yield limits.mean_of_draws(joint_agreement(predicted))
        for name, classes in zip(ev.names, predicted, strict=True):
            spread, n = normalised_entropy(classes, ev.classes), len(classes)
            yield Score(spread, "entropy", row.prior, target=name, n=n)


def _rows(ev: Evaluation, given: tuple[str, ...], target: str, label: Classes) -> Iterator[Score]:
    predicted = ev.predicted(given, target)
    row = replace(ev.row(given, target), ceiling=ev.oracles[target].accuracy, reason=_blind(ev, target))
    yield replace(row, variant="micro", chance=majority(label)).mean(predicted == label)
    value, se = macro_accuracy(predicted, label)
    yield replace(row, value=value, variant="macro", se=se, n=len(label), chance=1 / len(np.unique(label)))


def probe(z: NDArray[np.float32], label: NDArray[np.int64], z_test: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return classes [N_test] by logistic regression on standardised z [N, L], C = 1, run until it converges."""
    iterations = 1000
    while True:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=iterations))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.fit(z.astype(np.float64), label)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        if converged or iterations >= 100_000:
            return np.asarray(classifier.predict(z_test.astype(np.float64)), dtype=np.int64)
        iterations *= 10


@metric(
    Description(
        "Linear probe",
        "Test accuracy of a logistic regression from latents to classes, fitted on complete training rows.",
        {
            "mean": "on the posterior mean",
            "sample": "on one posterior sample",
            "shared": "only for models with private latents: of the latent that modalities share",
            "private": "only for models with private latents: of those of the given modalities, where a class is not "
            "expected, so that no best is marked",
        },
        bounds=(0.0, 1.0),
        unranked=("private",),
        drawn=("mean",),
        key=True,
        coarse="mean of each",
    ),
    version=2,
)
def linear_probe(ev: Evaluation) -> Iterator[Score]:
    """Test accuracy of a probe on z of q(z | x_A): variants ``mean`` and ``sample``, |A| = 1 and A = all.

    Where a model has private latents, the ``shared`` part and the ``private`` one of A are probed as well.

    Fitted on the same min(4,000, N) complete training rows for every model, whatever its mask. Chance: the share of the
    largest class.
    """
    label = probed_labels(ev)
    # All together if the paper defines their posterior
    every = [ev.names] if ev.model.joint_posterior and len(ev.names) > 1 else []
    for given in [*((name,) for name in ev.names), *every]:
        rows = [Score(None, variant, given="+".join(given)) for variant in ("mean", "sample")]
        yield from or_reason(rows, partial(_probes, ev, given, label))


def probed_labels(ev: Evaluation) -> Classes:
    """Return :func:`class_labels`, or raise :class:`Undefined` if the rows that fit a probe are of one class."""
    label, fitted = class_labels(ev), np.asarray(ev.probe_rows.label)
    if len(np.unique(fitted)) < 2:
        raise Undefined(f"a probe needs two classes, and its training rows ({len(fitted)}) have one")
    return label


def probed_parts(ev: Evaluation, given: tuple[str, ...]) -> dict[str, list[slice]]:
    """Return the dimensions of z given x_A that are probed: all (``""``), and ``shared`` and ``private`` ones."""
    parts = ev.model.latent_parts
    own = [parts[name] for name in given if name in parts]  # the others are noise of their prior
    shared = [parts["shared"]] if parts else [slice(None)]
    return {"": [*shared, *own], "shared": shared, "private": own} if own else {"": shared}


@once
def probed(ev: Evaluation, given: tuple[str, ...], part: str, form: str) -> Classes:
    """Return the class of each judged row by a :func:`probe` on a part of z and a form of it (``mean``, ``sample``)."""
    dimensions = probed_parts(ev, given)[part]
    train, test = (getattr(ev.latents(given, split).part(*dimensions), form) for split in ("train", "test"))
    return probe(train, np.asarray(ev.probe_rows.label), test[ev.judged_rows])


def _probes(ev: Evaluation, given: tuple[str, ...], label: Classes) -> Iterator[Score]:
    for part in probed_parts(ev, given):
        for form in ("mean", "sample"):
            row = Score(None, f"{part} {form}".lstrip(), given="+".join(given), chance=majority(label))
            yield row.mean(probed(ev, given, part, form) == label)
