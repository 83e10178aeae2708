"""Checks of what a trained model answers: posteriors, decoded targets, the prior, likelihoods (protocol 18)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations

import torch
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal

from mmvae_bench.errors import Broken, Undefined, must
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.draws import Proposals
from mmvae_bench.probability.bounds import Estimate
from mmvae_bench.probability.distributions import Diagonal, DiagonalNormal, Posterior, Prior, standard
from mmvae_bench.testing.examples import Case, accepts, example_batch, example_modalities, spoiled, undefined
from mmvae_bench.types import Modality, MultimodalBatch

DRAWS = 4000  # of z
SAMPLES = 16  # K
SLACK = math.log(10)  # an estimate of p(x) may exceed it: by ten, with a tenth of the proposal from the prior
MANY, SEEDS = 1000, 12  # K and repetitions of an estimate that is compared with the truth


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
        shape = (batch.size, case.model.latent_dim)
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


@torch.no_grad()
def parts(case: Case) -> None:
    """Check private latents: parts of z, the prior where a modality is absent, read by their own decoder alone."""
    model, batch, own = case.model.eval(), case.complete, dict(case.model.latent_parts)
    if not own:
        return
    known = "shared" in own and {"shared", *model.names}.issuperset(own)
    must(known, f"latent_parts are 'shared' and modalities, not {', '.join(own)}: {case.where}")
    covered = sorted(i for part in own.values() for i in range(model.latent_dim)[part])
    must(covered == [*range(model.latent_dim)], f"latent_parts are not all of z, each dimension once: {case.where}")
    z = torch.randn(batch.size, model.latent_dim, generator=Generator().manual_seed(3))
    for name, other in permutations(model.names, 2):
        if other not in own:
            continue
        q, of = model.posterior(batch.given(name)), f"{name} -> {other}: {case.where}"
        mean, sd = q.mean[:, own[other]], q.stddev[:, own[other]]
        prior = torch.allclose(mean, torch.zeros(())) and torch.allclose(sd, _unit(model))
        must(prior, f"the private latent of a modality that is not given does not have its prior, {of}")
        moved = z.clone()
        moved[:, own[other]] += 1
        alone = torch.equal(model.theta(name, z), model.theta(name, moved))
        must(alone, f"a decoder reads another modality's private latent, {of}")


def _unit(model: MultimodalVAE) -> Tensor:
    """Standard deviation of the family's standard member."""
    return standard(model.family, torch.zeros(1)).stddev


def _density(q: Posterior, of: str) -> None:
    """Check E_q[r(z) / q(z)] = 1 for a density r: the Normal of q's mean and a share of its standard deviation."""
    z = q.rsample(DRAWS, Generator().manual_seed(3))
    # 0.7 where L is 3; for a Normal q, E_q[(r / q)^2]^-2 is 0.7399, whatever L is
    share = math.sqrt(1 - math.sqrt(1 - 0.7399 ** (3 / z.shape[-1])))
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
    if model.no_prior is not None:
        none = all(isinstance(undefined(what), Undefined) for what in (model.prior, lambda: model.sample_prior(2)))
        must(none, f"no_prior says that there is no p(z), but prior() or sample_prior() returns one: {case.where}")
        return
    model.prior()
    drawn = model.sample_prior(2)
    must(set(drawn) == set(model.names), f"sample_prior() gives {sorted(drawn)}, not every modality: {case.where}")
    for m in case.modalities:
        _entries(m, drawn[m.name], 2, f"prior -> {m.name}: {case.where}")


@torch.no_grad()
def generators(case: Case) -> None:
    """Check that equal generators give equal draws, whatever the state of PyTorch's own."""
    model, batch = case.model.eval(), case.complete
    z, first, second = model.posterior(batch).mean, *batch.names[:2]

    def conditional(g: Generator, prior: Prior | None) -> list[Tensor]:
        found = undefined(partial(log_conditional, model, batch, [first], second, SAMPLES, g, prior))
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


def standard_prior(case: Case) -> Diagonal:
    """N(0, I) of the model's family, a prior that every model takes (protocol 17)."""
    return standard(case.model.family, torch.zeros(1, case.model.latent_dim))


