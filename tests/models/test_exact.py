"""Linear-Gaussian models, where everything is known (protocol 18, 19): exact experts, wrong experts, quadrature."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mmvae_bench import models, nets
from mmvae_bench.datasets.linear_gaussian import LinearGaussian
from mmvae_bench.models.annealed import AnnealedProposals
from mmvae_bench.models.base import MIN_SCALE
from mmvae_bench.models.draws import Proposals
from mmvae_bench.probability.bounds import Estimate, log_mean_exp
from mmvae_bench.sampling.chains import HMC, MALA, sample
from mmvae_bench.testing.answers import log_conditional, log_density
from mmvae_bench.types import MultimodalBatch
from tests.datasets.test_linear_gaussian import subsets

L = 2
WITH_PRIOR = ["mvae", "mmvae", "mopoe"]
SCORED = sorted(models.ABOUT.keys() - {"mmvm", "meme", "regressor", "contrastive", "csvae"})  # csvae needs labels


def inverse_softplus(y: torch.Tensor) -> torch.Tensor:
    return y + torch.log(-torch.expm1(-y))


def linear(
    name: str, m: int = 2, shift: float = 0.0, widen: tuple[float, ...] = (1.0,), latent: int = L, **options: object
):
    """A model with the data's own decoders; its experts are exact, or moved by ``shift`` of their sd and widened."""
    data = LinearGaussian(m=m, dim=4, latent=latent, noise=0.8)
    exact = data.model
    networks = nets.registry.get("linear")(data.modalities, latent)
    for i, mod in enumerate(data.modalities):
        decoder = next(layer for layer in networks.decoders[mod.name].modules() if isinstance(layer, nn.Linear))
        encoder = next(layer for layer in networks.encoders[mod.name].modules() if isinstance(layer, nn.Linear))
        decoder.weight.data, decoder.bias.data = (
            torch.from_numpy(a).float() for a in (exact.weight[mod.name], exact.bias[mod.name])
        )
        w, b = exact.weight[mod.name], exact.bias[mod.name]  # p(x | z) is a Normal of z, with this mean and covariance:
        inverse = np.linalg.inv(w.T @ w)
        weight, bias, covariance = inverse @ w.T, -inverse @ w.T @ b, exact.scale[mod.name] ** 2 * inverse
        sd = torch.from_numpy(np.sqrt(np.diag(covariance)))
        sign = -1 if i % 2 else 1
        raw = inverse_softplus(sd * widen[i % len(widen)] - MIN_SCALE)
        encoder.weight.data = torch.cat([torch.from_numpy(weight), torch.zeros(latent, 4)]).float()
        encoder.bias.data = torch.cat([torch.from_numpy(bias) + sign * shift * sd, raw]).float()
    made = models.registry.get(name)(networks, **options).double()
    rows = exact.sample(6, np.random.default_rng(0))
    x = {key: torch.from_numpy(value) for key, value in rows.items()}
    return made, exact, MultimodalBatch(x, torch.ones(m, 6, dtype=torch.bool))


@pytest.mark.parametrize(("name", "options"), [("mvae", {}), ("mopoe", {"prior_expert": "always"})])
@pytest.mark.parametrize("m", [2, 3])
def test_a_product_of_exact_experts_and_one_prior_is_the_posterior(name, options, m):
    made, exact, data = linear(name, m, **options)
    for given in subsets(made.names):
        if name == "mopoe" and len(given) > 1:  # the product over all of A is one component of the mixture
            q = made.posterior(data.given(*given)).experts.q[-1]
        else:
            q = made.posterior(data.given(*given))
        mean, covariance = exact.posterior({n: data.x[n].numpy() for n in given})
        np.testing.assert_allclose(q.mean.detach(), mean, atol=1e-5)
        np.testing.assert_allclose(
            q.stddev.detach(), np.broadcast_to(np.sqrt(np.diag(covariance)), mean.shape), rtol=1e-5
        )


