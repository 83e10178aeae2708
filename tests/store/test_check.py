import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmvae_bench.cli.app import main
from mmvae_bench.store import run as run_folder
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from tests.stored import damage, fail, plan, publish, row, rows, snapshot, spec

RUN, OTHER = spec(0), spec(1)
SCHEMA1 = Path(__file__).parents[1] / "schema1"


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
    result = CliRunner().invoke(main, ["check-results", "--results-dir", str(root)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
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


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scores.jsonl", "history.csv", "model.safetensors", "artifacts.npz"])
def test_a_file_that_is_missing_cut_or_changed_is_named(store, name):
    folder = store.folder(RUN)
    damage(folder, name)
    assert f"'{folder}' cannot be used: {name} was changed after it was written; move the folder away" in fault()
    os.truncate(folder / name, 3)
    assert f"'{folder}' cannot be used: {name} is cut off or missing; move" in fault()
    (folder / name).unlink()
    assert f"'{folder}' cannot be used: {name} is cut off or missing; move" in fault()


def test_each_changed_file_has_a_line(store):
    damage(store.folder(RUN), "model.safetensors")
    damage(store.folder(RUN), "history.csv")
    damage(store.folder(OTHER), "artifacts.npz")
    result = check()
    assert len(faults(result)) == 3
    assert result.stdout.endswith("2 runs, 6 rows, 3 faults\n")
    assert "note: 'results/scores.csv' was not compared" in result.stdout


def test_a_spec_or_a_record_that_was_edited_is_seen(store):
    path = store.folder(RUN) / "run.json"
    text = path.read_text()
    path.write_text(text.replace('"seed": 0', '"seed": 7'))
    assert f"'{path.parent}' cannot be used: its spec was edited; move" in fault()
    path.write_text(text.replace('"Xeon"', '"Epyc"'))
    assert f"'{path.parent}' cannot be used: run.json was changed after it was written; move" in fault()


def test_a_newer_schema_is_named(store):
    path = store.folder(RUN) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    assert f"'{path}' was written by a newer mmvae-bench" in fault() and "upgrade mmvae-bench" in fault()


def test_a_folder_at_the_wrong_place_is_named(store):
    folder = store.folder(RUN)
    moved = folder.parent.with_name("mopoe")
    moved.mkdir()
    folder.rename(moved / folder.name)
    assert f"'{moved / folder.name}' is a run of mvae on pairs; move it to runs/pairs/mvae/" in fault()


@pytest.mark.parametrize("name", ["model.safetensors", "artifacts.npz", "history.csv"])
def test_what_cannot_be_read_is_a_fault_though_its_checksum_fits(store, name):
    folder = store.folder(RUN)
    (folder / name).write_text("epoch,loss\n1,low\n")
    reseal(folder)
    assert str(folder / name) in fault()


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dataset": "cub"}, "its dataset is 'cub', its run's is 'pairs'"),
        ({"model": "mopoe"}, "its model is 'mopoe', its run's is 'mvae'"),
        ({"seed": 5}, "its seed is 5, its run's is 0"),
        ({"label": "mopoe"}, "its label 'mopoe' is none of mvae"),
        ({"label": "mvae[alpha=1]"}, "its label 'mvae[alpha=1]' is none of mvae"),
        ({"label": None}, "its label None is none of mvae"),
        ({"colour": "red"}, "unknown columns: 'colour'"),
        ({"value": "high"}, "its value is no finite number: 'high'"),
        ({"value": True}, "its value is no finite number: True"),
        ({"se": "low"}, "its se is no finite number: 'low'"),
        ({"status": "odd"}, "unknown status 'odd'"),
        ({"status": "skipped"}, "its status is 'skipped', and it has a value"),
        ({"value": None}, "its status is 'ok', and it has no value"),
    ],
)
def test_a_row_that_does_not_fit_is_named(store, fields, sentence):
    folder = store.folder(RUN)
    shutil.rmtree(folder)
    publish(store, RUN, [row(RUN, "other"), row(RUN, **fields)])
    assert fault() == f"'{folder}/scores.jsonl', row 2: {sentence}; move the folder away and run the same command again"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_a_fault(store, number):
    folder = store.folder(RUN)
    path = folder / "scores.jsonl"
    path.write_text(path.read_text().replace('"value":0.5', f'"value":{number}'))
    reseal(folder)
    assert f"'{path}'" in fault()


def test_rows_of_another_run_are_a_fault(store):
    folder = store.folder(RUN)
    shutil.copy(store.folder(OTHER) / "scores.jsonl", folder / "scores.jsonl")
    reseal(folder)
    assert fault().startswith(f"'{folder}/scores.jsonl' was edited and is no record; move")


def test_the_same_score_twice_is_a_fault_and_rows_of_one_fault_share_a_line(store):
    folder = store.folder(RUN)
    shutil.rmtree(folder)
    publish(store, RUN, [*rows(RUN), row(RUN, prior="model"), row(RUN, value=0.75), row(RUN, value=0.25)])
    assert fault().startswith(f"'{folder}/scores.jsonl', row 5 and 1 more: the same metric, variant, prior, given and")


