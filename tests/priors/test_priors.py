"""Learned priors against latents whose density is known."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from mmvae_bench.errors import BenchError
from mmvae_bench.priors import labels, registry
from mmvae_bench.priors import ncp as module
from mmvae_bench.priors.base import Encodings
from mmvae_bench.priors.gmm import GaussianMixture, gmm
from mmvae_bench.priors.ncp import Contrastive, ncp
from mmvae_bench.probability.distributions import DiagonalNormal, standard

SHIFT = 1.0  # q(z) = N((1, 0), I), p(z) = N(0, I): log q / p = z_1 - 1 / 2


def shifted(n: int = 20_000) -> Encodings:
    z = torch.randn(2, n, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([SHIFT, 0.0])
    fitted, chosen, held = z[:, : n // 2], z[:, n // 2 : 3 * n // 4], z[:, 3 * n // 4 :]
    base = standard(DiagonalNormal, torch.zeros(1, 2))
    return Encodings(fitted, chosen, held, base, lambda text: torch.Generator().manual_seed(sum(map(ord, text))))


@pytest.fixture(scope="module")
def latents() -> Iterator[Encodings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS", 600)  # enough for a ratio that is linear in z
        yield shifted()


@pytest.fixture(scope="module")
def unbounded(latents) -> Contrastive:
    return ncp(latents)


def test_the_ratio_is_that_of_the_densities(unbounded):
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(5)) + torch.tensor([SHIFT / 2, 0.0])
    error = unbounded.ratio(z) - (z[:, 0] - SHIFT / 2)
    assert error.square().mean().sqrt() < 0.15


def test_the_normaliser_and_the_effective_sample_size_are_those_of_the_densities(unbounded):
    """E_p[q / p] = 1, and ESS / M = 1 / E_p[(q / p)^2] = exp(-shift^2)."""
    assert abs(unbounded.log_z) < 5 * unbounded.log_z_error + 0.05
    assert unbounded.ess == pytest.approx(math.exp(-(SHIFT**2)), abs=0.08)


def held_loss(prior: Contrastive) -> float:
    q = shifted().held.flatten(0, 1)
    return float(prior.ratio.loss(q, prior.base.rsample(len(q), torch.Generator().manual_seed(4))[:, 0]))


def test_the_loss_is_that_of_the_best_classifier(unbounded):
    """E_q log(1 + e^-(x - .5)) by quadrature, q = N(1, 1); by symmetry it is that of p, too."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    best = weights @ np.log1p(np.exp(-(nodes + SHIFT / 2))) / math.sqrt(2 * math.pi)
    assert held_loss(unbounded) == pytest.approx(best, abs=0.03)


@pytest.mark.parametrize("sampler", ["sir", "langevin"])
def test_draws_have_the_moments_of_the_latents(latents, unbounded, sampler):
    z = ncp(latents, sampler=sampler).rsample(1000, torch.Generator().manual_seed(2))
    assert z.shape == (1000, 1, 2)
    assert torch.allclose(z.mean((0, 1)), torch.tensor([SHIFT, 0.0]), atol=0.2)
    assert torch.allclose(z.std((0, 1)), torch.ones(2), atol=0.15)


def test_the_density_integrates_to_one(unbounded):
    axis = torch.linspace(-6, 8, 281)
    grid = torch.cartesian_prod(axis, axis)
    total = unbounded.log_prob(grid[:, None]).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=5 * unbounded.log_z_error)


def test_a_bound_is_kept_and_the_loss_falls_as_it_grows(latents, unbounded):
    losses = []
    for bound in (0.25, 1.0):
        prior = ncp(latents, bound=bound)
        assert prior.ratio(prior.proposals).abs().max() <= bound + 1e-6
        assert prior.ess >= prior.least_ess == pytest.approx(1 / math.cosh(bound) ** 2)
        losses.append(held_loss(prior))
    assert losses[0] > losses[1] > held_loss(unbounded) - 0.005


def test_samplers_share_a_classifier(latents):
    assert ncp(latents, bound=1.0).ratio is ncp(latents, bound=1.0, sampler="langevin").ratio


def test_the_normaliser_is_found_where_draws_of_p_alone_are_too_few(latents):
    """r = q / p in 8 dimensions, q = N(1.5, I): ESS of draws of p is M exp(-18), and Z is 1."""
    size, shift = 8, 1.5
    generator = torch.Generator().manual_seed(0)

    class Exact(torch.nn.Module):
        bound = None

        def forward(self, z):
            return (shift * z - shift**2 / 2).sum(-1)

    q = torch.randn(1, 4000, size, generator=generator) + shift
    base = standard(DiagonalNormal, torch.zeros(1, size))
    known = Encodings(q, q, q, base, latents.generator)
    known.shared[None] = Exact()
    prior = ncp(known)
    assert prior.ess < 0.01
    assert abs(prior.log_z) < 5 * prior.log_z_error < 0.2


