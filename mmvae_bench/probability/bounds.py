"""Bounds on log p(x) as functions of their log-terms, and importance-sampled estimates of p(x)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmvae_bench.types import Loss


def log_mean_exp(log_w: Float[Tensor, "*axes"], dim: int = 0) -> Float[Tensor, "*rest"]:
    """log (1/K) sum_k w_k along ``dim``: the importance-weighted bound of Burda et al. (2016), Eq. 8."""
    return log_w.logsumexp(dim) - math.log(log_w.shape[dim])


def row_mean(bound: Float[Tensor, " B"], present: Bool[Tensor, "M B"], /, **terms: Float[Tensor, " B"]) -> Loss:
    """Negate and average a bound over the rows with at least one modality (protocol 8).

    Args:
        bound: bound to maximise, one value per row; rows with nothing present are left out by ``torch.where``.
        present: presence of the entries.
        terms: further values per row for the log, averaged in the same way and detached.
    """
    seen = present.any(0)
    count = seen.sum().clamp(min=1)

    def mean(value: Tensor) -> Tensor:
        return torch.where(seen, value, torch.zeros_like(value)).sum() / count

    return Loss(-mean(bound), {name: mean(value.detach()) for name, value in terms.items()})


class Estimate(NamedTuple):
    """Estimated log-densities and their effective sample sizes."""

    log_p: Float[Tensor, " B"]  # log of an estimate of p
    ess: Float[Tensor, " B"]  # effective sample size (sum w)^2 / sum w^2, in [1, K]


class Weighted(NamedTuple):
    """K weighted draws a row: sum_k w_k f(z_k) / sum_k w_k estimates an expectation, (1/K) sum_k w_k its normaliser."""

    z: Float[Tensor, "K B L"]
    log_w: Float[Tensor, "K B"]

    def evidence(self) -> Estimate:
        """Return log (1/K) sum_k w_k: the log of an unbiased estimate of the integral of what w is proportional to."""
        return Estimate(log_mean_exp(self.log_w), effective(self.log_w))

    def predictive(self, log_p: Float[Tensor, "K B"]) -> Estimate:
        """Return log sum_k w_k p(x_t | z_k) - log sum_k w_k, given log p(x_t | z_k): never above the largest of these.

        Its effective sample size is the smaller one of the two sums.
        """
        joint = self.log_w + log_p
        ess = torch.minimum(effective(joint), effective(self.log_w))
        return Estimate(joint.logsumexp(0) - self.log_w.logsumexp(0), ess)


def effective(log_w: Float[Tensor, "K *rows"]) -> Float[Tensor, "*rows"]:
    """Return (sum_k w_k)^2 / sum_k w_k^2, in [1, K]."""
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()
