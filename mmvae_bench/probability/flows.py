"""Products of the densities of normalising flows, drawn and normalised by importance sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from mmvae_bench.probability.bounds import log_mean_exp
from mmvae_bench.probability.distributions import DiagonalNormal, standard
from mmvae_bench.probability.fusion import Experts, Mixture

POOL = 256  # weighted draws for moments and for a draw; the normaliser has sixteen times as many
LEAST = 1e-4  # standard deviation


@dataclass(frozen=True)
class FlowProduct:
    """q(z | x_A) of B rows: ``joint`` where all is present, else proportional to p(z)^(1 - |A|) prod q_m(z | x_m).

    The product is drawn by importance resampling from the mixture of its q_m, which is exact if one modality is given.
    """

    joint: DiagonalNormal  # where all is present, batch shape [B]
    experts: Experts  # densities of v, batch shape [M, B]
    flows: Sequence[Any]  # T_m^-1

    @property
    def complete(self) -> Bool[Tensor, " B"]:
        """Mask of the rows in which all is present."""
        return self.experts.present.all(0)

    @property
    def several(self) -> Bool[Tensor, " B"]:
        """Mask of the rows with several modalities, not all: there draws are weighted."""
        return (self.experts.counted.sum(0) > 1) & ~self.complete

    def log_each(self, z: Float[Tensor, "*k B L"]) -> Float[Tensor, "M *k B"]:
        """Return log q_m(z | x_m) of every m."""
        each = [flow.call_and_ladj(z) for flow in self.flows]
        return torch.stack([self.experts.q[m].log_prob(v) + log_det for m, (v, log_det) in enumerate(each)])

    def log_product(self, log_q: Float[Tensor, "M K B"], z: Float[Tensor, "K B L"]) -> Float[Tensor, "K B"]:
        """Return (1 - |A|) log p(z) + sum over m in A of log q_m(z | x_m)."""
        counted = self.experts.counted
        own = torch.where(counted[:, None], log_q, 0.0).sum(0)
        return own + (1 - counted.sum(0)) * standard(DiagonalNormal, z).log_prob(z)

    @torch.no_grad()
    def pool(self, noise: Float[Tensor, "K *B L"], u: Float[Tensor, "K *B"]) -> tuple[Tensor, Tensor]:
        """Return z of the mixture of the q_m given, [K, B, L], and log weights, [K, B]: 0 where one is given.

        They are made of standard normal and uniform numbers.
        """
        q, size = self.experts.q, self.complete.shape[0]
        chosen = Mixture(self.experts).component(u.expand(len(u), size))
        at = chosen, torch.arange(size, device=chosen.device)
        v = q.loc[at] + q.scale[at] * noise  # [K, B, L]
        z = torch.zeros_like(v)
        for m, flow in enumerate(self.flows):  # each draw passes its own flow alone
            own = (chosen == m) & ~self.complete
            z[own] = flow.inv(v[own])
        log_w, rows = torch.zeros_like(z[..., 0]), self.several.nonzero()[:, 0]
        if len(rows):
            part = self.of_rows(rows)
            log_q, counted = part.log_each(z[:, rows]), part.experts.counted
            mixture = torch.where(counted[:, None], log_q, -torch.inf).logsumexp(0) - counted.sum(0).log()
            log_w[:, rows] = part.log_product(log_q, z[:, rows]) - mixture
        return z, log_w

    def of_rows(self, rows: Int[Tensor, " n"]) -> "FlowProduct":
        """Return the density of some rows."""
        q, present = self.experts.q[:, rows], self.experts.present[:, rows]
        return FlowProduct(self.joint[rows], Experts(q, present), self.flows)

    def fixed_pool(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return :meth:`pool` of :data:`POOL` numbers that are the same for every row and call."""
        q = self.experts.q
        generator = Generator(q.loc.device).manual_seed(seed)
        noise = q.noise((POOL, 1, q.loc.shape[-1]), q.loc, generator)
        return self.pool(noise, torch.rand(POOL, 1, generator=generator, device=noise.device, dtype=noise.dtype))

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, [B, L], of weighted draws where not all is present."""
        z, log_w = self.fixed_pool(0)
        w, complete = log_w.softmax(0)[..., None], self.complete[:, None]
        mean = (w * z).sum(0)
        sd = (w * (z - mean).square()).sum(0).sqrt().clamp(min=LEAST)
        return torch.where(complete, self.joint.loc, mean), torch.where(complete, self.joint.scale, sd)

    @property
    def mean(self) -> Float[Tensor, "B L"]:
        """E[z]."""
        return self.moments[0]

    @property
    def stddev(self) -> Float[Tensor, "B L"]:
        """Standard deviation of each dimension of z."""
        return self.moments[1]

    def rsample(self, k: int | None = None, generator: Generator | None = None) -> Float[Tensor, "*k B L"]:
        """Draw z without gradient: k of at least :data:`POOL` weighted draws by systematic resampling."""
        count, q = k or 1, self.experts.q
        joint, size = self.joint.rsample(count, generator), max(POOL, count) if self.several.any() else count
        noise = q.noise((size, *q.loc.shape[1:]), q.loc, generator)
        u = torch.rand(size, q.loc.shape[1], generator=generator, device=noise.device, dtype=noise.dtype)
        z, log_w = self.pool(noise, u)
        cdf = log_w.softmax(0).cumsum(0).T.contiguous()  # [B, pool]
        start = torch.rand(len(cdf), 1, generator=generator, device=z.device, dtype=z.dtype)
        at = (torch.arange(count, device=z.device) + start) / count
        index = torch.searchsorted(cdf, at).clamp(max=len(z) - 1).T[..., None].expand(count, *z.shape[1:])
        drawn = torch.where(self.complete[:, None], joint, z.gather(0, index))
        return drawn[0] if k is None else drawn

    def log_prob(self, z: Float[Tensor, "K B L"]) -> Float[Tensor, "K B"]:
        """Return log q(z); of several modalities, not all, with an estimated normaliser."""
        product = self.log_product(self.log_each(z), z) - self.log_normaliser
        return torch.where(self.complete, self.joint.log_prob(z), product)

    @cached_property
    def log_normaliser(self) -> Float[Tensor, " B"]:
        """Log of the product's integral: estimated in rows with several modalities, not all; elsewhere 0."""
        zero, rows = torch.zeros_like(self.joint.loc[:, 0]), self.several.nonzero()[:, 0]
        if not len(rows):
            return zero
        part = self.of_rows(rows)
        log_w = torch.cat([part.fixed_pool(seed)[1] for seed in range(16)])  # one after the other: z may be large
        return zero.index_copy(0, rows, log_mean_exp(log_w))