def test_training_leaves_the_global_generator_alone(latents, monkeypatch):
    monkeypatch.setattr(module, "STEPS", 3)
    torch.manual_seed(3)
    want = torch.rand(3)
    torch.manual_seed(3)
    first, second = (module.classifier(latents, None).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), want)
    assert all(torch.equal(first[name], second[name]) for name in first)


@given(st.floats(0.05, 12), st.lists(st.floats(-1, 1), min_size=1, max_size=40))
@settings(deadline=None)
def test_the_least_effective_sample_size_holds_for_any_ratio(bound, log_r):
    """Kantorovich: it is reached by a ratio of two values, e^B as often as e^-B weighs."""

    class Fixed(torch.nn.Module):
        def __init__(self, values: list[float]) -> None:
            super().__init__()
            self.bound, self.values = bound, torch.tensor(values, dtype=torch.float64) * bound

        def forward(self, z):
            return self.values

    def prior(values: list[float]) -> Contrastive:
        z = torch.zeros(len(values), 1)
        return Contrastive(None, Fixed(values), "sir", z, z, None)  # type: ignore[arg-type]

    least = prior(log_r).least_ess
    assert prior(log_r).ess >= least * (1 - 1e-9)
    high = 1 / (1 + math.exp(2 * bound))  # share of e^B at which E[r]^2 / E[r^2] is least
    n = 200_000
    k = max(1, round(high * n))
    if bound < 4:
        assert prior([1.0] * k + [-1.0] * (n - k)).ess == pytest.approx(least, rel=0.05)


def test_a_mixture_of_gaussians_is_found_and_its_density_and_draws_agree():
    generator = torch.Generator().manual_seed(0)
    centre = torch.tensor([[-4.0, 0.0], [4.0, 1.0]])[torch.randint(2, (3000,), generator=generator)]
    z = centre + torch.randn(3000, 2, generator=generator) @ torch.tensor([[1.0, 0.6], [0.0, 0.5]])
    known = shifted(40)
    found = gmm(Encodings(z[None], known.chosen, known.held, known.base, known.generator), components=2)
    order = found.loc[:, 0].argsort()
    assert torch.allclose(found.loc[order].float(), torch.tensor([[-4.0, 0.0], [4.0, 1.0]]), atol=0.1)
    assert torch.allclose(found.weight, torch.full_like(found.weight, 0.5), atol=0.03)
    covariances = found.root @ found.root.mT
    points = z[:20].numpy()
    parts = [
        w * multivariate_normal(m, s).pdf(points)
        for w, m, s in zip(found.weight.numpy(), found.loc.numpy(), covariances.numpy(), strict=True)
    ]
    assert np.allclose(found.log_prob(z[:20]).numpy(), np.log(np.sum(parts, 0)), atol=1e-4)
    drawn = found.rsample(20_000, generator)
    assert drawn.shape == (20_000, 1, 2)
    assert torch.allclose(drawn.mean((0, 1)), z.mean(0), atol=0.15)
    assert torch.allclose(drawn.std((0, 1)), z.std(0), atol=0.1)


def test_a_mixture_of_one_gaussian_has_the_moments_of_the_latents(latents):
    z = latents.fitted.flatten(0, 1)
    found = gmm(latents, components=1)
    assert isinstance(found, GaussianMixture)
    assert torch.allclose(found.loc[0].float(), z.mean(0), atol=1e-4)
    assert torch.allclose((found.root @ found.root.mT)[0].float(), torch.cov(z.T), atol=1e-3)


@pytest.mark.parametrize(
    ("typed", "want"),
    [
        (["ncp[bound=2.0]", "ncp:bound=2"], ("ncp[bound=2]",)),
        (["model", "gmm[components=10]", "aggregate"], ("gmm",)),
        (["ncp:sampler=langevin:bound=0.5"], ("ncp[bound=0.5,sampler=langevin]",)),
    ],
)
def test_a_prior_is_written_in_one_way(typed, want):
    assert labels(typed) == want


@pytest.mark.parametrize(
    "typed", ["nc", "ncp[bound=0]", "ncp[bound=51]", "ncp[size=3]", "gmm[components=0]", "ncp[sampler=x]"]
)
def test_what_cannot_be_meant_is_refused(typed):
    with pytest.raises(BenchError):
        labels([typed])


def test_every_prior_is_described():
    from mmvae_bench.metrics.description import PRIORS

    assert set(registry.names()) <= PRIORS.keys()
