"""Correlation of pictures and captions (Shi et al. 2019, Sec. 4.2; Joy et al. 2022, Sec. 4.1). Protocol 22.

A score means nothing beside one by other word vectors or picture features: what may be compared is its ratio to the
score of the true pairs. One true caption of each of at most 1,000 test pictures, the same for every run, where the
papers take all pairs; that makes rows independent. With ResNet-101 a run's scores take 3,000 passes through it, a third
of a second each on one core.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmvae_bench.datasets import resnet
from mmvae_bench.datasets.base import Entries, Repeated
from mmvae_bench.datasets.cache import array_hash
from mmvae_bench.datasets.download import sha256
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, join, metric
from mmvae_bench.metrics.canonical import Agreement, Floats, Projection, agreement, fit_cca, ratio
from mmvae_bench.metrics.caption_quality import generated_captions, picture_and_caption
from mmvae_bench.metrics.oracle import CHUNK, Oracle, to_device
from mmvae_bench.metrics.priors import under_priors
from mmvae_bench.metrics.relatedness import ROWS
from mmvae_bench.metrics.word_vectors import (
    VERSION,
    Arrays,
    Ids,
    Reals,
    WordVectors,
    first_direction,
    kept,
    load_word_vectors,
    mean_embedding,
    sif_embedding,
    without,
)
from mmvae_bench.types import Modality

DIMENSIONS = 40  # as MMVAE's
ENOUGH = 10  # pictures a dimension; below that both views are reduced until there are as many
EMBEDDINGS = {"mean": mean_embedding, "sif": sif_embedding}
CPU = torch.device("cpu")


class Side(NamedTuple):
    """Features [N, F] of pictures [N, *shape]: ``features`` (of the data set), ``resnet101`` or ``oracle``.

    The hash is of the weights of the feature extractor; empty where there are none.
    """

    name: str
    hash: str
    features: Callable[[Tensor], Reals]


class Space(NamedTuple):
    """One embedding of captions [N, T] to [N, 300], and the projection that correlates it with picture features.

    The variant names embedding and side, such as ``sif oracle``; ``unit`` first: of variance 1. The note is there if
    the views were reduced first. The hash is of the word vectors, and of the weights of the picture side if it has any.
    """

    variant: str
    projection: Projection
    embed: Callable[[Ids], Reals]
    note: str
    hash: str

    def agreement(self, features: Reals, ids: Ids) -> Agreement:
        """Return the agreement of n pictures' features [n, F] with as many captions [n, T]."""
        return agreement(self.projection.left(features), self.projection.right(self.embed(ids)))


def picture_side(ev: Evaluation, picture: Modality) -> Side:
    """Return the features of a data set of features, else of ResNet-101 if its weights are there, else of the oracle.

    Raises:
        Undefined: If there is none of them.
    """
    if picture.dtype == "float32" and len(picture.shape) == 1:
        return Side("features", "", lambda x: np.asarray(x.numpy()))
    if ev.data_dir is not None and (weights := resnet.weights_file(ev.data_dir)) is not None:
        return Side("resnet101", sha256(weights)[:16], lambda x: resnet.features(x, weights).numpy())
    oracle = ev.oracles.get(picture.name)
    if isinstance(oracle, Oracle):
        return Side("oracle", oracle.hash, oracle.features)
    raise Undefined("there are neither weights of ResNet-101 nor an oracle to make features of the pictures")


