"""Hamiltonian Monte Carlo over the z of many rows at once (Neal 2011); with one leapfrog step it is MALA."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Generator, Tensor

LogDensity = Callable[[Tensor], Tensor]  # z [C, B, L] of C chains a row -> log f(z) up to a constant of the row, [C, B]
Terms = Callable[[Tensor], Tensor]  # z -> log f_i(z) of I densities, [I, C, B]
# Of the gains of burn-in, 2 t^-0.6: their sum is infinite, that of their squares is not (Robbins & Monro)
FALL = 0.6


class State(NamedTuple):
    """C chains of B rows at z, where the log density is a weighted sum of I terms."""

    z: Float[Tensor, "C B L"]
    terms: Float[Tensor, "I C B"]  # log f_i(z)
    gradients: Float[Tensor, "I C B L"]  # by z

    def log_p(self, weights: Sequence[float]) -> Float[Tensor, "C B"]:
        """Return log p(z) = sum_i weight_i log f_i(z)."""
        return torch.stack([w * term for w, term in zip(weights, self.terms, strict=True) if w]).sum(0)

    def gradient(self, weights: Sequence[float]) -> Float[Tensor, "C B L"]:
        """Return the gradient of log p by z."""
        return torch.stack([w * each for w, each in zip(weights, self.gradients, strict=True) if w]).sum(0)


def state_of(terms: Terms, z: Float[Tensor, "C B L"]) -> State:
    """Return the state at z."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        values = terms(z)
        last = len(values) - 1
        gradients = [torch.autograd.grad(f.sum(), z, retain_graph=i < last)[0] for i, f in enumerate(values)]
    return State(z.detach(), values.detach(), torch.stack(gradients))


@dataclass(frozen=True)
class Kernel:
    """A transition: momenta v ~ N(0, I), ``leapfrogs`` steps of size e, accepted with probability min(1, exp(-dH)):

        H(z, v) = -log p(z) + |v|^2 / 2
        v += e/2 grad log p(z);  z += e v;  v += e/2 grad log p(z)

    In coordinates z / ``scale``. It leaves p invariant if the step is not chosen by the chain's own state. What is not
    finite is not accepted.

    Args:
        leapfrogs: number of steps, each with one gradient. 1 is MALA (Roberts & Tweedie 1996).
        target: mean acceptance that steps are adapted to: .9 in Kuzina et al. (2022), .574 is the best for MALA.
        shared: True gives all rows the same noise: what is found for a row then does not depend on its neighbours.
    """

    leapfrogs: int = 20
    target: float = 0.9
    shared: bool = False

    def move(
        self, terms: Terms, weights: Sequence[float], at: State, step: Float[Tensor, " B"],
        scale: Float[Tensor, "#B L"], generator: Generator | None = None,
    ) -> tuple[State, Float[Tensor, "C B"]]:  # fmt: skip
        """Return the next states, and the probabilities with which the proposals were accepted."""
        own = at.z[:, :1] if self.shared else at.z  # of this shape is the noise
        v = torch.randn(own.shape, generator=generator, device=own.device, dtype=own.dtype).expand_as(at.z)
        u = torch.rand(own.shape[:2], generator=generator, device=own.device, dtype=own.dtype)
        new, e, before = at, step[:, None] * scale, at.log_p(weights) - v.square().sum(-1) / 2
        for _ in range(self.leapfrogs):
            v = v + e / 2 * new.gradient(weights)
            new = state_of(terms, new.z + e * v)
            v = v + e / 2 * new.gradient(weights)
        change = new.log_p(weights) - v.square().sum(-1) / 2 - before
        accepted = torch.where(change.isfinite(), change.clamp(max=0).exp(), 0.0)
        taken = u < accepted
        wide = taken[..., None]
        pairs = zip((wide, taken, wide), new, at, strict=True)
        return State(*(torch.where(mask, after, kept) for mask, after, kept in pairs)), accepted


HMC, MALA = Kernel(), Kernel(leapfrogs=1, target=0.574)


def adapted(step: Float[Tensor, " B"], accepted: Float[Tensor, "C B"], target: float, gain: float) -> Tensor:
    """Return the next step of each row: log e += gain (mean acceptance - target)."""
    return step * (gain * (accepted.mean(0) - target)).exp()


@dataclass(frozen=True)
class Chains:
    """S kept states of C chains of B rows, after burn-in."""

    z: Float[Tensor, "S C B L"]
    acceptance: Float[Tensor, " B"]  # mean acceptance of the kept transitions
    step: Float[Tensor, " B"]  # their step size
    gradients: int  # evaluated per chain, burn-in included

    @cached_property
    def ess(self) -> NDArray[Any]:
        """Smallest effective sample size over the dimensions of z, of all S x C states of a row, [B]."""
        smallest: NDArray[Any] = self._diagnosed("ess").min(1)
        return smallest

    @cached_property
    def r_hat(self) -> NDArray[Any]:
        """Largest R-hat over the dimensions of z, [B]: rank-normalised, of split chains (Vehtari et al. 2021)."""
        largest: NDArray[Any] = self._diagnosed("rhat").max(1)
        return largest

    def _diagnosed(self, what: Literal["ess", "rhat"]) -> NDArray[Any]:
        """Return a diagnostic of each dimension of each row, [B, L]."""
        from arviz_stats.base.array import array_stats

        return np.asarray(getattr(array_stats, what)(self.z.double().cpu().numpy(), chain_axis=1, draw_axis=0))


def sample(
    log_p: LogDensity, start: Float[Tensor, "C B L"], kernel: Kernel = HMC, *, burn_in: int, draws: int,
    step: float = 0.1, scale: Float[Tensor, "#B L"] | None = None, generator: Generator | None = None,
) -> Chains:  # fmt: skip
    """Run C chains of each of B rows; one step size a row is adapted in burn-in, and frozen after it.

    Args:
        log_p: log density, up to a constant.
        start: first states.
        kernel: transition, :data:`HMC` or :data:`MALA`.
        burn_in: number of transitions that are not kept.
        draws: S, the number of kept ones.
        step: step size of the first transition, in units of ``scale``.
        scale: width of p in each dimension, such as an encoder's standard deviation; default: 1.
        generator: random generator of momenta and acceptances, or None for the default one.
    """

    def terms(z: Tensor) -> Tensor:
        return log_p(z)[None]

    widths, steps = torch.ones_like(start[0, :1]) if scale is None else scale, torch.full_like(start[0, :, 0], step)
    state, kept, acceptance = state_of(terms, start), [], torch.zeros_like(steps)
    for t in range(1, burn_in + draws + 1):
        state, accepted = kernel.move(terms, [1.0], state, steps, widths, generator)
        if t <= burn_in:
            steps = adapted(steps, accepted, kernel.target, 2 * t**-FALL)
            continue
        kept.append(state.z)
        acceptance += accepted.mean(0) / draws
    return Chains(torch.stack(kept), acceptance, steps, 1 + (burn_in + draws) * kernel.leapfrogs)
