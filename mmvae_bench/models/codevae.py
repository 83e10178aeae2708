"""CoDE-VAE (Mancisidor et al., ICML 2025): a consensus of dependent experts for each subset, and learned weights."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Interval
from jaxtyping import Bool
from torch import Tensor, nn

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl
from mmvae_bench.probability.fusion import Experts, powerset, within
from mmvae_bench.types import Loss, MultimodalBatch


class CoDEVAE(MultimodalVAE):
    """q_A is the consensus N(mu, 1 / T) of experts with correlated errors, C_ii = s_i^2 and C_ij = rho s_i s_j:

        T = 1' C^-1 1,    mu = 1' C^-1 (mu_i) / T

    in each dimension, with a flat prior on z: generalised least squares. rho = 0 is the product of experts. Every
    subset reconstructs all that is present, and all share one bound:

        sum over A in P of pi_A { E_{q_A}[ sum over m in P of log p(x_m | z) ] - beta KL(q_A || N(0, I)) } + h H(pi)

    pi is learned: a softmax over the subsets, in incomplete rows over those of P, which is ours. Of two experts the
    weight of i in mu is negative where rho s_i > s_j: the mean then leaves the interval between them. The log has the
    share of such weights (``negative``), over dimensions and subsets of several experts.

    Args:
        rho: correlation of the experts' errors.
        entropy: h, the weight of the entropy of pi, in nats of the bound (code: 1000, its likelihoods being scaled up).
    """

    cost = 1.4
    authors: ClassVar[Mapping[str, str]] = {"beta": "20"}  # MNIST-SVHN-Text, z 20

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, rho: Annotated[float, Interval(ge=0, le=0.99)] = 0.4,
        entropy: Annotated[float, Ge(0.0)] = 1000.0,
    ) -> None:  # fmt: skip
        super().__init__(networks, beta=beta)
        self.rho, self.entropy = rho, entropy
        self.register_buffer("subsets", powerset(len(self.names)), persistent=False)
        self.subsets: Tensor
        self.logits = nn.Parameter(torch.zeros(len(self.subsets)))  # of pi

    def consensus(
        self, experts: Experts, keep: Bool[Tensor, "S M B"]
    ) -> tuple[DiagonalNormal, Bool[Tensor, "S M B D"]]:
        """Return q_A of subsets A that are given row by row, [S, B], and which experts have a negative weight in it.

        With a_i = 1 / s_i and n = |A|, C^-1 = diag(a) (I - c 1 1') diag(a) / (1 - rho), c = rho / (1 + (n - 1) rho).
        """
        kept = keep.to(experts.q.loc)[..., None]
        a = kept / experts.q.scale
        c = self.rho / (1 + (kept.sum(1, keepdim=True) - 1).clamp(min=0) * self.rho)
        weight = a * (a - c * a.sum(1, keepdim=True)) / (1 - self.rho)  # rows of 1' C^-1
        total = weight.sum(1) + (kept.sum(1) == 0)  # without any member: N(0, I)
        return DiagonalNormal((weight * experts.q.loc).sum(1) / total, total.rsqrt()), weight < 0

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return the consensus of all present experts."""
        return self.consensus(self.encode(batch), batch.present[None])[0][0]

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the bound), with one z of every subset."""
        available = within(self.subsets, batch.present)
        members = self.subsets[:, :, None] & batch.present  # [S, M, B]
        q, negative = self.consensus(self.encode(batch), members)
        log_px = self.log_px(q.rsample(), batch, where=available).sum(0)
        divergence = kl(q)
        pi = self.share(available)
        bound = torch.where(available, pi * (log_px - self.beta * divergence), 0.0).sum(0)
        entropy = -torch.where(available, pi * pi.clamp(min=1e-12).log(), 0.0).sum(0)
        whole = available & (members.sum(1) == batch.present.sum(0))  # A = P
        several = available & (members.sum(1) > 1)
        often = (negative.any(1).to(pi).mean(-1) * several).sum(0) / several.sum(0).clamp(min=1)
        terms = {"log_px": (log_px * whole).sum(0), "kl": (divergence * whole).sum(0), "negative": often}
        return row_mean(bound + self.entropy * entropy, batch.present, **terms)

    def share(self, available: Bool[Tensor, "S B"]) -> Tensor:
        """Return pi of the subsets that a row has, [S, B]."""
        some = available | ~available.any(0)
        return torch.where(some, self.logits[:, None], -torch.inf).softmax(0)
