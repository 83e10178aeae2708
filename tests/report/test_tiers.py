"""Tiers as groups of a report, and what the search behind the tier ``tuned`` tried and chose."""

import csv
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.report import facts
from mmvae_bench.report.aggregates import aggregate, shown
from mmvae_bench.report.averaging import build_tables
from mmvae_bench.report.build import build_report
from mmvae_bench.report.select import select
from mmvae_bench.report.summary import summarise_groups
from mmvae_bench.report.tasks import families
from mmvae_bench.store.store import Store
from tests.report.test_escaping import Page

DEFAULT, TUNED = "mnist_street (default)", "mnist_street (tuned)"


@pytest.fixture
def page(tuned: Any, tmp_path: Path, no_figures: None) -> tuple[str, list[dict[str, str]]]:
    """The text of the page, and the rows of scores.csv."""
    built = build_report(tuned.store, tuned.plan, tmp_path)
    with (built.page.parent / "scores.csv").open() as file:
        return " ".join(Page(built.page.read_text()).shown.split()), list(csv.DictReader(file))


def test_a_run_of_two_tiers_stands_in_both_and_a_trial_in_none(tuned: Any) -> None:
    selection = select(tuned.store, tuned.plan)
    assert selection.groups == [DEFAULT, TUNED]
    own = {(run.group, run.label, run.spec.seed): run.run_id for run in selection.runs}
    assert set(own) == set(product((DEFAULT, TUNED), ("mvae", "mmvae"), range(3)))
    for seed in range(3):
        assert own[DEFAULT, "mvae", seed] == own[TUNED, "mvae", seed]
        assert own[DEFAULT, "mmvae", seed] != own[TUNED, "mmvae", seed]
    trials = {run.run_id for run in tuned.specs if run.split == "validation"}
    assert len(trials) == 8
    assert not trials & (set(own.values()) | set(selection.rows["run_id"]))
    assert (selection.failed, selection.absent) == ([], [])  # a trial that failed is no run of the comparison


def test_each_tier_has_its_tables(tuned: Any) -> None:
    selection = select(tuned.store, tuned.plan)
    tables = {t.group: t for t in build_tables(selection) if (t.metric, t.variant) == ("cross_coherence", "micro")}
    assert set(tables) == {DEFAULT, TUNED} == {table.group for table in summarise_groups(selection)}
    for column in tables[DEFAULT].columns:
        default, chosen = (tables[group].cells for group in (DEFAULT, TUNED))
        assert default["mvae"][column].summary == chosen["mvae"][column].summary
        assert default["mmvae"][column].mean != chosen["mmvae"][column].mean
        assert {row[column].summary.rows for row in chosen.values()} == {200}  # outcomes of both tiers are read


def test_one_tier_is_no_part_of_a_title(tuned: Any) -> None:
    plan = {**tuned.plan, "tiers": {run_id: own and ["tuned"] for run_id, own in tuned.plan["tiers"].items()}}
    assert select(tuned.store, plan).groups == ["mnist_street"]


def test_each_row_of_the_scores_has_its_tier_and_its_rule(factory: Any, tuned: Any, page: Any) -> None:
    rows = page[1]
    assert {(row["tier"], row["rule"]) for row in rows} == {("default", ""), ("tuned", factory.RULE)}
    ids = {tier: {row["run_id"] for row in rows if row["tier"] == tier} for tier in ("default", "tuned")}
    both = {run_id for run_id, tiers in tuned.plan["tiers"].items() if len(tiers) == 2}
    assert ids["default"] & ids["tuned"] == both
    assert len(ids["default"]) == len(ids["tuned"]) == 6


def test_what_a_search_chose_and_how_flat_it_was_is_said(factory: Any, tuned: Any, page: Any) -> None:
    first, second = facts.searches(select(tuned.store, tuned.plan))
    assert first == {
        "data set": "mnist_street", "model": "mvae", "chosen": "default, rate 0.001", "its score": "0.500",
        "default settings": "0.500", "second best": "0.400", "median": "0.400", "worst": "0.250",
    }  # fmt: skip
    assert (second["chosen"], second["its score"]) == ("beta 0.3, rate 0.001", "0.625")
    assert (second["default settings"], second["second best"], second["median"]) == ("0.500", "0.500", "0.500")
    trials = facts.trials(select(tuned.store, tuned.plan))
    assert [(one["trial"], one["settings"], one["score"]) for one in trials[4:]] == [
        ("0", "default, rate 0.001", "0.500"),
        ("1", "beta 3.0, rate 0.001", "failed, or not scored"),
        ("2 (chosen)", "beta 0.3, rate 0.001", "0.625"),
        ("3", "beta 1.5, rate 0.001", "0.250"),
    ]
    text, _ = page
    for words in ("How settings were tuned", "beta 0.3, rate 0.001", "2 (chosen)", "failed, or not scored",
                  "Chosen by" + factory.RULE, "default: the common protocol; tuned: the settings that"):  # fmt: skip
        assert words.replace(" ", "") in text.replace(" ", "")


def test_a_search_that_is_not_done_has_chosen_nothing(tuned: Any) -> None:
    (search, *_) = tuned.plan["searches"]
    trials = [{**trial, "score": None if number else 0.5} for number, trial in enumerate(search["trials"])]
    plan = {**tuned.plan, "searches": [{**search, "winner": None, "trials": trials}]}
    selection = select(tuned.store, plan)
    assert facts.searches(selection) == []
    assert [one["score"] for one in facts.trials(selection)] == ["0.500", *["failed, or not scored"] * 3]
    assert "(chosen)" not in str(facts.trials(selection))


def test_a_run_of_two_tiers_is_counted_once(page: Any) -> None:
    assert "9 runs" in page[0]


def test_tiers_of_one_data_set_are_no_two_data_sets(tuned: Any) -> None:
    selection = select(tuned.store, tuned.plan)
    tables = build_tables(selection)
    tiers = {run.group: run.tier for run in selection.runs}
    assert aggregate(families(tables, tiers)).empty  # 6 cells and one block each


def test_each_tier_has_its_aggregates(factory: Any, tmp_path: Path) -> None:
    store, data = Store(tmp_path), ("mnist_street", "captioned_shapes")
    runs = {
        tier: [
            factory.publish(store, factory.spec(model, name, seed=seed, tier=tier, latent_dim=size))
            for name, model, seed in product(data, ("mvae", "mmvae"), range(3))
        ]
        for tier, size in (("default", 2), ("tuned", 3))
    }
    tiers = {run.run_id: [tier] for tier, own in runs.items() for run in own}
    selection = select(store, factory.make_plan([run for own in runs.values() for run in own], tiers=tiers))
    found = aggregate(families(build_tables(selection), {run.group: run.tier for run in selection.runs}))
    own = found[found["metric"] == "cross_coherence"]
    assert [(a.tier, a.model, a.mean_rank, a.blocks, a.cells) for a in own.itertuples()] == [
        (tier, model, rank, 2, 12) for tier in ("default", "tuned") for model, rank in (("mvae", 2.0), ("mmvae", 1.0))
    ]
    assert [row["tier"] for row in shown(own)] == ["default", "default", "tuned", "tuned"]
