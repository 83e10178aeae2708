"""Annealed importance sampling (Neal 2001): from draws of an easy density to weighted draws of a hard one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mmvae_bench.sampling.chains import MALA, Kernel, Terms, adapted, state_of

TRIES = 2  # transitions at each density by which its step is adapted, beforehand


@dataclass(frozen=True)
class Annealing:
    """Densities f_t(z) = prod_i f_i(z)^b_ti, t = 0 .. T, and a transition that leaves each of them invariant.

    With z_0 ~ f_0 and z_t from z_{t-1} by the transition of f_t, the weights after T densities are

        log w_T = sum_t (log f_t - log f_{t-1})(z_{t-1}),    E[w_T] = integral of f_T / integral of f_0

    so z_T with w_T are weighted draws of f_T. The same densities in reverse, from z ~ f_T, have the inverse as mean.
    """

    terms: Terms  # log f_i
    powers: Sequence[Sequence[float]]  # b_ti, [T + 1][I]
    scale: Float[Tensor, "#B L"]  # width of the densities in each dimension, a guess
    kernel: Kernel = MALA

    def tuned(
        self, z: Float[Tensor, "C B L"], step: float = 0.3, generator: Generator | None = None
    ) -> tuple[Float[Tensor, "C B L"], Float[Tensor, "T B"]]:
        """Return z_T, and a step size for each density f_1 .. f_T and row, adapted on chains that start at z ~ f_0."""
        state, steps, found = state_of(self.terms, z), torch.full_like(z[0, :, 0], step), []
        for powers in self.powers[1:]:
            for _ in range(TRIES):
                state, accepted = self.kernel.move(self.terms, powers, state, steps, self.scale, generator)
                steps = adapted(steps, accepted, self.kernel.target, 1.0)
            found.append(steps)
        return state.z, torch.stack(found)

    def run(
        self, z: Float[Tensor, "C B L"], steps: Float[Tensor, "T B"], generator: Generator | None = None
    ) -> tuple[Float[Tensor, "C B L"], Float[Tensor, "T1 C B"]]:
        """Return z_T and log w_0 .. log w_T of chains that start at z ~ f_0, and did not choose the steps."""
        state = state_of(self.terms, z)
        log_w = [torch.zeros_like(state.terms[0])]
        for before, powers, step in zip(self.powers, self.powers[1:], steps, strict=False):
            log_w.append(log_w[-1] + state.log_p([b - a for a, b in zip(before, powers, strict=True)]))
            state, _ = self.kernel.move(self.terms, powers, state, step, self.scale, generator)
        return state.z, torch.stack(log_w)

    def backwards(
        self, z: Float[Tensor, "C B L"], steps: Float[Tensor, "T B"], generator: Generator | None = None
    ) -> Float[Tensor, "C B"]:
        """Return log w of chains from z ~ f_T to f_0: E[w] = integral of f_0 / integral of f_T."""
        reverse = Annealing(self.terms, self.powers[::-1], self.scale, self.kernel)
        return reverse.run(z, torch.cat([steps[:-1].flip(0), steps[:1]]), generator)[1][-1]


def leg(first: Sequence[float], last: Sequence[float], number: int) -> list[list[float]]:
    """Return ``number`` equal steps between two lists of powers, without the first."""
    return [[a + (b - a) * t / number for a, b in zip(first, last, strict=True)] for t in range(1, number + 1)]
