import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from mmvae_bench.store import merge as copying
from mmvae_bench.store.run import StoredRun
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from tests.helpers import invoke
from tests.stored import VERSIONS, damage, fail, plan, publish, row, rows, snapshot, spec

RUN, OTHER = spec(0), spec(1)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Store:
    monkeypatch.chdir(tmp_path)
    return Store(Path("results"))


@pytest.fixture
def there(here) -> Store:
    return Store(Path("there"))


def merge(*args: str) -> Result:
    return invoke("merge", *args)


def counts(result: Result) -> str:
    return result.stdout.splitlines()[-1]


def value(store: Store) -> float:
    return StoredRun.read(store.folder(RUN)).rows()[0]["value"]


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder(RUN).parent.iterdir())


def test_absent_runs_are_copied_with_the_files_that_the_record_names(here, there):
    folder = publish(there, RUN)
    (folder / "notes.txt").write_text("not in the record")
    publish(here, OTHER)
    result = merge("there")
    assert (result.exit_code, counts(result)) == (0, "1 copied, 0 the same, 0 preferred, 0 left out")
    copied = here.folder(RUN)
    assert {path.name for path in copied.iterdir()} == {*StoredRun.read(folder).record["files"], "run.json"}
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in copied.iterdir())
    assert names(here) == sorted([RUN.run_id, OTHER.run_id])  # no temporary is left
    assert not list((here.root / "work").iterdir())


def test_what_is_copied_is_in_the_collated_table_and_a_second_merge_does_nothing(here, there):
    publish(there, RUN)
    third = Store(Path("third"))
    publish(third, RUN)
    publish(third, OTHER)
    assert counts(merge("there", "third")) == "2 copied, 0 the same, 0 preferred, 0 left out"
    assert {*here.scores()["run_id"]} == {RUN.run_id, OTHER.run_id}
    assert (here.root / "scores.csv").read_text().count(RUN.run_id) == 3
    before = snapshot(here.root / "runs")
    assert counts(merge("there", "third")) == "0 copied, 2 the same, 0 preferred, 0 left out"
    assert snapshot(here.root / "runs") == before


def test_a_run_that_changes_between_reading_and_copying_is_left_out(here, there, monkeypatch):
    folder = publish(there, RUN)
    restore = copying.restore

    def meanwhile(target):
        assert UnderWay(here.root, RUN.run_id).taken, "the run is locked while it is copied"
        restore(target)
        damage(folder)

    monkeypatch.setattr(copying, "restore", meanwhile)
    result = merge("there")
    assert not UnderWay(here.root, RUN.run_id).taken
    assert (result.exit_code, counts(result)) == (1, "0 copied, 0 the same, 0 preferred, 1 left out")
    assert "model.safetensors was changed after it was written" in result.stderr
    assert here.status(RUN) == "absent" and names(here) == []


def test_a_run_that_appears_while_merging_is_not_replaced(here, there, monkeypatch):
    publish(there, RUN)
    restore = copying.restore
    monkeypatch.setattr(copying, "restore", lambda target: (restore(target), publish(here, RUN, rows(RUN, 0.9))))
    result = merge("there")
    assert result.exit_code == 1 and "has changed since it was compared" in result.stderr
    assert value(here) == 0.9


def test_a_replacement_that_was_cut_off_here_is_restored_and_not_replaced(here, there):
    publish(there, RUN, rows(RUN, 0.9))
    folder = publish(here, RUN)
    folder.rename(folder.with_name(f".{folder.name}.replaced"))
    result = merge("there")
    assert result.exit_code == 1 and "Merge again" in result.stderr
    assert value(here) == 0.5 and names(here) == [RUN.run_id]


def test_a_checkpoint_of_a_run_that_is_now_stored_is_removed(here, there):
    publish(there, RUN)
    checkpoint = UnderWay(here.root, RUN.run_id).checkpoint
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("half trained")
    merge("there")
    assert not checkpoint.parent.exists()


