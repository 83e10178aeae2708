import math

import numpy as np
import pytest
import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.priors import (
    DRAW,
    PRIOR_SAMPLES,
    Aggregate,
    aggregate_prior,
    draws,
    encodings,
    prior_of,
    under_priors,
)
from mmvae_bench.priors import registry
from mmvae_bench.probability.distributions import Diagonal, DiagonalLaplace, DiagonalNormal
from mmvae_bench.probability.fusion import Experts, Mixture


def experts(family: type[Diagonal]) -> Experts:
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(30, 1, 3, generator=generator, dtype=torch.float64)
    scale = torch.rand(30, 1, 3, generator=generator, dtype=torch.float64) + 0.1
    return Experts(family(loc, scale), torch.ones(30, 1, dtype=torch.bool))


@pytest.mark.parametrize("family", [DiagonalNormal, DiagonalLaplace])
def test_the_density_is_the_mean_of_the_components_and_the_mixtures_own(family):
    e = experts(family)
    z = torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_p = Aggregate(e).log_prob(z)
    assert log_p.shape == (50, 4)
    each = torch.stack([family(e.q.loc[r], e.q.scale[r]).log_prob(z) for r in range(30)])
    assert torch.allclose(log_p.exp(), each.exp().mean(0))
    assert torch.allclose(log_p, Mixture(e).log_prob(z))


def test_very_narrow_components_far_from_zero_keep_their_density():
    loc = 5 + torch.randn(100, 1, 16, generator=torch.Generator().manual_seed(0))
    e = Experts(DiagonalNormal(loc, torch.full_like(loc, 1e-4)), torch.ones(100, 1, dtype=torch.bool))
    z = Mixture(e).rsample(200, torch.Generator().manual_seed(1))
    assert torch.allclose(Aggregate(e).log_prob(z), Mixture(e).log_prob(z), rtol=1e-3)


def test_half_of_1000_components_are_of_each_modality(world):
    ev = world(n_train=2000)
    eye = np.eye(10, dtype=np.float32)
    ev.train.x["b"][:] = 2 * eye[ev.train.label]
    q = aggregate_prior(ev).experts.q
    assert q.loc.shape == (1000, 1, 10)
    assert aggregate_prior(ev) is aggregate_prior(ev)
    of_b = q.loc[:, 0].sum(-1) > 1.7
    assert of_b[:500].float().mean() < 0.05
    assert of_b[500:].all()


def test_only_entries_that_the_run_could_see_are_taken(world):
    present = np.ones((2, 600), bool)
    present[1, 20:] = False
    ev = world(present=present)
    ev.train.x["b"][20:] = np.nan
    q = aggregate_prior(ev).experts.q
    assert q.loc.shape == (520, 1, 10)
    assert q.loc.isfinite().all()


def test_components_of_mixtures_enter_one_by_one(world):
    ev = world(n_train=40)
    encode = ev.model.encode

    def posterior(batch):  # two components a row
        q = encode(batch).q
        twice = DiagonalNormal(torch.cat([q.loc, q.loc + 9]), torch.cat([q.scale, q.scale]))
        return Mixture(Experts(twice, torch.cat([batch.present, batch.present])))

    ev.model.posterior = posterior
    assert aggregate_prior(ev).experts.q.loc.shape == (2 * 2 * 40, 1, 10)


def test_other_posteriors_are_refused_with_the_reason(world):
    ev = world()
    ev.model.posterior = lambda batch: object()
    with pytest.raises(Undefined, match="diagonal"):
        aggregate_prior(ev)


def test_each_draw_and_each_generation_is_decoded_and_judged_once_for_all_metrics(world, monkeypatch):
    ev, calls = world(), []
    for where, name in ((ev, "generate"), (ev.model, "sample_prior"), (ev.oracles["a"], "predict")):
        whole = getattr(where, name)
        monkeypatch.setattr(where, name, lambda *a, n=name, f=whole: calls.append(n) or f(*a), raising=False)
    for metric in ("joint_coherence", "cross_coherence", "self_coherence", "oracle_accuracy", "attributes_strict"):
        evaluate(ev, [metric])
    assert calls.count("sample_prior") == PRIOR_SAMPLES / DRAW
    assert calls.count("generate") == 6  # two targets from three subsets
    assert calls.count("predict") == 1 + 3 + 2 * PRIOR_SAMPLES / DRAW  # of a: true, generated, drawn from both priors
    evaluate(ev, ["frechet"])
    assert calls.count("sample_prior") == PRIOR_SAMPLES / DRAW


def test_fewer_draws_are_the_first_of_more(world):
    few, many = draws(world(), "model", 10), draws(world(), "model", 2 * DRAW)
    assert len(few) == 1 and len(many) == 2 and torch.equal(few[0].x["a"], many[0].x["a"])


@pytest.mark.parametrize(("rows", "parts"), [(20, 1), (250, 2), (500, 4), (3000, 4)])
def test_scores_of_a_prior_have_four_draws_a_test_row_within_limits(world, rows, parts):
    for _, found in under_priors(world(n_test=rows), lambda part: part):
        assert len(found) == parts


def test_latents_are_of_what_the_run_saw_and_no_row_is_in_two_parts(world):
    present = np.ones((2, 600), bool)
    present[1, 100:] = False
    ev = world(present=present)
    ev.train.x["b"][100:] = np.nan
    for name in ("a", "b"):  # latents are entries: rows are told by their first number
        ev.train.x[name][:, 0] = np.where(np.isnan(ev.train.x[name][:, 0]), np.nan, np.arange(600))
    found = encodings(ev)
    parts = [part[:, :, 0].round().long() for part in (found.fitted, found.chosen, found.held)]
    assert [part.shape for part in parts] == [(4, 500), (4, 50), (4, 50)]
    rows = torch.cat(parts, 1)
    assert (rows == rows[0]).all()
    assert rows[0].unique().numel() == 600


