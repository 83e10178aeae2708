"""Retrieval of a picture's caption among nearest neighbours in the latent space, and the reverse. Protocol 23."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Evaluation, Score, described, mean_and_error
from mmvae_bench.metrics.relatedness import pairs

DEPTHS = (1, 5, 10)

Floats = NDArray[np.float64]


class Ranks(NamedTuple):
    """Numbers of entries of the gallery that are nearer than a query's partner, and of others as near, both [n]."""

    nearer: NDArray[np.int64]
    tied: NDArray[np.int64]

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


def _directions(ev: Evaluation) -> Iterator[tuple[Score, Ranks]]:
    """Yield a score without value of each query and gallery, and the ranks by W2."""
    if ev.related != "item":
        raise Undefined("the data set has no true partners: entries of one class are all related")
    if ev.attributes is not None:
        raise Undefined("pictures of this data set share captions: there is no one true partner")
    for query, gallery in permutations(ev.names, 2):
        first, second = sorted((query, gallery), key=ev.names.index)
        cost = pairs(ev, first, second).cost  # shared with relatedness
        yield replace(ev.row((query,), gallery), n=len(cost)), partner_ranks(cost if query == first else cost.T)


@described(
    "Recall@{}",
    "Share of queries whose partner is among the k entries of the other modality that are nearest in W2 between "
    "posteriors, of one entry of each test item.",
    {str(k): f"k = {k}" for k in DEPTHS},
    bounds=(0.0, 1.0),
    drawn=("10",),
    key=True,
)
def retrieval_recall(ev: Evaluation) -> Iterator[Score]:
    """Recall at k = 1, 5 and 10 (the variants): share of queries whose partner is among the k nearest of the gallery.

    Nearness is W2 between q(z | x_given) and q(z | x_target); the gallery holds one entry of each of at most 1,000 test
    items, n of them, so that no entry is a negative of another of its own item. Ties: the expected recall. Chance: k/n.
    """
    for row, ranks in _directions(ev):
        for k in DEPTHS:
            value, se = mean_and_error(ranks.found(k))
            yield replace(row, value=value, variant=str(k), se=se, chance=min(k / len(ranks.nearer), 1.0))


@described(
    "Retrieval, median rank",
    "Median rank of a query's partner among the entries of the other modality, by W2 between posteriors; 1 is the "
    "nearest.",
    higher_is_better=False,
    bounds=(1.0, None),
    drawn=(),
)
def retrieval_median_rank(ev: Evaluation) -> Iterator[Score]:
    """Median over queries of the partner's rank, as in :func:`retrieval_recall`; ties count as their mean rank.

    Chance: (n + 1) / 2.
    """
    for row, ranks in _directions(ev):
        yield replace(row, value=float(np.median(ranks.mean)), chance=(len(ranks.nearer) + 1) / 2)