def test_a_full_disk_is_a_sentence(here, there, monkeypatch):
    publish(there, RUN)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying, "sync", full)
    result = merge("there")
    assert result.exit_code == 2
    assert "Error: Cannot write to 'results' (No space left on device). What was copied is whole" in result.stderr
    assert names(here) == []


def test_the_order_of_rows_the_label_and_the_platform_may_differ(here, there):
    priors = {"gmm": "a", "ncp": "b"}
    publish(here, RUN, info={"platform": "Linux-6.1", "priors": {"frechet": priors}})
    turned = {"frechet": dict(reversed(priors.items()))}
    changed = [{**each, "label": "mvae"} for each in reversed(rows(RUN))]
    publish(there, RUN, changed, info={"platform": "Linux-5.4", "priors": turned})
    assert counts(merge("there")) == "0 copied, 1 the same, 0 preferred, 0 left out"


@pytest.mark.parametrize("prefer", [(), ("--prefer", "there")])
def test_other_values_under_the_same_conditions_are_a_conflict_and_nothing_is_copied(here, there, prefer):
    publish(here, RUN)
    publish(there, RUN, rows(RUN, 0.625))
    publish(there, OTHER)
    plan(there, RUN, OTHER)
    before = snapshot(here.root)
    result = merge("there", *prefer)
    assert result.exit_code == 2
    assert (
        f"mvae on pairs, complete, seed 0 ({RUN.run_id}): different rows; largest difference 0.125, in "
        "accuracy a b: 0.5 in 'results', 0.625 in 'there'\n" in result.stderr
    )
    assert "Error: Nothing was copied: the folders differ in 1 run, though versions" in result.stderr
    assert snapshot(here.root) == before


def test_rows_that_one_lacks_are_a_conflict_too(here, there):
    publish(here, RUN)
    publish(there, RUN, [*rows(RUN), row(RUN, "more", 1.0)])
    result = merge("there")
    assert result.exit_code == 2 and "all 2 common values are equal; values that one of them lacks: 1" in result.stderr


def test_two_of_the_folders_may_be_in_conflict(here, there):
    publish(there, RUN)
    publish(Store(Path("third")), RUN, rows(RUN, 0.75))
    result = merge("there", "third")
    assert result.exit_code == 2 and "0.5 in 'there', 0.75 in 'third'" in result.stderr
    assert not here.root.exists()


COLUMNS = ["dataset_hash", "oracle_hash", "embedding_hash", "device", "engine", "package_version"]


@pytest.mark.parametrize(
    ("fields", "info"),
    [
        *(({column: "other"}, {}) for column in COLUMNS),
        ({"threads": 4}, {}),
        ({}, {"versions": {**VERSIONS, "torch": "2.15.0"}}),
        ({}, {"hardware": "Epyc"}),
        ({}, {"metrics": {"accuracy": 2}}),
    ],
)
def test_other_conditions_are_refused_until_it_is_said_whose_runs_win(here, there, fields, info):
    publish(here, RUN)
    publish(there, RUN, rows(RUN, 0.75, **fields), info=info)
    before = snapshot(here.root)
    result = merge("there")
    assert result.exit_code == 2 and "Choose which to keep: --prefer DIR" in result.stderr
    assert ": different " in result.stderr and "other rows" not in result.stderr
    assert "largest difference 0.25, in accuracy a b: 0.5 in 'results', 0.75 in 'there'" in result.stderr
    assert snapshot(here.root) == before
    ours = merge("there", "--prefer", "results")
    assert (ours.exit_code, counts(ours)) == (0, "0 copied, 0 the same, 1 preferred, 0 left out")
    assert "largest difference 0.25, in accuracy a b" in ours.stderr
    assert value(here) == 0.5
    assert counts(merge("there", "--prefer", "there")) == "0 copied, 0 the same, 1 preferred, 0 left out"
    assert value(here) == 0.75 and names(here) == [RUN.run_id]


def test_equal_rows_of_other_conditions_are_not_the_same_and_what_differs_is_named(here, there):
    publish(here, RUN)
    publish(there, RUN, rows(RUN, device="cuda"), info={"versions": {**VERSIONS, "torch": "2.15.0"}})
    result = merge("there")
    assert result.exit_code == 2
    assert (
        "different device (cpu, cuda), versions torch (2.11.0, 2.15.0); all 2 common values are equal" in result.stderr
    )


