from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mmvae_bench.datasets.linear_gaussian import LinearGaussian, LinearGaussianModel
from mmvae_bench.errors import BenchError

NOWHERE = Path("does-not-exist")


def subsets(names):
    """All that are not empty."""
    return [list(a) for k in range(1, len(names) + 1) for a in combinations(names, k)]


def joint(model, names):
    """Mean and covariance of (z, x_A), written out by brute force."""
    w = np.vstack([model.weight[n] for n in names])
    noise = np.diag(np.concatenate([np.full(len(model.bias[n]), model.scale[n] ** 2) for n in names]))
    size = w.shape[1]
    cov = np.block([[np.eye(size), w.T], [w, w @ w.T + noise]])
    return np.concatenate([np.zeros(size), *[model.bias[n] for n in names]]), cov


@pytest.fixture(params=[False, True], ids=["diagonal", "rotated"])
def model(request):
    base = LinearGaussian(m=3, dim=6, latent=3, rotated=request.param).model
    return LinearGaussianModel(base.weight, base.bias, {"x0": 0.3, "x1": 0.7, "x2": 1.4})  # distinct noise levels


@pytest.fixture
def x(model):
    return model.sample(7, np.random.default_rng(0))


def test_log_likelihood_is_the_joint_gaussians(model, x):
    for names in subsets(x):
        mean, cov = joint(model, names)
        want = multivariate_normal(mean[3:], cov[3:, 3:]).logpdf(np.hstack([x[n] for n in names]))
        np.testing.assert_allclose(model.log_likelihood({n: x[n] for n in names}), want, rtol=1e-10)


def test_posterior_is_the_joint_gaussian_conditioned(model, x):
    for names in subsets(x):
        mean, cov = joint(model, names)
        gain = cov[:3, 3:] @ np.linalg.inv(cov[3:, 3:])
        got, got_cov = model.posterior({n: x[n] for n in names})
        np.testing.assert_allclose(got, (np.hstack([x[n] for n in names]) - mean[3:]) @ gain.T, atol=1e-10)
        np.testing.assert_allclose(got_cov, cov[:3, :3] - gain @ cov[3:, :3], atol=1e-10)


def test_float32_rows_are_computed_in_float64(model, x):
    single = {n: v.astype(np.float32) for n, v in x.items()}
    assert model.log_likelihood(single).dtype == np.float64
    np.testing.assert_allclose(model.log_likelihood(single), model.log_likelihood(x), rtol=1e-4)


@pytest.mark.parametrize("rotated", [False, True])
def test_gram_matrices_are_diagonal_unless_rotated(rotated):
    for w in LinearGaussian(m=5, rotated=rotated).model.weight.values():
        gram = w.T @ w
        off = np.abs(gram - np.diag(np.diag(gram))).max()
        assert off > 1e-2 if rotated else off < 1e-12
        np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(gram)), np.linspace(0.5, 1.5, 4) ** 2, rtol=1e-10)


def test_rows_have_the_declared_shapes_and_the_models_moments():
    dataset = LinearGaussian(m=3, dim=5, latent=2, rows=20_000)
    built = dataset.build(NOWHERE)
    assert {(m.likelihood, m.scale, m.shape, m.dtype) for m in dataset.modalities} == {("normal", 0.5, (5,), "float32")}
    assert dataset.protocol.latent_dim == 2
    assert (len(built.train), len(built.test)) == (20_000, 1000)
    mean, cov = joint(dataset.model, list(built.train.x))
    got = np.hstack(list(built.train.x.values()))
    np.testing.assert_array_equal(got * 2**16, np.round(got * 2**16))  # on the grid, so bytes do not hang on a BLAS
    np.testing.assert_allclose(got.mean(0), mean[2:], atol=0.05)
    np.testing.assert_allclose(np.cov(got.T), cov[2:, 2:], atol=0.08)


@pytest.mark.parametrize(
    "options",
    [{"dim": 3}, {"latent": 0}, {"latent": 1, "rotated": True}, {"dim": 20_000}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(BenchError, match="linear_gaussian"):
        LinearGaussian(**options)
