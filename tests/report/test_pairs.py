"""Marks of table cells and comparisons of pairs, on tables made by hand."""

import csv
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mmvae_bench.report.render import (
    ALMOST,
    LEGEND,
    MARKS,
    UNSURE,
    caption,
    notes,
    show,
    show_rows,
    to_csv,
    to_latex,
    to_markdown,
)
from mmvae_bench.report.statistics import Scores, summarise
from mmvae_bench.report.tables import Cell, Column, Table, compare_column, compare_columns, mark
from mmvae_bench.spec import Missing

COLUMN = Column("a → b", Missing())
BEST = (0.90, 0.80, 0.85, 0.88)
SAME = (0.85, 0.84, 0.80, 0.90)  # of mean .8475; its differences from the best vary in sign
WORSE = (0.70, 0.61, 0.64, 0.69)


def made(
    scores: Mapping[str, Sequence[float]], better: int = 1, rows: int = 0, *, draws: bool = False, **cells: Any
) -> Table:
    """A table of one column, marked; with ``rows``, each score is the outcome of all its test rows."""

    def cell(name: str, x: Sequence[float]) -> Cell:
        outcomes = {seed: np.full(rows, value, np.float32) for seed, value in enumerate(x)} if rows else {}
        own = Scores(dict(enumerate(x)), outcomes, draws)
        return Cell(summarise(own), own, **cells.get(name, {}))

    cells = {name: {COLUMN: cell(name, x)} for name, x in scores.items()}
    pairs = compare_columns(cells, [COLUMN], better)
    fixed = ("data", "strange", "", "", "none", [COLUMN], mark(cells, pairs, better), {}, {}, better)
    return Table(*fixed, frozenset([COLUMN]), pairs=pairs)


def marks(table: Table) -> dict[str, str]:
    return {name: "best" * row[COLUMN].best + ALMOST * row[COLUMN].undecided for name, row in table.cells.items()}


def test_what_the_paired_interval_does_not_tell_from_the_best_is_marked() -> None:
    assert stats.ttest_rel(BEST, SAME).pvalue > 0.05 > stats.ttest_rel(BEST, WORSE).pvalue
    table = made({"mvae": SAME, "mmvae": BEST, "mopoe": WORSE}, draws=True)
    assert marks(table) == {"mvae": ALMOST, "mmvae": "best", "mopoe": ""}


def test_where_an_interval_is_of_seeds_alone_there_is_no_mark_of_order() -> None:
    assert marks(made({"mvae": SAME, "mmvae": BEST, "mopoe": WORSE})) == {"mvae": "", "mmvae": "best", "mopoe": ""}


@pytest.mark.parametrize("better", [1, -1])
def test_lower_may_be_better(better: int) -> None:
    table = made({"x": [-better * v for v in SAME], "y": [-better * v for v in BEST]}, -better, draws=True)
    assert marks(table) == {"x": ALMOST, "y": "best"}


def test_two_seeds_pretend_nothing() -> None:
    assert marks(made({"mvae": SAME[:2], "mmvae": BEST[:2]})) == {"mvae": "", "mmvae": "best"}


def test_models_with_other_seeds_are_not_ranked_and_the_table_says_so() -> None:
    table = made({"mvae": (*BEST, 0.9), "mmvae": BEST, "mopoe": WORSE})  # a lucky fifth seed is no lead
    assert marks(table) == {"mvae": "", "mmvae": "", "mopoe": ""}
    assert notes(table) == ["No best value is marked in a column whose models were run with different seeds."]
    assert "different seeds" not in str(notes(made({"mvae": SAME, "mmvae": BEST})))


def test_rounding_makes_no_rival_of_what_is_told_apart() -> None:
    near = [score - 0.0002 - 0.0001 * (i % 2) for i, score in enumerate(BEST)]
    assert stats.ttest_rel(BEST, near).pvalue < 0.05
    assert marks(made({"mvae": near, "mmvae": BEST})) == {"mvae": "", "mmvae": "best"}
    assert marks(made({"mvae": near[:2], "mmvae": BEST[:2]})) == {"mvae": "best", "mmvae": "best"}


