import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import Result

from mmvae_bench.store import run as run_folder
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from tests.helpers import invoke
from tests.stored import damage, fail, plan, publish, snapshot, spec

RUN, OTHER = spec(0), spec(1)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """Two whole runs, their plan and table, and nothing wrong."""
    monkeypatch.chdir(tmp_path)
    store = Store(Path("results"))
    publish(store, RUN)
    publish(store, OTHER)
    plan(store, RUN, OTHER)
    store.collate()
    return store


def check(root: Path = Path("results")) -> Result:
    before = snapshot(root) if root.exists() else {}
    result = invoke("check-results", "--results-dir", str(root))
    assert (snapshot(root) if root.exists() else {}) == before  # whatever was found, nothing was written
    return result


def faults(result: Result) -> list[str]:
    assert result.exit_code == 1
    return [line.removeprefix("fault: ") for line in result.stdout.splitlines() if line.startswith("fault: ")]


def fault() -> str:
    """The only one."""
    (line,) = faults(check())
    return line


def reseal(folder: Path, **changes) -> None:
    """Rewrite a run's record so that its checksums fit whatever the files are now."""
    record = json.loads((folder / "run.json").read_text()) | changes
    record["files"] = {name: run_folder._facts((folder / name).read_bytes()) for name in record["files"]}
    (folder / "run.json").write_text(json.dumps({**record, "checksum": run_folder._checksum(record)}))


def test_without_a_fault_the_code_is_0_and_all_is_counted(store):
    result = check()
    assert (result.exit_code, result.stdout) == (0, "2 runs, 6 rows, 0 faults\n")
    fail(store, spec(2))
    store.collate()
    assert check().stdout == "3 runs (1 failed), 7 rows, 0 faults\n"


@pytest.mark.parametrize("name", ["scores.jsonl", "history.csv", "model.safetensors", "artifacts.npz"])
def test_a_file_that_is_missing_cut_or_changed_is_named(store, name):
    folder = store.folder(RUN)
    damage(folder, name)
    assert f"Cannot use the results in '{folder}': {name} was changed after it was written. Move the folder" in fault()
    os.truncate(folder / name, 3)
    assert f"Cannot use the results in '{folder}': {name} is cut off or missing. Move" in fault()
    (folder / name).unlink()
    assert f"Cannot use the results in '{folder}': {name} is cut off or missing. Move" in fault()


def test_runs_of_different_code_are_a_note(store):
    code = {"model": "0" * 16, "dataset": "0" * 16, "metrics": {"linear_probe": "0" * 16, "gone": "0" * 16}}
    for run in (RUN, OTHER):  # of a data set that is not registered here
        publish(store, run, info={"code": code})
    store.collate()
    result = check()
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "note: 2 stored runs were made by different code of the model 'mvae'; --overwrite changed trains them "
            "again.",
            "note: 2 stored runs were scored by different code of the metric 'linear_probe'; --overwrite changed "
            "scores them again.",
            "2 runs, 6 rows, 0 faults",
        ],
    )


def test_each_changed_file_has_a_line_and_the_table_is_not_compared(store):
    damage(store.folder(RUN), "model.safetensors")
    damage(store.folder(RUN), "history.csv")
    damage(store.folder(OTHER), "artifacts.npz")
    result = check()
    assert len(faults(result)) == 3
    assert result.stdout.endswith("2 runs, 6 rows, 3 faults\n")
    assert "note: 'results/scores.csv' was not compared" in result.stdout


def test_a_record_that_was_edited_is_seen(store):
    path = store.folder(RUN) / "run.json"
    path.write_text(path.read_text().replace('"Xeon"', '"Epyc"'))
    assert f"Cannot use the results in '{path.parent}': run.json was changed after it was written. Move" in fault()


def test_a_newer_schema_is_named(store):
    path = store.folder(RUN) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    assert f"'{path}' was written by a newer mmvae-bench" in fault() and "Upgrade mmvae-bench" in fault()


def test_a_folder_at_the_wrong_place_is_named(store):
    folder = store.folder(RUN)
    moved = folder.parent.with_name("mopoe")
    moved.mkdir()
    folder.rename(moved / folder.name)
    assert f"'{moved / folder.name}' is a run of mvae on pairs. Move it to runs/pairs/mvae/" in fault()


