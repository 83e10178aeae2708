"""Draws of p(z | x_A) by annealed importance sampling (Neal 2001; Wu et al. 2017), from the same r(z) as others."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mmvae_bench.models.draws import Draws, Proposals
from mmvae_bench.probability.bounds import Estimate, Weighted
from mmvae_bench.probability.distributions import Prior
from mmvae_bench.sampling.annealed import Annealing, leg

TUNING = 4  # chains by which step sizes are chosen


@dataclass(frozen=True, eq=False)
class Run:
    """Annealed draws, those that chose the step sizes, and how both were made."""

    z: Float[Tensor, "K B L"]
    log_w: Float[Tensor, "K B"]
    tried: Float[Tensor, "C B L"]
    steps: Float[Tensor, "T B"]
    annealing: Annealing


@dataclass(frozen=True, eq=False)
class AnnealedDraws(Draws):
    """K chains a row from r(z) to p(z | x_A), and from there to p(z | x_A, x_t), which gives log p(x_t | x_A)."""

    tries: Tensor = field(kw_only=True)  # draws of r by which step sizes are chosen
    bridges: int = field(kw_only=True)  # T, the number of densities on either way
    generator: Generator | None = field(kw_only=True)
    runs: dict[int, Run] = field(default_factory=dict, kw_only=True)

    def weighted(self, prior: Prior | None = None) -> Weighted:
        """Return z with weights w that make them draws of p(z | x_A), under the model's own prior or a given one."""
        run = self.run(prior)
        return Weighted(run.z, run.log_w)

    def run(self, prior: Prior | None) -> Run:
        """Return the chains from r(z) to p(z | x_A)."""

        def terms(z: Tensor) -> Tensor:
            draws = self.at(z)
            return torch.stack([draws.log_r, self.model.log_posterior(draws, prior)])

        if id(prior) not in self.runs:
            self.runs[id(prior)] = self._anneal(terms, [0.0, 1.0], self.z, self.tries)
        return self.runs[id(prior)]

    def predictive(self, target: str, prior: Prior | None = None) -> Estimate:
        """Estimate log p(x_t | x_A) = log sum_k w_k v_k - log sum_k w_k, v_k those of the way to p(z | x_A, x_t)."""

        def terms(z: Tensor) -> Tensor:
            draws = self.at(z)
            return torch.stack([self.model.log_posterior(draws, prior), draws.log_px(target)])

        first = self.run(prior)
        return self.weighted(prior).predictive(self._anneal(terms, [1.0, 1.0], first.z, first.tried).log_w)

    def _anneal(self, terms: Callable[[Tensor], Tensor], last: list[float], z: Tensor, tries: Tensor) -> Run:
        powers = [[1.0, 0.0], *leg([1.0, 0.0], last, self.bridges)]
        annealing = Annealing(terms, powers, self.q.stddev)
        tried, steps = annealing.tuned(tries, generator=self.generator)
        z, log_w = annealing.run(z, steps, self.generator)
        return Run(z, log_w[-1], tried, steps, annealing)


@dataclass(frozen=True, eq=False)
class AnnealedProposals(Proposals):
    """The :class:`AnnealedDraws` of all subsets of a batch: K chains, and T = ``bridges`` densities on either way."""

    bridges: int = 16

    def make(self, names: tuple[str, ...]) -> AnnealedDraws:
        """Return new draws given x_A."""
        draws, tries = self.draw(names, self.k), self.draw(names, TUNING)
        return AnnealedDraws(
            self.model, self.batch, names, draws.q, draws.priors, draws.z,
            tries=tries.z, bridges=self.bridges, generator=self.generator(names),
        )  # fmt: skip
