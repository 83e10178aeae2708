"""Products of the densities of normalising flows, drawn and normalised by annealed importance sampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from mmvae_bench.probability.bounds import log_mean_exp
from mmvae_bench.probability.distributions import DiagonalNormal, standard
from mmvae_bench.probability.fusion import Experts, Mixture
from mmvae_bench.sampling.annealed import Annealing, leg
from mmvae_bench.sampling.chains import MALA

MANY = 256  # draws for moments of one flow
POOL, FEW = 32, 8  # weighted draws of a product for its moments; from which one is drawn
PARTS = 32  # times as many for its normaliser
BRIDGES = 12  # densities from r to the product
TUNING = 4  # chains by which their step sizes are chosen
SHARE, WIDER = 0.8, 1.2  # of the Normal in r
LEAST = 1e-4  # standard deviation


@dataclass(frozen=True)
class FlowProduct:
    """q(z | x_A) of B rows: ``joint`` where all is present, else proportional to p(z)^(1 - |A|) prod q_m(z | x_m).

    Of one modality the density is exact. The product of several is drawn by resampling of draws that are annealed to it
    from r = 0.8 N + 0.2 (the mixture of its q_m), N the product of Normals with the moments of the q_m, widened.
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

    @cached_property
    @torch.no_grad()
    def normal(self) -> DiagonalNormal:
        """Product over p(z)^(|A| - 1) of Normals with the moments of the q_m given, 1.2 times as wide, batch shape [B].

        It is at least as narrow as the narrowest of them: flows that are wider than p(z) have no such product.
        """
        q = self.experts.q
        noise = q.noise((POOL, q.loc.shape[-1]), q.loc, Generator(q.loc.device).manual_seed(0))
        each = [flow.inv(q.loc[m] + q.scale[m] * noise[:, None]) for m, flow in enumerate(self.flows)]
        loc, sd = (torch.stack(moments) for moments in zip(*((z.mean(0), z.std(0)) for z in each), strict=True))
        own = self.experts.counted[..., None] / sd.clamp(min=LEAST).square()
        total = torch.maximum(own.sum(0) - (self.experts.counted.sum(0)[:, None] - 1), own.amax(0))
        return DiagonalNormal((own * loc).sum(0) / total, WIDER * total.rsqrt())

    def log_both(self, z: Float[Tensor, "K B L"]) -> Float[Tensor, "2 K B"]:
        """Return log r(z), and (1 - |A|) log p(z) + sum over m in A of log q_m(z | x_m)."""
        log_q, counted = self.log_each(z), self.experts.counted[:, None]
        n = self.experts.counted.sum(0)
        mixture = torch.where(counted, log_q, -torch.inf).logsumexp(0) - n.log()
        product = torch.where(counted, log_q, 0.0).sum(0) + (1 - n) * standard(DiagonalNormal, z).log_prob(z)
        r = torch.logaddexp(math.log(SHARE) + self.normal.log_prob(z), math.log(1 - SHARE) + mixture)
        return torch.stack([r, product])

    @torch.no_grad()
    def mixed(self, k: int, generator: Generator | None, *, shared: bool = False) -> Float[Tensor, "k B L"]:
        """Draw k z of each row of the mixture of the q_m given; zeros where all is present.

        With ``shared`` all rows have the same noise, so that no row's draws depend on its neighbours.
        """
        q, rows = self.experts.q, 1 if shared else len(self.complete)
        noise = q.noise((k, rows, q.loc.shape[-1]), q.loc, generator)
        u = torch.rand(k, rows, generator=generator, device=noise.device, dtype=noise.dtype)
        chosen = Mixture(self.experts).component(u.expand(k, len(self.complete)))
        at = chosen, torch.arange(len(self.complete), device=u.device)
        v = q.loc[at] + q.scale[at] * noise
        z = torch.zeros_like(v)
        for m, flow in enumerate(self.flows):  # each draw passes its own flow alone
            own = (chosen == m) & ~self.complete
            z[own] = flow.inv(v[own])
        return z

    @torch.no_grad()
    def annealed(self, k: int, generator: Generator | None, *, shared: bool = False) -> tuple[Tensor, Tensor]:
        """Draw k z of the product in each row, [k, B, L], and log weights, [k, B], whose mean is its integral."""
        powers = [[1.0, 0.0], *leg([1.0, 0.0], [0.0, 1.0], BRIDGES)]
        annealing = Annealing(self.log_both, powers, self.normal.scale, replace(MALA, shared=shared))
        start, tries = (self._start(n, generator, shared=shared) for n in (k, TUNING))
        _, steps = annealing.tuned(tries, generator=generator)
        z, log_w = annealing.run(start, steps, generator)
        return z, log_w[-1]

    def _start(self, k: int, generator: Generator | None, *, shared: bool) -> Float[Tensor, "k B L"]:
        """Draw k z of each row from r."""
        mixed, p = self.mixed(k, generator, shared=shared), self.normal
        rows = slice(0, 1 if shared else None)
        noise = p.noise((k, *p.loc[rows].shape), p.loc, generator)
        u = torch.rand(noise.shape[:-1], generator=generator, device=noise.device, dtype=noise.dtype)
        return torch.where((u < SHARE)[..., None], p.loc + p.scale * noise, mixed)

    def of_rows(self, rows: Int[Tensor, " n"]) -> "FlowProduct":
        """Return the density of some rows."""
        q, present = self.experts.q[:, rows], self.experts.present[:, rows]
        return FlowProduct(self.joint[rows], Experts(q, present), self.flows)

    def _fixed(self, seed: int) -> Generator:
        """Return a generator of numbers that are the same for every row and call."""
        return Generator(self.experts.q.loc.device).manual_seed(seed)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, [B, L], of draws where not all is present."""
        z, rows = self.mixed(MANY, self._fixed(0), shared=True), self.several.nonzero()[:, 0]
        mean, sd = z.mean(0), z.std(0)
        if len(rows):
            z, log_w = self.of_rows(rows).annealed(POOL, self._fixed(0), shared=True)
            w = log_w.softmax(0)[..., None]
            mean[rows] = centre = (w * z).sum(0)
            sd[rows] = (w * (z - centre).square()).sum(0).sqrt()
        complete = self.complete[:, None]
        return torch.where(complete, self.joint.loc, mean), torch.where(complete, self.joint.scale, sd.clamp(min=LEAST))

    @property
    def mean(self) -> Float[Tensor, "B L"]:
        """E[z]."""
        return self.moments[0]

    @property
    def stddev(self) -> Float[Tensor, "B L"]:
        """Standard deviation of each dimension of z."""
        return self.moments[1]

    def rsample(self, k: int | None = None, generator: Generator | None = None) -> Float[Tensor, "*k B L"]:
        """Draw z without gradient; of a product k of at least :data:`FEW` weighted draws, by systematic resampling."""
        count, rows = k or 1, self.several.nonzero()[:, 0]
        joint, z = self.joint.rsample(count, generator), self.mixed(count, generator)
        if len(rows):
            drawn, log_w = self.of_rows(rows).annealed(max(FEW, count), generator)
            cdf = log_w.softmax(0).cumsum(0).T.contiguous()  # [rows, draws]
            start = torch.rand(len(cdf), 1, generator=generator, device=z.device, dtype=z.dtype)
            at = (torch.arange(count, device=z.device) + start) / count
            index = torch.searchsorted(cdf, at).clamp(max=len(drawn) - 1).T[..., None]
            z[:, rows] = drawn.gather(0, index.expand(-1, -1, z.shape[-1]))
        z = torch.where(self.complete[:, None], joint, z)
        return z[0] if k is None else z

    def log_prob(self, z: Float[Tensor, "K B L"]) -> Float[Tensor, "K B"]:
        """Return log q(z); of several modalities, not all, with an estimated normaliser."""
        product = self.log_both(z)[1] - self.log_normaliser
        return torch.where(self.complete, self.joint.log_prob(z), product)

    @cached_property
    def log_normaliser(self) -> Float[Tensor, " B"]:
        """Log of the product's integral: estimated in rows with several modalities, not all; elsewhere 0."""
        zero, rows = torch.zeros_like(self.joint.loc[:, 0]), self.several.nonzero()[:, 0]
        if not len(rows):
            return zero
        part = self.of_rows(rows)
        each = [part.annealed(POOL, self._fixed(seed), shared=True)[1] for seed in range(PARTS)]  # z may be large
        return zero.index_copy(0, rows, log_mean_exp(torch.cat(each)))
