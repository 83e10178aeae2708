"""Noise-contrastive prior: p(z) times the ratio that a classifier finds (Aneja et al. 2021, arXiv 2010.02917)."""

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from mmvae_bench.priors.base import Latents
from mmvae_bench.probability.distributions import Diagonal
from mmvae_bench.sampling.chains import MALA, sample

WIDTH = 128
STEPS, BATCH, RATE = 2000, 512, 3e-3  # of training; the rate falls to 0 along a cosine
CHECK = 100  # steps between two looks at rows that are not fitted
PROPOSALS = 1000  # M, for each draw by SIR
DRAWN = 10_000  # draws of p by which Z is estimated
MOVES, KEPT = 200, 50  # transitions of a Langevin chain, and those after its burn-in
BLOCK = 2**22  # numbers in one array of proposals


class Classifier(nn.Module):
    """log r(z), the logit of q(z) against p(z): B tanh(g(z) / B) with a bound B, else g(z), of a net g."""

    def __init__(self, base: Diagonal, bound: float | None) -> None:
        super().__init__()
        size = base.loc.shape[-1]
        layers = (nn.Linear(size, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))
        self.g = nn.Sequential(*layers).to(base.loc.device)
        self.base, self.bound = base, bound

    def forward(self, z: Float[Tensor, "*any L"]) -> Float[Tensor, "*any"]:
        """Return log r(z)."""
        g: Tensor = self.g((z - self.base.mean[0]) / self.base.stddev[0])[..., 0]
        return self.bound * torch.tanh(g / self.bound) if self.bound else g

    def loss(self, q: Float[Tensor, "N L"], p: Float[Tensor, "N L"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of draws of q(z) and of p(z), in nats; log 2 knows nothing.

        Without a bound it is least at r = q / p.
        """
        return (softplus(-self(q)).mean() + softplus(self(p)).mean()) / 2


def classifier(latents: Latents, bound: float | None) -> Classifier:
    """Return a trained classifier: the state that had the least loss on rows that are not fitted."""
    generator, base = latents.generator("ncp"), latents.base
    device = base.loc.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator, device=device)))
        found = Classifier(base, bound)
    z, q = latents.fitted.flatten(0, 1), latents.chosen.flatten(0, 1)
    p = base.rsample(len(q), generator)[:, 0]
    optimiser = torch.optim.Adam(found.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    best, least = copy.deepcopy(found.state_dict()), math.inf
    with torch.enable_grad():
        for step in range(1, STEPS + 1):
            rows = torch.randint(len(z), (BATCH,), generator=generator, device=device)
            optimiser.zero_grad()
            torch.autograd.backward(found.loss(z[rows], base.rsample(BATCH, generator)[:, 0]))
            optimiser.step()
            schedule.step()
            if step % CHECK == 0:
                with torch.no_grad():
                    now = float(found.loss(q, p))
                if now < least:
                    best, least = copy.deepcopy(found.state_dict()), now
    found.load_state_dict(best)
    return found.requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Contrastive:
    """p(z) r(z) / Z, Z = E_p[r(z)]; batch shape [1].

    With |log r| <= B the effective sample size of draws of p is at least M / cosh(B)^2, whatever r is: by Kantorovich's
    inequality, (sum w)^2 / (M sum w^2) >= 4 / (e^B + e^-B)^2 for weights w in [e^-B, e^B].
    """

    base: Diagonal
    ratio: Classifier
    sampler: Literal["sir", "langevin"]
    latents: Latents
    proposals: Float[Tensor, "M L"]  # draws of p
    acceptances: list[float]  # of the chains that were run

    @cached_property
    def log_r(self) -> Float[Tensor, " M"]:
        """Log r of the proposals."""
        found: Tensor = self.ratio(self.proposals)
        return found.double()

    @property
    def log_z(self) -> float:
        """Log Z."""
        return float(torch.logsumexp(self.log_r, 0)) - math.log(len(self.log_r))

    @property
    def ess(self) -> float:
        """Effective sample size of the proposals by their number, (sum r)^2 / (M sum r^2), in [1 / M, 1]."""
        return float((2 * torch.logsumexp(self.log_r, 0) - torch.logsumexp(2 * self.log_r, 0)).exp()) / len(self.log_r)

    @property
    def log_z_error(self) -> float:
        """Standard error of :attr:`log_z`: that of a mean of r, by its value (delta method)."""
        return math.sqrt(max(1 / self.ess - 1, 0.0) / len(self.log_r))

    @property
    def least_ess(self) -> float:
        """What :attr:`ess` cannot be below: 1 / cosh(B)^2, or 1 / M without a bound."""
        return 1 / math.cosh(self.ratio.bound) ** 2 if self.ratio.bound else 1 / len(self.log_r)

    @property
    def held_loss(self) -> float:
        """Loss of the classifier on rows that it has not seen, in nats."""
        q = self.latents.held.flatten(0, 1)
        return float(self.ratio.loss(q, self.base.rsample(len(q), self.latents.generator("ncp held"))[:, 0]))

    @property
    def mean(self) -> Float[Tensor, "1 L"]:
        """E[z], from weighted proposals."""
        return (torch.softmax(self.log_r, 0).to(self.proposals) @ self.proposals)[None]

    @property
    def stddev(self) -> Float[Tensor, "1 L"]:
        """Standard deviation, from weighted proposals."""
        weight = torch.softmax(self.log_r, 0).to(self.proposals)
        return (weight @ (self.proposals - self.mean).square()).sqrt()[None]

    def log_prob(self, z: Float[Tensor, "*any L"]) -> Float[Tensor, "*any"]:
        """Return log p(z) + log r(z) - log Z."""
        log_r: Tensor = self.ratio(z)
        return self.base.log_prob(z) + log_r - self.log_z

    def rsample(self, k: int, generator: Generator | None = None) -> Float[Tensor, "k 1 L"]:
        """Return k draws: of M = 1,000 proposals each, one with probability ~ r; or ends of k Langevin chains.

        Draws by SIR have the prior's law only as M grows; chains start at draws of p(z) and take 200 steps of MALA.
        """
        return self._by_chains(k, generator) if self.sampler == "langevin" else self._by_resampling(k, generator)

    def _by_resampling(self, k: int, generator: Generator | None) -> Float[Tensor, "k 1 L"]:
        size, parts = max(1, BLOCK // (PROPOSALS * max(WIDTH, self.proposals.shape[-1]))), []
        for n in [size] * (k // size) + [k % size] * (k % size > 0):
            z = self.base.rsample(n * PROPOSALS, generator)[:, 0]
            chosen = torch.multinomial(torch.softmax(self.ratio(z).view(n, -1), -1), 1, generator=generator)
            parts.append(z.view(n, PROPOSALS, -1).gather(1, chosen[..., None].expand(-1, -1, z.shape[-1])))
        return torch.cat(parts)

    def _by_chains(self, k: int, generator: Generator | None) -> Float[Tensor, "k 1 L"]:
        start = self.base.rsample(k, generator).transpose(0, 1)
        chains = sample(
            lambda z: self.base.log_prob(z) + self.ratio(z), start, MALA, burn_in=MOVES - KEPT, draws=KEPT,
            scale=self.base.stddev, generator=generator,
        )  # fmt: skip
        self.acceptances.append(float(chains.acceptance.mean()))
        return chains.z[-1].transpose(0, 1)


def ncp(
    latents: Latents, *, bound: Annotated[float, Gt(0)] | None = None, sampler: Literal["sir", "langevin"] = "sir"
) -> Contrastive:
    """Noise-contrastive prior; ``bound`` is the largest |log r|, and ``sampler`` how it is drawn from."""
    if bound not in latents.known:
        latents.known[bound] = classifier(latents, bound)
    proposals = latents.base.rsample(DRAWN, latents.generator("ncp z"))[:, 0]
    return Contrastive(latents.base, latents.known[bound], sampler, latents, proposals, [])