@pytest.mark.parametrize("k", [1, 2, 7])
def test_the_importance_bound_at_the_true_posterior_is_log_p_for_every_k(k):
    made, exact, data = linear("mvae")
    q = made.posterior(data)
    z = q.rsample(k)
    log_w = made.prior().log_prob(z) + made.log_px(z, data).sum(0) - q.log_prob(z)
    expected = exact.log_likelihood({n: data.x[n].numpy() for n in made.names})
    np.testing.assert_allclose(log_mean_exp(log_w).detach(), expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("name", [*WITH_PRIOR, "unimodal"])
def test_importance_sampling_is_unbiased_with_wrong_experts(name, m):
    """mean(w) / p within 5 standard errors of 1 for every row and subset with an effective sample size >= 100."""
    k = 20_000
    made, exact, data = linear(name, m, shift=1.0, widen=(1.5, 3.0))
    for given in subsets(made.names):
        x = {n: data.x[n].numpy() for n in given}
        estimate = log_density(made, data.given(*given), k, torch.Generator().manual_seed(0))
        each = [exact.log_likelihood({n: v}) for n, v in x.items()]
        expected = sum(each) if name == "unimodal" else exact.log_likelihood(x)
        agree(estimate, expected, k, independent=len(given) if name == "unimodal" else 1)


@torch.no_grad()
@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("name", [*WITH_PRIOR, "unimodal"])
def test_a_conditional_converges_with_wrong_experts(name, m):
    """mean(estimate / p) over noises within 5 standard errors of 1, and the bias of a quotient, at most 2 / ESS."""
    noises, k = 20, 500
    made, exact, data = linear(name, m, shift=1.0, widen=(1.5, 3.0))
    generator, compared = torch.Generator().manual_seed(0), 0
    x = {n: v.numpy() for n, v in data.x.items()}
    for given in subsets(made.names):
        for target in (n for n in made.names if n not in given):
            rest = [] if name == "unimodal" else given  # of which the target knows nothing
            true = exact.log_likelihood({n: x[n] for n in (*rest, target)})
            if rest:
                true = true - exact.log_likelihood({n: x[n] for n in rest})
            found = [log_conditional(made, data, given, target, k, generator) for _ in range(noises)]
            ratio = (torch.stack([e.log_p for e in found]) - torch.from_numpy(true)).exp()
            ess = torch.stack([e.ess for e in found]).mean(0)
            off = (ratio.mean(0) - 1).abs() - 5 * ratio.std(0) / noises**0.5 - 2 / ess
            assert (off <= 0)[ess >= 50].all(), (given, target)
            compared += int((ess >= 50).sum())
    assert compared >= 3 * m, "too few rows count: the test would show nothing"


@torch.no_grad()
@pytest.mark.parametrize("m", [2, 3])
def test_memes_conditional_is_unbiased_for_every_source(m):
    """q(z | x_A) is the conditional prior: a mixture of wrong Gaussians, whose log p(x_t | x_A) has a closed form."""
    k = 20_000
    made, exact, data = linear("meme", m, shift=1.0, widen=(1.5, 3.0))
    for given in subsets(made.names):
        for target in (n for n in made.names if n not in given):
            estimate = log_conditional(made, data, given, target, k, torch.Generator().manual_seed(0))
            each = [wrong_conditional(made, exact, data, source, target) for source in given]
            agree(estimate, np.logaddexp.reduce(each) - np.log(len(each)), k)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in SCORED if name != "unimodal"])
def test_likelihoods_are_never_above_the_exact_value(name):
    """E[log of an unbiased estimate] <= log p: mean over noises within 5 standard errors, for rows of every subset."""
    noises = 40 if name == "jnf" else 400  # type checks of tests read q.mean, which JNF draws anew
    made, _, data = linear(name, 3, shift=1.0, widen=(1.5, 3.0))
    loose = 0
    again = MultimodalBatch({n: x.repeat(noises, 1) for n, x in data.x.items()}, data.present.repeat(1, noises))
    for given in subsets(made.names):
        if name == "jnf" and len(given) == 2:
            continue
        estimate = log_density(made, again.given(*given), 2, torch.Generator().manual_seed(0))
        log_p = estimate.log_p.reshape(noises, -1)
        gap, error = exact_of(made, data, given) - log_p.mean(0), log_p.std(0) / noises**0.5
        assert (gap > -5 * error).all(), given
        loose += int((gap > 5 * error).sum())
    assert loose, "no bound is loose: the test would show nothing"