def test_the_largest_differences_are_shown_first_and_the_rest_counted(here, there):
    for seed in range(13):
        publish(here, spec(seed))
        publish(there, spec(seed), rows(spec(seed), 0.5 + seed / 64, device="cuda"))
    result = merge("there")
    lines = result.stderr.splitlines()
    assert "seed 12 " in lines[0] and "seed 3 " in lines[9]
    assert lines[10] == "... and 3 more, with smaller differences"


def test_a_preferred_folder_without_the_run_decides_nothing(here, there):
    publish(there, RUN)
    publish(Store(Path("third")), RUN, rows(RUN, device="cuda"))
    publish(here, OTHER)
    assert merge("there", "third", "--prefer", "results").exit_code == 2
    assert counts(merge("there", "third", "--prefer", "third")) == "0 copied, 0 the same, 1 preferred, 0 left out"
    assert StoredRun.read(here.folder(RUN)).rows()[0]["device"] == "cuda"


@pytest.mark.parametrize("ours", ["result", "failure"])
def test_a_failure_takes_no_place(here, there, ours):
    publish(here, RUN) if ours == "result" else fail(here, RUN, "ours")
    fail(there, RUN)
    result = merge("there", "--prefer", "there")
    assert result.exit_code == 0
    assert counts(result) == "0 copied, 0 the same, 0 preferred, 0 left out, 1 failed elsewhere and not taken"
    assert StoredRun.read(here.folder(RUN)).error == ("" if ours == "result" else "ours")


def test_a_result_takes_a_failures_place(here, there):
    fail(here, RUN)
    publish(there, RUN)
    assert counts(merge("there", "--prefer", "results")) == "1 copied, 0 the same, 0 preferred, 0 left out"
    assert here.status(RUN) == "done" and names(here) == [RUN.run_id]


def test_a_failure_is_copied_where_nothing_is_and_a_result_elsewhere_wins(here, there):
    fail(there, RUN)
    fail(there, OTHER)
    publish(Store(Path("third")), RUN)
    assert counts(merge("there", "third")) == "2 copied, 0 the same, 0 preferred, 0 left out"
    assert (here.status(RUN), here.status(OTHER)) == ("done", "failed")


@pytest.mark.parametrize("name", ["model.safetensors", "artifacts.npz", "history.csv", "scores.jsonl", "run.json"])
def test_a_broken_run_there_is_named_and_left_out(here, there, name):
    broken = publish(there, RUN)
    damage(broken, name)
    publish(there, OTHER)
    result = merge("there")
    assert (result.exit_code, counts(result)) == (1, "1 copied, 0 the same, 0 preferred, 1 left out")
    assert result.stderr.startswith(
        (f"left out: Cannot use the results in '{broken}'", f"left out: Cannot read '{broken}")
    )
    assert (here.status(RUN), here.status(OTHER)) == ("absent", "done")


@pytest.mark.parametrize("name", ["model.safetensors", "scores.jsonl", "run.json"])
def test_a_broken_run_here_is_replaced_and_kept(here, there, name):
    folder = publish(here, RUN)
    damage(folder, name)
    was = (folder / name).read_bytes()
    publish(there, RUN)
    result = merge("there")
    assert (result.exit_code, counts(result)) == (0, "1 copied, 0 the same, 0 preferred, 0 left out")
    assert names(here) == [RUN.run_id, f"{RUN.run_id}.broken"]
    assert (folder.with_suffix(".broken") / name).read_bytes() == was
    assert value(here) == 0.5


def test_any_other_error_of_the_disk_is_a_sentence(here, there):
    publish(there, RUN)
    (here.root / "scores.csv").mkdir(parents=True)
    result = merge("there")
    assert result.exit_code == 2 and result.stderr == (
        "Error: The system refused an operation ('results/scores.csv': Is a directory). Finished runs are safe. "
        "Fix that and run the same command again.\n"
    )
    assert names(here) == [RUN.run_id]


