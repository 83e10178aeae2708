"""What every model must hold when its likelihood is scored (protocol 18): finite, and that of a model that is known."""

import math
from functools import partial

import torch
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal

from mmvae_bench.distributions import Diagonal, DiagonalNormal, standard
from mmvae_bench.errors import Undefined
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.importance import Estimate
from mmvae_bench.testing.check import must
from mmvae_bench.testing.examples import (
    LATENT,
    SAMPLES,
    Case,
    Factory,
    accepted,
    example_batch,
    example_modalities,
    undefined,
)
from mmvae_bench.types import Modality, MultimodalBatch

SLACK = math.log(10)  # an estimate of p(x) may exceed it: by ten, with a tenth of the proposal from the prior
MANY, SEEDS = 1000, 12  # K and repetitions of an estimate that is compared with the truth


def standard_prior(model: MultimodalVAE) -> Diagonal:
    """N(0, I) of the model's family: a prior that every model takes (protocol 17)."""
    return standard(model.family, torch.zeros(1, LATENT))


@torch.no_grad()
def log_likelihood(
    model: MultimodalVAE, batch: MultimodalBatch, generator: Generator | None = None, *, own_prior: bool = False
) -> Estimate:
    """log p(x_A) on fixed noise; under :func:`standard_prior`, or the model's own."""
    prior = None if own_prior else standard_prior(model)
    return model.eval().log_likelihood(batch, SAMPLES, generator or Generator().manual_seed(3), prior)


@torch.no_grad()
def finite(case: Case) -> None:
    """Estimates of log p(x_A) and log p(x_t | x_s) that could be ones."""
    model, batch = case.model.eval(), case.complete
    for given in [*((name,) for name in batch.names), batch.names]:
        most = sum(_most(m) + SLACK for m in case.modalities if m.name in given)
        for own in (False, True):
            of = f"of {'+'.join(given)} under {'its own' if own else 'a given'} prior: {case.where}"
            found = undefined(partial(log_likelihood, model, batch.given(*given), own_prior=own))
            must(own or isinstance(found, Estimate), f"log_likelihood() must take a prior that is given: {found}")
            _estimate(found, batch.size, of)
            if isinstance(found, Estimate):
                must((found.log_p <= most).all(), f"log p(x) {of} exceeds {most:.1f}, the most that p(x | z) can give")
    for source, target in zip(batch.names, reversed(batch.names), strict=True):
        if source != target:
            conditional = undefined(partial(model.log_conditional, batch, [source], target, SAMPLES))
            _estimate(conditional, batch.size, f"of {target} given {source}: {case.where}")


def _estimate(found: object, rows: int, of: str) -> None:
    if isinstance(found, Undefined):
        return
    must(isinstance(found, Estimate), f"log p(x) is an Estimate, not {type(found).__name__}, {of}")
    if isinstance(found, Estimate):
        must(found.log_p.shape == found.ess.shape == (rows,), f"an Estimate's log_p and ess are [B], {of}")
        must(torch.isfinite(found.log_p).all(), f"log p(x) is not finite {of}")
        within = (found.ess > 0.99) & (found.ess < SAMPLES * 1.01)
        must(within.all(), f"an effective sample size lies in [1, K], which it does not {of}")


def _most(m: Modality) -> float:
    """The largest log p(x_m | z) there is: the density at its mode."""
    size = math.prod(m.shape)
    modes = {"laplace": -size * math.log(2 * m.scale), "normal": -size * math.log(m.scale * math.sqrt(2 * math.pi))}
    return modes.get(m.likelihood, 0.0)


@torch.no_grad()
def exact(factory: Factory, case: Case) -> None:
    """The mean of an estimate of p(x_A) is p(x_A), here N(b + W m, sigma^2 I + W S W^T) with z ~ N(m, S)."""
    modalities = example_modalities("real", len(case.modalities))
    model = accepted(factory, modalities, layers=0)
    if model is None:
        return
    model.eval()
    batch = example_batch(modalities, torch.ones(len(modalities), 4, dtype=torch.bool))
    shift = torch.full((1, LATENT), 0.5)
    for prior in (DiagonalNormal(0 * shift, 2 * shift), DiagonalNormal(shift, shift)):
        for given in (batch.names[:1], batch.names):
            true = _closed_form(model, [m for m in modalities if m.name in given], batch, prior)
            ratios = []
            for seed in range(SEEDS):
                found = model.log_likelihood(batch.given(*given), MANY, Generator().manual_seed(seed), prior)
                ratios.append((found.log_p - true).exp())
            ratio = torch.stack(ratios)
            far = (ratio.mean(0) - 1).abs() > 0.02 + 6 * ratio.std(0) / SEEDS**0.5
            of = f"of {'+'.join(given)}, linear in z ~ N({prior.loc[0, 0]:g}, {prior.scale[0, 0]:g}^2)"
            off = float(ratio.mean(0).log().abs().max())
            must(not far.any(), f"log p(x) {of}, is off by {off:.2f} nats: real x {len(modalities)}")


def _closed_form(
    model: MultimodalVAE, modalities: list[Modality], batch: MultimodalBatch, prior: DiagonalNormal
) -> Tensor:
    """log p(x_A) of every row, [B]."""
    names = [m.name for m in modalities]
    means = model.decode(torch.cat([torch.zeros(1, LATENT), torch.eye(LATENT)]), names)
    mean = torch.cat([means[name] for name in names], -1)  # [1 + L, sum of D_m]
    b, w = mean[0], (mean[1:] - mean[0]).T
    noise = torch.cat([torch.full(m.shape, m.scale) for m in modalities])
    covariance = torch.diag(noise**2) + w * prior.scale[0] ** 2 @ w.T
    x = torch.cat([batch.x[name] for name in names], -1)
    law = MultivariateNormal(b + w @ prior.loc[0], covariance)
    log_p: Tensor = law.log_prob(x)  # type: ignore[no-untyped-call]
    return log_p
