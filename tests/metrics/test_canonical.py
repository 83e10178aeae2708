import numpy as np
import pytest
from scipy.linalg import eig
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from mmvae_bench.datasets.base import Repeated
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics import cca
from mmvae_bench.metrics.base import mean_and_error
from mmvae_bench.metrics.cca import Agreement, agreement, fit_cca, moments, ratio


def views(n=400, p=6, q=4, shared=3, seed=0):
    """Two noisy linear images of the same few variables, not centred, of unequal scales."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, shared)) * [2.0, 1.0, 0.5][:shared]
    x = z @ rng.normal(size=(shared, p)) + rng.normal(size=(n, p)) * rng.uniform(0.2, 2, p) + 3
    return x, z @ rng.normal(size=(shared, q)) + rng.normal(size=(n, q)) - 1


def cosines(p, x, y):
    return agreement(p.left(x), p.right(y)).own


def test_it_finds_the_variates_of_scikit_learn_up_to_sign_and_scale():
    x, y = views()
    ours, theirs = fit_cca(x, y, 3), CCA(3, max_iter=5000, tol=1e-12).fit(x, y)
    projected = (x - ours.mean_x) @ ours.wx, (y - ours.mean_y) @ ours.wy
    for mine, other in zip(projected, theirs.transform(x, y), strict=True):
        assert np.abs(np.corrcoef(mine.T, other.T)[:3, 3:].diagonal()) == pytest.approx(np.ones(3), abs=1e-5)


def test_stacked_are_the_unit_eigenvectors_of_the_stacked_problem():
    x, y = views()
    xx, yy, xy = np.cov(x.T), np.cov(y.T), np.cov(x.T, y.T)[:6, 6:]
    a = np.block([[np.zeros((6, 6)), xy], [xy.T, np.zeros((4, 4))]])
    b = np.block([[xx, np.zeros((6, 4))], [np.zeros((4, 6)), yy]]) + 1e-12 * np.eye(10)
    values, vectors = eig(a, b)
    vectors = vectors.real[:, np.argsort(-values.real)[:3]]
    ours = fit_cca(x, y, 3).stacked()
    stacked = np.concatenate([ours.wx, ours.wy])
    assert np.linalg.norm(stacked, axis=0) == pytest.approx(np.ones(3))
    assert np.abs((stacked * vectors).sum(0)) == pytest.approx(np.ones(3))


def test_unit_variance_is_what_it_says():
    x, y = views()
    p = fit_cca(x, y, 3)
    assert p.wx.T @ np.cov(x.T) @ p.wx == pytest.approx(np.eye(3), abs=1e-9)
    assert p.wy.T @ np.cov(y.T) @ p.wy == pytest.approx(np.eye(3), abs=1e-9)
    assert np.all(np.diff(np.diag(p.wx.T @ np.cov(x.T, y.T)[:6, 6:] @ p.wy)) < 0)  # the most correlated first


def test_moments_are_the_same_in_blocks_and_of_shared_entries(monkeypatch):
    monkeypatch.setattr(cca, "BLOCK", 7)
    x, y = views(n=50)
    index = np.arange(50) // 5
    _, mean_y, xx, xy, yy = moments(Repeated((x[:10] + 1000).astype(np.float32), index), y)
    expected = np.cov((x[:10] + 1000)[index].T, y.T)
    assert np.block([[xx, xy], [xy.T, yy]]) == pytest.approx(expected, abs=2e-3)
    assert mean_y == pytest.approx(y.mean(0))


def test_reduced_first_is_a_projection_of_the_principal_components():
    x, y = views()
    p = fit_cca(x, y, 40, most=2)
    short = [PCA(2).fit_transform(v) for v in (x, y)]
    expected = fit_cca(*short, 40)
    assert p.wx.shape == (6, 2)
    assert cosines(p, x, y) == pytest.approx(cosines(expected, *short))
    assert fit_cca(x, y, 40, most=5).wy.shape == (4, 4)  # a view of fewer dimensions stays whole


def test_directions_without_variance_are_left_out():
    x, y = views()
    dead = np.concatenate([x, np.full((len(x), 2), 7.0), x[:, :1]], 1)
    assert cosines(fit_cca(dead, y, 40), dead, y) == pytest.approx(cosines(fit_cca(x, y, 40), x, y), abs=1e-6)
    with pytest.raises(Undefined, match="does not vary"):
        fit_cca(np.ones((30, 2)), y[:30], 40)


def test_agreement_is_the_mean_over_all_own_and_all_shuffled_pairs():
    rng = np.random.default_rng(0)
    left, right = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 9, 3)))
    cosine = left @ right.T
    found = agreement(left, right)
    assert found.own == pytest.approx(cosine.diagonal())
    assert found.others.mean() == pytest.approx(cosine[~np.eye(9, dtype=bool)].mean())
    assert agreement(left, left).exceeds_shuffled and not found.exceeds_shuffled


def of(own, others):
    """Cosines of 100 pairs with these means."""
    spread = np.linspace(-0.1, 0.1, 100)
    return Agreement(own + spread, others + spread[::-1] / 9)


@pytest.mark.parametrize(
    ("own", "chance", "expected"), [(0.2, 0.2, 0), (0.7, 0.3, 1), (0.45, 0.25, 0.5), (0.1, 0.2, -0.25)]
)
def test_a_ratio_is_corrected_for_chance(own, chance, expected):
    for paired in (True, False):
        values, _ = ratio(of(own, chance), of(0.7, 0.3), paired=paired)
        assert values.mean() == pytest.approx(expected, abs=1e-9)


def test_correction_for_chance_reverses_an_order():
    """Of MVAE and MEME (before: .579 and .557, by chance .563 and .377) the second knows more."""
    truth = of(1.0, 0.0)
    mvae, meme = (ratio(of(*both), truth, paired=True)[0].mean() for both in ((0.579, 0.563), (0.557, 0.377)))
    assert (mvae, meme) == pytest.approx((0.016, 0.180))


def test_the_standard_error_of_a_ratio_is_the_spread_of_its_draws():
    rng = np.random.default_rng(0)
    for paired in (True, False):
        drawn = []
        for _ in range(1500):
            own, others = rng.normal(0.6, 0.3, 80), rng.normal(0.1, 0.05, 80)
            made = Agreement(0.6 * own + rng.normal(0, 0.1, 80), 0.6 * others)
            if not paired:
                made = Agreement(rng.normal(0.4, 0.3, 40), rng.normal(0.1, 0.05, 40))
            values, se = ratio(made, Agreement(own, others), paired=paired)
            drawn.append((values.mean(), se, mean_and_error(values)[1]))
        quotient, se, of_rows = np.array(drawn).T
        assert quotient.mean() == pytest.approx(0.6, abs=0.02)
        assert se.mean() == pytest.approx(quotient.std(), rel=0.1)
        assert (of_rows == pytest.approx(se)) is paired  # the truth has an error of its own where rows are not shared
