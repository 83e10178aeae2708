"""Importance-sampled likelihoods: unbiased estimates of p(x) whatever the posterior's quality."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mmvae_bench.distributions import Posterior
from mmvae_bench.objectives import log_mean_exp

PRIOR_SHARE = 0.1  # of every proposal (protocol 18): bounds the weights where a posterior is too narrow


class Estimate(NamedTuple):
    """Estimated log-densities and how many of the K samples carry them.

    Attributes:
        log_p: [B], the log of an unbiased estimate of p.
        ess: [B], effective sample size (sum w)^2 / sum w^2, in [1, K].
    """

    log_p: Float[Tensor, " B"]
    ess: Float[Tensor, " B"]


def importance_sample(
    q: Posterior, p: Posterior, log_px: Callable[[Tensor], Tensor], k: int, generator: Generator | None
) -> Estimate:
    """Estimate log of the integral of p(z) p(x | z) with the proposal r = 0.9 q + 0.1 p.

    log (1/K) sum_k w_k, w_k = p(z_k) p(x | z_k) / r(z_k), z_k ~ r independently, row by row.

    Args:
        q: Posterior of B rows.
        p: Prior, batch shape [1]; drawn afresh for every row.
        log_px: z [K, B, L] -> log p(x | z) [K, B].
        k: Samples a row.
        generator: Of the draws.
    """
    z_q = q.rsample(k, generator)
    z_p = p.rsample(k * z_q.shape[1], generator).reshape(z_q.shape)
    u = torch.rand(z_q.shape[:-1], generator=generator, device=z_q.device)
    z = torch.where((u < PRIOR_SHARE)[..., None], z_p, z_q)
    log_pz = p.log_prob(z)
    log_r = torch.logaddexp(math.log(1 - PRIOR_SHARE) + q.log_prob(z), math.log(PRIOR_SHARE) + log_pz)
    log_w = log_pz + log_px(z) - log_r
    return Estimate(log_mean_exp(log_w), (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp())
