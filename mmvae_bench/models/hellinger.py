"""HELVAE (Vo et al., AISTATS 2026): one Gaussian with the moments of the Hellinger barycentre of the experts."""

import torch

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl
from mmvae_bench.probability.fusion import Experts
from mmvae_bench.types import Loss, MultimodalBatch

LEAST = 1e-8  # variance, as in the authors' code


class Hellinger(MultimodalVAE):
    """q(z | x_P) is the Gaussian with the moments of the density nearest to all experts in squared Hellinger distance.

    That density is proportional to (sum over i in P of sqrt q_i)^2: a mixture of the experts and, for each pair i != j,
    of the normalised sqrt(q_i q_j), which is N(mu_ij, v_ij), weighted by its integral S_ij:

        S_ij = prod_d sqrt(2 s_i s_j / (s_i^2 + s_j^2)) exp(-(mu_i - mu_j)^2 / (4 (s_i^2 + s_j^2)))
        mu_ij = (mu_i s_j^2 + mu_j s_i^2) / (s_i^2 + s_j^2),    v_ij = 2 s_i^2 s_j^2 / (s_i^2 + s_j^2)

    It is trained by the ELBO of x_P alone: no subsets, no prior expert. S_ij vanishes exponentially in the latent size:
    experts that are far apart are mixed with equal weights. Incomplete rows in training are ours.
    """

    def fuse(self, experts: Experts) -> DiagonalNormal:
        """Return q(z | x_P), [B]; all pairs of ordered (i, j), i = j being the expert itself with S_ii = 1."""
        mu, v = experts.q.loc.double(), experts.q.scale.double().square()
        total = v[:, None] + v
        between = (mu[:, None] * v + mu * v[:, None]) / total  # [M, M, B, D]
        within = 2 * v[:, None] * v / total
        overlap = 0.5 * torch.log(2 * (v[:, None] * v).sqrt() / total) - (mu[:, None] - mu).square() / (4 * total)
        counted = experts.counted
        weight = torch.where(counted[:, None] & counted, overlap.sum(-1).exp(), 0.0)[..., None]
        weight = weight / weight.sum((0, 1))
        mean = (weight * between).sum((0, 1))
        variance = (weight * (within + (between - mean).square())).sum((0, 1)).clamp(min=LEAST)
        return DiagonalNormal(mean.to(experts.q.loc), variance.sqrt().to(experts.q.loc))

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return the Gaussian with the moments of the present experts' barycentre."""
        return self.fuse(self.encode(batch))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(ELBO of what is present), with one z per row."""
        q = self.posterior(batch)
        log_px, divergence = self.log_px(q.rsample(), batch).sum(0), kl(q)
        return row_mean(log_px - self.beta * divergence, batch.present, log_px=log_px, kl=divergence)