@pytest.mark.parametrize("kind", ["control", "bound", "at_chance", "dead"])
def test_neither_controls_nor_bounds_nor_cells_at_chance_nor_dead_ones_are_marked(kind: str) -> None:
    table = made({"mvae": SAME, "mmvae": BEST, "mopoe": WORSE}, mvae={kind: True})
    assert marks(table) == {"mvae": "", "mmvae": "best", "mopoe": ""}


def test_one_alone_and_columns_without_direction_have_no_mark() -> None:
    assert marks(made({"mvae": BEST})) == {"mvae": ""}
    assert marks(made({"mvae": SAME, "mmvae": BEST}, 0)) == {"mvae": "", "mmvae": ""}


def test_every_form_of_a_table_has_the_mark_and_its_legend() -> None:
    table = made({"mvae": SAME, "mmvae": BEST}, draws=True)
    assert show(table.cells["mvae"][COLUMN], table).marks == ALMOST
    assert notes(table)[0].startswith(f"{ALMOST} {LEGEND}")
    assert to_markdown(table).count(ALMOST) == to_latex(table).count(r"$^\approx$") == 2
    assert to_markdown(table).count("**0.") == to_latex(table).count(r"\textbf{") == 1
    rows = [(row["mean"], row["best"], row["undecided"]) for row in csv.DictReader(to_csv(table).splitlines())]
    assert [(f"{float(mean):.4f}", *flags) for mean, *flags in rows] == [("0.8475", "0", "1"), ("0.8575", "1", "0")]
    assert ALMOST not in to_markdown(made({"mvae": WORSE, "mmvae": BEST}))


@pytest.mark.parametrize("kind", ["control", "bound"])
def test_holm_adjusts_for_all_pairs_of_the_column(kind: str) -> None:
    scores = {"mvae": SAME, "mmvae": BEST, "mopoe": WORSE, "unimodal": (0.99, 0.98, 0.97, 0.99)}
    found = compare_column(made(scores, unimodal={kind: True}), COLUMN)
    assert {frozenset((c.better, c.worse)) for c in found} == {
        frozenset(pair) for pair in (("mvae", "mmvae"), ("mvae", "mopoe"), ("mmvae", "mopoe"))
    }  # the control, or bound, is in no pair
    ps = [stats.ttest_rel(scores[c.better], scores[c.worse]).pvalue for c in found]
    assert [c.difference.p for c in found] == pytest.approx(ps)
    first, second, third = sorted(range(3), key=ps.__getitem__)
    steps = [3 * ps[first], max(3 * ps[first], 2 * ps[second])]
    assert [found[i].holm for i in (first, second)] == pytest.approx(steps)
    assert found[third].holm == pytest.approx(max(steps[1], ps[third]))


def test_pairs_of_few_seeds_are_not_of_the_family() -> None:
    table = made({"mvae": SAME[:2], "mmvae": BEST, "mopoe": WORSE})
    found = {frozenset((c.better, c.worse)): c for c in compare_column(table, COLUMN)}
    tested = found.pop(frozenset(("mmvae", "mopoe")))
    assert tested.holm == tested.difference.p
    assert {c.holm for c in found.values()} == {None}


@pytest.mark.parametrize("at_chance", [(), ("mvae",), ("mmvae",), ("mvae", "mmvae")])
@pytest.mark.parametrize("better", [1, -1])
def test_an_order_is_claimed_if_one_of_the_two_is_beyond_chance(better: int, at_chance: tuple[str, ...]) -> None:
    scores = {"mvae": [better * v for v in WORSE], "mmvae": [better * v for v in BEST]}
    cells = {name: {"at_chance": True} for name in at_chance}
    (found,) = compare_column(made(scores, better, rows=9, **cells), COLUMN)
    assert (found.better, found.claim) == ("mmvae", len(at_chance) < 2)


def test_without_a_direction_no_order_is_claimed() -> None:
    (found,) = compare_column(made({"mvae": WORSE, "mmvae": BEST}, 0, rows=9), COLUMN)
    assert found.difference.excludes_zero
    assert (found.better, found.claim) == ("mvae", False)