def spaces(ev: Evaluation, side: Side, picture: Modality, caption: Modality) -> list[Space]:
    """Return two spaces for each embedding, of MMVAE's scaling and of unit variance, fitted or from the cache.

    Raises:
        Undefined: If the word vectors cannot be had, or there are too few pictures.
    """
    if ev.pairs is None:
        raise Undefined("the true training pairs are not known")
    ids = np.asarray(ev.pairs.x[caption.name], np.int64)
    _, first, index = np.unique(ev.pairs.items, return_index=True, return_inverse=True)
    index, entries = index.astype(np.int64), ev.pairs.x[picture.name][first]
    words = load_word_vectors(ids, caption.vocabulary, ev.cache_dir)
    features = cache(lambda: Repeated(_features(side, entries), index))  # computed only where something is fitted
    content = f"{VERSION} cca unit {DIMENSIONS} {side.name} {side.hash} {words.hash} {array_hash(entries, ids, index)}"
    out = []
    for name in EMBEDDINGS:
        arrays = kept(ev.cache_dir, f"{content} {name}", partial(_fitted, name, features, ids, words))
        direction = arrays.pop("direction").astype(np.float32)
        unit, embed = Projection(**arrays), partial(_embedded, name, words, direction)
        note = _note(len(first), len(unit.mean_x), len(unit.mean_y))
        behind = "+".join(filter(None, (words.hash, side.hash)))
        for prefix, projection in (("", unit.stacked()), ("unit ", unit)):
            out.append(Space(f"{prefix}{name} {side.name}", projection, embed, note, behind))
    return out


def most_components(n: int, dimensions: int) -> int | None:
    """Return n // 20 where n pictures are fewer than ten times the dimensions of both views together, else None.

    Each view is then reduced to at most so many dimensions, together at most n / 10.

    Raises:
        Undefined: If that leaves none.
    """
    most = n // (2 * ENOUGH) if n < ENOUGH * dimensions else None
    if most == 0:
        raise Undefined(f"{n} training pictures are too few for a correlation")
    return most


def _note(n: int, p: int, q: int) -> str:
    most = most_components(n, p + q)
    if most is None:
        return ""
    return f"first reduced by PCA to {min(most, p)} and {min(most, q)} dimensions: {n} pictures are few for {p} and {q}"


def _fitted(name: str, features: Callable[[], Repeated], ids: Ids, words: WordVectors) -> Arrays:
    """Return the projection of the embedding ``name``, and the direction that it leaves out (zero for ``mean``)."""
    e = EMBEDDINGS[name](ids, words)
    direction = first_direction(e) if name == "sif" else np.zeros(e.shape[1], np.float32)
    x = features()
    most = most_components(len(x.entries), x.shape[1] + e.shape[1])
    return {**vars(fit_cca(x, without(direction, e), DIMENSIONS, most)), "direction": direction}


def _embedded(name: str, words: WordVectors, direction: Reals, ids: Ids) -> Reals:
    return without(direction, EMBEDDINGS[name](ids, words))


def _features(side: Side, entries: Entries) -> Reals:
    """Return features of stored entries, computed in chunks: [N, F] float32."""
    starts = range(0, len(entries), CHUNK)
    return np.concatenate([side.features(to_device(entries[i : i + CHUNK], CPU)) for i in starts])


DRAWS = 1000  # from a prior, as MMVAE's
NO_RATIO = "true pairs do not exceed shuffled ones by 5 standard errors: there is nothing to compare with"


class Measured(NamedTuple):
    """Agreement of the true test pairs in a space, and of pairs of which one or both are generated.

    ``made`` has for each way to generate a score without value, and the agreement: None where nothing was generated.
    """

    space: Space
    truth: Agreement
    made: list[tuple[Score, Agreement | None]]


def measured(ev: Evaluation) -> list[Measured]:
    """Return the agreements that the three metrics report, computed once per evaluation."""
    return ev.once("cca", lambda: list(_measure(ev)))


def _measure(ev: Evaluation) -> Iterator[Measured]:
    picture, caption = picture_and_caption(ev)
    side, rows = picture_side(ev, picture), ev.test.take(ev.item_rows(ROWS))
    if len(rows) < 2:
        raise Undefined("one test picture is too few for a correlation")
    fitted = spaces(ev, side, picture, caption)
    entries, ids = rows.x[picture.name], np.asarray(rows.x[caption.name], np.int64)
    # From the cache: ResNet-101 takes a third of a second per picture
    content = f"{VERSION} features {side.name} {side.hash} {array_hash(entries)}"
    features = kept(ev.cache_dir, content, lambda: {"features": side.features(to_device(entries, CPU))})["features"]

    pictures = ev.generate(rows, (caption.name,), picture.name)
    made = [
        (_crossed(ev, picture, caption), [(features, generated_captions(ev))]),
        (_crossed(ev, caption, picture), [(side.features(pictures), ids)]),
        *under_priors(ev, lambda x: (side.features(x[picture.name]), x[caption.name].numpy()), DRAWS),
    ]
    for space in fitted:
        yield Measured(space, space.agreement(features, ids), [_compared(space, *one) for one in made])