@pytest.mark.filterwarnings("default::mmvae_bench.errors.BenchWarning")
def test_a_broken_run_here_that_is_nowhere_whole_is_named(here, there):
    folder = publish(here, RUN)
    (folder / "scores.jsonl").unlink()
    publish(there, OTHER)
    result = merge("there")
    assert result.exit_code == 0 and counts(result).startswith("1 copied")
    assert f"Left out of 'results/scores.csv': Cannot use the results in '{folder}'" in result.stderr
    assert OTHER.run_id in (here.root / "scores.csv").read_text()


@pytest.mark.filterwarnings("default::mmvae_bench.errors.BenchWarning")
def test_a_run_of_a_newer_version_is_neither_taken_nor_replaced(here, there):
    newer = publish(here, RUN)
    record = json.loads((newer / "run.json").read_text()) | {"schema": 99}
    (newer / "run.json").write_text(json.dumps(record))
    publish(there, RUN)
    result = merge("there")
    assert result.exit_code == 1 and "written by a newer mmvae-bench" in result.stderr
    assert names(here) == [RUN.run_id] and json.loads((newer / "run.json").read_text())["schema"] == 99
    result = merge("results", "--results-dir", "there")
    assert result.exit_code == 1 and counts(result) == "0 copied, 0 the same, 0 preferred, 1 left out"


def test_a_run_that_a_living_process_has_is_left_out(here, there):
    publish(there, RUN)
    publish(there, OTHER)
    here.root.mkdir()
    under_way = UnderWay(here.root, RUN.run_id)
    with under_way.locked():
        under_way.start("c")
        result = merge("there")
    assert (result.exit_code, counts(result)) == (1, "1 copied, 0 the same, 0 preferred, 1 left out")
    assert f"its run is under way in 'results', by process {os.getpid()} on" in result.stderr
    assert here.status(RUN) == "absent"


def test_absent_plans_are_copied_and_the_last_plan_stays_the_last(here, there):
    publish(there, RUN)
    os.utime(plan(there, RUN, name="old"), (4e9, 4e9))
    plan(here, OTHER, name="mine")
    assert merge("there").exit_code == 0
    assert here.read_plan()["name"] == "mine"
    assert here.read_plan("old") == there.read_plan("old")


def test_plans_of_one_name_are_joined_ours_first(here, there):
    skipped = {"dataset": "cub", "label": "mvae", "missing": "complete", "seed": 0, "reason": "no data"}
    done_there = {**skipped, "dataset": "pairs", "label": "mvae[k=1]", "seed": 2}
    third = spec(2)
    publish(there, RUN)
    plan(here, OTHER, RUN, title="Ours", command="ours", skipped=[skipped, done_there])
    plan(there, RUN, third, title="Theirs", command="theirs", skipped=[skipped, {**skipped, "seed": 1}])
    assert merge("there").exit_code == 0
    joined = here.read_plan("custom")
    assert joined["run_ids"] == [OTHER.run_id, RUN.run_id, third.run_id]
    assert [entry["seed"] for entry in joined["skipped"]] == [0, 1]  # what one skipped, the other could run
    assert (joined["title"], joined["command"]) == ("Ours", "ours")
    assert joined["titles"][third.run_id] == third.title


def search(label: str, winner: int | None = 0, *scores: float | None) -> dict[str, object]:
    """The record of a search whose trials have these scores."""
    trials = [{"options": {}, "learning_rate": 1e-3, "score": one, "run_ids": [RUN.run_id]} for one in scores or (0.5,)]
    return {"dataset": "pairs", "label": label, "rule": "the best", "winner": winner, "trials": trials}


