"""Intervals over seeds and test rows: against scipy where it has them, and by simulation where it has not."""

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mmvae_bench.report.statistics import (
    Scores,
    half_width,
    holm,
    p_value,
    paired_difference,
    shared_variance,
    summarise,
)

REPETITIONS = 2000  # standard error of a coverage of 95 %: 0.5 %


def of_seeds(values: Any) -> Scores:
    """Scores without outcomes of rows."""
    return Scores(dict(enumerate(map(float, values))))


def of_rows(rows: NDArray[np.float32]) -> Scores:
    """Scores that are means over the rows [seed, row]."""
    return Scores(dict(enumerate(rows.mean(1, dtype=float).tolist())), dict(enumerate(rows)))


@pytest.mark.parametrize("n", [3, 5, 12])
def test_an_interval_of_seeds_alone_is_scipys(n: int) -> None:
    x = np.random.default_rng(n).normal(0.5, 0.1, n)
    found, expected = summarise(of_seeds(x)), stats.ttest_1samp(x, 0)
    low, high = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(x.mean())
    assert found.sd == pytest.approx(np.std(x, ddof=1))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.rows, found.covers) == (0, False)


def test_fewer_than_three_seeds_have_no_interval() -> None:
    assert summarise(of_seeds([0.5])).half_width is None
    assert summarise(of_seeds([0.5])).sd is None
    assert summarise(of_seeds([0.5, 0.7])).half_width is None
    assert summarise(of_seeds([0.5, 0.7])).sd == pytest.approx(0.2 / np.sqrt(2))
    assert not summarise(of_rows(np.eye(2, 9, dtype=np.float32))).covers


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarise(Scores())


def test_a_paired_difference_is_scipys_on_the_shared_seeds() -> None:
    rng = np.random.default_rng(0)
    a = dict(enumerate(rng.normal(0.6, 0.1, 6)))
    b = dict(reversed([*enumerate(rng.normal(0.5, 0.1, 6), start=1)]))  # seeds 6-1: five are shared, in another order
    found = paired_difference(Scores(a), Scores(b))
    assert found is not None
    shared = range(1, 6)
    expected = stats.ttest_rel([a[s] for s in shared], [b[s] for s in shared])
    low, high = expected.confidence_interval(0.95)
    assert found.n == 5
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert found.excludes_zero == (low > 0 or high < 0)
    assert paired_difference(Scores({0: 0.5}), Scores({1: 0.5})) is None


def test_equal_differences_on_all_seeds_are_not_a_division_by_zero() -> None:
    same = paired_difference(of_seeds([0.5, 0.5, 0.5]), of_seeds([0.5, 0.5, 0.5]))
    assert same is not None
    assert (same.p, same.half_width, same.excludes_zero) == (1.0, 0.0, False)
    near = paired_difference(of_seeds([0.1 + 0.2, 0.5, 0.7]), of_seeds([0.3, 0.5, 0.7]))  # .1 + .2 is not .3
    assert near is not None
    assert (near.mean, near.p, near.half_width) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("a", [(0.5, 0.5, 0.5), (0.3, 0.4, 0.5)])  # the second pair differs in its last bits
def test_seeds_that_differ_by_one_amount_are_no_proof(a: tuple[float, ...]) -> None:
    found = paired_difference(of_seeds(a), of_seeds([score - 0.1 for score in a]))
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert (found.p, found.half_width, found.excludes_zero) == (None, None, False)


@pytest.mark.parametrize("value", [0.5, 0.1])  # numpy's mean of three times .1 is not .1
def test_equal_scores_on_all_seeds_have_no_interval(value: float) -> None:
    assert (summarise(of_seeds([value] * 3)).half_width, summarise(of_seeds([value] * 3)).p) == (None, None)


def test_smallest_p_is_that_of_all_signs_equal() -> None:
    for n in (3, 5, 10):
        assert summarise(of_seeds(range(n))).smallest_p == pytest.approx(stats.binomtest(n, n).pvalue)


@pytest.mark.parametrize("n", [3, 5])
def test_shared_variance_is_the_mean_covariance_of_two_seeds(n: int) -> None:
    rng = np.random.default_rng(n)
    rows = rng.normal(0.1, 1, (n, 400)) + rng.normal(0, 1, 400)
    covariance = np.cov(rows)
    expected = (covariance.sum() - np.trace(covariance)) / (n * (n - 1)) / 400
    assert shared_variance(rows) == pytest.approx(expected)
    assert shared_variance(rows[:, :1]) == shared_variance(rows[:, :0]) == 0
    assert shared_variance(np.stack([rows[0], -rows[0]])) == 0  # a variance is not negative


@pytest.mark.parametrize("n", [3, 5])
def test_without_rows_p_is_students_and_without_seeds_the_normal(n: int) -> None:
    for mean in (0.0, 0.3, -1.4):
        assert p_value(mean, 0.25, 0.0, n) == pytest.approx(2 * stats.t.sf(abs(mean) / 0.5, n - 1))
        assert p_value(mean, 0.0, 0.25, n) == pytest.approx(2 * stats.norm.sf(abs(mean) / 0.5))
    assert half_width(0.25, 0.0, n) == pytest.approx(0.5 * stats.t.ppf(0.975, n - 1))
    assert half_width(0.0, 0.25, n) == pytest.approx(0.5 * stats.norm.ppf(0.975))
    assert (p_value(0.0, 0.0, 0.0, n), p_value(0.1, 0.0, 0.0, n), half_width(0.0, 0.0, n)) == (1, 0, 0)


