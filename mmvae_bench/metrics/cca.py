"""Correlation of pictures and captions (Shi et al. 2019, Sec. 4.2; Joy et al. 2022, Sec. 4.1). Protocol 22.

A score means nothing beside one by other word vectors or picture features: what may be compared is its ratio to the
score of the true pairs. One true caption of each of at most 1,000 test pictures, the same for every run, where the
papers take all pairs; that makes rows independent. With ResNet-101 a run's scores take 3,000 passes through it, a third
of a second each on one core.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.datasets import resnet
from mmvae_bench.datasets.base import Repeated
from mmvae_bench.datasets.cache import array_hash
from mmvae_bench.datasets.download import sha256
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics import word_vectors as wv
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once
from mmvae_bench.metrics.caption_quality import generated_captions, picture_and_caption
from mmvae_bench.metrics.oracle import CPU, Oracle, read_in_parts, to_device
from mmvae_bench.metrics.priors import under_priors
from mmvae_bench.metrics.relatedness import ROWS
from mmvae_bench.types import Modality

DIMENSIONS = 40  # as MMVAE's
DRAWS = 1000  # of a prior, as in MMVAE's code
ENOUGH = 10  # pictures a dimension; below that both views are reduced until there are as many
EMBEDDINGS = {"mean": wv.mean_embedding, "sif": wv.sif_embedding}
BLOCK = 8192  # rows in double precision at a time
RIDGE = 1e-12  # added to both variances, as in MMVAE's code (src/report/helper.py)

Floats = NDArray[np.float64]
Reals = NDArray[np.float32] | Floats


@dataclass(frozen=True)
class Projection:
    """Linear maps wx [p, k] and wy [q, k] of two views, less their training means, to where pairs are correlated."""

    mean_x: Floats
    mean_y: Floats
    wx: Floats
    wy: Floats

    def stacked(self) -> "Projection":
        """Scale each pair of directions (v_x, v_y) to the Euclidean length 1.

        So eigenvectors come from scipy.linalg.eig in MMVAE's code: cosines in the projected space then weight each
        dimension by its variance.
        """
        length = np.sqrt(np.square(self.wx).sum(0) + np.square(self.wy).sum(0))
        return Projection(self.mean_x, self.mean_y, self.wx / length, self.wy / length)

    def left(self, x: Reals) -> Floats:
        """Return directions of the projected rows x, [N, k], of length 1 (0 where a row is the mean)."""
        return _directions((x - self.mean_x) @ self.wx)

    def right(self, y: Reals) -> Floats:
        """Return the same of rows y."""
        return _directions((y - self.mean_y) @ self.wy)


def fit_cca(x: "Reals | Repeated", y: Reals, k: int, most: int | None = None) -> Projection:
    """The k most correlated pairs of directions of x [N, p] and y [N, q]: v_x^T Cxx v_x = v_y^T Cyy v_y = 1.

    They solve [0 Cxy; Cyx 0] v = lambda [Cxx 0; 0 Cyy] v: both views are whitened, the cross-covariance that is left is
    decomposed into singular vectors. Directions without variance are left out; k shrinks to what remains. A view of
    more than ``most`` dimensions is first reduced to its ``most`` principal components.

    Raises:
        Undefined: If a view does not vary.
    """
    mean_x, mean_y, xx, xy, yy = moments(x, y)
    white_x, white_y = _whitening(xx, most), _whitening(yy, most)
    left, _, right = np.linalg.svd(white_x.T @ xy @ white_y, full_matrices=False)
    return Projection(mean_x, mean_y, white_x @ left[:, :k], white_y @ right[:k].T)


def moments(x: "Reals | Repeated", y: Reals) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Means of x [N, p] and y [N, q], Cxx, Cxy and Cyy (divided by N - 1), in double precision, block by block."""
    shift = np.concatenate([x[:BLOCK].mean(0, dtype=np.float64), y[:BLOCK].mean(0, dtype=np.float64)])
    n, p = len(y), x.shape[1]
    total, products = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))
    for start in range(0, n, BLOCK):
        part = np.concatenate([x[start : start + BLOCK], y[start : start + BLOCK]], 1).astype(np.float64) - shift
        total += part.sum(0)
        products += part.T @ part
    mean = total / n
    covariance = (products - n * np.outer(mean, mean)) / (n - 1)
    mean += shift
    return mean[:p], mean[p:], covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]