# --- what is left over ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [".table.1.tmp", "plans/.a.json.1.tmp", "claims/.1.2.tmp", "runs/pairs/mvae/.1.tmp"])
def test_what_is_half_written_is_named(store, path):
    (store.root / path).mkdir(parents=True)
    assert fault() == f"'results/{path}' is half written: if nothing runs here now, delete it"


def test_folders_of_replaced_runs_are_named(store):
    folder = store.folder(RUN)
    room = folder.with_name(f"{folder.name}.0.old")
    shutil.copytree(folder, room / folder.name)
    assert fault() == f"'{room}' is left of a run that was replaced: delete it"
    shutil.rmtree(folder)
    store.collate()
    assert fault() == f"'{room}' holds a run that was being replaced: the same run command puts it back"
    room.rename(folder.with_suffix(".broken2"))
    assert fault().startswith(f"'{folder}.broken2' was broken and has been replaced: delete it")


def test_claims_of_the_living_and_the_dead_are_named(store):
    with store.claims.take(RUN.run_id):
        result = CliRunner().invoke(main, ["check-results"])
    assert f"fault: 'results/claims/{RUN.run_id}' is held by process {os.getpid()} on " in result.stdout
    assert ", which may be at work: let it end\n" in result.stdout
    die = "from pathlib import Path; from mmvae_bench.store.claims import Claims; Claims(Path('results')).take"
    subprocess.run([sys.executable, "-c", f"{die}('{RUN.run_id}')"], check=True)
    assert fault().endswith(", which is gone: the next run of it takes it over")


def test_work_on_a_stored_run_is_left_over_and_that_of_others_is_not(store):
    for run in (RUN, spec(2)):
        UnderWay(store.root, run.run_id).checkpoint.parent.mkdir(parents=True)
    assert fault() == f"'results/work/{RUN.run_id}' is the work on a run that is stored: delete it"
    with store.claims.take(RUN.run_id):  # it is scored again
        result = CliRunner().invoke(main, ["check-results"])
    assert len(faults(result)) == 1 and "is held by" in result.stdout


def test_a_plan_that_cannot_be_read_is_a_fault_and_runs_that_it_lacks_are_not(store):
    plan(store, RUN, spec(2), name="more")
    result = check()
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0, "note: 'results/plans/more.json': 1 of 2 runs are not stored"
    )  # fmt: skip
    (store.root / "plans" / "more.json").write_text("{")
    assert fault().startswith("cannot read 'results/plans/more.json'") and "delete it and run the suite" in fault()


# --- the table of all -------------------------------------------------------------------------------------------------


def test_a_table_that_does_not_agree_with_the_runs_is_a_fault(store):
    path = store.root / "scores.csv"
    text = path.read_text()
    cut, short = text[: len(text) // 2], "\n".join(text.split("\n")[:-2])
    narrow = store.scores()[["seed"]].to_csv(index=False)
    for wrong in (text.replace(",0.25,", ",0.26,", 1), cut, short, narrow, ""):
        path.write_text(wrong)
        assert fault() == "'results/scores.csv' does not agree with the runs: the same run command writes it anew"
    path.write_text(text)
    publish(store, spec(2))
    assert "does not agree" in fault()


def test_a_table_of_an_older_version_may_have_fewer_columns(store):
    frame = store.scores().drop(columns=["engine", "precision"])
    frame.to_csv(store.root / "scores.csv", index=False)
    assert check().exit_code == 0


def test_no_table_is_no_fault(store):
    (store.root / "scores.csv").unlink()
    assert check().exit_code == 0
    assert "note: there is no 'results/scores.csv': the same run command writes it anew" in check().stdout


# --- schema 1, and bad input ------------------------------------------------------------------------------------------


def test_runs_of_schema_1_are_valid_and_counted(store):
    result = check(SCHEMA1)
    assert result.exit_code == 0
    assert "note: 1 run of schema 1: only the sizes of their files are known\n" in result.stdout
    assert result.stdout.endswith("1 run, 36 rows, 0 faults\n")
    assert "schema 1" not in check().stdout


def test_in_schema_1_what_cannot_be_read_is_still_seen(tmp_path):
    root = tmp_path / "old"
    shutil.copytree(SCHEMA1, root)
    (folder,) = Store(root).folders()
    names = ("artifacts.npz", "model.safetensors")
    for name in names:
        (folder / name).write_bytes(b"x" * (folder / name).stat().st_size)
    found = faults(check(root))
    assert all(line.startswith(f"cannot read '{folder}/{name}'") for line, name in zip(found, names, strict=True))


@pytest.mark.parametrize("root", ["nowhere", "plans"])
def test_a_folder_without_results_is_bad_input(store, root):
    result = CliRunner().invoke(main, ["check-results", "--results-dir", root])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Error: there are no results in '{root}'" in result.stderr