def exact_of(made, data: MultimodalBatch, given: tuple[str, ...]) -> torch.Tensor:
    """log p(x_A) of linear decoders, read off unit vectors of all of z: x ~ N(b, W W^T + s^2 I), private parts too."""
    zero, unit = torch.zeros(1, made.latent_dim).double(), torch.eye(made.latent_dim).double()
    b = torch.cat([made.theta(name, zero) for name in given], -1)[0]
    w = torch.cat([made.theta(name, unit) for name in given], -1) - b
    scales = {m.name: m.scale for m in made.modalities}
    noise = torch.cat([torch.full((4,), scales[name]).double() for name in given])
    law = torch.distributions.MultivariateNormal(b, w.T @ w + noise.square().diag())
    return law.log_prob(torch.cat([data.x[name] for name in given], -1))


def agree(estimate: Estimate, expected: np.ndarray, k: int, independent: int = 1) -> None:
    """The estimate is exp-unbiased; where it is a product of independent ones, errors add up at most."""
    ratio = (estimate.log_p - torch.from_numpy(np.asarray(expected))).exp()
    error = (1 / estimate.ess - 1 / k).clamp(min=0).sqrt() * independent
    good = estimate.ess >= 100
    assert good.sum() >= 3, "too few samples count: the test would show nothing"
    assert ((ratio - 1).abs() <= 5 * error + 1e-9)[good].all()


def wrong_conditional(made, exact, data, source: str, target: str) -> np.ndarray:
    """log of the integral of N(x_t; W z + b, s^2) q(z | x_s) dz in closed form, q being MEME's encoder as it is."""
    q = made.posterior(data.given(source))
    w, s = exact.weight[target], exact.scale[target]
    out = []
    for b in range(data.size):
        covariance = w @ np.diag(q.stddev[b].numpy() ** 2) @ w.T + s**2 * np.eye(len(w))
        d = data.x[target][b].numpy() - w @ q.mean[b].numpy() - exact.bias[target]
        out.append(-0.5 * (d @ np.linalg.solve(covariance, d) + np.linalg.slogdet(2 * np.pi * covariance)[1]))
    return np.array(out)


@torch.no_grad()
def test_importance_sampling_with_a_laplace_prior_agrees_with_quadrature():
    made, _, data = linear("mmvae", shift=1.0, widen=(1.5, 3.0), latent=1, family="laplace")
    grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)[:, None, None].expand(-1, 6, 1)
    log_joint = made.prior().log_prob(grid) + made.log_px(grid, data).sum(0)
    expected = log_joint.logsumexp(0) + math.log(60 / 60_000)
    k = 20_000
    estimate = log_density(made, data, k, torch.Generator().manual_seed(0))
    error = (1 / estimate.ess - 1 / k).sqrt()
    assert (estimate.ess >= 100).all()
    assert ((estimate.log_p - expected).expm1().abs() <= 5 * error).all()


@torch.no_grad()
def test_mmvaes_weights_are_unbiased_by_strata():
    """E[(1 / MK) sum w] = p(X)."""
    n = 20_000
    made, exact, data = linear("mmvae", shift=1.0, widen=(1.5, 3.0))
    experts = made.encode(data)
    torch.manual_seed(0)
    w = made.log_weights(experts.q.rsample(n), experts, data)
    w = (w - torch.from_numpy(exact.log_likelihood({k: v.numpy() for k, v in data.x.items()}))).exp().mean(1)  # over r
    assert ((w.mean(0) - 1).abs() <= 5 * w.std(0) / n**0.5).all()


