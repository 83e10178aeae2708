"""MMVAE (Shi et al., NeurIPS 2019): a mixture of experts, and importance-weighted bounds with stratified samples."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Positive, Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import Diagonal, DiagonalLaplace, DiagonalNormal
from mmvae_bench.probability.fusion import Experts, Mixture
from mmvae_bench.types import Loss, MultimodalBatch

Estimator = Literal["iwae", "stl", "dreg", "elbo"]


class MMVAE(MultimodalVAE):
    """q(z | x_A) = (1 / |A|) sum over m in A of q(z | x_m) (Eq. 2), trained with K samples z_rk of each present r in P:

        log w(z) = sum over m in P of log p(x_m | z) + beta (log p(z) - log q(z | x_P))
        tight:                         log (1 / (|P| K)) sum_r sum_k w(z_rk)
        looser (the paper's, App. C):  (1 / |P|) sum_r log (1 / K) sum_k w(z_rk)

    Estimators of its gradient, w~ being the normalised weights (over k; over r and k when tight), held constant:
    ``iwae`` differentiates the bound; ``stl`` is sum w~ d log w with q's parameters stopped in log q (the default: the
    authors' code trains it, as its DReG hook never fires). For K > 1 ``stl`` is biased, also with one modality.
    ``dreg`` multiplies z's gradient by w~ once more (Tucker et al. 2019, Eq. 8), which is unbiased for i.i.d. samples
    of one q, and biased for |P| > 1 strata of a mixture. The logged loss of all three is the bound. ``elbo`` trains and
    logs the mean of log w, Eq. 3 (the authors' ``m_elbo`` bounds its KL instead).

    Args:
        estimator: estimator of the gradient.
        k: number of samples per present modality.
        looser: True to average the strata's bounds outside the logarithm.
        family: family of posterior and prior. The paper's Laplace prior has learned scales; ours is the standard one.
    """

    cost = 7.3
    authors: ClassVar[Mapping[str, str]] = {"k": "30", "family": "laplace"}  # released models of MNIST-SVHN

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, estimator: Estimator = "stl", k: Positive = 10,
        looser: bool = True, family: Literal["normal", "laplace"] = "normal",
    ) -> None:  # fmt: skip
        super().__init__(networks, beta=beta)
        self.estimator, self.k, self.looser = estimator, k, looser
        self.family: type[Diagonal] = DiagonalLaplace if family == "laplace" else DiagonalNormal

    def posterior(self, batch: MultimodalBatch) -> Mixture:
        """Return the mixture of the present experts, Eq. 2."""
        return Mixture(self.encode(batch))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the bound), or the surrogate whose gradient is the estimator."""
        experts = self.encode(batch)
        z = experts.q.rsample(self.k)  # [K, M, B, L]
        log_w = self.log_weights(z, experts, batch)
        share = Mixture(experts).weight  # [M, B]: 1 / |P| where present
        if self.looser:
            normalised = log_w.detach().softmax(0)
            weight = share * normalised
            bound = (share * (log_w.logsumexp(0) - math.log(self.k))).sum(0)
        else:
            joint = (log_w + share.log()).flatten(0, 1)
            normalised = weight = joint.detach().softmax(0).reshape(log_w.shape)
            bound = joint.logsumexp(0) - math.log(self.k)
        if self.estimator == "dreg" and z.requires_grad:
            z.register_hook(lambda gradient: normalised[..., None] * gradient)  # type: ignore[no-untyped-call]
        if self.estimator == "elbo":
            bound = (share / self.k * log_w).sum((0, 1))
        surrogate = bound if self.estimator in ("iwae", "elbo") else (weight * log_w).sum((0, 1))
        return row_mean(surrogate + (bound - surrogate).detach(), batch.present)  # the bound, with that gradient

    def log_weights(self, z: Float[Tensor, "K M B L"], experts: Experts, batch: MultimodalBatch) -> Tensor:
        """Return log w(z), [K, M, B]; with ``stl`` and ``dreg``, the parameters of log q are stopped."""
        if self.estimator in ("stl", "dreg"):
            experts = Experts(experts.q.detach(), experts.present)
        log_q = Mixture(experts).log_prob(z)
        return self.log_px(z, batch, where=experts.present).sum(0) + self.beta * (self.prior().log_prob(z) - log_q)