@pytest.mark.parametrize(("v_seeds", "v_rows"), [(1.0, 0.0), (1.0, 1e-9), (0.3, 0.7), (1e-9, 4.0)])
def test_the_interval_ends_where_p_is_five_percent(v_seeds: float, v_rows: float) -> None:
    for n in (3, 5):
        assert p_value(half_width(v_seeds, v_rows, n), v_seeds, v_rows, n) == pytest.approx(0.05)


def test_a_difference_has_the_rows_that_both_have() -> None:
    rng = np.random.default_rng(0)
    a, b, short = (rng.random((3, n), dtype=np.float32) for n in (50, 50, 49))
    found = paired_difference(of_rows(a), of_rows(b))
    assert found is not None
    assert (found.rows, found.covers) == (50, True)
    means, v_rows = (a - b).mean(1, dtype=float), shared_variance(a - b)
    assert found.p == pytest.approx(p_value(means.mean(), means.var(ddof=1) / 3, v_rows, 3))
    assert found.half_width == pytest.approx(half_width(means.var(ddof=1) / 3, v_rows, 3))
    for other in (of_rows(short), of_seeds(b.mean(1))):
        alone = paired_difference(of_rows(a), other)
        assert alone is not None
        assert (alone.rows, alone.covers) == (0, False)
    draws = [Scores(dict(enumerate(rows.mean(1))), draws=True) for rows in (a, b)]  # new ones for each seed
    assert paired_difference(*draws).covers  # type: ignore[union-attr]
    assert not paired_difference(draws[0], of_rows(b)).covers  # type: ignore[union-attr]


def outcomes(n: int, rows: int, shared: float, spread: float) -> NDArray[np.bool_]:
    """Right or wrong [repetition, model, seed, row] of two models of one accuracy, about .7.

    ``shared`` is the share of a row's latent variance that a model's seeds have in common, ``spread`` the standard
    deviation of a seed's latent effect.
    """
    rng = np.random.default_rng([n, rows, round(100 * shared), round(100 * spread)])

    def normal(*size: int) -> NDArray[np.float32]:
        return rng.standard_normal((REPETITIONS, 2, *size), dtype=np.float32)

    latent = shared**0.5 * normal(1, rows) + (1 - shared) ** 0.5 * normal(n, rows) + spread * normal(n, 1)
    return np.asarray(latent > -0.5)


@pytest.mark.parametrize(("n", "rows"), [(3, 1000), (3, 300), (5, 300)])
@pytest.mark.parametrize(("shared", "spread"), [*product((0.0, 0.5, 0.9), (0.0, 0.1))])
def test_intervals_cover_95_percent_where_those_of_seeds_alone_do_not(
    n: int, rows: int, shared: float, spread: float
) -> None:
    """Two models of equal accuracy, 2,000 times: right, and the standard error of a coverage is .5 %."""
    y = outcomes(n, rows, shared, spread)
    differences = y[:, 0].astype(np.float32) - y[:, 1]
    means = differences.mean(2, dtype=float)
    v_seeds = means.var(1, ddof=1) / n
    p = [
        p_value(mean, v, shared_variance(d), n) for mean, v, d in zip(means.mean(1), v_seeds, differences, strict=True)
    ]
    assert 0.93 <= np.mean(np.array(p) > 0.05) <= 0.975  # 94.7 to 96.5 % with 10,000 repetitions
    few = [paired_difference(of_rows(a), of_rows(b)) for a, b in y[:20].astype(np.float32)]
    assert [d.p for d in few if d and d.p is not None] == pytest.approx(
        [q for q, d in zip(p, few, strict=False) if d and d.p is not None], rel=1e-3
    )
    if shared == 0.9 and not spread:
        of_seeds_alone = np.abs(means.mean(1)) <= stats.t.ppf(0.975, n - 1) * np.sqrt(v_seeds)
        assert np.mean(of_seeds_alone) < 0.8


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_with_a_known_variance_of_rows_the_mixture_covers_95_percent(n: int, share: float) -> None:
    """Means are normal, V_S is a scaled chi-square and V_R is known: 20,000 times, standard error .15 %."""
    rng = np.random.default_rng(n)
    mean, v_seeds = rng.standard_normal(20_000), share * rng.chisquare(n - 1, 20_000) / (n - 1)
    p = [p_value(m, v, 1 - share, n) for m, v in zip(mean, v_seeds, strict=True)]
    assert 0.945 <= np.mean(np.array(p) > 0.05) <= 0.97


@pytest.mark.parametrize("m", [1, 2, 7, 9])
def test_holm_is_the_closure_of_bonferroni(m: int) -> None:
    """Marcus, Peritz and Gabriel (1976): a hypothesis is rejected if all intersections that contain it are."""
    ps = np.random.default_rng(m).random(m) ** 4
    sets = [s for k in range(1, m + 1) for s in combinations(range(m), k)]
    closed = [max(min(1, len(s) * min(ps[list(s)])) for s in sets if i in s) for i in range(m)]
    assert holm(list(ps)) == pytest.approx(closed)
