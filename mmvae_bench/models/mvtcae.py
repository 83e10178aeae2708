"""MVTCAE (Hwang et al., NeurIPS 2021): a product of experts, trained by total correlation."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from annotated_types import Interval

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl
from mmvae_bench.probability.fusion import product
from mmvae_bench.types import Loss, MultimodalBatch


class MVTCAE(MultimodalVAE):
    """q(z | x_P) proportional to prod over m in P of q(z | x_m), without a prior expert. With n = |P| the objective is

        ((n - alpha) / n) E_{q(z | x_P)}[ sum over m in P of log p(x_m | z) ]
        - beta [ (1 - alpha) KL(q(z | x_P) || N(0, I)) + (alpha / n) sum over m in P of KL(q(z | x_P) || q(z | x_m)) ]

    alpha weighs the conditional bottleneck against the usual one. Paper: 5 / 6 (our default); the code's own default is
    .99, MultiVae's .1. Training on incomplete rows is ours, as the paper has n = M: a row with one
    modality gives 1 - alpha of its ELBO.

    Args:
        alpha: from 0, which leaves the joint ELBO alone, to 1.
    """

    authors: ClassVar[Mapping[str, str]] = {"beta": "2.5"}  # PolyMNIST

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, alpha: Annotated[float, Interval(ge=0, le=1)] = 5 / 6
    ) -> None:
        super().__init__(networks, beta=beta)
        self.alpha = alpha

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return the product of all present experts."""
        return product(self.encode(batch), prior=False)

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the objective), with one z per row."""
        experts = self.encode(batch)
        q, n = product(experts, prior=False), batch.present.sum(0).clamp(min=1)
        log_px = self.log_px(q.rsample(), batch).sum(0)
        to_each = torch.where(batch.present, kl(q, experts.q), 0.0).sum(0)
        divergence = (1 - self.alpha) * kl(q) + self.alpha / n * to_each
        bound = (1 - self.alpha / n) * log_px - self.beta * divergence
        return row_mean(bound, batch.present, log_px=log_px, kl=divergence)
