"""Bounds on log p(x), as functions of the log-terms. Models say what the terms are; here is how they are averaged."""

import math

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
        bound: What is maximised, a value a row; rows with nothing present are left out by ``torch.where``.
        present: Which entries exist.
        terms: Further values a row for the log, averaged likewise and detached.
    """
    seen = present.any(0)
    count = seen.sum().clamp(min=1)

    def mean(value: Tensor) -> Tensor:
        return torch.where(seen, value, torch.zeros_like(value)).sum() / count

    return Loss(-mean(bound), {name: mean(value.detach()) for name, value in terms.items()})