def test_tiers_and_searches_of_plans_of_one_name_are_joined(here, there):
    third = spec(2)
    publish(there, RUN)
    ours = {OTHER.run_id: ["default"], RUN.run_id: ["default"]}
    theirs = {RUN.run_id: ["tuned", "default"], third.run_id: []}
    plan(here, OTHER, RUN, tiers=ours, searches=[search("mvae"), search("meme", None, None)])
    plan(there, RUN, third, tiers=theirs, searches=[search("mmvae"), search("mvae", None, None), search("meme")])
    assert merge("there").exit_code == 0
    joined = here.read_plan("custom")
    assert joined["tiers"] == {OTHER.run_id: ["default"], RUN.run_id: ["default", "tuned"], third.run_id: []}
    found = {one["label"]: one for one in joined["searches"]}
    assert len(joined["searches"]) == 3
    assert found == {"mvae": search("mvae"), "mmvae": search("mmvae"), "meme": search("meme")}  # what is done


def test_a_run_of_a_plan_without_tiers_stays_one_of_the_default_tier(here, there):
    publish(there, RUN)
    plan(here, OTHER, RUN)
    plan(there, RUN, tiers={RUN.run_id: ["tuned"]})
    assert merge("there").exit_code == 0
    assert here.read_plan("custom")["tiers"][RUN.run_id] == ["default", "tuned"]


def test_a_trial_that_one_skipped_and_the_other_ran_is_not_skipped(here, there):
    trial, tuned = replace(spec(1000), split="validation"), replace(spec(7), tier="tuned")
    publish(there, RUN)
    skipped = {"dataset": "pairs", "label": "mvae[k=1]", "missing": "complete", "reason": "no data"}
    plan(here, RUN, skipped=[{**skipped, "seed": seed} for seed in (1000, 7, 70)])
    plan(there, trial, tuned)
    assert merge("there").exit_code == 0
    assert [entry["seed"] for entry in here.read_plan("custom")["skipped"]] == [70]


TRIAL = {"options": {}, "learning_rate": 1e-3, "score": 0.5, "run_ids": [RUN.run_id]}


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"tiers": tiers}
            for tiers in (
                [],
                {"../x": []},
                {RUN.run_id: "tuned"},
                {RUN.run_id: ["best"]},
                {RUN.run_id: [["tuned"]]},
                {RUN.run_id: [{}]},
            )
        ),
        *({"searches": value} for value in ({}, [7], [{}], [search("mvae") | {"rule": None}])),
        *({"searches": [search("mvae") | {"trials": trials}]} for trials in ([7], [{}], [TRIAL | {"score": "high"}])),
        *({"searches": [search("mvae") | {"trials": [TRIAL | {key: 0}]}]} for key in ("options", "run_ids")),
        *({"searches": [search("mvae") | {"winner": winner}]} for winner in (1, -2, "0", 0.0)),
        {"searches": [search("mvae", 0, None)]},
        {"run_ids": ["../../elsewhere"]},
        {"run_ids": "0123456789abcdef"},
        {"run_ids": [7]},
        {"name": "../custom"},
        {"title": ["a"]},
        {"titles": {"x": "y"}},
        {"titles": ["0123456789abcdef"]},
        {"skipped": [{}]},
        {"skipped": 5},
        {"schema": 99},
    ],
)
def test_a_plan_that_is_none_is_left_out(here, there, changes):
    publish(there, RUN)
    path = plan(there, RUN)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    result = merge("there")
    assert result.exit_code == 1
    assert "left out: 'there/plans/custom.json' is not a plan that this version knows. Delete it" in result.stderr
    assert not (here.root / "plans").exists() and here.status(RUN) == "done"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["there", "nowhere"], "There are no results in 'nowhere': it has no folder 'runs'"),
        (["results"], "'results' cannot be merged into itself"),
        (["results/../results"], "cannot be merged into itself"),
        (["there", "--prefer", "nowhere"], "--prefer names one of the merged folders, 'results', 'there', not"),
        (["there", "--results-dir", "file/below"], "Choose another --results-dir"),
        ([], "Missing argument 'DIR...'"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_copied(here, there, args, sentence):
    publish(there, RUN)
    publish(here, OTHER)
    Path("file").write_text("")
    before = snapshot(Path())
    result = merge(*args)
    assert result.exit_code == 2 and sentence in result.stderr
    assert snapshot(Path()) == before
