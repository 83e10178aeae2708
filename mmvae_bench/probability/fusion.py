"""Combinations of experts: products over subsets, and mixtures. They and the base class respect presence.

An *expert* is q(z | x_m). Products of experts are experts again (Normal family); a mixture ends the chain.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from mmvae_bench.probability.distributions import Diagonal, DiagonalNormal


@dataclass(frozen=True)
class Experts:
    """E diagonal experts for each of B rows, and which of them exist there."""

    q: Diagonal  # batch shape [E, B]; finite also where absent
    present: Bool[Tensor, "E B"]

    @property
    def counted(self) -> Bool[Tensor, "E B"]:
        """``present``, but with all experts in a row without any: its value is then finite; callers mask it."""
        return self.present | ~self.present.any(0)


def everywhere(q: Diagonal) -> Experts:
    """Return all members of q, of any batch shape, as experts that exist for every row: batch shape [E, 1]."""
    flat = type(q)(q.loc.reshape(-1, 1, q.loc.shape[-1]), q.scale.reshape(-1, 1, q.loc.shape[-1]))
    return Experts(flat, torch.ones(flat.loc.shape[:2], dtype=torch.bool, device=flat.loc.device))


def powerset(m: int) -> Bool[Tensor, "S M"]:
    """Return all 2^M - 1 non-empty subsets of M modalities as rows of a mask, in binary order: {0}, {1}, {0,1} ..."""
    code, bit = (torch.arange(*ends, device="cpu") for ends in ((1, 2**m), (m,)))  # also inside torch.device("meta")
    return (code[:, None] >> bit) % 2 == 1


def within(subsets: Bool[Tensor, "S M"], present: Bool[Tensor, "M B"]) -> Bool[Tensor, "S B"]:
    """Return which subsets consist of present modalities alone, in each row."""
    return ~(subsets[:, :, None] & ~present).any(1)


def where(mask: Bool[Tensor, " B"], q: DiagonalNormal, other: DiagonalNormal) -> DiagonalNormal:
    """Return q in the rows where the mask is True, the other density elsewhere."""
    loc, scale = ((q.loc, other.loc), (q.scale, other.scale))
    return DiagonalNormal(torch.where(mask[:, None], *loc), torch.where(mask[:, None], *scale))


def products(
    experts: Experts, keep: Bool[Tensor, "S E"] | Bool[Tensor, "S E B"], prior: Bool[Tensor, " S"]
) -> DiagonalNormal:
    """Return products of Normal experts over subsets, absent experts left out: precision-weighted, batch shape [S, B].

    prod_e N(mu_e, s_e^2) is N(mu, s^2) up to a constant, with precisions T_e = s_e^-2, T = sum_e T_e,
    mu = sum_e T_e mu_e / T, s^2 = 1 / T. The prior N(0, I) adds 1 to T, once per product (Wu & Goodman 2018, Eq. 5).
    A product without any member is the prior.

    Args:
        experts: experts of the Normal family.
        keep: experts of each subset, the same for all rows or row by row.
        prior: True for products that include the prior expert.
    """
    if not isinstance(experts.q, DiagonalNormal):
        raise TypeError("a product of experts has a closed form for Normal experts only")
    q, present = experts.q, experts.present.to(experts.q.loc)
    axes = "seb"[: keep.dim()]  # a plain matrix product if the subsets are the same for all rows
    keep = keep.to(q.loc)
    members = torch.einsum(f"{axes},eb->sb", keep, present)
    precision = q.scale.pow(-2) * present[..., None]
    total = torch.einsum(f"{axes},ebd->sbd", keep, precision) + (prior[:, None] | (members == 0))[..., None]
    loc = torch.einsum(f"{axes},ebd->sbd", keep, precision * q.loc) / total
    return DiagonalNormal(loc, total.rsqrt())


def product(experts: Experts, *, prior: bool) -> DiagonalNormal:
    """Return the product of all present experts, and of N(0, I) if ``prior``, batch shape [B]."""
    keep = experts.present.new_ones(1, len(experts.present))
    return products(experts, keep, keep[:, 0] & prior)[0]


@dataclass(frozen=True)
class Mixture:
    """q(z | x_A) = (1 / n) sum over the n experts present in the row."""

    experts: Experts

    @property
    def weight(self) -> Float[Tensor, "E B"]:
        """1 / n for present experts, 0 for absent ones; columns sum to 1."""
        counted = self.experts.counted.to(self.experts.q.loc)
        return counted / counted.sum(0)

    @property
    def mean(self) -> Float[Tensor, "B D"]:
        """E[z]: the weighted mean of the components' means."""
        return (self.weight[..., None] * self.experts.q.mean).sum(0)

    @property
    def stddev(self) -> Float[Tensor, "B D"]:
        """Standard deviation by the law of total variance: exactly the component's where there is one."""
        w, q, mean = self.weight[..., None], self.experts.q, self.mean
        variance: Tensor = (w * (q.stddev.square() + (q.mean - mean).square())).sum(0)
        return variance.sqrt()

    def component(self, u: Float[Tensor, "*sample B"]) -> Tensor:
        """Return the index of the component that uniform numbers u in [0, 1) select among the present ones."""
        rank = self.experts.counted.cumsum(0)  # [E, B]; the j-th present expert is the first of rank j
        n = rank[-1]
        j = torch.minimum((u * n).long() + 1, n)
        return (rank.reshape(-1, *(1,) * (u.dim() - 1), rank.shape[1]) < j).sum(0)

    def rsample(self, k: int | None = None, generator: Generator | None = None) -> Float[Tensor, "*sample B D"]:
        """Draw z: noise first, then the component, row by row; with ``k``, a new leading axis."""
        q = self.experts.q
        shape = q.loc.shape[1:] if k is None else (k, *q.loc.shape[1:])
        noise = q.noise(shape, q.loc, generator)  # drawn first: models without mixtures draw the same noise
        u = torch.rand(shape[:-1], generator=generator, device=q.loc.device, dtype=q.loc.dtype)
        rows = torch.arange(q.loc.shape[1], device=q.loc.device).expand(u.shape)
        chosen = q[self.component(u), rows]
        return chosen.loc + chosen.scale * noise

    def rsample_stratified(self) -> Float[Tensor, "B D"]:
        """Draw z of one component per row; the components are spread evenly over the batch (:func:`stratify`)."""
        rows = torch.arange(self.experts.q.loc.shape[1], device=self.experts.q.loc.device)
        return self.experts.q[self.component(stratify(len(rows), self.experts.q.loc)), rows].rsample()

    def log_prob(self, z: Float[Tensor, "*any B D"]) -> Float[Tensor, "*any B"]:
        """Return log (1 / n) sum_e q_e(z)."""
        q, w = self.experts.q, self.weight
        shape = (-1, *(1,) * (z.dim() - 2), *w.shape[1:])
        each = type(q)(q.loc.reshape(*shape, z.shape[-1]), q.scale.reshape(*shape, z.shape[-1])).log_prob(z)
        return torch.logsumexp(torch.where(self.experts.counted.reshape(shape), each, -torch.inf), 0) - (
            self.experts.counted.sum(0).to(z).log()
        )


def stratify(rows: int, like: Tensor) -> Float[Tensor, " B"]:
    """Draw one uniform number per row, balanced over the batch by a random permutation: u_b = (pi(b) + v_b) / B.

    Each is uniform on [0, 1), so a component drawn with it is unbiased; together they are spread evenly.
    """
    order = torch.rand(rows, device=like.device).argsort().to(like)
    return (order + torch.rand(rows, device=like.device, dtype=like.dtype)) / rows


def without(x: Tensor, m: int, dim: int = 0) -> Tensor:
    """Return x without index m of an axis, by slices: a list of indices would be copied to the device each time."""
    return torch.cat([x.narrow(dim, 0, m), x.narrow(dim, m + 1, x.shape[dim] - m - 1)], dim)
