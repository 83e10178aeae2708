"""Attributes of generated entries, all or one by one: the scores of CdSprites+ (Sejnova et al. 2022). Protocol 16."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once
from mmvae_bench.metrics.classes import agreement_by_chance, majority
from mmvae_bench.metrics.oracle import Judged
from mmvae_bench.metrics.priors import under_priors

Values = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Read:
    """Reading of N entries by a judge."""

    values: Values  # [N, A]; where one is unreadable, the number of values of its attribute
    whole: NDArray[np.bool_]  # well-formedness, [N]

    @classmethod
    def of(cls, verdict: Judged) -> "Read":
        """Return the attributes that a judge says."""
        return cls(verdict.values, verdict.whole)


def right(read: Read, truth: Values) -> Floats:
    """Return [N, 2]: 1 where the whole entry is right and well formed, and the share of right attributes."""
    same = read.values == truth
    return np.stack([read.whole & same.all(1), same.mean(1)], 1)


def agreement(reads: Sequence[Read], counts: Sequence[int]) -> Floats:
    """Return :func:`right` of M readings of the same N rows by one another: [N, 2]. Unreadable attributes are wrong."""
    first = np.where(reads[0].values < np.array(counts), reads[0].values, -1)  # -1 is what none of the others reads
    same = np.all([first == read.values for read in reads[1:]], 0)
    return np.stack([np.all([read.whole for read in reads], 0) & same.all(1), same.mean(1)], 1)


def combined(values: Values, counts: Sequence[int]) -> Values:
    """Return one number for each combination of values: [N, A] -> [N]; -1 where one of them is unreadable."""
    readable = np.all(values < np.array(counts), 1)
    flat = np.ravel_multi_index(tuple(np.where(readable[:, None], values, 0).T), tuple(counts))
    return np.where(readable, flat, -1)


def chance_of_rows(truth: Values, counts: Sequence[int]) -> tuple[float, float]:
    """Return the scores of the best constant guess: shares of the most frequent combination, and of single values."""
    return majority(combined(truth, counts)), float(np.mean([majority(column) for column in truth.T]))


def chance_of_draws(reads: Sequence[Read], counts: Sequence[int]) -> tuple[float, float]:
    """Return the expected :func:`agreement` of independent draws with the same marginals."""
    whole = [combined(read.values, counts)[read.whole] for read in reads]
    each = [agreement_by_chance([read.values[:, a] for read in reads], count) for a, count in enumerate(counts)]
    share = float(np.prod([read.whole.mean() for read in reads]))
    return share * agreement_by_chance(whole, math.prod(counts)), float(np.mean(each))


ATTRIBUTES = {"self": "the target being among the given"}


@metric(
    Description(
        "Attributes, strict",
        "Share of generated entries in which every attribute is right (in draws from a prior: the same in all "
        "modalities), a caption word for word.",
        ATTRIBUTES,
        bounds=(0.0, 1.0),
        unranked=("aggregate",),
        key=True,
    ),
    version=2,
    of_priors=True,
)
def attributes_strict(ev: Evaluation) -> Iterator[Score]:
    """Share of generated entries in which all attributes of the row are right, and a caption is the true one.

    x_t is generated from x_A as for coherence: t outside A, and apart from that as variant ``self`` t in A. Without a
    given modality: entries of all modalities, decoded from one z of a prior, say the same. Captions are read exactly,
    word for word; pictures by a trained oracle, whose own score on the true test entries is the ceiling. Chance: the
    share of the most frequent combination, or of two draws that agree without knowing of each other.
    """
    yield from _scores(ev, 0)


@metric(
    Description(
        "Attributes, features",
        "Share of single attributes that are right in generated entries (in draws from a prior: the same in all "
        "modalities).",
        ATTRIBUTES,
        bounds=(0.0, 1.0),
        unranked=("aggregate",),
        drawn=(),
    ),
    version=2,
    of_priors=True,
)
def attributes_features(ev: Evaluation) -> Iterator[Score]:
    """Like :func:`attributes_strict`, but the share of attributes that are right, on average over rows.

    Of a caption each attribute counts for itself, also where the sentence is wrong. Chance: the share of the most
    frequent value, on average over attributes.
    """
    yield from _scores(ev, 1)


def _scores(ev: Evaluation, form: Literal[0, 1]) -> Iterator[Score]:
    for score, generated, true, chances in _measured(ev):
        if score.reason:
            yield score
            continue
        row = replace(score, chance=chances[form], ceiling=float(true[:, form].mean()))
        yield row.mean_of_draws(generated[:, form]) if score.prior else row.mean(generated[:, form])


@once
def _measured(ev: Evaluation) -> list[tuple[Score, Floats, Floats, tuple[float, float]]]:
    """Scores without value, :func:`right` or :func:`agreement` of generated and of true entries, and both chances."""
    ev.check_decoders()
    if ev.attributes is None or ev.judged.attributes is None:
        raise Undefined("the data set has no attributes")
    if set(ev.oracles) != set(ev.names):
        raise Undefined("not every modality has an oracle")
    truth, counts = ev.judged.attributes, [len(values) for values in ev.attributes.values()]
    chances, found = chance_of_rows(truth, counts), []
    true = {name: Read.of(ev.of_true(name)) for name in ev.names}
    nothing = np.zeros((0, 2)), np.zeros((0, 2)), chances
    says = {name: getattr(ev.oracles[name], "shown", len(counts)) == len(counts) for name in ev.names}  # of labels
    for given in ev.subsets:
        for target in ev.names:
            row = ev.row(given, target, "self" if target in given else "")
            if not says[target]:
                found.append((replace(row, reason=f"{target} does not say every attribute"), *nothing))
                continue
            made = of_true = right(true[target], truth)
            try:
                made = right(Read.of(ev.of_generated(given, target)), truth)
            except Undefined as reason:
                row = replace(row, reason=str(reason))
            found.append((row, made, of_true, chances))
    names = [name for name in ev.names if says[name]]
    if len(names) < 2:
        return found
    of_all = agreement([true[name] for name in names], counts)
    for of_prior, parts in under_priors(ev, lambda part: [Read.of(part.verdict(m)) for m in names]):
        row = replace(of_prior, target="+".join(names))
        if not parts:
            found.append((row, of_all, of_all, (0.0, 0.0)))
            continue
        reads = [
            Read(np.concatenate([r.values for r in each]), np.concatenate([r.whole for r in each]))
            for each in zip(*parts, strict=True)
        ]
        found.append((row, agreement(reads, counts), of_all, chance_of_draws(reads, counts)))
    return found
