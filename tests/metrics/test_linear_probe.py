import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mmvae_bench.metrics.classes import probe
from mmvae_bench.metrics.evaluate import evaluate


def blobs(n, seed):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 3
    scale = np.array([1.0, 30.0, 0.01])
    return ((label[:, None] == np.arange(3)) + rng.normal(size=(n, 3))).astype(np.float32) * scale, label


def test_the_probe_is_scikit_learns_logistic_regression_on_standardised_latents():
    (z, label), (z_test, _) = blobs(300, 0), blobs(200, 1)
    mean, sd = z.mean(0), z.std(0)
    direct = LogisticRegression(C=1.0, max_iter=10_000).fit((z - mean) / sd, label)
    assert np.array_equal(probe(z, label, z_test), direct.predict((z_test - mean) / sd))


def test_it_runs_to_convergence_and_warns_nobody(monkeypatch):
    fits = []
    original = LogisticRegression.fit

    def fit(self, *args, **kwargs):
        fits.append(self.max_iter)
        if self.max_iter < 10_000:
            warnings.warn("not yet", ConvergenceWarning, stacklevel=2)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(LogisticRegression, "fit", fit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe(*blobs(60, 0), blobs(30, 1)[0])
    assert fits == [1000, 10_000]


def test_mean_and_sample_of_every_modality_and_of_all_where_the_paper_defines_it(world):
    found = evaluate(world("copy"), ["linear_probe"])
    assert [(s.given, s.variant) for s in found] == [(a, v) for a in ("a", "b", "a+b") for v in ("mean", "sample")]
    assert all(s.value == 1 and s.n == 500 and s.chance == pytest.approx(0.1) for s in found)
    ev = world("copy")
    ev.model.joint_posterior = False
    assert {s.given for s in evaluate(ev, ["linear_probe"])} == {"a", "b"}


def test_latents_of_other_rows_are_read_by_chance(world):
    for score in evaluate(world("shuffled", n_test=1000), ["linear_probe"]):
        assert abs(score.value - 0.1) < 5 * 0.0095


def test_at_most_4000_rows_are_fitted_the_same_for_every_run(world):
    one, other = world("copy", n_train=4100), world("shuffled", n_train=4100, seed=3)
    assert len(one.probe_rows) == 4000
    assert np.array_equal(one.probe_rows.label, other.probe_rows.label)


def test_it_needs_no_oracle(world):
    assert evaluate(world("copy", oracles={}), ["linear_probe"])[0].value == 1
