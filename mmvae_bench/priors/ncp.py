"""Noise-contrastive prior: p(z) times the ratio that a classifier finds (Aneja et al. 2021, arXiv 2010.02917)."""

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Le
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.distributions import MultivariateNormal
from torch.nn.functional import softplus

from mmvae_bench.priors.base import Encodings
from mmvae_bench.probability.bounds import effective, log_mean_exp
from mmvae_bench.probability.distributions import Diagonal
from mmvae_bench.sampling.chains import MALA, Chains, sample

WIDTH = 128
STEPS, BATCH, RATE = 2000, 512, 3e-3  # of training; the rate falls to 0 along a cosine
CHECK = 100  # steps between two looks at rows that are not fitted
PROPOSALS = 1000  # M, for each draw by SIR
DRAWN = 10_000  # draws by which Z, and as many by which the effective sample size is estimated
MOVES, KEPT = 200, 50  # transitions of a Langevin chain, and those after its burn-in
BLOCK = 2**22  # numbers in one array of proposals
JITTER = 1e-6  # added to a covariance, for latents of which some dimension is constant


class Classifier(nn.Module):
    """log r(z), the logit of q(z) against p(z): B tanh(g(z) / B) with a bound B, else g(z), of a net g."""

    def __init__(self, base: Diagonal, bound: float | None, generator: Generator) -> None:
        super().__init__()
        sizes = (base.loc.shape[-1], WIDTH, WIDTH, 1)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(sizes):
            layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
                nn.Linear, inside, outside, device=base.loc.device
            )
            for parameter in layer.parameters():  # as PyTorch does, but of this generator: other runs share the global
                nn.init.uniform_(parameter, -(inside**-0.5), inside**-0.5, generator)
            layers += [layer, nn.SiLU()]
        self.g = nn.Sequential(*layers[:-1])
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


@torch.no_grad()
def classifier(known: Encodings, bound: float | None) -> Classifier:
    """Return a trained classifier: the state that had the least loss on rows that are not fitted."""
    generator, base = known.generator("ncp"), known.base
    found = Classifier(base, bound, generator)
    z, q = known.fitted.flatten(0, 1), known.chosen.flatten(0, 1)
    p = base.rsample(len(q), generator)[:, 0]
    optimiser = torch.optim.Adam(found.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    best, least = copy.deepcopy(found.state_dict()), math.inf
    for step in range(1, STEPS + 1):
        rows = torch.randint(len(z), (BATCH,), generator=generator, device=z.device)
        with torch.enable_grad():
            loss = found.loss(z[rows], base.rsample(BATCH, generator)[:, 0])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if step % CHECK == 0 and (now := float(found.loss(q, p))) < least:
            best, least = copy.deepcopy(found.state_dict()), now
    found.load_state_dict(best)
    return found.requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Contrastive:
    """p(z) r(z) / Z, Z = E_p[r(z)].

    With |log r| <= B the effective sample size of M draws of p is at least M / cosh(B)^2, whatever r is: by
    Kantorovich's inequality, (sum w)^2 / (M sum w^2) >= 4 / (e^B + e^-B)^2 for weights w in [e^-B, e^B].
    """

    base: Diagonal  # p
    ratio: Classifier  # r
    sampler: Literal["sir", "langevin"]
    proposals: Float[Tensor, "M L"]  # draws of p
    mixed: Float[Tensor, "M L"]  # half draws of p, half of ``normal``
    normal: MultivariateNormal  # with the moments of the encodings

    @cached_property
    def ess(self) -> float:
        """Effective sample size of draws of p, divided by their number."""
        log_r: Tensor = self.ratio(self.proposals)
        return float(effective(log_r.double())) / len(log_r)

    @property
    def least_ess(self) -> float:
        """Lower bound of :attr:`ess`: 1 / cosh(B)^2, or 1 / M without a bound of log r."""
        return math.cosh(self.ratio.bound) ** -2 if self.ratio.bound else 1 / len(self.proposals)

    @cached_property
    def log_w(self) -> Float[Tensor, " M"]:
        """Log weights of draws of m = (p + normal) / 2, w = p r / m, whose mean is Z; r alone has heavier weights."""
        log_p, log_r = self.base.log_prob(self.mixed), self.ratio(self.mixed)
        log_normal = self.normal.log_prob(self.mixed)  # type: ignore[no-untyped-call]
        found: Tensor = log_p + log_r - torch.logaddexp(log_p, log_normal) + math.log(2)
        return found.double()

    @cached_property
    def log_z(self) -> float:
        """Log Z; on average too low by half the square of its error, so that densities are as much too high."""
        return float(log_mean_exp(self.log_w))

    @cached_property
    def log_z_error(self) -> float:
        """Standard error of :attr:`log_z`: that of a mean of weights, by its value (delta method)."""
        return math.sqrt(max(1 / float(effective(self.log_w)) - 1 / len(self.log_w), 0.0))

    def log_prob(self, z: Float[Tensor, "*any L"]) -> Float[Tensor, "*any"]:
        """Return log p(z) + log r(z) - log Z."""
        log_r: Tensor = self.ratio(z)
        return self.base.log_prob(z) + log_r - self.log_z

    def rsample(self, k: int, generator: Generator | None = None) -> Float[Tensor, "k 1 L"]:
        """Return k draws: of 1,000 proposals each, one with probability ~ r; or ends of k Langevin chains.

        Draws by SIR have the prior's law only as the number of proposals grows.
        """
        if self.sampler == "langevin":
            return self.chains(k, generator).z[-1]
        size, parts = max(1, BLOCK // (PROPOSALS * max(WIDTH, self.proposals.shape[-1]))), []
        for n in [size] * (k // size) + [k % size] * (k % size > 0):
            z = self.base.rsample(n * PROPOSALS, generator)[:, 0]
            chosen = torch.multinomial(torch.softmax(self.ratio(z).view(n, -1), -1), 1, generator=generator)
            parts.append(z.view(n, PROPOSALS, -1).gather(1, chosen[..., None].expand(-1, -1, z.shape[-1])))
        return torch.cat(parts)

    def chains(self, k: int, generator: Generator | None = None) -> Chains:
        """Return k chains from draws of p(z): 200 steps of MALA, of one size that is frozen after 150."""
        return sample(
            lambda z: self.base.log_prob(z) + self.ratio(z), self.base.rsample(k, generator), MALA,
            burn_in=MOVES - KEPT, draws=KEPT, scale=self.base.stddev, generator=generator,
        )  # fmt: skip


def ncp(
    known: Encodings, *, bound: Annotated[float, Gt(0), Le(50)] | None = None,
    sampler: Literal["sir", "langevin"] = "sir",
) -> Contrastive:  # fmt: skip
    """Noise-contrastive prior; ``bound`` is the largest |log r|, and ``sampler`` how it is drawn from."""
    if bound not in known.shared:
        known.shared[bound] = classifier(known, bound)
    z, generator = known.fitted.flatten(0, 1), known.generator("ncp z")
    covariance = torch.cov(z.T).reshape(z.shape[-1], -1) + JITTER * torch.eye(z.shape[-1], device=z.device)
    normal = MultivariateNormal(z.mean(0), covariance)
    noise = torch.randn(DRAWN // 2, z.shape[-1], generator=generator, device=z.device)
    proposals, half = (known.base.rsample(n, generator)[:, 0] for n in (DRAWN, DRAWN // 2))
    mixed = torch.cat([half, normal.loc + noise @ normal.scale_tril.mT])
    return Contrastive(known.base, known.shared[bound], sampler, proposals, mixed, normal)
