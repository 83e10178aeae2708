"""Latents that a modality has for itself, beside a shared one."""

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor

from mmvae_bench.errors import BenchError
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Range, Weight
from mmvae_bench.probability.distributions import Diagonal
from mmvae_bench.probability.fusion import Experts
from mmvae_bench.types import MultimodalBatch

Share = Annotated[float, Interval(ge=0, lt=1), Range(0.05, 0.6)]


class SharedAndPrivate(MultimodalVAE):
    """Models with z = (u, w_1 .. w_M): u is shared, w_m is private to x_m, and p(x_m | z) = p(x_m | u, w_m).

    The nets are those of every model: the L numbers that a decoder reads are u and w_m, of which w_m are the last
    P = floor(private L), at least one if ``private`` is above 0. Posteriors, the prior N(0, I) and likelihoods are of
    all of z, which has S + M P dimensions, S = L - P. Given x_A, w_m of m in A is drawn from q(w_m | x_m), any other
    from the prior.
    """

    def __init__(self, networks: Networks, *, beta: Weight = 1.0, private: Share = 0.5) -> None:
        super().__init__(networks, beta=beta)
        size = networks.latent_dim
        self.own = max(int(round(size * private, 6)), 1) if private else 0  # P
        self.common = size - self.own  # S
        if not self.common:
            raise BenchError("One latent cannot be shared and private. Give --latent-dim 2 or more, or private=0.")

    @property
    def latent_dim(self) -> int:
        """S + M P."""
        return self.common + len(self.names) * self.own

    @property
    def latent_parts(self) -> Mapping[str, slice]:
        """``shared`` and the modalities' names: the dimensions of u and of each w_m."""
        starts = range(self.common, self.latent_dim, self.own) if self.own else ()
        own = {name: slice(start, start + self.own) for name, start in zip(self.names, starts, strict=False)}
        return {"shared": slice(0, self.common), **own}

    def theta(self, name: str, z: Float[Tensor, "*batch D"]) -> Tensor:
        """Return the parameters of p(x_m | u, w_m)."""
        parts = self.latent_parts
        return super().theta(name, torch.cat([z[..., parts[part]] for part in ("shared", name) if part in parts], -1))

    def encode_parts(self, batch: MultimodalBatch) -> tuple[Experts, Diagonal]:
        """Return q(u | x_m), experts of batch shape [M, B], and q(w_m | x_m), batch shape [M, B]."""
        experts = self.encode(batch)
        u, w = (experts.q[..., part] for part in (slice(self.common), slice(self.common, None)))
        return Experts(u, experts.present), w

    def given_or_prior(self, w: Diagonal, experts: Experts) -> Diagonal:
        """Return q(w_m | x_m) of what is present, else the prior, for all m side by side: batch shape [B]."""
        present = experts.present[..., None]
        loc, scale = torch.where(present, w.loc, 0.0), torch.where(present, w.scale, 1.0)
        return type(w)(*(part.movedim(0, 1).flatten(1) for part in (loc, scale)))


def beside(u: Diagonal, w: Diagonal) -> Diagonal:
    """Return the density of (u, w), independent, for w of batch shape [B] and u of [B], or [E, B] for each expert."""
    return type(u)(*(torch.cat([a, b.expand(*a.shape[:-1], -1)], -1) for a, b in ((u.loc, w.loc), (u.scale, w.scale))))
