"""Tables of features: splits of few rows, and columns on one scale."""

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.seeds import seed_for

Table = NDArray[np.float32]


def split_by_class(label: NDArray[np.int64], share: float, name: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return training and test rows, both ascending: of each class ``share`` of its rows, rounded, is test.

    The draw depends on the data set's ``name`` alone.
    """
    shuffled = np.random.default_rng(seed_for(name, "split")).permutation(len(label))
    by_class = [shuffled[label[shuffled] == c] for c in np.unique(label)]
    test = np.sort(np.concatenate([rows[: round(share * len(rows))] for rows in by_class]))
    return np.setdiff1d(np.arange(len(label)), test), test


def standardised(train: NDArray[np.float64], *others: NDArray[np.float64]) -> list[Table]:
    """Return tables [N, D], each less the columns' means in ``train``, over their standard deviations there.

    A column that is constant in ``train`` is only shifted.
    """
    mean, sd = train.mean(0), train.std(0)
    sd[np.ptp(train, 0) == 0] = 1.0
    return [((x - mean) / sd).astype(np.float32) for x in (train, *others)]
