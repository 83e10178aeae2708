"""Which training rows are validation rows: nets, budgets and weights are chosen there (protocol 7)."""

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Rows
from mmvae_bench.seeds import seed_for

ONE_IN = 20  # training items are validation items


def validation_split(rows: Rows, name: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split training rows into training and validation, 5 % (protocol 7), both in ascending order.

    One random item of every twenty consecutive ones is validation with all its rows, whatever the run's seed; a limit
    on the rows moves none from one side to the other.

    Args:
        rows: Training rows; below 20 items there may be no validation row.
        name: Of the data set, the only thing the draw depends on.
    """
    items, item = np.unique(rows.items, return_inverse=True)
    start = np.arange(0, len(items), ONE_IN)
    chosen = start + (np.random.default_rng(seed_for("validation", name)).random(len(start)) * ONE_IN).astype(np.intp)
    validation = np.isin(item, chosen)
    return np.flatnonzero(~validation), np.flatnonzero(validation)