def test_what_is_worse_by_its_interval_but_not_after_holm_is_marked() -> None:
    near = (0.85, 0.79, 0.83, 0.85)
    table = made({"mvae": SAME, "mmvae": BEST, "mopoe": WORSE, "mmvm": near}, rows=9)
    found = {c.worse: c for c in compare_column(table, COLUMN) if c.better == "mmvae"}
    assert found["mmvm"].difference.p == pytest.approx(stats.ttest_rel(BEST, near).pvalue, rel=1e-5)
    assert found["mmvm"].difference.p < 0.05 < found["mmvm"].holm  # type: ignore[operator]
    assert found["mmvm"].claim  # of the interval: the mark stands beside it
    texts = [show(table.cells[name][COLUMN], table).marks for name in ("mvae", "mmvae", "mopoe", "mmvm")]
    assert texts == [ALMOST, "", "", UNSURE]
    for text, sign in ((to_markdown(table), UNSURE), (to_latex(table), r"\textasciitilde{}")):
        assert text.count(sign) == 2  # the cell and the legend
    flags = {row["model"]: row["uncorrected"] for row in csv.DictReader(to_csv(table).splitlines())}
    assert flags == {"mvae": "0", "mmvae": "0", "mopoe": "0", "mmvm": "1"}
    assert f"{UNSURE} {MARKS[UNSURE]}." in notes(table)


def test_without_outcomes_of_rows_no_order_is_claimed_and_the_caption_says_so() -> None:
    alone, covered = (made({"mvae": WORSE, "mmvae": BEST}, rows=n) for n in (0, 9))
    assert [(c.claim, c.difference.rows) for t in (alone, covered) for c in compare_column(t, COLUMN)] == [
        (False, 0), (True, 9)
    ]  # fmt: skip
    half = stats.t.ppf(0.975, 3) * np.std(BEST, ddof=1) / 2
    for table in (alone, covered):  # rows without spread add nothing
        assert table.cells["mmvae"][COLUMN].summary.half_width == pytest.approx(half)  # type: ignore[union-attr]
    assert "seeds alone (no mean over rows: no order is claimed)" in caption(alone)
    assert "over seeds and test rows" in caption(covered)
    assert [row["rows"] for row in csv.DictReader(to_csv(covered).splitlines())] == ["9", "9"]


def test_of_draws_that_are_new_for_each_seed_an_order_is_claimed_and_no_rows_are_said() -> None:
    table = made({"mvae": WORSE, "mmvae": BEST}, draws=True)
    (found,) = compare_column(table, COLUMN)
    assert (found.claim, found.difference.rows, show_rows(found.difference)) == (True, 0, "draws")
    assert found.difference.p == pytest.approx(stats.ttest_rel(WORSE, BEST).pvalue)
    assert "over seeds, each with draws of its own" in caption(table)
    assert "rows" not in caption(table)


@pytest.mark.parametrize("dead", ["mvae", "mmvae"])
def test_of_a_dead_run_no_order_is_claimed(dead: str) -> None:
    (found,) = compare_column(made({"mvae": WORSE, "mmvae": BEST}, rows=9, **{dead: {"dead": 1}}), COLUMN)
    assert (found.claim, found.holm, found.difference.half_width, found.difference.p) == (False, None, None, None)


def test_a_dead_run_makes_no_order_of_others_easier_to_claim() -> None:
    scores = {"mvae": WORSE, "mmvae": BEST, "mopoe": [score + 0.1 for score in BEST]}
    alive, dead = (compare_column(made(scores, rows=9, mopoe={"dead": count}), COLUMN) for count in (0, 1))
    (with_all,), (among_the_living,) = (
        [c for c in pairs if c.worse == "mvae" and c.better == "mmvae"] for pairs in (alive, dead)
    )
    p = with_all.difference.p
    assert p and among_the_living.holm == pytest.approx(3 * p)
    assert with_all.holm is not None and with_all.holm <= 3 * p


def ranks(table: Table) -> dict[str, int | None]:
    return {name: row[COLUMN].rank for name, row in table.cells.items()}


