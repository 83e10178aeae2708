"""MM-VAMP / MMVM VAE (Sutter et al., NeurIPS 2024): the prior is the mixture of all modalities' posteriors."""

from typing import Literal

import torch

from mmvae_bench.models.unimodal import PrivateLatents
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import kl
from mmvae_bench.probability.fusion import Experts, Mixture
from mmvae_bench.types import Loss, MultimodalBatch


class MMVM(PrivateLatents):
    """Each modality has its own latent; a soft constraint makes the posteriors similar (Eqs. 5, 6):

        sum over m in P of E_{q(z | x_m)}[ log p(x_m | z) ] - beta KL(q(z | x_m) || h)
        h = (1 / |P|) sum over n in P of q(z | x_n)

    ``pairwise`` bounds KL(q_m || h) <= (1 / |P|) sum_n KL(q_m || q_n) in closed form (the authors' code);
    ``monte_carlo`` takes log q_m(z_m) - log h(z_m), which never exceeds log |P|. No gradient is stopped on the prior's
    side. Where |P| = 1, h is q_m itself and the KL would vanish: the row would train an unregularised auto-encoder.

    Args:
        bound: ``pairwise`` or ``monte_carlo``.
        alone: prior of a row with one modality: ``standard_normal``, or ``nothing``.
    """

    no_prior = "MMVM's prior is the mixture of a row's own posteriors: there is no p(z) to sample without a row"

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, bound: Literal["pairwise", "monte_carlo"] = "pairwise",
        alone: Literal["standard_normal", "nothing"] = "standard_normal",
    ) -> None:  # fmt: skip
        super().__init__(networks, beta=beta)
        self.bound, self.alone = bound, alone

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(Eq. 5), the sum over present modalities."""
        experts = self.encode(batch)
        z = experts.q.rsample()
        log_px = self.own_log_px(z, batch).sum(0)
        to_h = self.kl_to_h(z, experts)
        to_normal = kl(experts.q) * (self.alone == "standard_normal")
        each = torch.where(experts.present.sum(0) == 1, to_normal, to_h)
        divergence = torch.where(experts.present, each, 0.0).sum(0)
        return row_mean(log_px - self.beta * divergence, batch.present, log_px=log_px, kl=divergence)

    def kl_to_h(self, z: torch.Tensor, experts: Experts) -> torch.Tensor:
        """Return KL(q_m || h) for each m, [M, B]: its pairwise bound or its one-sample estimate."""
        q = experts.q
        if self.bound == "pairwise":
            return (Mixture(experts).weight * kl(q[:, None], q[None, :])).sum(1)
        return q.log_prob(z) - Mixture(experts).log_prob(z)
