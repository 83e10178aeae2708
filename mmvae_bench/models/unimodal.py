"""Unimodal VAEs (Kingma & Welling, 2014), side by side: the reference of generative quality."""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from mmvae_bench.models.private import PrivateLatents
from mmvae_bench.probability.bounds import Estimate, row_mean
from mmvae_bench.probability.distributions import Posterior, kl
from mmvae_bench.types import Loss, MultimodalBatch


class Unimodal(PrivateLatents):
    """The modalities' ELBOs, summed, and nothing between modalities:

        sum over m in P of E_{q(z | x_m)}[ log p(x_m | z) ] - beta KL(q(z | x_m) || N(0, I))

    Its cross-modal scores are a chance control and marked so.
    """

    cross_is_chance = True

    def loss(self, batch: MultimodalBatch) -> Loss:
        """-(sum of the present modalities' ELBOs)."""
        experts = self.encode(batch)
        log_px = self.own_log_px(experts.q.rsample(), batch)
        divergence = torch.where(experts.present, kl(experts.q), 0.0)
        elbo = log_px - self.beta * divergence
        return row_mean(elbo.sum(0), batch.present, log_px=log_px.sum(0), kl=divergence.sum(0))

    def sample_prior(self, n: int, generator: Generator | None = None) -> Mapping[str, Tensor]:
        """Decode independent draws for each modality: its joint is the product of the marginals."""
        return {name: self.decode(self.prior().rsample(n, generator)[:, 0], [name])[name] for name in self.names}

    def log_likelihood(
        self, batch: MultimodalBatch, k: int, generator: Generator | None = None, prior: Posterior | None = None
    ) -> Estimate:
        """sum over m in A of log p(x_m), each with its own latent; with another ``prior``, one shared latent."""
        if prior is not None:
            return super().log_likelihood(batch, k, generator, prior)
        here = [name for name in self.names if batch.where(name).any()]
        each = [super(Unimodal, self).log_likelihood(batch.given(name), k, generator) for name in here]
        present = torch.stack([batch.where(name) for name in here])
        log_p = torch.where(present, torch.stack([e.log_p for e in each]), 0.0).sum(0)
        return Estimate(log_p, torch.where(present, torch.stack([e.ess for e in each]), k).amin(0))