def _crossed(ev: Evaluation, given: Modality, target: Modality) -> Score:
    return Score(None, given=given.name, target=target.name, control=ev.model.cross_is_chance)


def _compared(space: Space, row: Score, parts: list[tuple[Reals, Ids]]) -> tuple[Score, Agreement | None]:
    row = replace(row, variant=space.variant)
    if not parts:
        return row, None
    features, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
    return replace(row, n=len(ids), reason=space.note, embedding_hash=space.hash), space.agreement(features, ids)


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


CCA = {
    "mean": "captions as the mean of their word vectors",
    "sif": "captions as a mean of word vectors in which frequent words weigh less (SIF)",
    "oracle": "pictures as the features of the oracle",
    "features": "pictures as the data set's features",
    "resnet101": "pictures as ResNet-101 features",
    "unit": "each direction scaled to unit variance instead of as in MMVAE's code",
}


@metric(
    Description(
        "CCA",
        "Mean cosine of pictures and captions, one or both of them generated, after the projections of a canonical "
        "correlation analysis of the true training pairs.",
        CCA,
        bounds=(-1.0, 1.0),
        drawn=("mean",),
        key=True,
        ceiling="true pairs",
    )
)
def cca(ev: Evaluation) -> Iterator[Score]:
    """Mean cosine of the projected picture features and sentence vectors of pairs of which one or both are generated.

    Variants: the sentence vector (``mean``: of word vectors, as MEME; ``sif``: weighted, as MMVAE) and the picture
    features; ``unit`` is of directions of unit variance, the others of MMVAE's scaling. Chance: the mean over shuffled
    pairs of the same; ceiling: :func:`cca_ground_truth`, which generations may exceed, as they are smoother than what
    is true.
    """
    for _, truth, made in measured(ev):
        for row, found in made:
            if found is None:
                yield row
                continue
            value, se = _mean(found.own)
            chance, ceiling = float(found.others.mean()), float(truth.own.mean())
            yield replace(row, value=value, se=se, chance=chance, ceiling=ceiling)


@metric(
    Description(
        "CCA, ground truth",
        "The same cosine of the true test pairs: what CCA is to be compared with.",
        CCA,
        bounds=(-1.0, 1.0),
        unranked=("",),
        drawn=(),
        columns="pair",
    )
)
def cca_ground_truth(ev: Evaluation) -> Iterator[Score]:
    """The same of true test pairs. Chance: the mean over shuffled pairs."""
    for space, truth, _ in measured(ev):
        value, se = _mean(truth.own)
        yield Score(
            value, space.variant, target=join(ev.names), se=se, n=len(truth.own),
            chance=float(truth.others.mean()), reason=space.note, embedding_hash=space.hash,
        )  # fmt: skip


@metric(
    Description(
        "CCA, ratio",
        "The CCA of generated pairs over that of the true test pairs: at 1 they are as related as true ones; smooth "
        "generations may exceed it.",
        CCA,
        drawn=("", "mean"),
        ceiling="true pairs",
    )
)
def cca_ratio(ev: Evaluation) -> Iterator[Score]:
    """:func:`cca` over :func:`cca_ground_truth`: what may be compared between spaces. Skipped where truth is chance."""
    for _, truth, made in measured(ev):
        for row, found in made:
            if not truth.exceeds_shuffled:
                yield Score(None, row.variant, row.prior, row.given, row.target, reason=NO_RATIO)
            elif found is None:
                yield row
            else:
                value, se = ratio(found.own, truth.own, paired=not row.prior)
                chance = float(found.others.mean() / truth.own.mean())
                yield replace(row, value=value, se=se, chance=chance, ceiling=1.0)
