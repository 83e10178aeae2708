import math

import numpy as np
import pytest
import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.priors import DRAW, PRIOR_SAMPLES, Aggregate, aggregate_prior, draws, latents, under_priors
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
    for name, far in (("a", 0.0), ("b", 1000.0)):  # latents are entries: rows are told by their first number
        ev.train.x[name][:, 0] = far + np.arange(600)
    found = latents(ev)
    parts = [part[0, :, 0].round().long() for part in (found.fitted, found.chosen, found.held)]
    assert [len(part) for part in parts] == [500, 50, 50]
    everything = torch.cat(parts)
    assert (everything % 1000).unique().numel() == 600
    ev.train.x["b"][100:] = np.nan
    assert latents(world(present=present)).fitted.isfinite().all()


def test_without_a_joint_posterior_a_row_is_encoded_from_one_modality(world):
    ev, seen = world(), []
    ev.model.joint_posterior = False
    posterior = ev.model.posterior
    ev.model.posterior = lambda batch: seen.append(batch.present) or posterior(batch)
    latents(ev)
    present = torch.cat(seen, 1)
    assert (present.sum(0) == 1).all()
    assert 0.4 < present[0].float().mean() < 0.6


def test_a_model_without_a_prior_starts_from_the_moments_of_its_latents(world):
    ev = world()
    ev.model.no_prior = "none"
    found = latents(ev)
    z = torch.cat([found.fitted, found.chosen, found.held], 1)
    assert torch.allclose(found.base.loc[0], z.mean((0, 1)))
    assert torch.allclose(found.base.scale[0], z.flatten(0, 1).std(0))


def test_learned_priors_are_scored_beside_the_others(world):
    """Latents are one-hot classes: a draw of the model's prior is no class, one of a mixture of ten Gaussians is."""
    ev = world(n_train=2000, priors=("gmm",))
    scores = {s.prior: s for s in evaluate(ev, ["joint_coherence"]) if not s.variant}
    assert list(scores) == ["model", "aggregate", "gmm"]
    assert all(s.value == 1 for s in scores.values())  # of a copy: all modalities say what z says
    fits = {s.prior: s.value for s in evaluate(ev, ["prior_fit"])}
    assert fits["gmm"] > fits["model"] > fits["aggregate"]  # whose components are as narrow as a copy is exact
    likelihoods = {
        s.prior: s.value for s in evaluate(ev, ["log_likelihood"]) if s.variant == "iw100" and s.target == "a"
    }
    assert likelihoods["gmm"] > likelihoods["model"]


def test_further_priors_change_no_score_of_the_others(world):
    names = ["joint_coherence", "frechet", "log_likelihood"]
    alone, beside = (evaluate(world(n_train=300, priors=priors), names) for priors in ((), ("gmm[components=2]",)))
    assert [s for s in beside if not s.prior.startswith("gmm")] == alone
    assert len(beside) > len(alone)


def test_the_fit_of_a_density_ratio_is_told_once_and_its_chains_apart(world, monkeypatch):
    monkeypatch.setattr("mmvae_bench.priors.ncp.STEPS", 20)
    ev = world(n_train=300, n_test=20, priors=("ncp[bound=1]", "ncp[bound=1,sampler=langevin]"))
    scores = evaluate(ev, ["joint_coherence", "prior_fit"])
    fit = {(s.prior, s.variant): s.value for s in scores if s.metric == "prior_fit" and s.prior.startswith("ncp")}
    first, second = ev.priors
    variants = ("", "ess", "ess least", "loss", "log_z")
    assert set(fit) == {*((first, variant) for variant in variants), (second, "acceptance")}
    assert 1 >= fit[first, "ess"] >= fit[first, "ess least"] == pytest.approx(1 / math.cosh(1) ** 2)
    assert 0.3 < fit[second, "acceptance"] <= 1
