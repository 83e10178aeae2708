"""Interquartile means and mean ranks against scipy, tables in the papers, and arithmetic."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mmvae_bench.report.aggregates import aggregate, interquartile_mean, mean_ranks, shown
from mmvae_bench.report.averaging import build_tables
from mmvae_bench.report.select import select
from mmvae_bench.report.statistics import Scores, summarise
from mmvae_bench.report.tables import Cell, Column, Table, compare_columns, mark
from mmvae_bench.report.tasks import families
from mmvae_bench.spec import Missing

MODELS = ["mvae", "mmvae", "mopoe"]


def tables(groups: int, seeds: int = 3, ratios: tuple[float, ...] = (0.0,), **cells: Any) -> list[Table]:
    """Cross-coherence of three models of known order in two directions of some data sets."""
    rng = np.random.default_rng(0)
    columns = [Column(text, Missing(r)) for text, r in product(("a → b", "b → a"), ratios)]

    def cell(skill: float, model: str) -> Cell:
        own = Scores(dict(enumerate(skill + 0.001 * rng.random(seeds))), draws=True)
        return Cell(summarise(own), own, **cells.get(model, {}))

    def table(g: int) -> Table:
        own = {m: {c: cell(0.2 + 0.1 * i, m) for c in columns} for i, m in enumerate(MODELS)}
        own = mark(own, compare_columns(own, columns, 1), 1)
        return Table(f"data {g}", "cross_coherence", "micro", "", "split", columns, own, {}, {}, 1, frozenset(columns))

    return [table(g) for g in range(groups)]


def by_model(parts: list[Table]) -> dict[str, Any]:
    return {one.model: one for one in aggregate(families(parts)).itertuples()}


def scores(parts: list[Table], model: str) -> list[float]:
    return [x for t in parts for cell in t.cells[model].values() for x in cell.scores.by_seed.values()]


def test_the_bootstrap_is_scipys_where_strata_have_one_direction() -> None:
    rng = np.random.default_rng(2)
    strata = [rng.normal(0.1 * i, 0.1, (1, 5)) for i in range(6)]

    def statistic(*samples: Any, axis: int) -> Any:
        return stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis)

    data = [x[0] for x in strata]
    expected = stats.bootstrap(data, statistic, n_resamples=20000, method="percentile", random_state=3)
    low, high = expected.confidence_interval
    assert interquartile_mean(strata)[1:] == pytest.approx((low, high), abs=0.06 * (high - low))


def test_the_bootstrap_of_three_seeds_is_that_of_all_27_draws() -> None:
    x = np.array([[0.0, 1.0, 5.0]])
    means = sorted(np.mean(draw) for draw in product(x[0], repeat=3))
    assert means.count(0.0) / 27 > 0.025 < means.count(5.0) / 27  # so that the percentiles are the ends
    assert interquartile_mean([x])[1:] == (0.0, 5.0)


def test_the_directions_of_a_seed_are_drawn_together() -> None:
    found = interquartile_mean([np.array([[0.0, 1.0, 5.0, 7.0], [0.0, -1.0, -5.0, -7.0]])])
    assert found == (0.0, 0.0, 0.0)  # whatever is drawn, the two cancel


def test_two_seeds_have_no_interval() -> None:
    found = interquartile_mean([np.array([[0.1, 0.2]]), np.array([[0.1, 0.2, 0.3]])])
    assert found[1:] == (None, None)


@pytest.mark.parametrize(("groups", "enough"), [(3, False), (4, True)])  # 2 directions x 3 seeds each
def test_there_is_an_interquartile_mean_from_twenty_cells_on(groups: int, enough: bool) -> None:
    parts = tables(groups)
    for model, found in by_model(parts).items():
        assert (found.cells, found.tasks, found.of) == (6 * groups, 2 * groups, 2 * groups)
        expected = pytest.approx(stats.trim_mean(scores(parts, model), 0.25)) if enough else None
        assert found.iqm == expected


def test_only_what_all_models_have_counts() -> None:
    parts = tables(5)
    first, second = parts[0].columns
    parts[0].cells["mvae"][first] = Cell(note="not run")
    cell = parts[1].cells["mmvae"][first]  # a run holds both directions: its other one goes too
    parts[1].cells["mmvae"][first] = replace(cell, scores=Scores({0: 0.3, 1: 0.3}))
    found = by_model(parts)["mopoe"]
    assert (found.tasks, found.of) == (9, 10)
    assert found.cells == 9 * 3 - 2
    kept = [*parts[0].cells["mopoe"][second].scores.by_seed.values(), *scores(parts[2:], "mopoe")]
    kept += [x for c in (first, second) for s, x in parts[1].cells["mopoe"][c].scores.by_seed.items() if s != 2]
    assert found.iqm == pytest.approx(stats.trim_mean(kept, 0.25))


def test_columns_that_may_not_be_compared_and_controls_are_left_out() -> None:
    parts = tables(5, mvae={"control": True})
    found = by_model([Table(**{**vars(parts[0]), "comparable": frozenset()}), *parts[1:]])
    assert {model: a.tasks for model, a in found.items()} == {"mmvae": 8, "mopoe": 8}


def test_dead_seeds_are_averaged_and_counted() -> None:
    parts = tables(5, mvae={"dead": 1})
    found = aggregate(families(parts))
    assert dict(zip(found["model"], found["dead"], strict=True)) == {"mvae": 10, "mmvae": 0, "mopoe": 0}
    assert [row["task x seed cells"] for row in shown(found)] == ["30 (10 dead)", "30", "30"]
    parts[0].cells["mmvae"][parts[0].columns[0]] = Cell(note="not run")  # a task that is not shared
    assert by_model(parts)["mvae"].dead == 9


def test_controls_alone_have_no_aggregate() -> None:
    parts = tables(5, **{name: {"control": True} for name in ("mvae", "mmvae", "mopoe")})
    assert aggregate(families(parts)).empty


def test_ranks_are_of_complete_data_and_distinguished_models() -> None:
    found = by_model(tables(2, ratios=(0.0, 0.5)))
    assert {model: (a.mean_rank, a.blocks) for model, a in found.items()} == {
        "mvae": (3.0, 2), "mmvae": (2.0, 2), "mopoe": (1.0, 2)
    }  # fmt: skip


def test_a_mean_rank_is_over_blocks_of_the_means_over_their_columns() -> None:
    none = np.nan
    blocks = [np.array([[1.0, 2.0, none], [1.0, 1.0, none], [3.0, none, none]]), np.array([[3.0], [1.0], [1.0]])]
    ranks, count = mean_ranks([*blocks, np.full((3, 2), none)])  # a column and a block without ranks do not count
    assert count == 2
    np.testing.assert_array_equal(ranks, [2.25, 1.0, none])  # of a model with a dead run there is none
    assert mean_ranks(blocks[:1])[1] == 0


def test_two_directions_of_one_data_set_are_no_two_blocks() -> None:
    assert aggregate(families(tables(1, seeds=9))).empty  # 18 cells, one block
    ranked = by_model(tables(1, seeds=10))
    assert {(a.mean_rank, a.blocks) for a in ranked.values()} == {(None, None)}


def test_a_store_is_aggregated(made: Any) -> None:
    found = aggregate(families(build_tables(select(made.store, made.plan))))
    read = {(a.metric, a.model): a for a in found.itertuples()}
    frame = made.store.scores()
    own = frame[(frame["metric"] == "cross_coherence") & (frame["variant"] == "micro") & (frame["status"] == "ok")]
    for model in ("meme", "mvae", "mmvae"):
        row, values = read["cross_coherence", model], own.loc[own["label"] == model, "value"]
        assert row.iqm == pytest.approx(stats.trim_mean(values, 0.25))
        assert row.low < row.iqm < row.high
        assert (row.cells, row.blocks) == (len(values), 2)
    assert ("cross_coherence", "unimodal") not in read  # a chance control
    assert read["joint_coherence", "mvae"].iqm is None  # 12 cells
    assert len(shown(found)) == len(read)
