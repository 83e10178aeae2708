"""JMVAE-kl (Suzuki et al., 2016): an encoder of all modalities together, which those of each one approach."""

import torch
from torch import nn

from mmvae_bench.models.base import MultimodalVAE, in_rows
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Count, Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl
from mmvae_bench.probability.fusion import Experts, product, where
from mmvae_bench.types import Loss, MultimodalBatch


class JointEncoder(MultimodalVAE):
    """Models with an encoder of all modalities: nets like each one's, with weights of their own, and one layer."""

    def __init__(self, networks: Networks, *, beta: Weight = 1.0) -> None:
        super().__init__(networks, beta=beta)
        for name in self.names:
            networks.add_encoder(f"{name} jointly", name, networks.latent_dim)
        size = 2 * networks.latent_dim
        self.head = nn.Linear(len(self.names) * size, size)

    def joint(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return q(z | x_1 .. x_M), [B]; finite in incomplete rows, which are not encoded."""
        rows = batch.indices_where(batch.present.all(0))
        x = {name: self.networks.embed(name, batch.visible(name, rows)) for name in self.names}
        h = torch.cat([self.networks.encode(f"{name} jointly", entries) for name, entries in x.items()], -1)
        q = self.expert(in_rows(self.head(h.relu()), rows, batch.size))
        return DiagonalNormal(q.loc, q.scale)


class JMVAE(JointEncoder):
    """A complete row has q(z | x_1 .. x_M) by an encoder of its own, and the bound (JMVAE-kl, for M modalities)

        E_q[ sum_m log p(x_m | z) ] - beta { KL(q || N(0, I)) + alpha sum_m KL(q || q(z | x_m)) }

    Of other subsets q(z | x_A) is the product of their q(z | x_m) without a prior expert, as in MultiVae. Training on
    incomplete rows is ours, as the paper has none: the ELBO of x_P with that product. MultiVae's beta does not multiply
    the sum that alpha weighs.

    Args:
        alpha: weight of the divergences that train the encoders of single modalities.
        warm_up: epochs in which beta grows linearly to its value, 10 in MultiVae.
    """

    def __init__(self, networks: Networks, *, beta: Weight = 1.0, alpha: Weight = 0.1, warm_up: Count = 0) -> None:
        super().__init__(networks, beta=beta)
        self.alpha, self.warm_up = alpha, warm_up

    def combined(self, batch: MultimodalBatch, experts: Experts) -> DiagonalNormal:
        """Return the joint encoder's q in complete rows, the product in others."""
        return where(batch.present.all(0), self.joint(batch), product(experts, prior=False))

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return q(z | x_A)."""
        return self.combined(batch, self.encode(batch))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the bound), or -(ELBO) in incomplete rows, with one z per row."""
        experts = self.encode(batch)
        q, beta = self.combined(batch, experts), self.beta * batch.ramp(self.warm_up)
        log_px = self.log_px(q.rsample(), batch).sum(0)
        to_each = torch.where(batch.present.all(0), kl(q, experts.q).sum(0), 0.0)
        divergence = kl(q) + self.alpha * to_each
        return row_mean(log_px - beta * divergence, batch.present, log_px=log_px, kl=divergence)