def near(*means: float, spread: float = 0.001) -> dict[str, list[float]]:
    """Models a, b, ... of some means on four seeds, of differences that are not all the same."""
    noise = spread * np.array([[1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    return {name: list(mean + own) for name, mean, own in zip("abc", means, noise, strict=False)}


def test_a_rank_counts_the_models_that_are_distinguished_as_better() -> None:
    assert ranks(made(near(0.5, 0.7, 0.6), draws=True)) == {"a": 3, "b": 1, "c": 2}
    assert ranks(made(near(0.5, 0.7, 0.6), -1, draws=True)) == {"a": 1, "b": 3, "c": 2}
    assert ranks(made(near(0.5, 0.7, 0.5001), draws=True)) == {"a": 2, "b": 1, "c": 2}
    assert ranks(made(near(0.5, 0.5002, 0.5001), draws=True)) == {"a": 1, "b": 1, "c": 1}


def test_a_chain_of_like_models_with_distinguished_ends_has_two_ranks() -> None:
    scores = near(0.6, 0.55, 0.5, spread=0.02)  # each differs from the next by less than an interval
    ps = [stats.ttest_rel(scores[x], scores[y]).pvalue for x, y in ("ab", "bc", "ac")]
    assert min(ps[:2]) * 2 > 0.05 > 3 * ps[2]
    assert ranks(made(scores, draws=True)) == {"a": 1, "b": 1, "c": 2}


def test_models_distinguished_only_before_holm_share_a_rank() -> None:
    scores = near(0.6, 0.57, 0.6005, spread=0.01)
    ps = sorted(stats.ttest_rel(scores[x], scores[y]).pvalue for x, y in ("ab", "bc", "ac"))
    assert ps[0] < 0.05 < 3 * ps[0]
    assert set(ranks(made(scores, draws=True)).values()) == {1}


def test_what_no_order_is_claimed_of_has_no_rank() -> None:
    scores = near(0.5, 0.7, 0.6)
    nobody = dict.fromkeys(scores)
    assert ranks(made(scores)) == nobody  # seeds alone
    assert ranks(made(scores, 0, draws=True)) == nobody
    assert ranks(made({name: x[:2] for name, x in scores.items()}, draws=True)) == nobody
    assert ranks(made(scores | {"a": [*scores["a"], 0.9]}, draws=True)) == nobody  # different seeds
    for kind in ("control", "bound", "dead"):
        assert ranks(made(scores, draws=True, a={kind: 1})) == {"a": None, "b": 1, "c": 2}
    assert ranks(made(scores, draws=True, a={"at_chance": True}, c={"at_chance": True})) == {"a": 2, "b": 1, "c": 2}


def test_the_smallest_difference_is_scipys_half_width_of_a_paired_interval() -> None:
    scores = {"mvae": SAME, "mmvae": BEST, "mopoe": WORSE}
    intervals = [stats.ttest_rel(scores[x], scores[y]).confidence_interval() for x, y in combinations(scores, 2)]
    widths = [(high - low) / 2 for low, high in intervals]
    table = made(scores, draws=True)
    assert table.smallest == {COLUMN: pytest.approx((min(widths), max(widths)))}
    shown = f"{min(widths):.3f} to {max(widths):.3f}"
    assert f"| smallest difference | {shown} |" in to_markdown(table)
    assert rf"smallest difference & {shown} \\" in to_latex(table)
    assert notes(table)[-1].startswith("Smallest difference: half width of the 95 % interval")


@pytest.mark.parametrize(("factor", "excludes"), [(0.99, False), (1.01, True)])
def test_a_difference_is_shown_from_the_smallest_one_on(factor: float, excludes: bool) -> None:
    noise = np.subtract(BEST, SAME) - np.mean(np.subtract(BEST, SAME))
    (half, _) = made({"mvae": SAME, "mmvae": SAME + noise}, draws=True).smallest[COLUMN]
    (pair,) = compare_column(made({"mvae": SAME, "mmvae": SAME + noise + factor * half}, draws=True), COLUMN)
    assert pair.difference.excludes_zero == excludes


def test_where_no_order_is_claimed_there_is_no_smallest_difference() -> None:
    scores = {"mvae": SAME, "mmvae": BEST}
    few = {name: x[:2] for name, x in scores.items()}
    for table in (made(scores), made(scores, 0, draws=True), made(few, draws=True), made({"a": SAME, "b": SAME})):
        assert table.smallest == {}
        assert "mallest difference" not in to_markdown(table)