@torch.no_grad()
def log_likelihood(
    case: Case, batch: MultimodalBatch, generator: Generator | None = None, *, own_prior: bool = False
) -> Estimate:
    """Return log p(x_A) on fixed noise, under :func:`standard_prior` or the model's own."""
    prior = None if own_prior else standard_prior(case)
    return log_density(case.model.eval(), batch, SAMPLES, generator or Generator().manual_seed(3), prior)


def proposals(
    model: MultimodalVAE, batch: MultimodalBatch, k: int, generator: Generator | None, prior: Prior | None
) -> Proposals:
    """Return draws for questions about a batch under one prior, the model's own (None) or a given one."""
    return Proposals(model, batch, k, lambda _: generator, [] if prior is None else [prior])


def log_density(
    model: MultimodalVAE, batch: MultimodalBatch, k: int, generator: Generator | None = None,
    prior: Prior | None = None,
) -> Estimate:  # fmt: skip
    """Return log p of all that is present in each row, by K draws."""
    return model.log_likelihood(proposals(model, batch, k, generator, prior), prior=prior)


def log_conditional(
    model: MultimodalVAE, batch: MultimodalBatch, given: Sequence[str], target: str, k: int,
    generator: Generator | None = None, prior: Prior | None = None,
) -> Estimate:  # fmt: skip
    """Return log p(x_t | x_A) of each row, by K draws."""
    return model.log_conditional(proposals(model, batch, k, generator, prior), given, target, prior)


@torch.no_grad()
def finite(case: Case) -> None:
    """Check that estimates of log p(x_A) and log p(x_t | x_s) are possible values, and ignore what is hidden."""
    model, batch = case.model.eval(), case.complete
    mode = {}  # the largest possible log p(x_m | z)
    for m in case.modalities:
        widths = {"laplace": 2 * m.scale, "normal": m.scale * math.sqrt(2 * math.pi)}
        mode[m.name] = -math.prod(m.shape) * math.log(widths.get(m.likelihood, 1.0))
    for given in [*((name,) for name in batch.names), batch.names]:
        most = sum(mode[name] + SLACK for name in given)
        for own in (False, True):
            of = f"of {'+'.join(given)} under {'its own' if own else 'a given'} prior: {case.where}"
            found = _estimate(partial(log_likelihood, case, own_prior=own), batch.given(*given), of)
            must(own or found, f"log_likelihood() must take a prior that is given {of}")
            if found:
                must((found.log_p <= most).all(), f"log p(x) {of} exceeds {most:.1f}, the most that p(x | z) can give")
    for source, target in zip(batch.names, reversed(batch.names), strict=True):
        if source != target:
            ask, of = (
                lambda rows, s=source, t=target: log_conditional(model, rows, [s], t, SAMPLES),
                f"{target} given {source}",
            )
            most, found = mode[target] + SLACK, _estimate(ask, batch.given(source, target), f"of {of}: {case.where}")
            possible = found is None or (found.log_p <= most).all()
            must(possible, f"log p(x) of {of} exceeds {most:.1f}, the most that p(x | z) can give: {case.where}")


def _estimate(ask: Callable[[MultimodalBatch], Estimate], shown: MultimodalBatch, of: str) -> Estimate | None:
    """Return a checked answer, the same with other values behind what is hidden; None if it is undefined."""
    found = []
    for batch in (shown, spoiled(shown)):
        torch.manual_seed(3)  # the noise is the same from whichever generator
        found.append(undefined(partial(ask, batch)))
    answer, other = found
    if isinstance(answer, Undefined):
        must(isinstance(other, Undefined), f"a hidden value reached log p(x) {of}")
        return None
    if not isinstance(answer, Estimate):
        raise Broken(f"log p(x) is an Estimate, not {type(answer).__name__}, {of}")
    shape = answer.log_p.shape == answer.ess.shape == shown.present.shape[1:]
    must(shape, f"an Estimate's log_p and ess are [B], {of}")
    must(torch.isfinite(answer.log_p).all(), f"log p(x) is not finite {of}")
    within = (answer.ess > 0.99) & (answer.ess < SAMPLES * 1.01)
    must(within.all(), f"an effective sample size lies in [1, K], which it does not {of}")
    same = isinstance(other, Estimate) and torch.equal(answer.log_p, other.log_p) and torch.equal(answer.ess, other.ess)
    must(same, f"a hidden value reached log p(x) {of}")
    return answer


