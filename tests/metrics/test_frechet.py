from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from mmvae_bench.errors import TrainingFailed
from mmvae_bench.metrics import registry
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.frechet import conditions, frechet_distance
from mmvae_bench.metrics.oracle import Oracle


def skewed(n, f, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, f)) @ rng.normal(size=(f, f)) + rng.normal(size=f)


def scores(ev):
    return evaluate(ev, ["frechet"])


@settings(max_examples=30, deadline=None)
@given(f=st.integers(1, 12), seed=st.integers(0, 999), size=st.floats(1e-3, 1e3))
def test_it_is_the_formula_with_scipys_root_of_the_product(f, seed, size):
    a, b = size * skewed(40, f, seed), size * skewed(60, f, seed + 1000)
    s_a, s_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    root = sqrtm(s_a @ s_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s_a + s_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [2, 10, 200])  # fewer entries than features: a singular covariance
def test_a_set_has_no_distance_from_itself(n):
    a = skewed(n, 40, 0).astype(np.float32)
    assert 0 <= frechet_distance(a, a) < 1e-5 * np.var(a, axis=0).sum()


def test_generated_entries_are_compared_with_the_true_ones_of_the_same_rows(world):
    ev = world(n_test=500)
    a, b = ev.test.x["a"], ev.test.x["b"]
    found = {(s.given, s.target, s.variant, s.prior): s for s in scores(ev)}
    assert set(found) == {("b", "a", "", ""), ("a", "b", "", ""), ("a", "a", "self", ""), ("b", "b", "self", "")} | {
        ("", m, "", prior) for m in "ab" for prior in ("model", "aggregate")
    }
    assert found["a", "b", "", ""].value == pytest.approx(frechet_distance(a, b), abs=1e-3)  # the world copies a to b
    assert found["a", "a", "self", ""].value < 1e-5
    # N(0, I) against means .1 and a covariance with eigenvalues .11 (nine times) and .01
    exact = 0.1 + 10 + 1 - 2 * (9 * 0.11**0.5 + 0.1)
    assert found["", "a", "", "model"].value == pytest.approx(exact, rel=0.05)
    assert found["", "a", "", "aggregate"].value < 0.05 < found["", "a", "", "model"].value
    assert all(s.n == 500 for s in found.values())
    assert not registry.get("frechet").about.higher_is_better


def test_the_ceiling_is_the_distance_of_as_many_true_training_entries(world):
    def ceilings(ev):
        return {s.ceiling for s in scores(ev) if s.target == "b" and s.variant != "self"}

    (ceiling,) = ceilings(world(n_test=500, n_train=500))
    ev = world(n_test=500, n_train=500)
    assert ceiling == pytest.approx(frechet_distance(ev.train.x["b"], ev.test.x["b"]))
    assert ceilings(world(n_test=500, n_train=499)) == {None}
    assert {s.ceiling for s in scores(ev) if s.variant == "self"} == {None}


def test_at_most_a_thousand_entries_the_same_for_every_run(world):
    first, second = (world(n_test=1100, n_train=1100, seed=seed) for seed in (0, 1))
    one, other = scores(first), scores(second)
    assert {s.n for s in one} == {1000}
    assert [s.ceiling for s in one] == [s.ceiling for s in other]


def test_every_subset_of_the_others_is_given_or_of_many_the_first_k():
    assert conditions(("a", "b", "c"), "b") == [("a",), ("c",), ("a", "c")]
    assert conditions(tuple("abcde"), "b") == [tuple("a"), tuple("ac"), tuple("acd"), tuple("acde")]


def test_what_has_no_features_or_no_prior_is_skipped_with_the_reason(world):
    ev = world()
    ev.model.no_prior = "no p(z) here"
    skipped = [(s.target, s.prior, s.reason) for s in scores(ev) if s.value is None]
    assert skipped == [("a", "model", "no p(z) here"), ("b", "model", "no p(z) here")]
    reader = SimpleNamespace(accuracy=1.0, hash="reader")  # has no features, as an exact reader of captions
    (first, *rest) = scores(world(oracles={"a": reader, "b": ev.oracles["b"]}))
    assert (first.value, first.target) == (None, "a") and "without features" in first.reason
    assert {s.target for s in rest} == {"b"} and all(s.value is not None for s in rest)
    assert [s.value for s in scores(world(oracles={"a": reader, "b": reader}))] == [None, None]
    assert "no oracle" in scores(world("copy", oracles={}))[0].reason
    assert "too few" in scores(world(n_test=1))[0].reason


def test_features_that_are_not_finite_are_a_failure(world):
    ev = world()
    ev.model.decode = lambda z, names=None: {m: torch.full((len(z), 10), torch.nan) for m in ev.names}
    with pytest.raises(TrainingFailed, match="not finite"):
        scores(ev)


def test_the_space_is_a_trained_oracles_last_hidden_layer(world):
    oracle = Oracle((10,), [10])
    ev = world("copy", oracles={"a": oracle, "b": oracle})
    (score,) = [s for s in scores(ev) if (s.given, s.target) == ("a", "b")]
    hidden = [oracle.features(torch.from_numpy(ev.test.x[m])) for m in "ab"]
    assert hidden[0].shape == (500, 256)
    assert score.value == pytest.approx(frechet_distance(*hidden), rel=0.02)