def _whitening(covariance: Floats, most: int | None) -> Floats:
    """Return W with W^T (C + RIDGE) W = 1 on the leading principal components, [D, kept]."""
    variance, axes = np.linalg.eigh(covariance)
    enough = max(float(variance[-1]), 0.0) * len(variance) * np.finfo(np.float64).eps  # as numpy's matrix_rank
    keep = variance > enough
    if most is not None:
        keep[: max(0, len(keep) - most)] = False
    if not keep.any():
        raise Undefined("what is to be correlated does not vary over the training pairs")
    return np.asarray(axes[:, keep] / np.sqrt(variance[keep] + RIDGE))


def _directions(projected: Floats) -> Floats:
    length = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.asarray(projected / np.where(length > 0, length, 1))


class Agreement(NamedTuple):
    """Cosines of pairs of rows."""

    own: Floats  # of each row's own pair, [n]
    others: Floats  # mean over the n - 1 pairs of each left row with other right rows, [n]

    @property
    def exceeds_shuffled(self) -> bool:
        """True if the mean of own pairs is positive, and above the shuffled by 5 standard errors of the difference."""
        gap = self.own - self.others
        return bool(self.own.mean() > 0 and gap.mean() > 5 * gap.std(ddof=1) / np.sqrt(len(gap)))


def agreement(left: Floats, right: Floats) -> Agreement:
    """Cosines of own and of all shuffled pairs of unit rows, both [n, k], n > 1."""
    own = (left * right).sum(1)
    return Agreement(own, (left @ right.sum(0) - own) / (len(own) - 1))


def ratio(made: Agreement, truth: Agreement, *, paired: bool) -> tuple[Floats, float]:
    """Return Q = mean(made gaps) / mean(true gaps), a gap being own - others: as one value per row, and its error.

    The values are Q + (gap - Q true gap) / mean(true gaps) of each row, whose mean is Q (delta method). If not
    ``paired`` (of the same rows), they are Q + (gap - mean gap) / mean(true gaps), and the error adds the truth's.
    """
    x, t = made.own - made.others, truth.own - truth.others
    level = float(t.mean())
    q = float(x.mean()) / level
    rows = q + (x - q * t if paired else x - x.mean()) / level
    error = rows.var(ddof=1) / len(rows) + (0 if paired else (q / level) ** 2 * t.var(ddof=1) / len(t))
    return np.asarray(rows), float(np.sqrt(error))


class Side(NamedTuple):
    """Features of pictures."""

    name: str  # ``features`` (of the data set), ``resnet101`` or ``oracle``
    hash: str  # of the weights of the feature extractor; empty where there are none
    features: Callable[[Tensor], wv.Reals]  # [N, F] of pictures [N, *shape]


class Space(NamedTuple):
    """One embedding of captions, and the projection that correlates it with picture features."""

    variant: str  # names embedding and side, such as ``sif oracle``; ``unit`` first: of variance 1
    projection: Projection
    embed: Callable[[wv.Ids], wv.Reals]  # of captions [N, T] to [N, 300]
    note: str  # there if the views were reduced first
    hash: str  # of the word vectors, and of the weights of the picture side if it has any

    def agreement(self, features: wv.Reals, ids: wv.Ids) -> Agreement:
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
    words = wv.load_word_vectors(ids, caption.vocabulary, ev.cache_dir)
    features = cache(lambda: Repeated(read_in_parts(side.features, entries), index))  # only where something is fitted
    of = array_hash(entries, ids, index)
    content = f"{wv.VERSION} cca unit {DIMENSIONS} {side.name} {side.hash} {words.hash} {of}"
    out = []
    for name in EMBEDDINGS:
        arrays = wv.kept(ev.cache_dir, f"{content} {name}", partial(_fitted, name, features, ids, words))
        direction = arrays.pop("direction").astype(np.float32)
        unit, embed = Projection(**arrays), partial(_embedded, name, words, direction)
        n, p, q = len(first), len(unit.mean_x), len(unit.mean_y)
        note = ""
        if (most := most_components(n, p + q)) is not None:
            reduced = f"{min(most, p)} and {min(most, q)} dimensions"
            note = f"first reduced by PCA to {reduced}: {n} pictures are few for {p} and {q}"
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
        raise Undefined(f"too few training pictures for a correlation ({n})")
    return most


def _fitted(name: str, features: Callable[[], Repeated], ids: wv.Ids, words: wv.WordVectors) -> wv.Arrays:
    """Return the projection of the embedding ``name``, and the direction that it leaves out (zero for ``mean``)."""
    e = EMBEDDINGS[name](ids, words)
    direction = wv.first_direction(e) if name == "sif" else np.zeros(e.shape[1], np.float32)
    x = features()
    most = most_components(len(x.entries), x.shape[1] + e.shape[1])
    return {**vars(fit_cca(x, wv.without(direction, e), DIMENSIONS, most)), "direction": direction}


