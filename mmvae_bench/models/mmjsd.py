"""mmJSD (Sutter et al., NeurIPS 2020): a mixture of experts, and a Jensen-Shannon divergence with a dynamic prior."""

import torch

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl, standard
from mmvae_bench.probability.fusion import Experts, Mixture, product
from mmvae_bench.types import Loss, MultimodalBatch


class MMJSD(MultimodalVAE):
    """q(z | x_P) = (1 / |P|) sum over m in P of q(z | x_m), and the bound (with equal weights)

        E_{q(z | x_P)}[ sum over m in P of log p(x_m | z) ]
        - beta (1 / n) { sum over m in P of KL(q(z | x_m) || f) + KL(p(z) || f) },    n = |P| + 1

    The dynamic prior f is the geometric mean of the n densities, proportional to (p(z) prod q(z | x_m))^(1 / n). The
    paper trains on complete rows; |P| in place of M is ours.
    """

    def posterior(self, batch: MultimodalBatch) -> Mixture:
        """Return the mixture of the present experts."""
        return Mixture(self.encode(batch))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the bound), with one expert's z per row."""
        mixture = self.posterior(batch)
        log_px = self.log_px(mixture.rsample_stratified(), batch).sum(0)
        divergence = self.jensen_shannon(mixture.experts)
        return row_mean(log_px - self.beta * divergence, batch.present, log_px=log_px, kl=divergence)

    @staticmethod
    def jensen_shannon(experts: Experts) -> torch.Tensor:
        """Return the divergence of the present experts and N(0, I), all of weight 1 / n, [B]."""
        n = experts.present.sum(0) + 1
        f = product(experts, prior=True)
        f = DiagonalNormal(f.loc, f.scale * n.to(f.scale).sqrt()[:, None])
        each = torch.where(experts.present, kl(experts.q, f), 0.0).sum(0)
        return (each + kl(standard(DiagonalNormal, f.loc), f)) / n