@torch.no_grad()
def exact(case: Case) -> None:
    """Check that estimates are right on average if decoders are linear: x_A ~ N(b + W m, sigma^2 I + W S W^T).

    z ~ N(m, S) is given. Under a model's own prior only single modalities are compared, with the same prior given: of
    several, each may have a latent of its own.
    """
    m = len(case.modalities)
    if not accepts(case.factory, example_modalities("real", m)):
        return
    linear = Case(case.factory, f"real x {m}", example_modalities("real", m), case.latent_dim, layers=0)
    model, batch = linear.model.eval(), linear.complete
    first, second, law = *batch.names[:2], partial(_closed_form, linear)
    shift = torch.full((1, model.latent_dim), 0.5)
    for prior in (DiagonalNormal(0 * shift, 2 * shift), DiagonalNormal(shift, shift)):
        where = f"{linear.where}, linear in z ~ N({prior.loc[0, 0]:g}, {prior.scale[0, 0]:g}^2)"
        for given in (batch.names[:1], batch.names):
            ask = partial(log_density, model, batch.given(*given), MANY, prior=prior)
            _unbiased(ask, law(given, prior), f"of {'+'.join(given)}, {where}")
        ask = partial(log_conditional, model, batch.given(first, second), [first], second, MANY, prior=prior)
        _unbiased(ask, law([first, second], prior) - law([first], prior), f"of {second} given {first}, {where}")
    own = undefined(model.prior)
    for name in () if isinstance(own, Undefined) else batch.names:
        ask = partial(log_density, model, batch.given(name), MANY)
        found, told = _estimates(ask), _estimates(partial(ask, prior=own))
        if found:  # compared where the estimate is reliable: of 25 effective samples its log is off by 1 / 50
            difference = torch.stack([a.log_p - b.log_p for a, b in zip(found, told, strict=True)])
            reliable = torch.stack([estimate.ess for estimate in told]).amin(0) >= 25
            far = reliable & (difference.mean(0).abs() > 0.02 + 6 * difference.std(0) / SEEDS**0.5)
            off = float(difference.mean(0)[far].abs().max()) if far.any() else 0.0
            of = f"of {name}, {linear.where}, under its own prior"
            must(not far.any(), f"log p(x) {of}, is {off:.2f} nats from that where it is given")


def _estimates(ask: Callable[..., Estimate]) -> list[Estimate]:
    """Return the answers on the noise of each seed; none if they are undefined."""
    found = [undefined(partial(ask, generator=Generator().manual_seed(seed))) for seed in range(SEEDS)]
    return [estimate for estimate in found if isinstance(estimate, Estimate)]


def _unbiased(ask: Callable[..., Estimate], true: Tensor, of: str) -> None:
    """Check that the mean of estimates is the truth within 6 standard errors.

    A quotient of two is off by half its variance, which is less than that for any standard deviation below 3.
    """
    if found := _estimates(ask):
        ratio = torch.stack([(estimate.log_p - true).exp() for estimate in found])
        far = (ratio.mean(0) - 1).abs() > 0.02 + 6 * ratio.std(0) / SEEDS**0.5
        off = float(ratio.mean(0).log().abs().max())
        must(not far.any(), f"log p(x) {of}, is off by {off:.2f} nats")


def _closed_form(case: Case, names: Sequence[str], prior: DiagonalNormal) -> Tensor:
    """Return log p(x_A) of every row, [B]; A is ``names``."""
    latent = case.model.latent_dim
    means = case.model.decode(torch.cat([torch.zeros(1, latent), torch.eye(latent)]), names)
    mean = torch.cat([means[name] for name in names], -1)  # [1 + L, sum of D_m]
    b, w = mean[0], (mean[1:] - mean[0]).T
    noise = torch.cat([torch.full(m.shape, m.scale) for m in case.modalities if m.name in names])
    covariance = torch.diag(noise**2) + w * prior.scale[0] ** 2 @ w.T
    x = torch.cat([case.complete.x[name] for name in names], -1)
    law = MultivariateNormal(b + w @ prior.loc[0], covariance)
    log_p: Tensor = law.log_prob(x)  # type: ignore[no-untyped-call]
    return log_p
