"""What is shown, and never averaged or ranked in silence: dead runs, bounds and chance controls."""

import csv
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.report.averaging import build_tables
from mmvae_bench.report.build import build_report
from mmvae_bench.report.render import DEAD_RUNS, MARKS, notes, show, to_csv, to_latex, to_markdown
from mmvae_bench.report.select import Selection, select
from mmvae_bench.report.summary import compare_summary, summarise_groups, to_terminal
from mmvae_bench.report.tables import Column, Table, compare_column
from mmvae_bench.spec import Missing
from mmvae_bench.store.store import Store
from tests.report.test_escaping import Page

CROSS, SELF = Column("mnist → street", Missing()), Column("mnist", Missing())
LEVELS = {"mvae": 0.3, "mmvae": 0.7, "mopoe": 0.8}


def make(factory: Any, root: Path, **gains: float) -> tuple[Store, dict[str, Any]]:
    """Three models of three seeds. ``gains`` are those of some models' street branch on seed 1, all others 50."""
    store, runs = Store(root), [factory.spec(model, seed=seed) for model in LEVELS for seed in range(3)]
    for run in runs:
        name = run.model.name
        near = 0.01 * LEVELS[name] * run.seed
        seen = gains.get(name, 50.0) if run.seed == 1 else 50.0
        rows = [factory.gain(run, "mnist", 50.0), factory.gain(run, "street", seen)]
        where = {"given": "mnist", "target": "street", "variant": "micro", "chance": 0.1, "sampled": "rows"}
        rows.append(factory.row(run, "cross_coherence", LEVELS[name] + near, **where))
        rows.append(
            factory.row(run, "linear_probe", LEVELS[name] + near, given="mnist", variant="mean", sampled="rows")
        )
        factory.publish(store, run, rows)
    return store, factory.make_plan(runs)


@pytest.fixture
def dead(factory: Any, tmp_path: Path) -> tuple[Store, dict[str, Any]]:
    return make(factory, tmp_path / "results", mmvae=0.5)


def table_of(selection: Selection, metric: str, variant: str) -> Table:
    return next(t for t in build_tables(selection) if (t.metric, t.variant) == (metric, variant))


def test_a_score_that_reads_a_dead_branch_has_no_interval_and_no_claim(dead: Any) -> None:
    table = table_of(select(*dead), "cross_coherence", "micro")
    cells = {name: row[CROSS] for name, row in table.cells.items()}
    assert {name: cell.dead for name, cell in cells.items()} == {"mvae": 0, "mmvae": 1, "mopoe": 0}
    assert [cells[name].summary.half_width is None for name in LEVELS] == [False, True, False]
    assert cells["mmvae"].mean == pytest.approx(0.707)  # the dead seed is in the mean, and counted beside it
    pairs = {frozenset((c.better, c.worse)): c for c in compare_column(table, CROSS)}
    assert {pair for pair, c in pairs.items() if c.claim} == {frozenset(("mopoe", "mvae"))}
    for name in ("mvae", "mopoe"):
        found = pairs[frozenset(("mmvae", name))]
        assert (found.difference.half_width, found.difference.p, found.holm) == (None, None, None)


def test_a_branch_that_a_score_does_not_read_does_not_matter(dead: Any) -> None:
    table = table_of(select(*dead), "linear_probe", "mean")
    assert not any(row[SELF].dead for row in table.cells.values())
    assert all(row[SELF].summary.half_width for row in table.cells.values())
    assert all(c.claim for c in compare_column(table, SELF))


@pytest.mark.parametrize(("gain", "count"), [(-3.0, 1), (0.5, 1), (0.51, 0)])  # a standard error is .1
def test_a_branch_is_alive_above_five_standard_errors(factory: Any, tmp_path: Path, gain: float, count: int) -> None:
    table = table_of(select(*make(factory, tmp_path, mmvae=gain)), "cross_coherence", "micro")
    assert table.cells["mmvae"][CROSS].dead == count


