"""Draws of z by which log-likelihoods are estimated: those of a subset are made once, and decoded once."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mmvae_bench.errors import Undefined
from mmvae_bench.probability.bounds import Estimate, Weighted
from mmvae_bench.probability.distributions import Posterior, Prior
from mmvae_bench.types import MultimodalBatch

PRIOR_SHARE = 0.1  # share of each prior in r (protocol 18): it bounds the weights of a narrow posterior


@runtime_checkable
class Model(Protocol):
    """What is asked of a model; :class:`~mmvae_bench.models.base.MultimodalVAE` has it."""

    def posterior(self, batch: MultimodalBatch) -> Posterior:
        """Return q(z | x_A)."""

    def prior(self) -> Prior:
        """Return p(z), or raise :class:`Undefined`."""

    def log_px_of(self, name: str, z: Tensor, batch: MultimodalBatch, *, weighted: bool = True) -> Tensor:
        """Return log p(x_m | z)."""

    def log_posterior(self, draws: "Draws", prior: Prior | None = None) -> Tensor:
        """Return the log of what p(z | x_A) is proportional to."""


@dataclass(frozen=True, eq=False)
class Draws:
    """K draws of z a row from r(z) = (1 - 0.1 n) q(z | x_A) + 0.1 sum of n priors, or any other z at its place."""

    model: Model
    batch: MultimodalBatch  # with all that may be a target
    given: tuple[str, ...]  # A
    q: Posterior  # q(z | x_A)
    priors: Sequence[Prior]  # each of batch shape [1]
    z: Float[Tensor, "K B L"]
    decoded: dict[str, Tensor] = field(default_factory=dict)

    def at(self, z: Float[Tensor, "C B L"]) -> "Draws":
        """Return the same at other z."""
        return Draws(self.model, self.batch, self.given, self.q, self.priors, z)

    def log_px(self, name: str) -> Float[Tensor, "K B"]:
        """Return log p(x_m | z), without weight; 0 in rows without x_m."""
        if name not in self.decoded:
            self.decoded[name] = self.model.log_px_of(name, self.z, self.batch, weighted=False)
        return self.decoded[name]

    @cached_property
    def log_q(self) -> Float[Tensor, "K B"]:
        """Log q(z | x_A)."""
        return self.q.log_prob(self.z)

    @cached_property
    def log_priors(self) -> list[Tensor]:
        """Log p(z) under each of the priors, [K, B]."""
        return [p.log_prob(self.z) for p in self.priors]

    def log_prior(self, p: Prior) -> Float[Tensor, "K B"]:
        """Return log p(z); of the priors by which z was drawn it is known."""
        known = [log_p for prior, log_p in zip(self.priors, self.log_priors, strict=True) if prior is p]
        return known[0] if known else p.log_prob(self.z)

    @cached_property
    def log_r(self) -> Float[Tensor, "K B"]:
        """Log r(z)."""
        own = math.log(1 - PRIOR_SHARE * len(self.priors)) + self.log_q
        others = [math.log(PRIOR_SHARE) + log_p for log_p in self.log_priors]
        return torch.stack([own, *others]).logsumexp(0)

    def weighted(self, prior: Prior | None = None) -> Weighted:
        """Return z with weights w that make them draws of p(z | x_A), under the model's own prior or a given one."""
        return Weighted(self.z, self.model.log_posterior(self, prior) - self.log_r)

    def predictive(self, target: str, prior: Prior | None = None) -> Estimate:
        """Estimate log p(x_t | x_A)."""
        return self.weighted(prior).predictive(self.log_px(target))


@dataclass(frozen=True, eq=False)
class Proposals:
    """The :class:`Draws` of all subsets of a batch.

    Args:
        model: the model.
        batch: rows, with all that is given or a target.
        k: K, the number of draws.
        generator: the generator of the draws given A.
        priors: priors in place of the model's own, under which something will be asked.
    """

    model: Model
    batch: MultimodalBatch
    k: int
    generator: Callable[[tuple[str, ...]], Generator | None] = lambda _: None
    priors: Sequence[Prior] = ()
    made: dict[tuple[str, ...], Draws] = field(default_factory=dict)

    def given(self, *names: str) -> Draws:
        """Return the draws given x_A."""
        if names not in self.made:
            self.made[names] = self.make(names)
        return self.made[names]

    def make(self, names: tuple[str, ...]) -> Draws:
        """Return new draws given x_A."""
        return self.draw(names, self.k)

    def draw(self, names: tuple[str, ...], k: int) -> Draws:
        """Draw k z a row of r(z) given x_A."""
        generator, priors = self.generator(names), [*self.priors]
        with suppress(Undefined):
            priors.insert(0, self.model.prior())
        q = self.model.posterior(self.batch.given(*names))
        z = q.rsample(k, generator)
        others = [p.rsample(k * z.shape[1], generator).reshape(z.shape) for p in priors]
        u = torch.rand(z.shape[:-1], generator=generator, device=z.device)
        for i, other in enumerate(others):
            chosen = (u >= i * PRIOR_SHARE) & (u < (i + 1) * PRIOR_SHARE)
            z = torch.where(chosen[..., None], other, z)
        return Draws(self.model, self.batch, names, q, priors, z)
