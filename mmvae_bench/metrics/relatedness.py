"""Closeness of posteriors of related entries, in W2.

Relatedness (Joy et al. 2022, Sec. 4.2 and App. F; protocol 21): the paper draws histograms of W2 distances and a matrix
over classes; here are three scores of the same distances. Retrieval (protocol 23): of a picture's caption among the
nearest, and the reverse.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
import ot
from numpy.typing import NDArray
from scipy.stats import rankdata

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once

ROWS = 1000

Floats = NDArray[np.float64]
Reals = NDArray[np.float32] | NDArray[np.float64]
Ints = NDArray[np.int64]


def squared_distances(a: Reals, b: Reals) -> Floats:
    """Squared Euclidean distances between a [n_a, F] and b [n_b, F]: [n_a, n_b], >= 0.

    Expanded into matrix products, in double precision, about the centre of a, so that less cancels.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    centre = a.mean(0)
    a, b = a - centre, b - centre
    squared = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0.0))


def w2_squared(mean_a: Reals, sd_a: Reals, mean_b: Reals, sd_b: Reals) -> Floats:
    """Squared 2-Wasserstein distances between n_a and n_b diagonal distributions of one family: [n_a, n_b], >= 0.

    W2^2 = sum_d (m_a - m_b)^2 + (s_a - s_b)^2, s the standard deviation: exact for any location-scale family, because
    each quantile function is m + s Q(u).
    """
    return squared_distances(np.concatenate([mean_a, sd_a], 1), np.concatenate([mean_b, sd_b], 1))


def auroc(cost: Floats, related: NDArray[np.bool_]) -> Floats:
    """P(a related pair is closer than an unrelated one), ties counting half, as the mean of one value per item, [n].

    With V_p of a related pair p the share of unrelated pairs that are further, and W_u of an unrelated pair u the share
    of related ones that are nearer, AUROC = mean of V = mean of W (DeLong et al. 1988). Item i has row and column i of
    ``cost`` [n, n], its own pair counting once; its value is what a jackknife that leaves it out has to first order:

        AUROC + n [ sum over its p of (V_p - AUROC) / P + sum over its u of (W_u - AUROC) / U ], centred
    """
    total, r = cost.size, int(related.sum())
    rank = rankdata(cost).reshape(cost.shape)  # average ranks
    within = np.empty(cost.shape)
    within[related], within[~related] = rankdata(cost[related]), rankdata(cost[~related])
    nearer = (rank - within) / np.where(related, total - r, r)  # share of the other kind that is nearer, ties half
    value = float(nearer[~related].mean())
    gap = np.where(related, (1 - nearer - value) / r, (nearer - value) / (total - r))
    of_item = gap.sum(0) + gap.sum(1) - np.diag(gap)
    return np.asarray(value + len(cost) * (of_item - of_item.mean()))


def contrast(cost: Floats, related: NDArray[np.bool_]) -> float:
    """(u - r) / (u + r), u and r the mean W2 (not squared) of unrelated and related pairs, in [-1, 1]; 0 by chance."""
    w2 = np.sqrt(cost)
    u, r = float(w2[~related].mean()), float(w2[related].mean())
    return (u - r) / (u + r) if u + r > 0 else 0.0


def transport_match(cost: Floats, label_a: Ints, label_b: Ints) -> tuple[float, float]:
    """Share of mass that the optimal transport plan moves between related entries, in [0, 1], and its level by chance.

    Uniform masses on both sides; ``cost`` is W2^2, scaled by its maximum for the solver, which changes no plan. Chance
    is sum_c p_c q_c with the shares p, q of the labels: a plan that ignores them.
    """
    n_a, n_b = cost.shape
    scaled = cost / max(float(cost.max()), np.finfo(np.float64).tiny)
    plan = np.asarray(ot.emd(np.full(n_a, 1 / n_a), np.full(n_b, 1 / n_b), scaled, numItermax=10_000_000))
    related = label_a[:, None] == label_b[None, :]
    return float(min(plan[related].sum(), 1.0)), float(related.mean())


