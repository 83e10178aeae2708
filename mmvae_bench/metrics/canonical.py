"""Canonical correlation analysis of arrays, with which Shi et al. 2019 measure captioned pictures."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Repeated
from mmvae_bench.errors import Undefined

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
    """Cosine of each row's own pair, [n], and its mean over the n - 1 pairs of each left row with other right rows."""

    own: Floats
    others: Floats

    @property
    def exceeds_shuffled(self) -> bool:
        """Whether the mean of own pairs is positive, and above the shuffled by 5 standard errors of the difference."""
        gap = self.own - self.others
        return bool(self.own.mean() > 0 and gap.mean() > 5 * gap.std(ddof=1) / np.sqrt(len(gap)))


def agreement(left: Floats, right: Floats) -> Agreement:
    """Cosines of own and of all shuffled pairs of unit rows, both [n, k], n > 1."""
    own = (left * right).sum(1)
    return Agreement(own, (left @ right.sum(0) - own) / (len(own) - 1))


def ratio(value: Floats, truth: Floats, *, paired: bool) -> tuple[float, float]:
    """mean(value) / mean(truth) and its standard error by the delta method; ``paired``: both are of the same rows."""
    quotient, level = float(value.mean() / truth.mean()), abs(float(truth.mean()))
    parts = [value - quotient * truth] if paired else [value, quotient * truth]
    return quotient, float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)) / level)
