"""What every model must hold when its likelihood is scored (protocol 18): finite, and that of a model that is known."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal

from mmvae_bench.errors import Undefined
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.bounds import Estimate
from mmvae_bench.probability.distributions import Diagonal, DiagonalNormal, standard
from mmvae_bench.testing.examples import (
    LATENT,
    SAMPLES,
    Case,
    Factory,
    accepted,
    example_batch,
    example_modalities,
    spoiled,
    undefined,
)
from mmvae_bench.testing.rules import must
from mmvae_bench.types import Modality, MultimodalBatch

SLACK = math.log(10)  # an estimate of p(x) may exceed it: by ten, with a tenth of the proposal from the prior
MANY, SEEDS = 1000, 12  # K and repetitions of an estimate that is compared with the truth
ENOUGH = 25  # effective samples of an estimate that another is compared with: its log is off by 1 / (2 ENOUGH)


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
    """Estimates of log p(x_A) and log p(x_t | x_s) that could be ones, and know nothing of what is hidden."""
    model, batch = case.model.eval(), case.complete
    for given in [*((name,) for name in batch.names), batch.names]:
        most = sum(_most(m) + SLACK for m in case.modalities if m.name in given)
        for own in (False, True):
            of = f"of {'+'.join(given)} under {'its own' if own else 'a given'} prior: {case.where}"
            found, other = _shown_and_spoiled(partial(log_likelihood, model, own_prior=own), batch.given(*given))
            must(own or isinstance(found, Estimate), f"log_likelihood() must take a prior that is given: {found}")
            _estimate(found, batch.size, of)
            if isinstance(found, Estimate):
                must((found.log_p <= most).all(), f"log p(x) {of} exceeds {most:.1f}, the most that p(x | z) can give")
            must(_same(found, other), f"a hidden value reached log p(x) {of}")
    for source, target in zip(batch.names, reversed(batch.names), strict=True):
        if source != target:
            of = f"of {target} given {source}: {case.where}"
            ask = partial(model.log_conditional, given=[source], target=target, k=SAMPLES)
            found, other = _shown_and_spoiled(ask, batch.given(source, target))
            _estimate(found, batch.size, of)
            must(_same(found, other), f"a hidden value reached log p(x) {of}")


def _shown_and_spoiled(ask: Callable[[MultimodalBatch], Estimate], shown: MultimodalBatch) -> list[object]:
    """What is answered on the same noise, from whichever generator, with other values behind what is hidden too."""
    found = []
    for batch in (shown, spoiled(shown, math.nan, -1)):
        torch.manual_seed(3)
        found.append(undefined(partial(ask, batch)))
    return found


def _same(found: object, other: object) -> bool:
    if isinstance(found, Estimate) and isinstance(other, Estimate):
        return torch.equal(found.log_p, other.log_p) and torch.equal(found.ess, other.ess)
    return isinstance(found, Undefined) and isinstance(other, Undefined)


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
    """Estimates of p(x_A) and p(x_t | x_s) are right on average, where N(b + W m, sigma^2 I + W S W^T), z ~ N(m, S).

    Under a model's own prior single modalities alone are asked for: of several, each may have a latent of its own.
    """
    modalities = example_modalities("real", len(case.modalities))
    model = accepted(factory, modalities, layers=0)
    if model is None:
        return
    model.eval()
    batch = example_batch(modalities, torch.ones(len(modalities), 4, dtype=torch.bool))
    first, second, where = *batch.names[:2], f"real x {len(modalities)}"
    shift, law = torch.full((1, LATENT), 0.5), partial(_closed_form, model, modalities, batch)
    for prior in (DiagonalNormal(0 * shift, 2 * shift), DiagonalNormal(shift, shift)):
        linear = f"{where}, linear in z ~ N({prior.loc[0, 0]:g}, {prior.scale[0, 0]:g}^2)"
        for given in (batch.names[:1], batch.names):
            ask = partial(model.log_likelihood, batch.given(*given), MANY, prior=prior)
            _unbiased(ask, law(given, prior), f"of {'+'.join(given)}, {linear}")
        ask = partial(model.log_conditional, batch.given(first, second), [first], second, MANY, prior=prior)
        true = law([first, second], prior) - law([first], prior)
        _unbiased(ask, true, f"of {second} given {first}, {linear}")
    own = undefined(model.prior)
    for name in () if isinstance(own, Undefined) else batch.names:
        ask = partial(model.log_likelihood, batch.given(name), MANY)
        _as_given(ask, own, f"of {name}, {where}, under its own prior")


def _estimates(ask: Callable[..., Estimate]) -> list[Estimate]:
    """What is answered on the noise of each seed; nothing where it is undefined."""
    found = [undefined(partial(ask, generator=Generator().manual_seed(seed))) for seed in range(SEEDS)]
    return [estimate for estimate in found if isinstance(estimate, Estimate)]


def _unbiased(ask: Callable[..., Estimate], true: Tensor, of: str) -> None:
    """The mean of estimates is the truth within 6 standard errors.

    A quotient of two is off by half its variance, which is less than that for any standard deviation below 3.
    """
    if found := _estimates(ask):
        ratio = torch.stack([(estimate.log_p - true).exp() for estimate in found])
        far = (ratio.mean(0) - 1).abs() > 0.02 + 6 * ratio.std(0) / SEEDS**0.5
        off = float(ratio.mean(0).log().abs().max())
        must(not far.any(), f"log p(x) {of}, is off by {off:.2f} nats")


def _as_given(ask: Callable[..., Estimate], own: object, of: str) -> None:
    """The model's own prior gives what it gives as an argument, in rows where that is reliable: it may lie anywhere."""
    if found := _estimates(ask):
        given = _estimates(partial(ask, prior=own))
        difference = torch.stack([a.log_p - b.log_p for a, b in zip(found, given, strict=True)])
        reliable = torch.stack([estimate.ess for estimate in given]).amin(0) >= ENOUGH
        far = reliable & (difference.mean(0).abs() > 0.02 + 6 * difference.std(0) / SEEDS**0.5)
        off = float(difference.mean(0)[far].abs().max()) if far.any() else 0.0
        must(not far.any(), f"log p(x) {of}, is {off:.2f} nats from that where it is given")


def _closed_form(
    model: MultimodalVAE, modalities: Sequence[Modality], batch: MultimodalBatch, names: Sequence[str],
    prior: DiagonalNormal,
) -> Tensor:  # fmt: skip
    """log p(x_A) of every row, [B]; A is ``names``."""
    means = model.decode(torch.cat([torch.zeros(1, LATENT), torch.eye(LATENT)]), names)
    mean = torch.cat([means[name] for name in names], -1)  # [1 + L, sum of D_m]
    b, w = mean[0], (mean[1:] - mean[0]).T
    noise = torch.cat([torch.full(m.shape, m.scale) for m in modalities if m.name in names])
    covariance = torch.diag(noise**2) + w * prior.scale[0] ** 2 @ w.T
    x = torch.cat([batch.x[name] for name in names], -1)
    law = MultivariateNormal(b + w @ prior.loc[0], covariance)
    log_p: Tensor = law.log_prob(x)  # type: ignore[no-untyped-call]
    return log_p