def balanced(label: Ints, n: int, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """About n rows with equally many of every class, taken in ``order`` (a permutation of the rows), sorted.

    Each class gives floor(n / C), or as many as the rarest class has.
    """
    classes, counts = np.unique(label, return_counts=True)
    each = max(1, min(n // len(classes), int(counts.min())))
    chosen = [order[label[order] == c][:each] for c in classes]
    return np.sort(np.concatenate(chosen))


class Pairs(NamedTuple):
    """Distances of all pairs of two modalities' posteriors on n test rows."""

    cost: Floats  # W2^2, [n, n]
    label: Ints  # each row's class or item, [n]

    @property
    def related(self) -> NDArray[np.bool_]:
        """Mask of the pairs of one class or item, [n, n]; the own pair is always related."""
        return np.asarray(self.label[:, None] == self.label[None, :])


def chosen_rows(ev: Evaluation) -> NDArray[np.intp]:
    """The test rows that are compared, at most 1000: class-balanced where a class relates them, else one an item."""
    if ev.related == "item" or ev.test.label is None:
        return ev.item_rows(ROWS)
    return balanced(ev.test.label, ROWS, ev.order("relatedness", len(ev.test)))


@once
def pairs(ev: Evaluation, a: str, b: str) -> Pairs:
    """W2^2 between q(z | x_a) and q(z | x_b) in what modalities share of z, computed once an evaluation.

    Raises:
        Undefined: If all pairs are related.
    """
    rows, q, p = chosen_rows(ev), ev.shared((a,)), ev.shared((b,))
    shared = ev.test.items if ev.related == "item" or ev.test.label is None else ev.test.label
    label = shared[rows]
    if len(set(label.tolist())) < 2:
        raise Undefined("all pairs are related: there are too few test rows or classes")
    return Pairs(w2_squared(q.mean[rows], q.sd[rows], p.mean[rows], p.sd[rows]), label)


_of_pairs = partial(
    Description, bounds=(0.0, 1.0), drawn=(), columns="pair", coarse="mean of pairs", encodes_target=True
)


def _each_pair(ev: Evaluation) -> Iterator[tuple[Score, Pairs]]:
    """Yield a score without value, and the distances, for each unordered pair of modalities."""
    for a, b in combinations(ev.names, 2):
        p = pairs(ev, a, b)
        yield replace(ev.row((a,), b), n=len(p.label)), p


@metric(
    _of_pairs(
        title="Relatedness, AUROC",
        definition="Probability that a related pair of posteriors is closer in W2 than an unrelated one.",
        drawn=("",),
    )
)
def relatedness_auroc(ev: Evaluation) -> Iterator[Score]:
    """:func:`auroc` for each unordered pair of modalities."""
    for score, p in _each_pair(ev):
        yield replace(score, chance=0.5).mean(auroc(p.cost, p.related))


@metric(
    _of_pairs(
        title="Relatedness, contrast",
        definition="(u - r) / (u + r), u and r the mean W2 between posteriors of unrelated and of related pairs.",
        bounds=(-1.0, 1.0),
    )
)
def relatedness_contrast(ev: Evaluation) -> Iterator[Score]:
    """:func:`contrast` for each unordered pair of modalities."""
    for score, p in _each_pair(ev):
        yield replace(score, value=contrast(p.cost, p.related), chance=0.0)


@metric(
    _of_pairs(
        title="Relatedness, transport",
        definition="Share of rows that optimal transport (cost W2 squared) matches to a related row.",
    ),
    version=2,
)
def relatedness_transport(ev: Evaluation) -> Iterator[Score]:
    """:func:`transport_match` for each unordered pair of modalities."""
    for score, p in _each_pair(ev):
        value, chance = transport_match(p.cost, p.label, p.label)
        yield replace(score, value=value, chance=chance)  # without an error: one plan matches all rows, dependently


def relatedness_artifacts(ev: Evaluation) -> dict[str, NDArray[np.generic]]:
    """What the figures draw, for each pair of modalities: histograms of W2 (60 shared bins) and the class matrix.

    ``w2hist/a+b/{edges,related,unrelated}``; ``w2class/a+b`` [C, C]: mean W2 between class i of a and class j of b,
    for at most 20 classes.
    """
    out: dict[str, NDArray[np.generic]] = {}
    for a, b in combinations(ev.names, 2):
        try:
            p = pairs(ev, a, b)
        except Undefined:  # the scores' rows say why
            return out
        w2, related = np.sqrt(p.cost), p.related
        edges = np.histogram_bin_edges(w2, 60)
        out[f"w2hist/{a}+{b}/edges"] = edges
        out[f"w2hist/{a}+{b}/related"] = np.histogram(w2[related], edges)[0]
        out[f"w2hist/{a}+{b}/unrelated"] = np.histogram(w2[~related], edges)[0]
        label = None if ev.test.label is None else ev.test.label[chosen_rows(ev)]
        if label is not None and len(np.unique(label)) <= 20:  # a dendrogram of CUB's 200 could not be read
            out[f"w2class/{a}+{b}"] = class_means(w2, label)
    return out


def class_means(values: Floats, label: Ints) -> Floats:
    """Mean of values [n, n] over rows of class i and columns of class j, for the classes present in order: [C, C]."""
    one_hot = (label[:, None] == np.unique(label)[None, :]).astype(np.float64)
    share = one_hot / one_hot.sum(0)
    return np.asarray(share.T @ values @ share)


DEPTHS = (1, 5, 10)  # of retrieval


class Ranks(NamedTuple):
    """Ranks of the partners of n queries in the gallery."""

    nearer: Ints  # number of entries of the gallery that are nearer than the query's partner
    tied: Ints  # number of others that are as near

    @property
    def mean(self) -> Floats:
        """The expected rank, 1 being best, if ties are broken at random: nearer + 1 + tied / 2, [n]."""
        return np.asarray(self.nearer + 1 + self.tied / 2)

    def found(self, k: int) -> Floats:
        """Probability that the partner is among the k nearest if ties are broken at random, [n]."""
        return np.asarray(np.clip((k - self.nearer) / (self.tied + 1), 0.0, 1.0))


def partner_ranks(cost: Floats) -> Ranks:
    """Return ranks of the diagonal in each row of cost [n queries, n in the gallery]."""
    own = np.diag(cost)[:, None]
    return Ranks((cost < own).sum(1), (cost == own).sum(1) - 1)


def _ranks(ev: Evaluation) -> Iterator[tuple[Score, Ranks]]:
    """Yield a score without value of each query and gallery, and the ranks by W2."""
    if ev.related != "item":
        raise Undefined("the data set does not declare that an entry has one true partner (related = 'item')")
    if ev.attributes is not None:
        raise Undefined("entries of this data set may share all attributes: there is no one true partner")
    for query, gallery in permutations(ev.names, 2):
        first, second = sorted((query, gallery), key=ev.names.index)
        cost = pairs(ev, first, second).cost  # shared with relatedness
        yield replace(ev.row((query,), gallery), n=len(cost)), partner_ranks(cost if query == first else cost.T)


@metric(
    Description(
        "Recall@{}",
        "Share of queries whose partner is among the k entries of the other modality that are nearest in W2 between "
        "posteriors, of one entry of each test item.",
        {str(k): f"k = {k}" for k in DEPTHS},
        bounds=(0.0, 1.0),
        drawn=("10",),
        key=True,
        encodes_target=True,
    ),
)
def retrieval_recall(ev: Evaluation) -> Iterator[Score]:
    """Recall at k = 1, 5 and 10 (the variants): share of queries whose partner is among the k nearest of the gallery.

    Nearness is W2 between q(z | x_given) and q(z | x_target); the gallery holds one entry of each of at most 1,000 test
    items, n of them, so that no entry is a negative of another of its own item. Ties: the expected recall. Chance: k/n.
    """
    for row, ranks in _ranks(ev):
        for k in DEPTHS:
            yield replace(row, variant=str(k), chance=min(k / len(ranks.nearer), 1.0)).mean(ranks.found(k))


@metric(
    Description(
        "Retrieval, median rank",
        "Median rank of a query's partner among the entries of the other modality, by W2 between posteriors; 1 is the "
        "nearest.",
        higher_is_better=False,
        bounds=(1.0, None),
        drawn=(),
        encodes_target=True,
    ),
)
def retrieval_median_rank(ev: Evaluation) -> Iterator[Score]:
    """Median over queries of the partner's rank, as in :func:`retrieval_recall`; ties count as their mean rank.

    Chance: (n + 1) / 2.
    """
    for row, ranks in _ranks(ev):
        yield replace(row, value=float(np.median(ranks.mean)), chance=(len(ranks.nearer) + 1) / 2)