@pytest.mark.parametrize(("metric", "dead"), [("cross_coherence", (1, 0)), ("relatedness_auroc", (1, 1))])
def test_a_dead_encoder_leaves_alone_what_its_living_decoder_makes(
    factory: Any, tmp_path: Path, metric: str, dead: tuple[int, int]
) -> None:
    """b's encoder passes nothing on; b is still decoded from a. A posterior of b that is scored is dead, too."""
    store, runs = Store(tmp_path), [factory.spec("mmvae", names=("a", "b"), seed=seed) for seed in range(3)]
    for run in runs:
        scores = [factory.row(run, metric, 0.5 + 0.01 * run.seed, given=g, target=t) for g, t in ("ba", "ab")]
        gains = [factory.gain(run, t, 50.0) | {"given": "a"} for t in "ab"]
        gains += [factory.gain(run, t, 50.0 if run.seed else 0.0) | {"given": "b"} for t in "ab"]
        factory.publish(store, run, [*scores, *gains])
    selection = select(store, factory.make_plan(runs))
    rows = [row for row in selection.frame.itertuples() if row.metric == metric and row.seed == 0]
    assert tuple(map(selection.dead, rows)) == tuple(map(bool, dead))


def test_each_direction_of_an_average_is_asked_for_its_dead_branches(factory: Any, tmp_path: Path) -> None:
    names, store = ("a", "b", "c"), Store(tmp_path)
    runs = [factory.spec("mmvae", names=names, seed=seed) for seed in range(3)]
    for run in runs:
        pairs = [(given, target) for given in names for target in names if given != target]  # a → b is the first
        rows = [
            factory.row(run, "cross_coherence", 0.5 + 0.01 * run.seed, variant="micro", given=given, target=target)
            for given, target in pairs
        ]
        factory.publish(store, run, [*rows, factory.gain(run, "c", 0.0 if run.seed else 50.0)])
    table = table_of(select(store, factory.make_plan(runs)), "cross_coherence", "micro")
    (cell,) = table.cells["mmvae"].values()
    assert (cell.dead, cell.summary.n, cell.summary.half_width) == (2, 3, None)


@pytest.mark.usefixtures("no_figures")
def test_dead_runs_are_counted_in_every_form_of_a_table(dead: Any, tmp_path: Path) -> None:
    selection, count = select(*dead), "(1 of 3 dead)"
    table = table_of(selection, "cross_coherence", "micro")
    assert f"0.707 {count}" in to_markdown(table)
    assert f"0.707 {count}" in to_latex(table)
    assert DEAD_RUNS in notes(table)
    assert DEAD_RUNS not in notes(table_of(selection, "linear_probe", "mean"))
    assert {row["model"]: (row["dead"], row["half_width"]) for row in csv.DictReader(to_csv(table).splitlines())}[
        "mmvae"
    ] == ("1", "")
    built = build_report(*dead, tmp_path / "reports")
    page = " ".join(Page(built.page.read_text()).shown.split())
    assert page.count(f"0.707 {count}") == 2  # in the summary and below
    assert DEAD_RUNS in page
    (line,) = [line for line in built.summary.splitlines() if line.startswith("mmvae")]
    assert "0.707+1" in line
    assert "one seed is dead" in built.summary


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("variant", ["micro", "macro"])
def test_a_judge_at_chance_is_named_and_in_no_mean_over_directions(factory: Any, tmp_path: Path, variant: str) -> None:
    """Three views, one of them noise; the chance of macro is below its judge's accuracy."""
    names, store = ("a", "b", "noise"), Store(tmp_path / "results")
    runs = [factory.spec("mmvae", names=names, seed=seed) for seed in range(3)]
    for run in runs:
        rows = []
        for given, target in ((g, t) for g in names for t in names if g != t):
            level, ceiling, chance = (0.3, 0.295, 0.375) if target == "noise" else (0.8 + run.seed / 100, 0.97, 0.2)
            where = {"given": given, "target": target, "ceiling": ceiling}
            rows.append(factory.row(run, "cross_coherence", level, variant="micro", chance=chance, **where))
            rows.append(factory.row(run, "cross_coherence", level, variant="macro", chance=0.125, **where))
        factory.publish(store, run, rows)
    selection = select(store, plan := factory.make_plan(runs))
    table = table_of(selection, "cross_coherence", variant)
    ((column, cell),) = table.cells["mmvae"].items()
    assert (column.text, cell.mean, table.ceiling[column]) == ("1 given", pytest.approx(0.81), (0.97, 0.97))
    left_out = "Left out of means over directions, because a judge is at chance: a → noise, b → noise."
    assert left_out in notes(table)
    built = build_report(store, plan, tmp_path / "reports")
    said = "the judge of noise is at chance (accuracy 0.295, chance 0.375)"
    assert said in " ".join(built.summary.split())
    text = built.page.read_text()
    assert said in text and left_out in text


