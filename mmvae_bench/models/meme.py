"""MEME (Joy et al., ICLR 2022): mutual supervision. Each encoder is the conditional prior of the others."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from mmvae_bench.models.base import Batches, Densities, OwnConditional, PseudoInputs
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Count, Positive, Range, Weight
from mmvae_bench.probability.bounds import log_mean_exp, row_mean
from mmvae_bench.probability.distributions import Diagonal, Posterior, kl
from mmvae_bench.probability.fusion import Experts, Mixture, everywhere, product, without
from mmvae_bench.types import Loss, MultimodalBatch

Supervision = Annotated[Weight, Range(1.0, 30.0)]


class MEME(OwnConditional):
    """A row with |P| >= 2 (Eq. 6, App. E for M > 2; s = x_m, t = the other present ones, z_0 ~ q(z | s)):

        (1 / |P|) sum over m in P of  w [ log p(s | z_0) - log q(t | z_0) - beta D ] + lambda log q(t | s)
        log q(t | s) = log (1 / (K + 1)) sum_{k=0..K} q(t | z_k),  w = q(t | z_0) / q(t | s), held constant

    p(z | t) = R_e is the encoders of t themselves, combined as a mixture (or product); q(t | z) the decoders (App. C:
    shared networks; else both have their own, which start as copies, and z given t is drawn from R_e). A row
    with |P| = 1 (Eq. 8): log p(s | z_0) - beta [ log q(z_0 | s) - log p_u(z_0) ], p_u the uniform mixture of the absent
    modalities' encoders at learned pseudo-inputs u (of captions: as embedded), which start from data and do not change
    if no row is incomplete. Counting z_0 bounds w <= K + 1 (App. D). K = 10.

    D is what w multiplies: ``sampled``, log q(z_0 | s) - log p(z_0 | t) at the z_0 that w weighs, is Eq. 6: with
    lambda = beta = 1 and exact q(t | s) it bounds log p(s | t) from below. ``closed`` is KL(q(z | s) || p(z | t)), as
    in the authors' code, which ignores that w depends on z_0: no bound, it may exceed log p(s | t). A mixture p(z | t)
    has no closed form: the mean of its components' KLs takes its place. ``closed`` is the default, chosen on validation
    rows (benchmarks/protocols.md). Paper: lambda 1 (our default); code: 10.

    Args:
        supervision: lambda, the weight of log q(t | s).
        divergence: D, ``closed`` or ``sampled``.
        k: K, the number of extra samples of log q(t | s).
        pseudo: number of pseudo-inputs per modality.
        shared: True if decoders and encoders of both directions share networks.
        stop_gradient: True if w is held constant.
        batches: ``pure`` for batches of either complete or incomplete rows, as in the authors' code.
        combine: R_e of several modalities: ``mixture`` or ``product``.
        directions: ``sum`` to leave out 1 / |P|, as in that code: rows with |P| >= 2 then have more weight.
    """

    no_prior = "MEME has no p(z): the prior of a row is its other modalities' encoder"
    joint_posterior = False
    cost = 5.0
    authors: ClassVar[Mapping[str, str]] = {
        "supervision": "10",
        "directions": "sum",
        "batches": "pure",
    }  # released code
    remark_if_complete = "no row is incomplete: the pseudo-inputs stay as they started"

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, supervision: Supervision = 1.0, k: Count = 10,
        pseudo: Positive = 128, shared: bool = True, stop_gradient: bool = True, batches: Batches = "mixed",
        combine: Literal["mixture", "product"] = "mixture", directions: Literal["mean", "sum"] = "mean",
        divergence: Literal["closed", "sampled"] = "closed",
    ) -> None:  # fmt: skip
        super().__init__(networks, beta=beta)
        self.supervision, self.k, self.combine, self.batches = supervision, k, combine, batches
        self.stop_gradient, self.directions, self.sampled = stop_gradient, directions, divergence == "sampled"
        self.second = None if shared else Densities(deepcopy(networks))
        self.pseudo = PseudoInputs(networks, pseudo)

    def initialise(self, draw: Callable[[str, int], Tensor]) -> None:
        """Set the pseudo-inputs to training entries that are present."""
        self.pseudo.initialise(self.networks, draw)

    def posterior(self, batch: MultimodalBatch) -> Posterior:
        """Return R_e of the present modalities."""
        return self.combined((self.second or self).encode(batch))

    def combined(self, experts: Experts) -> Diagonal | Mixture:
        """Return R_e: the mixture, or the product without a prior expert."""
        return Mixture(experts) if self.combine == "mixture" else product(experts, prior=False)

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(Eq. 6) for rows with several modalities, -(Eq. 8) for rows with one."""
        experts, pseudo = self.encode(batch), self.pseudo.encoded(self.second or self)
        priors = self.second.encode(batch) if self.second else experts
        z = experts.q.rsample(self.k + 1)  # [K+1, M, B, L]; z_0 first
        own, cross = self.reconstructions(z, batch)
        paired, alone = [], []
        for m, z_0 in enumerate(z[0]):
            q, a, c = experts.q[m], cross[0, m], log_mean_exp(cross[:, m])
            w = (a - c).exp().detach() if self.stop_gradient else (a - c).exp()
            paired.append(w * (own[m] - a - self.beta * self.divergence(m, q, z_0, priors)) + self.supervision * c)
            alone.append(own[m] - self.beta * (q.log_prob(z_0) - self.combined_pseudo(pseudo, m).log_prob(z_0)))
        size, mean = batch.present.sum(0), self.directions == "mean"
        each = torch.where(size >= 2, torch.stack(paired) / (size.clamp(min=1) if mean else 1), torch.stack(alone))
        return row_mean(torch.where(batch.present, each, 0.0).sum(0), batch.present, log_px=own.sum(0))

    def reconstructions(self, z: Tensor, batch: MultimodalBatch) -> tuple[Tensor, Tensor]:
        """log p(x_m | z_m0) [M, B], and sum over n != m of log p(x_n | z_mk) [K+1, M, B]: one decode per modality."""
        own, cross = [], torch.zeros_like(z[..., 0])
        for n, name in enumerate(self.names):
            where = torch.cat([batch.present[n][None], without(batch.present, n).repeat(len(z), 1)])
            every = torch.cat([z[0, n][None], without(z, n, 1).flatten(0, 1)])  # [1 + (K+1) (M-1), B, L]
            n_own = 1 if self.second else len(every)
            log_px = self.log_px_of(name, every[:n_own], batch, where=where[:n_own])
            if self.second:
                log_px = torch.cat([log_px, self.second.log_px_of(name, every[1:], batch, where=where[1:])])
            own.append(log_px[0])
            each = log_px[1:].reshape(len(z), -1, batch.size)
            cross = cross + torch.cat([each[:, :n], torch.zeros_like(each[:, :1]), each[:, n:]], 1)
        return torch.stack(own), cross

    def divergence(self, m: int, q: Diagonal, z_0: Tensor, experts: Experts) -> Tensor:
        """Return D of q(z | x_m) and R_e(other present modalities), [B]."""
        rest = Experts(experts.q, experts.present & (torch.arange(len(self.names), device=z_0.device)[:, None] != m))
        prior = self.combined(rest)
        if self.sampled:
            return q.log_prob(z_0) - prior.log_prob(z_0)
        return kl(q, prior) if isinstance(prior, Diagonal) else (prior.weight * kl(q, experts.q)).sum(0)

    def combined_pseudo(self, pseudo: Diagonal, m: int) -> Mixture:
        """Return p_u for rows with modality m alone: uniform over the others' pseudo-inputs, batch shape [1]."""
        if self.combine == "mixture":
            return self.pseudo.others(pseudo, m)
        others = type(pseudo)(without(pseudo.loc, m), without(pseudo.scale, m))  # [M-1, U]
        every = Experts(others, torch.ones_like(others.loc[..., 0], dtype=torch.bool))
        return Mixture(everywhere(product(every, prior=False)))
