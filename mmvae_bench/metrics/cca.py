"""Correlation of pictures and captions (Shi et al. 2019, Sec. 4.2; Joy et al. 2022, Sec. 4.1). Protocol 22.

A score means nothing beside one by other word vectors or picture features: what may be compared is its ratio to the
score of the true pairs. One true caption of each of at most 1,000 test pictures, the same for every run, where the
papers take all pairs; that makes rows independent. With ResNet-101 a run's scores take 3,000 passes through it, a third
of a second each on one core.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Evaluation, Score, join, metric
from mmvae_bench.metrics.canonical import Agreement, Floats, agreement, ratio
from mmvae_bench.metrics.caption_quality import generated_captions, picture_and_caption
from mmvae_bench.metrics.cca_space import Side, Space, picture_side, spaces, true_features
from mmvae_bench.metrics.coherence import control, prior_entries
from mmvae_bench.metrics.priors import PRIORS
from mmvae_bench.metrics.relatedness import ROWS
from mmvae_bench.metrics.word_vectors import Ids, Reals
from mmvae_bench.types import Modality

DRAWS = 1000  # from a prior, as MMVAE's
NO_RATIO = "true pairs do not exceed shuffled ones by 5 standard errors: there is nothing to compare with"


class Made(NamedTuple):
    """n pictures' features and as many captions, at least one of each pair generated.

    Attributes:
        reason: Why there are none, or what a score of them must not be taken for.
    """

    prior: Literal["", "model", "aggregate"]
    given: str
    target: str
    features: Reals
    ids: Ids
    reason: str = ""


class Measured(NamedTuple):
    """How pairs agree in a space, true ones and those that were made; ``found`` is None where none were made."""

    space: Space
    truth: Agreement
    made: Made
    found: Agreement | None


def measured(ev: Evaluation) -> list[Measured]:
    """All that the three metrics report, computed once an evaluation."""
    return ev.once("cca", lambda: list(_measure(ev)))


def _measure(ev: Evaluation) -> Iterator[Measured]:
    picture, caption = picture_and_caption(ev)
    side, rows = picture_side(ev, picture), ev.item_rows(ROWS)
    if len(rows) < 2:
        raise Undefined("one test picture is too few for a correlation")
    fitted = spaces(ev, side, picture, caption)
    features = true_features(ev, side, ev.test.x[picture.name][rows])
    ids = np.asarray(ev.test.x[caption.name][rows], np.int64)
    made = [*_crossed(ev, side, picture, caption, features, ids), *_drawn(ev, side, picture, caption)]
    for space in fitted:
        truth = _compared(space, features, ids)
        for one in made:
            yield Measured(space, truth, one, _compared(space, one.features, one.ids) if len(one.ids) else None)


def _compared(space: Space, features: Reals, ids: Ids) -> Agreement:
    return agreement(space.projection.left(features), space.projection.right(space.embed(ids)))


def _crossed(
    ev: Evaluation, side: Side, picture: Modality, caption: Modality, features: Reals, ids: Ids
) -> Iterator[Made]:
    """True features beside captions generated from the pictures; features of generated pictures, true captions."""
    reason = control(ev)
    yield Made("", picture.name, caption.name, features, generated_captions(ev), reason)
    pictures = ev.generate(ev.test.take(ev.item_rows(ROWS)), (caption.name,), picture.name)
    yield Made("", caption.name, picture.name, side.features(pictures), ids, reason)


def _drawn(ev: Evaluation, side: Side, picture: Modality, caption: Modality) -> Iterator[Made]:
    """Both decoded from one z of a prior."""
    for prior in PRIORS:
        try:
            parts = [(side.features(x[picture.name]), x[caption.name]) for x in prior_entries(ev, prior, DRAWS)]
            features, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
            yield Made(prior, "", join(ev.names), features, ids)
        except Undefined as reason:
            nothing = np.zeros((0, 1), np.float32)
            yield Made(prior, "", join(ev.names), nothing, nothing.astype(np.int64), str(reason))


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


@metric("cca", bounds=(-1.0, 1.0))
def cca(ev: Evaluation) -> Iterator[Score]:
    """Mean cosine of the projected picture features and sentence vectors of pairs of which one or both are generated.

    Variants: the sentence vector (``mean``: of word vectors, as MEME; ``sif``: weighted, as MMVAE) and the picture
    features; ``unit`` is of directions of unit variance, the others of MMVAE's scaling. Chance: the mean over shuffled
    pairs of the same; ceiling: :func:`cca_ground_truth`, which generations may exceed, as they are smoother than what
    is true.
    """
    for space, truth, made, found in measured(ev):
        variant, reason = space.variant, _reason(made, space)
        if found is None:
            yield Score("cca", None, variant, made.prior, made.given, made.target, reason=made.reason)
            continue
        value, se = _mean(found.own)
        yield Score(
            "cca", value, variant, made.prior, made.given, made.target, se, len(found.own), float(found.others.mean()),
            float(truth.own.mean()), reason, space.hash,
        )  # fmt: skip


@metric("cca_ground_truth", bounds=(-1.0, 1.0))
def cca_ground_truth(ev: Evaluation) -> Iterator[Score]:
    """The same of true test pairs. Chance: the mean over shuffled pairs."""
    for space, truth in {space.variant: (space, truth) for space, truth, _, _ in measured(ev)}.values():
        value, se = _mean(truth.own)
        yield Score(
            "cca_ground_truth", value, space.variant, target=join(ev.names), se=se, n=len(truth.own),
            chance=float(truth.others.mean()), reason=space.note, embedding_hash=space.hash,
        )  # fmt: skip


@metric("cca_ratio")
def cca_ratio(ev: Evaluation) -> Iterator[Score]:
    """:func:`cca` over :func:`cca_ground_truth`: what may be compared between spaces. Skipped where truth is chance."""
    for space, truth, made, found in measured(ev):
        skipped = NO_RATIO if not truth.exceeds_shuffled else made.reason if found is None else ""
        if found is None or skipped:
            yield Score("cca_ratio", None, space.variant, made.prior, made.given, made.target, reason=skipped)
            continue
        value, se = ratio(found.own, truth.own, paired=not made.prior)
        chance = float(found.others.mean() / truth.own.mean())
        yield Score(
            "cca_ratio", value, space.variant, made.prior, made.given, made.target, se, len(found.own), chance, 1.0,
            _reason(made, space), space.hash,
        )  # fmt: skip


def _reason(made: Made, space: Space) -> str:
    return "; ".join(filter(None, (made.reason, space.note)))