@torch.no_grad()
@pytest.mark.parametrize("looser", [True, False])
def test_mmvaes_bound_rises_with_k_and_stays_below_log_p(looser):
    bounds, errors = [], []
    for k in (1, 4, 16):
        made, exact, data = linear("mmvae", shift=1.0, widen=(1.5, 3.0), k=k, looser=looser, estimator="iwae")
        torch.manual_seed(k)
        draws = torch.stack([-made.loss(data).total for _ in range(400)])
        bounds.append(draws.mean())
        errors.append(draws.std() / 20)
    log_p = exact.log_likelihood({k: v.numpy() for k, v in data.x.items()}).mean()
    assert bounds[-1] <= log_p + 5 * errors[-1]
    assert bounds[0] <= bounds[1] + 5 * errors[0] and bounds[1] <= bounds[2] + 5 * errors[1]
    assert bounds[2] - bounds[0] > 5 * errors[0], "the bound must visibly rise, or the test shows nothing"


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("mvae", "mmvae", "unimodal") else pytest.mark.slow) for name in SCORED],
)
def test_annealed_likelihoods_and_conditionals_are_exact_within_their_errors(name):
    """Weights have the mean p(x_A), and their quotient p(x_t | x_A), for every model and subset."""
    k = 1000
    made, _, data = linear(name, 2, shift=1.0, widen=(1.5, 3.0))
    proposals = AnnealedProposals(made, data, k, lambda given: torch.Generator().manual_seed(len(given)), bridges=8)
    for given in subsets(made.names):
        parts = [(n,) for n in given] if name == "unimodal" else [given]  # of which each has a latent of its own
        expected = sum(exact_of(made, data, part) for part in parts).numpy()
        agree(made.log_likelihood(proposals, given), expected, k, independent=len(parts))
    first, second = made.names
    expected = exact_of(made, data, (second,)) if name == "unimodal" else (
        exact_of(made, data, (first, second)) - exact_of(made, data, (first,))
    )  # fmt: skip
    agree(made.log_conditional(proposals, [first], second), expected.numpy(), k, independent=2)


@torch.no_grad()
def test_annealing_gets_nearer_than_importance_sampling_at_equal_draws():
    """With experts three standard deviations from the truth."""
    made, _, data = linear("mmvae", 2, shift=3.0)
    exact = exact_of(made, data, made.names)
    chains = AnnealedProposals(made, data, 50, lambda _: torch.Generator().manual_seed(0), bridges=30)
    annealed = made.log_likelihood(chains)
    sampled = log_density(made, data, 50, torch.Generator().manual_seed(0))
    assert (annealed.log_p - exact).abs().mean() < 0.5 * (sampled.log_p - exact).abs().mean()
    assert annealed.ess.mean() > 2 * sampled.ess.mean()


@torch.no_grad()
@pytest.mark.parametrize("kernel", [HMC, MALA], ids=["hmc", "mala"])
def test_chains_of_a_model_have_its_exact_posterior(kernel):
    """Chains on p(z) p(x_A | z) from wrong experts: means within 5 standard errors, covariances within a tenth."""
    made, exact, data = linear("mvae", 2, shift=1.0, widen=(1.5, 3.0))
    for given in subsets(made.names):
        draws = Proposals(made, data, 400, lambda _: torch.Generator().manual_seed(0)).given(*given)
        found = sample(
            lambda z, draws=draws: made.log_posterior(draws.at(z)), draws.z, kernel, burn_in=40, draws=1,
            scale=draws.q.stddev, generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        mean, covariance = exact.posterior({n: data.x[n].numpy() for n in given})
        sd, z = torch.from_numpy(np.sqrt(np.diag(covariance))), found.z[0]
        assert ((z.mean(0) - torch.from_numpy(mean)).abs() <= 5 * sd / 400**0.5).all()
        assert (z.flatten(0, 0).std(0).mean(0) / sd - 1).abs().max() < 0.1
