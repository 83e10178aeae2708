"""DMVAE (Lee & Pavlovic, 2021): a shared latent by a product of experts, and private latents."""

import torch

from mmvae_bench.models.private import Share, SharedAndPrivate, beside
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import Diagonal, kl
from mmvae_bench.probability.fusion import product, where
from mmvae_bench.types import Loss, MultimodalBatch


class DMVAE(SharedAndPrivate):
    """q(u | x_P) proportional to p(u) prod over m in P of q(u | x_m), w_m ~ q(w_m | x_m), and a sum of ELBOs:

        sum over q in { q(u | x_P), q(u | x_m) for m in P } of  E[ sum over n in P of log p(x_n | u, w_n) ]
            - beta { KL(q || N(0, I)) + sum over n in P of KL(q(w_n | x_n) || N(0, I)) }

    The KL of each private latent is counted |P| + 1 times. w is drawn anew for each ELBO. The released code multiplies
    the reconstructions from q(u | x_P) by 0, and the paper does not. Incomplete rows in training are ours.

    Args:
        private: share of each net's L latents that are private; a large one takes what modalities share. Paper: 1 of 11
            (MNIST, our default) and 4 of 14 (SVHN).
        joint: False leaves out the reconstructions from q(u | x_P), as the released code does.
    """

    def __init__(self, networks: Networks, *, beta: Weight = 1.0, private: Share = 0.1, joint: bool = True) -> None:
        super().__init__(networks, beta=beta, private=private)
        self.joint = joint

    def posterior(self, batch: MultimodalBatch) -> Diagonal:
        """Return q(u | x_A), of one modality its own as in training, and the private posteriors, side by side."""
        experts, w = self.encode_parts(batch)
        alone = batch.present.sum(0) == 1
        u = where(alone, product(experts, prior=False), product(experts, prior=True))
        return beside(u, self.given_or_prior(w, experts))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the sum of ELBOs), with one z of each."""
        experts, w = self.encode_parts(batch)
        whole, own = product(experts, prior=True), self.given_or_prior(w, experts)
        u = type(experts.q)(
            torch.cat([whole.loc[None], experts.q.loc]), torch.cat([whole.scale[None], experts.q.scale])
        )
        used = torch.cat([batch.present.any(0)[None], batch.present])  # [1 + M, B]
        decoded = used & (torch.arange(len(used), device=used.device) >= (0 if self.joint else 1))[:, None]
        log_px = self.log_px(beside(u, own).rsample(), batch, where=decoded).sum(0)
        divergence = kl(u) + kl(own)  # an absent w_m has the prior: its KL is 0
        elbo = torch.where(used, log_px - self.beta * divergence, 0.0)
        return row_mean(elbo.sum(0), batch.present, log_px=log_px[0], kl=divergence[0])
