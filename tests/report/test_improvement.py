"""Probability of improvement and performance profiles against scipy, enumeration and closed forms; their export."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mmvae_bench.report.figures.profiles import profiles
from mmvae_bench.report.figures.style import palette
from mmvae_bench.report.improvement import enough, improvement, improvements, profile, resampled, shown
from mmvae_bench.report.statistics import Scores, summarise
from mmvae_bench.report.tables import Cell, Column, Table
from mmvae_bench.report.tasks import Family, error_rows, families
from mmvae_bench.spec import Missing


def family(directions: int = 2, seeds: int = 3, **means: float) -> Family:
    """One score on one data set; each model is a little worse in the next direction and better with the next seed."""
    columns = [Column(f"direction {i}", Missing()) for i in range(directions)]

    def cell(mean: float, direction: int) -> Cell:
        own = Scores({seed: mean - 0.01 * direction + 0.001 * seed for seed in range(seeds)}, draws=True)
        return Cell(summarise(own), own)

    cells = {model: {c: cell(mean, i) for i, c in enumerate(columns)} for model, mean in means.items()}
    table = Table("data", "cross_coherence", "micro", "", "none", columns, cells, {}, {}, 1, frozenset(columns))
    (found,) = families([table])
    return found


def test_it_is_mann_and_whitneys_u_averaged_over_tasks() -> None:
    rng = np.random.default_rng(0)
    x, y = ([rng.integers(6, size=(d, n)) / 5 for d, n in sizes] for sizes in ([(2, 3), (1, 5)], [(2, 4), (1, 2)]))
    tasks = [(a, b) for block in zip(x, y, strict=True) for a, b in zip(*block, strict=True)]
    expected = np.mean([stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in tasks])
    assert improvement(x, y) == (pytest.approx(expected), None)
    assert improvement(y, x)[0] == pytest.approx(1 - expected)


def test_of_two_normals_it_is_a_normal_probability() -> None:
    rng = np.random.default_rng(1)
    x, y = [rng.normal(1.0, 1, (1, 2000))], [rng.normal(0.0, 1, (1, 2000))]
    assert improvement(x, y)[0] == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.02)
    assert improvement(x, x)[0] == 0.5


def test_the_bootstrap_is_scipys_where_a_block_has_one_direction() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.3, 1, 8), rng.normal(0, 1, 6)

    def statistic(a: Any, b: Any, axis: int) -> Any:
        return (a[..., :, None] > b[..., None, :]).mean((-2, -1))

    expected = stats.bootstrap((x, y), statistic, n_resamples=20000, method="percentile", random_state=3)
    value, ends = improvement([x[None]], [y[None]], [resampled([x[None]], rng), resampled([y[None]], rng)])
    assert value == pytest.approx(statistic(x, y, 0))
    assert ends is not None
    assert ends == pytest.approx(list(expected.confidence_interval), abs=0.03)


def test_two_seeds_are_drawn_in_four_ways() -> None:
    (drawn,) = resampled([np.zeros((3, 2))], np.random.default_rng(0))
    assert (drawn.sum(1) == 2).all()
    counts = [(drawn[:, 0] == n).mean() for n in range(3)]
    assert counts == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    ways = [np.mean(np.array(draw)[:, None] > 1.0) for draw in product((0.0, 2.0), repeat=2)]
    _, ends = improvement([np.array([[0.0, 2.0]])], [np.ones((1, 2))], [[drawn], [drawn]])
    assert ends is not None
    assert tuple(ends) == (min(ways), max(ways)) == (0, 1)


def test_the_directions_of_a_seed_are_drawn_together() -> None:
    x, y = [np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])], [np.full((2, 3), 0.5)]
    rng = np.random.default_rng(0)
    value, ends = improvement(x, y, [resampled(x, rng), resampled(y, rng)])
    assert value == 0.5
    assert ends is not None
    assert ends == pytest.approx([0.5, 0.5])  # whatever is drawn, one direction is won and one lost


def test_a_profile_is_the_share_of_cells_above() -> None:
    x = [np.array([[0.2, 0.4], [0.6, 0.8]]), np.array([[1.0]])]
    share, none = profile(x, np.array([-1.0, 0.2, 0.5, 0.8, 1.0]))
    assert share.tolist() == [1.0, 0.8, 0.6, 0.2, 0.0]
    assert none is None
    every = np.random.default_rng(0).random((4, 6))
    taus = np.linspace(0, 1, 11)
    share, ends = profile([every], taus, resampled([every], np.random.default_rng(0)))
    assert share == pytest.approx([(every > tau).mean() for tau in taus])
    assert share == pytest.approx(1 - stats.ecdf(every.ravel()).cdf.evaluate(taus))
    assert ends is not None
    assert (ends[0] <= share).all() and (share <= ends[1]).all()
    assert (np.diff(ends, axis=1) <= 0).all()


def test_the_ends_of_a_profile_are_those_of_all_draws() -> None:
    x = np.array([[0.1, 0.5, 0.9]])
    ways = [np.mean(np.array(draw) > 0.7) for draw in product(x[0], repeat=3)]
    _, ends = profile([x], np.array([0.7]), resampled([x], np.random.default_rng(0)))
    assert ends is not None
    assert ways.count(0.0) / 27 > 0.025 < ways.count(1.0) / 27  # so that the percentiles are these
    assert ends[:, 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("directions", "seeds", "models", "any_"), [(2, 2, 2, True), (1, 3, 2, False), (2, 1, 2, False), (2, 2, 1, False)]
)
def test_two_models_two_tasks_and_two_seeds_are_needed(directions: int, seeds: int, models: int, any_: bool) -> None:
    found = family(directions, seeds, **dict(zip("ab"[:models], (0.5, 0.6), strict=False)))
    assert enough(found) is any_
    assert bool(list(improvements([found]))) is bool(list(profiles([found], palette(["a", "b"])))) is any_


def test_each_pair_has_a_row_with_the_better_model_first() -> None:
    rows = list(improvements([family(a=0.5, b=0.6, c=0.5)]))
    assert [(r["better"], r["worse"], r["probability"], r["low"]) for r in rows] == [
        ("b", "a", 1.0, None), ("a", "c", 0.5, None), ("b", "c", 1.0, None)
    ]  # fmt: skip
    assert {(r["tasks"], r["cells"]) for r in rows} == {(2, 6)}
    assert [row["probability"] for row in shown(rows)] == ["1.00", "0.50", "1.00"]


@pytest.mark.parametrize(("directions", "seeds", "interval"), [(6, 3, False), (7, 3, True), (10, 2, False)])
def test_an_interval_needs_twenty_cells_and_three_seeds(directions: int, seeds: int, interval: bool) -> None:
    (row,) = improvements([family(directions, seeds, a=0.5, b=0.5005)])  # b is above a on an equal or an earlier seed
    assert (row["low"] is not None) is interval
    assert row["probability"] == pytest.approx((seeds + 1) / 2 / seeds)
    if interval:
        assert row["low"] < row["probability"] < row["high"]  # type: ignore[operator]


def test_a_tier_is_a_figure_and_a_score_a_panel() -> None:
    (plot,) = profiles([family(a=0.5, b=0.6)], palette(["a", "b"]))
    (ax,) = [ax for ax in plot.figure.axes if ax.has_data()]
    assert ax.get_title() == "Cross coherence (micro)"
    for line, mean in zip(ax.lines, (0.5, 0.6), strict=True):
        x, y = line.get_data()
        assert np.interp([mean - 0.03, mean + 0.03], x, y).tolist() == [1.0, 0.0]
    assert "2 tasks, 6 cells" in plot.caption and "without intervals" in plot.caption
    (banded,) = profiles([family(7, 3, a=0.5, b=0.6)], palette(["a", "b"]))
    assert "95 % bootstrap intervals" in banded.caption and len(banded.figure.axes[0].collections) == 2


def test_errors_are_what_rank_tools_read() -> None:
    rows = list(error_rows([family(a=0.5, b=0.75)]))
    assert [{k: row[k] for k in ("method", "task", "seed", "metric_error")} for row in rows[:2]] == [
        {"method": "a", "task": "Cross coherence (micro), data, direction 0, complete", "seed": seed,
         "metric_error": pytest.approx(0.5 - 0.001 * seed)} for seed in range(2)
    ]  # fmt: skip
    keys = [(row["method"], row["task"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys) == 12  # dense: models x tasks x seeds
    assert min(row["metric_error"] for row in error_rows([family(a=1.5)])) == 0.0  # type: ignore[type-var]