def _embedded(name: str, words: wv.WordVectors, direction: wv.Reals, ids: wv.Ids) -> wv.Reals:
    return wv.without(direction, EMBEDDINGS[name](ids, words))


class Measured(NamedTuple):
    """Agreement in a space."""

    space: Space
    truth: Agreement  # of the true test pairs
    # Of pairs of which one or both are generated, for each way a score without value; None where there are none
    made: list[tuple[Score, Agreement | None]]


@once
def measured(ev: Evaluation) -> list[Measured]:
    """Return the agreements that the three metrics report, computed once per evaluation."""
    picture, caption = picture_and_caption(ev)
    side, rows = picture_side(ev, picture), ev.test.take(ev.item_rows(ROWS))
    if len(rows) < 2:
        raise Undefined("one test picture is too few for a correlation")
    fitted = spaces(ev, side, picture, caption)
    entries, ids = rows.x[picture.name], np.asarray(rows.x[caption.name], np.int64)
    # From the cache: ResNet-101 takes a third of a second per picture
    content = f"{wv.VERSION} features {side.name} {side.hash} {array_hash(entries)}"
    features = wv.kept(ev.cache_dir, content, lambda: {"features": side.features(to_device(entries, CPU))})["features"]

    pictures = ev.generate(rows, (caption.name,), picture.name)
    made = [
        (ev.row((picture.name,), caption.name), [(features, generated_captions(ev))]),
        (ev.row((caption.name,), picture.name), [(side.features(pictures), ids)]),
        *under_priors(ev, lambda part: (side.features(part.x[picture.name]), part.x[caption.name].numpy()), DRAWS),
    ]
    return [Measured(s, s.agreement(features, ids), [_compared(s, *one) for one in made]) for s in fitted]


def _compared(space: Space, row: Score, parts: list[tuple[wv.Reals, wv.Ids]]) -> tuple[Score, Agreement | None]:
    row = replace(row, variant=space.variant)
    if not parts:
        return row, None
    features, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
    return replace(row, n=len(ids), reason=space.note, embedding_hash=space.hash), space.agreement(features, ids)


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
        unranked=("aggregate",),
        drawn=("mean",),
        key=True,
        ceiling="true pairs",
    ),
    of_priors=True,
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
            score = row.mean_of_draws(found.own) if row.prior else row.mean(found.own)
            yield replace(score, chance=float(found.others.mean()), ceiling=float(truth.own.mean()))


@metric(
    Description(
        "CCA, ground truth",
        "The same cosine of the true test pairs: what CCA is to be compared with.",
        CCA,
        bounds=(-1.0, 1.0),
        unranked=("",),
        drawn=(),
        columns="pair",
    ),
)
def cca_ground_truth(ev: Evaluation) -> Iterator[Score]:
    """The same of true test pairs. Chance: the mean over shuffled pairs."""
    for space, truth, _ in measured(ev):
        chance = float(truth.others.mean())
        row = Score(None, space.variant, target="+".join(ev.names), chance=chance, reason=space.note)
        yield replace(row, embedding_hash=space.hash).mean(truth.own)


@metric(
    Description(
        "CCA, ratio",
        "(CCA - chance) / (true CCA - chance), chance being the mean over shuffled pairs of the same: at 1 generated "
        "pairs are as related as true ones, which smooth generations may exceed.",
        CCA,
        unranked=("aggregate",),
        drawn=("", "mean"),
        ceiling="true pairs",
    ),
    version=2,
    of_priors=True,
)
def cca_ratio(ev: Evaluation) -> Iterator[Score]:
    """:func:`cca` over :func:`cca_ground_truth`, each less its own chance: what may be compared between spaces.

    Skipped where the truth is not above chance.
    """
    for _, truth, made in measured(ev):
        for row, found in made:
            if not truth.exceeds_shuffled:
                reason = "CCA of true pairs is not positive, or not above shuffled ones by 5 standard errors: no ratio"
                yield Score(None, row.variant, row.prior, row.given, row.target, reason=reason)
            elif found is None:
                yield row
            else:
                values, se = ratio(found, truth, paired=not row.prior)
                score = row.mean_of_draws(values) if row.prior else row.mean(values)
                yield replace(score, se=se, chance=0.0, ceiling=1.0)