@pytest.mark.parametrize("name", ["model.safetensors", "artifacts.npz", "history.csv"])
def test_what_cannot_be_read_is_a_fault_though_its_checksum_fits(store, name):
    folder = store.folder(RUN)
    (folder / name).write_text("epoch,loss\n1,low\n")
    reseal(folder)
    assert str(folder / name) in fault()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"high"', "[]", "1" + "0" * 400])
def test_a_value_that_is_not_a_finite_number_is_a_fault(store, number):
    folder = store.folder(RUN)
    path = folder / "scores.jsonl"
    path.write_text(path.read_text().replace('"value":0.5', f'"value":{number}'))
    reseal(folder)
    assert f"'{path}'" in fault()


def test_rows_of_another_run_are_a_fault(store):
    folder = store.folder(RUN)
    shutil.copy(store.folder(OTHER) / "scores.jsonl", folder / "scores.jsonl")
    reseal(folder)
    assert fault().startswith(f"'{folder}/scores.jsonl' was edited and is not a record. Move")


@pytest.mark.parametrize("path", [".table.1.tmp", "plans/.a.json.1.tmp", "runs/pairs/mvae/.1.tmp"])
def test_what_is_half_written_is_named(store, path):
    (store.root / path).mkdir(parents=True)
    assert fault() == f"'results/{path}' is half written. If no command runs here now, delete it."


def test_folders_of_replaced_runs_are_named(store):
    folder = store.folder(RUN)
    aside = folder.with_name(f".{folder.name}.replaced")
    shutil.copytree(folder, aside)
    assert fault().startswith(f"'{aside}' was being replaced when a process died.")
    aside.rename(folder.with_suffix(".broken2"))
    assert fault().startswith(f"'{folder}.broken2' was broken and has been replaced. Delete it")


def test_work_on_a_stored_run_is_left_over_and_that_of_others_is_not(store):
    for run in (RUN, spec(2)):
        UnderWay(store.root, run.run_id).checkpoint.parent.mkdir(parents=True)
    assert fault() == f"'results/work/{RUN.run_id}' is the work on a run that is stored. Delete it."
    under_way = UnderWay(store.root, RUN.run_id)
    with under_way.locked():  # it is scored again
        under_way.start("c")
        assert fault().startswith(f"'results/work/{RUN.run_id}' is in use by process {os.getpid()} on ")


def test_a_plan_that_cannot_be_read_is_a_fault_and_runs_that_it_lacks_are_not(store):
    plan(store, RUN, spec(2), name="more")
    result = check()
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0, "note: 'results/plans/more.json': 1 of 2 runs not stored."
    )  # fmt: skip
    (store.root / "plans" / "more.json").write_text("{")
    assert fault().startswith("Cannot read 'results/plans/more.json'") and "Delete it and run the suite" in fault()


def test_a_table_that_does_not_agree_with_the_runs_is_a_fault(store):
    path = store.root / "scores.csv"
    text = path.read_text()
    cut, short = text[: len(text) // 2], "\n".join(text.split("\n")[:-2])
    narrow = store.scores()[["seed"]].to_csv(index=False)
    for wrong in (text.replace(",0.25,", ",0.26,", 1), cut, short, narrow, ""):
        path.write_text(wrong)
        assert fault() == "'results/scores.csv' does not agree with the runs. The same run command writes it again."
    path.write_text(text)
    publish(store, spec(2))
    assert "does not agree" in fault()


def test_what_is_no_run_is_a_note(store):
    (store.folder(RUN).with_name("notes")).touch()
    result = check()
    assert result.exit_code == 0
    assert "note: 'results/runs/pairs/mvae/notes' is not a run, and nothing reads it." in result.stdout


def test_no_table_is_no_fault(store):
    (store.root / "scores.csv").unlink()
    assert check().exit_code == 0
    assert "note: There is no 'results/scores.csv'. The same run command writes it again." in check().stdout


@pytest.mark.parametrize("root", ["nowhere", "plans"])
def test_a_folder_without_results_is_bad_input(store, root):
    result = invoke("check-results", "--results-dir", root)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Error: There are no results in '{root}'" in result.stderr
