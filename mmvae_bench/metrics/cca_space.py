"""The spaces in which pictures and captions are correlated: picture features, sentence vectors, fitted projections.

Fitted on all true training pairs, once a data set, and kept in the cache: the same for every run.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.datasets import resnet
from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.download import sha256
from mmvae_bench.datasets.repeated import Repeated, Stored
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.canonical import Projection, fit_cca
from mmvae_bench.metrics.classifier import CHUNK, Entries, Oracle, to_device
from mmvae_bench.metrics.oracle import array_hash
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
    """What stands for a picture.

    Attributes:
        name: ``features`` (of the data set), ``resnet101`` or ``oracle``.
        hash: Of the weights behind it; empty where there are none.
        features: Entries [N, *shape] to [N, F].
    """

    name: str
    hash: str
    features: Callable[[Tensor], Reals]


class Space(NamedTuple):
    """One embedding of captions, and the projection that correlates it with picture features.

    Attributes:
        variant: The embedding and the side, such as ``sif oracle``; ``unit`` first: of variance 1.
        projection: Fitted on the training pairs.
        embed: Captions [N, T] to [N, 300].
        note: Says if the views were reduced first.
        hash: Of the word vectors, and of the weights behind the picture side if it has any.
    """

    variant: str
    projection: Projection
    embed: Callable[[Ids], Reals]
    note: str
    hash: str


def picture_side(ev: Evaluation, picture: Modality) -> Side:
    """The features of a data set of features; else those of ResNet-101 if the user has its weights, else the oracle's.

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
    """Two spaces for each embedding, of MMVAE's scaling and of unit variance, fitted or from the cache.

    Raises:
        Undefined: If the word vectors cannot be had, or there are too few pictures.
    """
    if ev.pairs is None:
        raise Undefined("the true training pairs are not known")
    ids, (first, index) = np.asarray(ev.pairs.x[caption.name], np.int64), _items(ev.pairs)
    entries = ev.pairs.x[picture.name][first]
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
    """n // 20 where n pictures are fewer than ten times the dimensions of both views together, else None.

    Each view is then reduced to at most so many: together at most n / 10, which is what makes n enough.

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
    """The projection of the embedding ``name``, and the direction that it leaves out (zero for ``mean``)."""
    e = EMBEDDINGS[name](ids, words)
    direction = first_direction(e) if name == "sif" else np.zeros(e.shape[1], np.float32)
    x = features()
    most = most_components(len(x.entries), x.shape[1] + e.shape[1])
    return {**vars(fit_cca(x, without(direction, e), DIMENSIONS, "unit_variance", most=most)), "direction": direction}


def _embedded(name: str, words: WordVectors, direction: Reals, ids: Ids) -> Reals:
    return without(direction, EMBEDDINGS[name](ids, words))


def _items(pairs: Rows) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """A row of each item, and which of them each row shows."""
    _, first, index = np.unique(pairs.items, return_index=True, return_inverse=True)
    return first, index.astype(np.int64)


def true_features(ev: Evaluation, side: Side, entries: Stored) -> Reals:
    """Of true test entries, the same for every run: kept, because ResNet-101 takes a third of a second for each."""
    content = f"{VERSION} features {side.name} {side.hash} {array_hash(entries)}"
    return kept(ev.cache_dir, content, lambda: {"features": side.features(to_device(entries, CPU))})["features"]


def _features(side: Side, entries: Entries) -> Reals:
    """Of stored entries, chunk by chunk: [N, F] float32."""
    starts = range(0, len(entries), CHUNK)
    return np.concatenate([side.features(to_device(entries[i : i + CHUNK], CPU)) for i in starts])
