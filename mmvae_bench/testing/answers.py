"""What every model must answer once it is trained: posteriors, decoded targets, prior and likelihoods."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor

from mmvae_bench.distributions import Posterior, standard
from mmvae_bench.errors import Undefined
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.importance import Estimate
from mmvae_bench.testing.check import must
from mmvae_bench.testing.examples import LATENT, Case
from mmvae_bench.types import Modality, MultimodalBatch

SAMPLES = 16  # K of a likelihood
Rule = tuple[str, str, Callable[[Case], None]]  # its name, what it covers, and what holds for a case
SLACK = math.log(10)  # an estimate of p(x) may exceed it: by ten, with a tenth of the proposal from the prior


def answer_rules() -> list[Rule]:
    """Name, what is covered, and the rule for a case."""
    return [
        ("posterior", "a density for every subset, which depends on it alone, and on no other row", _posterior),
        ("decoding", "every target from every subset, in the shape of its entries", _decoding),
        ("prior", "draws in the shapes of the entries, or a sentence why there is no prior", _prior),
        (
            "log-likelihood",
            "finite, no more than the likelihoods can give, under any prior; or a sentence",
            _likelihood,
        ),
        ("generators", "what scores draw comes from the generator they give, and from nothing else", _generators),
    ]


def subsets(batch: MultimodalBatch) -> Iterator[tuple[str, ...]]:
    """All non-empty subsets of the modalities."""
    for keep in range(1, 2 ** len(batch.names)):
        yield tuple(name for i, name in enumerate(batch.names) if keep >> i & 1)


def spoiled(batch: MultimodalBatch, value: float, word: int) -> MultimodalBatch:
    """The batch with a value (in captions a word id) in every hidden entry."""
    x = {name: entries.clone() for name, entries in batch.x.items()}
    for name, entries in x.items():
        entries[~batch.where(name)] = value if entries.is_floating_point() else word
    return MultimodalBatch(x, batch.present)


@torch.no_grad()
def _posterior(case: Case) -> None:
    model, batch = case.model.eval(), case.complete
    for given in subsets(batch):
        shown, of = batch.given(*given), f"of {'+'.join(given)}: {case.where}"
        q, other = model.posterior(shown), model.posterior(spoiled(shown, math.nan, -1))
        must(q.mean.shape == q.stddev.shape == (batch.size, LATENT), f"q.mean or q.stddev is not [B, L] {of}")
        must(_equal(q, other), f"a hidden value reached q {of}")
        z = q.rsample(3)
        must(q.rsample().shape == q.mean.shape and z.shape == (3, *q.mean.shape), f"rsample() is not [(K,) B, L] {of}")
        log_q = q.log_prob(z)
        must(log_q.shape == z.shape[:2], f"log_prob() is not [K, B] {of}")
        proper = (q.stddev > 0).all() and torch.isfinite(q.mean).all() and torch.isfinite(log_q).all()
        must(proper, f"q is no density {of}")
        alone = model.posterior(_row(shown, 1)).mean[0]
        must(torch.allclose(alone, q.mean[1], rtol=0.01, atol=0.01), f"q of a row depends on its neighbours {of}")


def _equal(q: Posterior, p: Posterior) -> bool:
    return torch.equal(q.mean, p.mean) and torch.equal(q.stddev, p.stddev)


def _row(batch: MultimodalBatch, b: int) -> MultimodalBatch:
    x = {name: entries[b : b + 1] for name, entries in batch.x.items()}
    return replace(batch, x=x, present=batch.present[:, b : b + 1])


@torch.no_grad()
def _decoding(case: Case) -> None:
    model, batch = case.model.eval(), case.complete
    for given in subsets(batch):
        shown = batch.given(*given)
        for target in case.modalities:
            z = model.posterior_for(target.name, shown).rsample()
            of = f"{'+'.join(given)} -> {target.name}: {case.where}"
            _entries(target, model.decode(z, [target.name])[target.name], batch.size, of)


def _entries(m: Modality, x: Tensor, rows: int, of: str) -> None:
    """Decoded entries are what the data has."""
    must(x.shape == (rows, *m.shape), f"decoded entries are {list(x.shape)}, not {[rows, *m.shape]}, {of}")
    must(torch.isfinite(x).all(), f"decoded entries are not finite, {of}")
    if m.is_text:
        must(((x >= 0) & (x < len(m.vocabulary))).all(), f"decoded words are no word ids, {of}")


@torch.no_grad()
def _prior(case: Case) -> None:
    model = case.model.eval()
    for what in (model.prior, lambda: model.sample_prior(2)):
        if model.no_prior is None:
            what()
        elif not isinstance(_undefined(what), Undefined):
            must(False, f"no_prior says that there is no p(z), but prior() or sample_prior() returns one: {case.where}")
    if model.no_prior is None:
        drawn = model.sample_prior(2)
        must(set(drawn) == set(model.names), f"sample_prior() gives {sorted(drawn)}, not every modality: {case.where}")
        for m in case.modalities:
            _entries(m, drawn[m.name], 2, f"prior -> {m.name}: {case.where}")


def _undefined(what: Callable[[], object]) -> object:
    """What it returns, or why it does not."""
    try:
        return what()
    except Undefined as reason:
        must(str(reason).strip(), "Undefined is raised without a sentence")
        return reason


@torch.no_grad()
def log_likelihood(model: MultimodalVAE, batch: MultimodalBatch, seed: int = 3, *, own_prior: bool = False) -> Estimate:
    """log p(x_A) on fixed noise; under N(0, I) of its family, which every model takes (protocol 17), or its own."""
    prior = None if own_prior else standard(model.family, torch.zeros(1, LATENT))
    return model.eval().log_likelihood(batch, SAMPLES, Generator().manual_seed(seed), prior)


@torch.no_grad()
def _likelihood(case: Case) -> None:
    model, batch = case.model.eval(), case.complete
    for given in [*((name,) for name in batch.names), batch.names]:
        most = sum(_most(m) + SLACK for m in case.modalities if m.name in given)
        for own in (False, True):
            of = f"of {'+'.join(given)} under {'its own' if own else 'a given'} prior: {case.where}"
            found = _undefined(partial(log_likelihood, model, batch.given(*given), own_prior=own))
            must(own or isinstance(found, Estimate), f"log_likelihood() must take a prior that is given: {found}")
            _estimate(found, batch.size, of)
            if isinstance(found, Estimate):
                must((found.log_p <= most).all(), f"log p(x) {of} exceeds {most:.1f}, the most that p(x | z) can give")
    for source, target in zip(batch.names, reversed(batch.names), strict=True):
        if source != target:
            conditional = _undefined(partial(model.log_conditional, batch, [source], target, SAMPLES))
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
def _generators(case: Case) -> None:
    model, batch = case.model.eval(), case.complete
    draws: dict[str, Callable[[Generator], Tensor]] = {
        "rsample() of the posterior": lambda g: model.posterior(batch).rsample(generator=g),
        "log_likelihood()": lambda g: log_likelihood(model, batch, g.initial_seed()).log_p,
    }
    if model.no_prior is None:
        draws["sample_prior()"] = lambda g: model.sample_prior(2, g)[model.names[0]]
    for what, draw in draws.items():
        found = []
        for seed in (0, 1):  # of PyTorch's own generator
            torch.manual_seed(seed)
            found.append(draw(Generator().manual_seed(3)))
        must(torch.equal(*found), f"{what} draws from another generator than the one it is given: {case.where}")
