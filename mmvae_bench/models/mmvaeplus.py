"""MMVAE+ (Palumbo et al., ICLR 2023): a mixture of experts with private latents, which other decoders never see."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmvae_bench.models.private import Share, SharedAndPrivate, beside
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Positive, Weight
from mmvae_bench.probability.bounds import log_mean_exp, row_mean
from mmvae_bench.probability.distributions import Diagonal, DiagonalLaplace, DiagonalNormal, standard
from mmvae_bench.probability.fusion import Experts, Mixture
from mmvae_bench.types import Loss, MultimodalBatch


class MMVAEPlus(SharedAndPrivate):
    """q(u | x_P) = (1 / |P|) sum over m in P of q(u | x_m), private w_m, and the average of importance-weighted bounds

        (1 / |P|) sum over m in P of log (1 / K) sum_k W_m(u_mk, w_mk),    u ~ q(u | x_m),  w_m ~ q(w_m | x_m)
        log W_m = sum over n in P of log p(x_n | u, w_n)
                  + beta [ log p(u) + log p(w_m) - log q(u | x_P) - log q(w_m | x_m) ]

    A decoder n != m gets w_n ~ r_n, an auxiliary prior of mean 0 and learned scales: nothing of x_m reaches it but u. A
    score draws w_n of what is not given from p(w_n) = N(0, I), as the released code does, not from r_n. The paper
    trains on complete rows; P in place of all modalities is ours.

    Args:
        private: share of each net's L latents that are private. Paper: 32 beside 32.
        k: number of samples per present modality; the paper's is 1, or 10 for CUB.
        estimator: estimator of the gradient, as MMVAE's. The released code has DReG, which for K = 1 is ``stl``.
        family: family of posteriors and priors; the paper's is Laplace.
    """

    authors: ClassVar[Mapping[str, str]] = {"beta": "2.5", "family": "laplace"}  # PolyMNIST

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, private: Share = 0.5, k: Positive = 1,
        estimator: Literal["iwae", "stl"] = "stl", family: Literal["normal", "laplace"] = "normal",
    ) -> None:  # fmt: skip
        super().__init__(networks, beta=beta, private=private)
        self.k, self.estimator = k, estimator
        self.family: type[Diagonal] = DiagonalLaplace if family == "laplace" else DiagonalNormal
        self.log_r = nn.Parameter(torch.zeros(len(self.names), self.own))  # log scales of r_n

    def posterior(self, batch: MultimodalBatch) -> Mixture:
        """Return the mixture of the present q(u | x_m), each beside the private posteriors."""
        experts, w = self.encode_parts(batch)
        return Mixture(Experts(beside(experts.q, self.given_or_prior(w, experts)), experts.present))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the bound); its gradient is the estimator's, because that of log sum w is sum w d log w / sum w."""
        experts, w = self.encode_parts(batch)
        bound = (Mixture(experts).weight * log_mean_exp(self.log_weights(experts, w, batch))).sum(0)
        return row_mean(bound, batch.present)

    def log_weights(self, experts: Experts, w: Diagonal, batch: MultimodalBatch) -> Float[Tensor, "K M B"]:
        """Draw K z of each m and return log w_m; with ``stl``, the parameters of log q are stopped."""
        z = beside(experts.q, self.own_or_auxiliary(w)).rsample(self.k)  # [K, M, B, D]
        u, slots = z[..., : self.common], z[..., self.common :].reshape(*z.shape[:-1], len(self.names), self.own)
        own = slots.diagonal(dim1=1, dim2=3).movedim(-1, 1)  # w_m of each m, [K, M, B, P]
        if self.estimator == "stl":
            experts, w = Experts(experts.q.detach(), experts.present), w.detach()
        log_p = sum(standard(self.family, part).log_prob(part) for part in (u, own))
        log_q = Mixture(experts).log_prob(u) + w.log_prob(own)
        return self.log_px(z, batch, where=experts.present).sum(0) + self.beta * (log_p - log_q)

    def own_or_auxiliary(self, w: Diagonal) -> Diagonal:
        """Return, for each source m, q(w_m | x_m) in the place of w_m and r_n in all others: batch shape [M, B]."""
        own = torch.eye(len(self.names), dtype=torch.bool, device=w.loc.device)[:, None, :, None]
        loc, scale = w.loc.movedim(0, 1), w.scale.movedim(0, 1)  # [B, M, P]
        parts = torch.where(own, loc, 0.0), torch.where(own, scale, self.log_r.exp())
        return self.family(*(part.flatten(2) for part in parts))
