"""CRMVAE (Suzuki & Matsuo, 2023): a product of experts whose experts reconstruct, too."""

import torch

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl
from mmvae_bench.probability.fusion import product
from mmvae_bench.types import Loss, MultimodalBatch


class CRMVAE(MultimodalVAE):
    """q(z | x_P) proportional to prod over m in P of q(z | x_m), without a prior expert. With n = |P| the objective is

        (1 / (2 (n + 1))) sum over m in P of { E_{q(z | x_P)}[ log p(x_m | z) ] + E_{q(z | x_m)}[ log p(x_m | z) ] }
        - (beta / (n + 1)) { KL(q(z | x_P) || N(0, I)) + sum over m in P of KL(q(z | x_P) || q(z | x_m)) }

    as MultiVae 1.0.3 has it, whose beta is 2.5. It keeps n = M in incomplete rows; |P| there is ours.
    """

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return the product of all present experts."""
        return product(self.encode(batch), prior=False)

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the objective), with one z of each posterior."""
        experts = self.encode(batch)
        q, n = product(experts, prior=False), batch.present.sum(0)
        joint, own = q.rsample(), experts.q.rsample()
        each = [torch.stack([joint, z]) for z in own]
        log_px = torch.stack([self.log_px_of(name, z, batch) for name, z in zip(self.names, each, strict=True)])
        divergence = kl(q) + torch.where(batch.present, kl(q, experts.q), 0.0).sum(0)
        bound = log_px.sum((0, 1)) / 2 - self.beta * divergence
        return row_mean(bound / (n + 1), batch.present, log_px=log_px[:, 0].sum(0), kl=divergence)
