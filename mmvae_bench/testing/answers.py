"""Checks of what a trained model answers: posteriors, decoded targets, draws of the prior."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor

from mmvae_bench.errors import Undefined
from mmvae_bench.probability.bounds import Estimate
from mmvae_bench.probability.distributions import DiagonalNormal, Posterior
from mmvae_bench.testing.examples import Case, example_batch, spoiled, undefined
from mmvae_bench.testing.likelihood import SAMPLES, log_likelihood, standard_prior
from mmvae_bench.testing.rules import must
from mmvae_bench.types import Modality, MultimodalBatch

DRAWS = 4000  # of z
SPREAD = 0.7399  # E_q[(r / q)^2]^-2 for a Normal q and the r of _density(), whatever L is


def subsets(batch: MultimodalBatch) -> Iterator[tuple[str, ...]]:
    """Yield all non-empty subsets of the modalities."""
    for keep in range(1, 2 ** len(batch.names)):
        yield tuple(name for i, name in enumerate(batch.names) if keep >> i & 1)


@torch.no_grad()
def posterior(case: Case) -> None:
    """Check q(z | x_A) for every A: its shapes, that it is one density, and what it depends on."""
    model, batch = case.model.eval(), case.complete
    for given in subsets(batch):
        shown, of = batch.given(*given), f"of {'+'.join(given)}: {case.where}"
        q, other = model.posterior(shown), model.posterior(spoiled(shown))
        shape = (batch.size, case.latent_dim)
        must(q.mean.shape == q.stddev.shape == shape, f"q.mean or q.stddev is not [B, L] {of}")
        must(_equal(q, model.posterior(shown)), f"posterior() of the same rows differs from call to call {of}")
        must(_equal(q, other), f"a hidden value reached q {of}")
        z = q.rsample(3)
        must(q.rsample().shape == q.mean.shape and z.shape == (3, *q.mean.shape), f"rsample() is not [(K,) B, L] {of}")
        must(not torch.equal(z[0], z[1]), f"rsample(k) gives one draw k times {of}")
        log_q = q.log_prob(z)
        must(log_q.shape == z.shape[:2], f"log_prob() is not [K, B] {of}")
        proper = (q.stddev > 0).all() and torch.isfinite(q.mean).all() and torch.isfinite(log_q).all()
        must(proper, f"q is not a density {of}")
        row = replace(shown, x={name: x[1:2] for name, x in shown.x.items()}, present=shown.present[:, 1:2])
        same = torch.allclose(model.posterior(row).mean[0], q.mean[1], rtol=0.01, atol=0.01)
        must(same, f"q of a row depends on its neighbours, or fuses what is absent in it, {of}")
        if len(given) == 1:
            other = model.posterior(example_batch(case.modalities, shown.present, seed=2))
            must(not torch.allclose(other.mean, q.mean), f"q does not depend on what is given, {of}")
        _density(q, of)


def _density(q: Posterior, of: str) -> None:
    """Check E_q[r(z) / q(z)] = 1 for a density r: the Normal of q's mean and a share of its standard deviation."""
    z = q.rsample(DRAWS, Generator().manual_seed(3))
    share = math.sqrt(1 - math.sqrt(1 - SPREAD ** (3 / z.shape[-1])))  # 0.7 where L is 3
    r = DiagonalNormal(q.mean, share * q.stddev)
    ratio = (r.log_prob(z) - q.log_prob(z)).exp()
    far = (ratio.mean(0) - 1).abs() > 0.02 + 6 * ratio.std(0) / DRAWS**0.5
    must(not far.any(), f"rsample(), log_prob(), mean and stddev are not of one density {of}")


def _equal(q: Posterior, p: Posterior) -> bool:
    return torch.equal(q.mean, p.mean) and torch.equal(q.stddev, p.stddev)


@torch.no_grad()
def decoding(case: Case) -> None:
    """Check entries of every modality, decoded from the z of every subset."""
    model, batch = case.model.eval(), case.complete
    for given in subsets(batch):
        shown = batch.given(*given)
        for target in case.modalities:
            of = f"{'+'.join(given)} -> {target.name}: {case.where}"
            q, other = (model.posterior_for(target.name, rows) for rows in (shown, spoiled(shown)))
            must(_equal(q, other), f"a hidden value reached posterior_for(), {of}")
            _entries(target, model.decode(q.rsample(), [target.name])[target.name], batch.size, of)
            # a chance control may answer a target that is not given with anything, such as the prior
            if given == (target.name,) or (len(given) == 1 and not model.cross_is_chance):
                other = model.posterior_for(target.name, example_batch(case.modalities, shown.present, seed=2))
                must(not torch.allclose(other.mean, q.mean), f"posterior_for() does not depend on what is given, {of}")


def _entries(m: Modality, x: Tensor, rows: int, of: str) -> None:
    """Check that decoded entries are like those of the data."""
    must(x.shape == (rows, *m.shape), f"decoded entries are {list(x.shape)}, not {[rows, *m.shape]}, {of}")
    must(torch.isfinite(x).all(), f"decoded entries are not finite, {of}")
    if m.is_text:
        must(((x >= 0) & (x < len(m.vocabulary))).all(), f"decoded words are not word ids, {of}")


@torch.no_grad()
def prior(case: Case) -> None:
    """Check decoded draws of p(z), or the reason why there is none."""
    model = case.model.eval()
    for what in (model.prior, lambda: model.sample_prior(2)):
        if model.no_prior is None:
            what()
        elif not isinstance(undefined(what), Undefined):
            must(False, f"no_prior says that there is no p(z), but prior() or sample_prior() returns one: {case.where}")
    if model.no_prior is None:
        drawn = model.sample_prior(2)
        must(set(drawn) == set(model.names), f"sample_prior() gives {sorted(drawn)}, not every modality: {case.where}")
        for m in case.modalities:
            _entries(m, drawn[m.name], 2, f"prior -> {m.name}: {case.where}")


@torch.no_grad()
def generators(case: Case) -> None:
    """Check that equal generators give equal draws, whatever the state of PyTorch's own."""
    model, batch = case.model.eval(), case.complete
    z, first, second = model.posterior(batch).mean, *batch.names[:2]

    def conditional(g: Generator, prior: Posterior | None) -> list[Tensor]:
        found = undefined(partial(model.log_conditional, batch, [first], second, SAMPLES, g, prior))
        return [found.log_p] if isinstance(found, Estimate) else []

    draws: dict[str, Callable[[Generator], list[Tensor]]] = {
        "rsample() of posterior()": lambda g: [model.posterior(batch).rsample(k, g) for k in (None, 2)],
        "rsample() of posterior_for()": lambda g: [model.posterior_for(n, batch).rsample(2, g) for n in model.names],
        "decode()": lambda _: list(model.decode(z).values()),
        "log_likelihood()": lambda g: [log_likelihood(case, batch, g).log_p],
        "log_conditional()": lambda g: conditional(g, None),
        "log_conditional() under a given prior": lambda g: conditional(g, standard_prior(case)),
    }
    if model.no_prior is None:
        draws["sample_prior()"] = lambda g: list(model.sample_prior(2, g).values())
    for what, draw in draws.items():
        found = []
        for seed in (0, 1):  # of PyTorch's own generator
            torch.manual_seed(seed)
            found.append(draw(Generator().manual_seed(3)))
        same = all(torch.equal(x, y) for x, y in zip(*found, strict=True))
        must(same, f"{what} draws from another generator than the one it is given: {case.where}")