def likelihoods(factory: Any, root: Path, kind: str) -> Table:
    """A log-likelihood of three models; the highest is a bound, or a chance control."""
    store, runs = Store(root), [factory.spec(model, seed=seed) for model in LEVELS for seed in range(3)]
    for run in runs:
        marked = {kind: run.model.name == "mopoe"}
        value = 1000 * LEVELS[run.model.name] + run.seed
        where = {"variant": "iw100", "prior": "model", "target": "mnist+street", "sampled": "rows"}
        factory.publish(store, run, [factory.row(run, "log_likelihood", value, **where, **marked)])
    return table_of(select(store, factory.make_plan(runs)), "log_likelihood", "iw100")


@pytest.mark.parametrize(("kind", "sign", "tex"), [("bound", "‡", r"$^\ddagger$"), ("control", "†", r"$^\dagger$")])
def test_bounds_and_controls_are_shown_marked_and_never_ranked(
    factory: Any, tmp_path: Path, kind: str, sign: str, tex: str
) -> None:
    table = likelihoods(factory, tmp_path, kind)
    (column,) = table.columns
    assert {name: row[column].best for name, row in table.cells.items()} == {
        "mvae": False, "mmvae": True, "mopoe": False
    }  # fmt: skip
    assert show(table.cells["mopoe"][column], table).plain.endswith(sign)
    assert table.cells["mopoe"][column].mean == pytest.approx(801)
    (pair,) = compare_column(table, column)
    assert {pair.better, pair.worse} == {"mvae", "mmvae"}
    assert pair.holm == pair.difference.p  # a family of one
    assert f"{sign} {MARKS[sign]}." in notes(table)
    assert f"{sign} |" in to_markdown(table)
    assert tex in to_latex(table)
    flags = {row["model"]: row[kind] for row in csv.DictReader(to_csv(table).splitlines())}
    assert flags == {"mvae": "0", "mmvae": "0", "mopoe": "1"}


def test_one_seed_that_is_a_bound_makes_its_mean_one(factory: Any, tmp_path: Path) -> None:
    runs, store = [factory.spec("mvae", seed=seed) for seed in range(3)], Store(tmp_path)
    for run in runs:
        row = factory.row(run, "log_likelihood", -5.0 + run.seed, variant="iw100", bound=run.seed == 2)
        factory.publish(store, run, [row])
    table = table_of(select(store, factory.make_plan(runs)), "log_likelihood", "iw100")
    assert [cell.bound for cell in table.cells["mvae"].values()] == [True]


def test_a_control_is_in_no_pair_of_the_summary(made: Any) -> None:
    summaries = summarise_groups(select(made.store, made.plan))
    pairs = [c for table in summaries for c in compare_summary(table)]
    assert {c.metric for c in pairs if "unimodal" in (c.better, c.worse)} == {"Linear probe (mean)"}
    assert {"Relatedness, AUROC", "Joint coherence (model prior)"} < {c.metric for c in pairs}
    assert "†" in to_terminal(summaries, [])


def test_rows_of_different_number_are_left_out_of_the_interval(factory: Any, tmp_path: Path) -> None:
    runs, store = [factory.spec("mvae", seed=seed) for seed in range(3)], Store(tmp_path)
    for run in runs:
        row = factory.row(run, "linear_probe", 0.5 + 0.1 * run.seed, variant="mean", given="mnist", sampled="rows")
        cut = {key: x[: 200 - run.seed] for key, x in factory.outcomes([row]).items()}
        factory.publish(store, run, [row], outcomes=cut)
    table = table_of(select(store, factory.make_plan(runs)), "linear_probe", "mean")
    summary = table.cells["mvae"][SELF].summary
    assert (summary.rows, summary.covers) == (0, False)
    assert summary.half_width == pytest.approx(4.302652729749464 * 0.1 / 3**0.5)
