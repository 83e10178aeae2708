from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from mmvae_bench.report.statistics import holm, paired_difference, smallest_attainable_p, summarise


@pytest.mark.parametrize("n", [3, 5, 12])
def test_interval_is_scipys(n: int) -> None:
    x = np.random.default_rng(n).normal(0.5, 0.1, n)
    found = summarise(list(x))
    low, high = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(x.mean())
    assert found.sd == pytest.approx(np.std(x, ddof=1))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_fewer_than_three_seeds_have_no_interval() -> None:
    assert summarise([0.5]).half_width is None
    assert summarise([0.5]).sd is None
    assert summarise([0.5, 0.7]).half_width is None
    assert summarise([0.5, 0.7]).sd == pytest.approx(0.2 / np.sqrt(2))


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarise([])


def test_paired_difference_is_scipys_on_the_shared_seeds() -> None:
    rng = np.random.default_rng(0)
    a = dict(enumerate(rng.normal(0.6, 0.1, 6)))
    b = dict(reversed([*enumerate(rng.normal(0.5, 0.1, 6), start=1)]))  # seeds 6-1: five are shared, in another order
    found = paired_difference(a, b)
    assert found is not None
    shared = range(1, 6)
    expected = stats.ttest_rel([a[s] for s in shared], [b[s] for s in shared])
    low, high = expected.confidence_interval(0.95)
    assert found.n == 5
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert found.excludes_zero == (low > 0 or high < 0)


def test_equal_differences_on_all_seeds_are_not_a_division_by_zero() -> None:
    same = paired_difference({0: 0.5, 1: 0.5, 2: 0.5}, {0: 0.5, 1: 0.5, 2: 0.5})
    assert same is not None
    assert (same.p, same.half_width, same.excludes_zero) == (1.0, 0.0, False)
    near = paired_difference({0: 0.1 + 0.2, 1: 0.5, 2: 0.7}, {0: 0.3, 1: 0.5, 2: 0.7})  # .1 + .2 is not .3
    assert near is not None
    assert (near.mean, near.p, near.half_width) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("a", [(0.5, 0.5, 0.5), (0.3, 0.4, 0.5)])  # the second pair differs in its last bits
def test_seeds_that_differ_by_one_amount_are_no_proof(a: tuple[float, ...]) -> None:
    found = paired_difference(dict(enumerate(a)), {seed: score - 0.1 for seed, score in enumerate(a)})
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert (found.p, found.half_width, found.excludes_zero) == (None, None, False)


def test_smallest_p_is_that_of_all_signs_equal() -> None:
    for n in (3, 5, 10):
        assert smallest_attainable_p(n) == pytest.approx(stats.binomtest(n, n).pvalue)


@pytest.mark.parametrize("m", [1, 2, 7, 9])
def test_holm_is_the_closure_of_bonferroni(m: int) -> None:
    """Marcus, Peritz and Gabriel (1976): a hypothesis is rejected if all intersections that contain it are."""
    ps = np.random.default_rng(m).random(m) ** 4
    sets = [s for k in range(1, m + 1) for s in combinations(range(m), k)]
    closed = [max(min(1, len(s) * min(ps[list(s)])) for s in sets if i in s) for i in range(m)]
    assert holm(list(ps)) == pytest.approx(closed)