def test_what_a_run_did_not_see_is_zero_and_absent(world):
    present = np.random.default_rng(0).random((2, 600)) < 0.5
    present[0] |= ~present.any(0)
    ev, seen = world(present=present), []
    posterior = ev.model.posterior
    ev.model.posterior = lambda batch: seen.append(batch) or posterior(batch)
    encodings(ev)
    for batch in seen:
        for keep, x in zip(batch.present, batch.x.values(), strict=True):
            assert (x[~keep] == 0).all() and (x[keep] != 0).any(1).all()
    shown = torch.cat([batch.present for batch in seen], 1)
    assert shown.sum(1).tolist() == present.sum(1).tolist()


def test_without_a_joint_posterior_a_row_is_encoded_from_one_modality(world):
    ev, seen = world(), []
    ev.model.joint_posterior = False
    posterior = ev.model.posterior
    ev.model.posterior = lambda batch: seen.append(batch.present) or posterior(batch)
    encodings(ev)
    present = torch.cat(seen, 1)
    assert (present.sum(0) == 1).all()
    assert 0.4 < present[0].float().mean() < 0.6


def test_a_model_without_a_prior_starts_from_the_moments_of_its_latents(world):
    ev = world()
    ev.model.no_prior = "none"
    found = encodings(ev)
    z = torch.cat([found.fitted, found.chosen, found.held], 1)
    assert torch.allclose(found.base.loc[0], z.mean((0, 1)))
    assert torch.allclose(found.base.scale[0], z.flatten(0, 1).std(0))


def test_each_seed_has_rows_of_its_own(world):
    first, second = (encodings(world(seed=seed)).held for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("n", "what"), [(2, "fewer than three"), (3, "")])
def test_few_rows_are_enough_or_the_reason_is_told(world, n, what):
    ev = world(n_train=n, priors=("gmm",))
    (score,) = [s for s in evaluate(ev, ["prior_fit"]) if s.prior == "gmm"]
    assert what in score.reason and (score.value is None) == bool(what)


def test_a_prior_that_fails_takes_no_other_score_along(world, monkeypatch):
    def broken(known, *, how: str = "raise"):
        if how == "raise":
            raise ValueError("no idea")
        return Far()

    class Far:
        def rsample(self, k, generator=None):
            return torch.zeros(k, 1, 10)

        def log_prob(self, z):
            return torch.full(z.shape[:-1], torch.nan)

    monkeypatch.setitem(registry._loaded, "broken", broken)
    ev = world(priors=("broken", "broken[how=nan]", "gmm[components=2]"))
    scores = {s.prior: s for s in evaluate(ev, ["joint_coherence"]) if not s.variant}
    assert scores["broken"].reason == "the prior 'broken' failed: ValueError: no idea"
    assert "not finite" in scores["broken[how=nan]"].reason
    assert all(scores[prior].value is not None for prior in ("model", "aggregate", "gmm[components=2]"))


def test_learned_priors_are_scored_beside_the_others(world):
    """Latents are one-hot classes, of norm 1; draws of N(0, I) have a norm near the root of 10."""
    ev = world(n_train=2000, priors=("gmm",))
    scores = [s.prior for s in evaluate(ev, ["joint_coherence"]) if not s.variant]
    assert scores == ["model", "aggregate", "gmm"]
    norms = {prior: draws(ev, prior, DRAW)[0].x["a"].norm(dim=-1).mean() for prior in scores}
    assert norms["model"] > 2.9 and abs(norms["gmm"] - 1) < 0.2 and abs(norms["aggregate"] - 1) < 0.2
    fits = {s.prior: s.value for s in evaluate(ev, ["prior_fit"])}
    assert list(fits) == ["model", "gmm"] and fits["gmm"] > fits["model"]
    z = encodings(ev).held
    assert fits["gmm"] == pytest.approx(float(prior_of(ev, "gmm").log_prob(z).mean()), rel=1e-5)
    likelihoods = {
        s.prior: s.value for s in evaluate(ev, ["log_likelihood"]) if s.variant == "iw100" and s.target == "a"
    }
    assert likelihoods["gmm"] > likelihoods["model"]


def test_further_priors_change_no_score_of_the_others(world):
    names = ["joint_coherence", "frechet", "log_likelihood"]
    alone, beside = (evaluate(world(n_train=300, priors=priors), names) for priors in ((), ("gmm[components=2]",)))
    assert [s for s in beside if not s.prior.startswith("gmm")] == alone
    assert len(beside) > len(alone)


def test_the_fit_of_a_density_ratio_has_its_errors(world, monkeypatch):
    monkeypatch.setattr("mmvae_bench.priors.ncp.STEPS", 20)
    ev = world(n_train=300, n_test=20, priors=("ncp[bound=1]", "ncp[bound=1,sampler=langevin]"))
    fit = {(s.prior, s.variant): s for s in evaluate(ev, ["prior_fit"]) if s.prior.startswith("ncp")}
    first, second = ev.priors
    assert {variant for prior, variant in fit if prior == first} == {"", "ess", "ess least", "loss", "log_z"}
    assert {variant for prior, variant in fit if prior == second} == {
        "",
        "ess",
        "ess least",
        "loss",
        "log_z",
        "acceptance",
    }
    assert 1 >= fit[first, "ess"].value >= fit[first, "ess least"].value == pytest.approx(1 / math.cosh(1) ** 2)
    assert fit[first, ""].value == fit[second, ""].value
    assert fit[first, ""].se > fit[first, "log_z"].se > 0
    assert 0.3 < fit[second, "acceptance"].value <= 1
