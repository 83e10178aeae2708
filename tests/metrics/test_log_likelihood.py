"""Against a world with exact answers: p(z) = N(0, I), x_m = z + s eps, so that every density is a Gaussian's."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from mmvae_bench import models
from mmvae_bench.datasets.base import Rows
from mmvae_bench.metrics import annealed
from mmvae_bench.metrics import log_likelihood as module
from mmvae_bench.metrics.base import mean_and_error
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.log_likelihood import estimated_rows, estimates, quantities
from mmvae_bench.metrics.priors import aggregate_prior
from mmvae_bench.models.draws import Proposals
from mmvae_bench.nets.mlp import mlp
from mmvae_bench.probability import likelihoods
from mmvae_bench.probability.bounds import Estimate
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import Modality
from tests.metrics.captioned_world import Knowing, captioned

S, D = 0.5, 2
COV = np.array([[1 + S**2, 1.0], [1.0, 1 + S**2]])  # of (x_a, x_b), for each of D dimensions


@pytest.fixture
def exact(world):
    """An evaluation of the true model, whose posteriors are right but 1.3 times too wide."""
    ev = world(n_test=1024, n_train=400)
    parts = tuple(Modality(m.name, (D,), "normal", S, dtype="float32") for m in ev.model.modalities)
    ev.model.modalities, ev.model.networks.latent_dim = parts, D

    def posterior(batch):  # p(z | x_A): precision 1 + |A| / s^2
        n = batch.present.sum(0)[:, None] / S**2
        total = sum(batch.visible(name) for name in batch.names) / S**2
        return DiagonalNormal(total / (1 + n), 1.3 * (1 + n).rsqrt().expand(-1, D))

    ev.model.posterior = posterior
    for seed, n in ((1, 400), (2, 1024)):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(n, D))
        x = {name: (z + S * rng.normal(size=(n, D))).astype(np.float32) for name in ("a", "b")}
        setattr(ev, "train" if n == 400 else "test", Rows(x))
    return ev


def chosen(ev):
    rows = estimated_rows(ev)
    return np.stack([rows.x["a"], rows.x["b"]], -1)  # [n, D, 2]


def log_density(ev, target):
    x = chosen(ev)
    joint = multivariate_normal(cov=COV).logpdf(x).sum(-1)
    marginal = {m: norm(scale=(1 + S**2) ** 0.5).logpdf(x[..., i]).sum(-1) for i, m in enumerate("ab")}
    return joint if target == "ab" else marginal[target]


@pytest.mark.parametrize("target", ["ab", "a", "b"])
def test_joint_and_marginals_are_unbiased_estimates_of_the_exact_density(exact, target):
    log_p, ess = estimates(exact)["model", (), tuple(target)]
    ratio = np.exp(log_p.numpy() - log_density(exact, target))
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5
    assert np.abs(np.log(ratio)).max() < 1
    assert ess.min() > 10
    assert ess.max() <= module.SAMPLES * (1 + 1e-5)


def test_a_conditional_is_the_exact_one_by_self_normalised_weights_of_the_given(exact):
    log_p, ess = estimates(exact)["model", ("a",), ("b",)]
    expected = log_density(exact, "ab") - log_density(exact, "a")
    ratio = np.exp(log_p.numpy() - expected)
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5 + 2 / ess.mean()
    seeded, batch = torch.Generator().manual_seed, exact.batch(exact.test)
    proposals = Proposals(exact.model, batch, 100, lambda _: seeded(5))
    z, log_w = proposals.given("a").weighted()
    log_px = exact.model.log_px_of("b", z, batch, weighted=False)
    found = exact.model.log_conditional(proposals, ["a"], "b")
    assert torch.equal(found.log_p, (log_w + log_px).logsumexp(0) - log_w.logsumexp(0))


def test_under_the_aggregate_prior_it_is_the_mean_over_components(exact):
    q = aggregate_prior(exact).experts.q
    variance = (q.scale[:, 0].double().square() + S**2).numpy()  # p(x_a) = mean_r N(x_a; m_r, s_r^2 + s^2)
    gap = chosen(exact)[:, None, :, 0] - q.loc[None, :, 0].numpy()
    each = -0.5 * (gap**2 / variance + np.log(2 * np.pi * variance)).sum(-1)
    expected = np.log(np.exp(each).mean(1))
    log_p, _ = estimates(exact)["aggregate", (), ("a",)]
    ratio = np.exp(log_p.numpy() - expected)
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5


def test_a_models_own_conditional_is_asked(exact):
    class Own(type(exact.model)):
        def log_conditional(self, proposals, given, target, prior=None):
            size = (proposals.batch.size,)
            return Estimate(torch.full(size, -3.0), torch.full(size, float(proposals.k)))

    exact.model.__class__ = Own
    exact.model.no_prior = "no p(z) here"
    rows = [s for s in evaluate(exact, ["log_likelihood"]) if s.prior == "model"]
    assert [s.reason for s in rows if not s.given] == ["no p(z) here"] * 3
    assert all(s.value is None and s.variant == "iw100" for s in rows if not s.given)
    assert [(s.given, s.target, s.variant, s.value) for s in rows if s.given] == [
        ("a", "b", "iw100", -3), ("a", "b", "ess100", 100), ("b", "a", "iw100", -3), ("b", "a", "ess100", 100),
    ]  # fmt: skip


def test_rows_of_the_result(exact):
    found = evaluate(exact, ["log_likelihood"])
    assert {(s.prior, s.variant, s.given, s.target) for s in found} == {
        (prior, variant, *pair)
        for prior in ("model", "aggregate")
        for variant in ("iw100", "ess100")
        for pair in (("", "a+b"), ("", "a"), ("", "b"), ("a", "b"), ("b", "a"))
    }
    joint = next(s for s in found if (s.prior, s.variant, s.target) == ("model", "iw100", "a+b"))
    log_p = estimates(exact)["model", (), ("a", "b")].log_p.double().numpy()
    assert (joint.value, joint.se) == mean_and_error(log_p)
    assert joint.se == pytest.approx(log_p.std(ddof=1) / 128**0.5)
    assert joint.n == 128


def answering(model, log_p=-3.0, ess=50.0):
    """A plug-in that answers these to every conditional."""

    class Own(type(model)):
        def log_conditional(self, proposals, given, target, prior=None):
            size = (proposals.batch.size,)
            return Estimate(torch.full(size, log_p), torch.full(size, ess))

    model.__class__ = Own
    return model


@pytest.mark.parametrize(("ess", "bound"), [(9.5, True), (10.5, False)])
def test_an_estimate_of_few_effective_samples_is_a_bound(exact, ess, bound):
    exact.test = exact.test.take(np.arange(16))
    answering(exact.model, ess=ess)
    for s in evaluate(exact, ["log_likelihood"]):
        assert s.bound == (bound and s.given != "" and s.variant == "iw100")


def test_a_narrow_posterior_far_away_makes_a_bound(exact):
    exact.test = exact.test.take(np.arange(16))
    exact.model.posterior = lambda batch: DiagonalNormal(
        torch.full((batch.size, D), 9.0), torch.full((batch.size, D), 0.1)
    )
    rows = [s for s in evaluate(exact, ["log_likelihood"]) if s.prior == "model"]
    assert all(s.bound for s in rows if s.variant == "iw100" and s.target == "a+b")
    assert all(s.value < 10 for s in rows if s.variant == "ess100" and s.target == "a+b")


@pytest.mark.parametrize(("log_p", "refused"), [(5.0, True), (0.5e-3, False), (-2.0, False)])
def test_a_probability_of_words_above_one_is_refused_and_a_density_is_not(world, log_p, refused):
    model = models.registry.get("mvae")(mlp(Knowing.modalities, 3, hidden=8, layers=1))
    ev = captioned(answering(model, log_p))
    ev.test = ev.test.take(np.arange(8))
    found = [s for s in evaluate(ev, ["log_likelihood"]) if s.given and not s.variant.startswith("ess")]
    assert [(s.target, s.value is None) for s in found] == [("caption", refused), ("picture", False)] * 2
    assert all(s.value is not None or "+5.0 nats" in s.reason for s in found)


def test_conditionals_are_all_pairs_up_to_three_modalities_then_all_but_one():
    assert len(quantities(("a", "b", "c"))) == 1 + 3 + 6
    four = quantities(("a", "b", "c", "d"))
    assert len(four) == 1 + 4 + 4
    assert (("a", "c", "d"), ("b",)) in four


@pytest.mark.slow
def test_annealed_estimates_are_the_exact_densities_and_lie_in_their_gap(exact, monkeypatch):
    """The mean over rows within 5 of the errors that weights alone make; the gap contains 0."""
    monkeypatch.setattr(annealed, "ROWS", 128)
    rows = {(s.given, s.target, s.variant): s for s in evaluate(exact, ["log_likelihood_ais"])}
    for given, target in (("", "a+b"), ("", "a"), ("a", "b")):
        true = log_density(exact, "ab" if target == "a+b" else target)
        if given:
            true = log_density(exact, "ab") - log_density(exact, "a")
        score, ess = rows[given, target, "ais"], rows[given, target, "ess"].value
        assert 30 < ess <= annealed.CHAINS and not score.bound
        assert np.abs(score.outcomes - true).max() < 1
        assert abs(score.value - true.mean()) < 5 * np.sqrt((1 / ess - 1 / annealed.CHAINS) / 128) + 1 / ess
    gap = rows["", "a+b", "gap"]
    assert gap.n == 128 and -5 * gap.se < gap.value < 0.5


def test_annealed_estimates_are_made_when_they_are_named_and_skipped_with_a_reason(exact):
    assert "log_likelihood_ais" not in {s.metric for s in evaluate(exact)}
    exact.test, exact.model.no_prior = exact.test.take(np.arange(16)), "no p(z) here"
    rows = evaluate(exact, ["log_likelihood_ais"])
    assert {(s.variant, s.reason) for s in rows} == {("ais", "no p(z) here"), ("gap", "no p(z) here")}
    with_chance = evaluate(exact_unimodal(exact), ["log_likelihood_ais"])
    assert with_chance[-1].reason == "its modalities have no latent in common"


def exact_unimodal(ev):
    ev.model.no_prior, ev.model.cross_is_chance = None, True
    return ev


@pytest.mark.parametrize(("name", "scale"), [("laplace", 0.5), ("normal", 0.5), ("bernoulli", 1.0)])
def test_draws_of_a_likelihood_have_its_density(name, scale):
    """E log p(x | theta) of draws is minus the entropy: 1 + log 2b, (1 + log 2 pi s^2) / 2, and of a coin."""
    theta, family = torch.full((40_000, 1), 0.3), likelihoods.get(name)
    log_p = family.log_prob(family.draw(theta, scale, torch.Generator().manual_seed(0)), theta, scale, 1)
    p = 1 / (1 + np.exp(-0.3))
    entropy = {
        "laplace": 1 + np.log(2 * scale), "normal": (1 + np.log(2 * np.pi * scale**2)) / 2,
        "bernoulli": -p * np.log(p) - (1 - p) * np.log(1 - p),
    }[name]  # fmt: skip
    assert abs(float(log_p.mean()) + entropy) < 5 * float(log_p.std()) / 200
