"""Unimodal VAEs (Kingma & Welling, 2014), side by side: the reference of generative quality."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.draws import Proposals
from mmvae_bench.probability.bounds import Estimate, row_mean
from mmvae_bench.probability.distributions import Prior, kl
from mmvae_bench.probability.fusion import Mixture
from mmvae_bench.types import Loss, MultimodalBatch


class PrivateLatents(MultimodalVAE):
    """Models with one latent per modality: q(z | x_A) is the mixture; a given target is decoded from its own latent."""

    joint_posterior = False  # the mixture is not in the papers (protocol 14)

    def posterior(self, batch: MultimodalBatch) -> Mixture:
        """Return (1 / |A|) sum over m in A of q(z | x_m)."""
        return Mixture(self.encode(batch))

    def posterior_for(self, target: str, batch: MultimodalBatch) -> Mixture:
        """Return q(z | x_t) in rows where the target itself is given, else the mixture."""
        own = torch.tensor([name == target for name in self.names], device=batch.present.device)[:, None]
        return self.posterior(replace(batch, present=batch.present & (own | ~batch.where(target))))

    def own_log_px(self, z: Float[Tensor, "M B L"], batch: MultimodalBatch) -> Float[Tensor, "M B"]:
        """Return log p(x_m | z_m), each modality from its own latent."""
        return torch.stack([self.log_px_of(name, z[m], batch) for m, name in enumerate(self.names)])


class Unimodal(PrivateLatents):
    """The sum of the ELBOs of all modalities, without any connection between them:

        sum over m in P of E_{q(z | x_m)}[ log p(x_m | z) ] - beta KL(q(z | x_m) || N(0, I))

    Its cross-modal scores are a chance control and are marked so.
    """

    cross_is_chance = True

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(sum of the present modalities' ELBOs)."""
        experts = self.encode(batch)
        log_px = self.own_log_px(experts.q.rsample(), batch)
        divergence = torch.where(experts.present, kl(experts.q), 0.0)
        elbo = log_px - self.beta * divergence
        return row_mean(elbo.sum(0), batch.present, log_px=log_px.sum(0), kl=divergence.sum(0))

    def sample_prior(self, n: int, generator: Generator | None = None) -> Mapping[str, Tensor]:
        """Decode independent draws for each modality: the joint is the product of the marginals."""
        return {name: self.decode(self.prior().rsample(n, generator)[:, 0], [name])[name] for name in self.names}

    def log_likelihood(
        self, proposals: Proposals, given: Sequence[str] | None = None, prior: Prior | None = None
    ) -> Estimate:
        """Estimate the sum over m in A of log p(x_m), each with its own latent; with a given ``prior``, one latent."""
        if prior is not None:
            return super().log_likelihood(proposals, given, prior)
        batch = proposals.batch
        here = [name for name in given or self.names if batch.where(name).any()]
        each = [super(Unimodal, self).log_likelihood(proposals, [name]) for name in here]
        present = torch.stack([batch.where(name) for name in here])
        log_p = torch.where(present, torch.stack([e.log_p for e in each]), 0.0).sum(0)
        return Estimate(log_p, torch.where(present, torch.stack([e.ess for e in each]), proposals.k).amin(0))

    def log_conditional(
        self, proposals: Proposals, given: Sequence[str], target: str, prior: Prior | None = None
    ) -> Estimate:
        """Estimate log p(x_t | x_A) = log p(x_t): nothing connects the two; with a given ``prior``, one latent does."""
        if prior is not None:
            return super().log_conditional(proposals, given, target, prior)
        return self.log_likelihood(proposals, [target])
