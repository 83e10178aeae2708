import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.errors import BenchError, BenchWarning
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.check import check_results
from mmvae_bench.store.publish import restore
from mmvae_bench.store.run import SCHEMA, RunResult, StoredRun
from mmvae_bench.store.store import COLUMNS, PUBLISHED, TEXTS, Store, read_published
from tests import stored

SPEC = stored.spec()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def result(spec: RunSpec = SPEC, **changes) -> RunResult:
    row = stored.row(spec, label="é\u2028")
    whole = RunResult(
        spec, [row, row | {"value": None, "status": "skipped"}], history=[{"epoch": 1, "loss": 2.0}],
        info={"rate": 100.0}, weights={"w": np.arange(3.0)}, artifacts={"grid": np.zeros((2, 2))},
    )  # fmt: skip
    return replace(whole, **changes)


def test_a_published_run_reads_back(store):
    folder = store.publish(result())
    assert folder == store.root / "runs" / "pairs" / "mvae" / SPEC.run_id
    assert store.status(SPEC) == "done"
    assert store.folders() == [folder]
    run = StoredRun.read(folder)
    assert (run.done, run.record["rate"], run.spec) == (True, 100.0, SPEC)
    assert set(run.record["files"]) == {"scores.jsonl", "history.csv", "model.safetensors", "artifacts.npz"}
    assert [p.name for p in folder.parent.iterdir()] == [SPEC.run_id]  # no temporary left


def test_scores_are_tidy_and_selected_by_run(store):
    assert store.status(SPEC) == "absent"
    assert list(store.scores().columns) == list(COLUMNS)
    other = replace(SPEC, seed=1)
    for spec in (SPEC, other):
        store.publish(result(spec))
    frame = store.scores()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 4
    assert frame["value"].isna().sum() == 2
    assert frame["label"][0] == "é\u2028"
    assert set(store.scores([other.run_id])["run_id"]) == {other.run_id}
    assert len(store.scores([])) == 0
    assert len(store.collate().read_text().splitlines()) >= 5


def test_no_row_is_lost_to_groupby_by_an_empty_text(store):
    stored.fail(store, replace(SPEC, seed=1))
    assert not store.scores()[TEXTS].isna().any(axis=None)  # also where no run has the text
    store.publish(result())
    frame = store.scores()
    assert len(frame) == 3 and not frame[TEXTS].isna().any(axis=None)
    assert frame.groupby(TEXTS).size().sum() == 3
    frame.to_csv(store.root / PUBLISHED, index=False)
    pd.testing.assert_frame_equal(read_published(store.root / PUBLISHED)[TEXTS], frame[TEXTS], check_dtype=False)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_a_stranger_and_a_broken_run_are_left_out_of_the_table_with_a_warning(store, make):
    whole, broken = store.publish(result()), store.publish(result(replace(SPEC, seed=1)))
    (broken / "scores.jsonl").unlink()
    stranger = whole.with_name("notes")
    make(stranger)
    with pytest.warns(BenchWarning) as said:
        text = store.collate().read_text()
    assert SPEC.run_id in text and broken.name not in text
    assert store.folders() == sorted([whole, broken])
    first, second = (str(each.message) for each in said)
    table = store.root / "scores.csv"
    assert first.startswith(f"Left out of '{table}': Cannot use the results in '{broken}': scores.jsonl is cut off")
    assert second == f"Left out of '{table}': '{stranger}' is not a run. Move it elsewhere."


def test_a_name_that_is_not_utf8_is_escaped_in_the_table(store):
    named = os.fsdecode(b"caf\xe9")  # as Python reads a file's name
    store.publish(result(error="no file", rows=[stored.row(SPEC, "", None, status="failed", reason=named)], log=named))
    assert "caf\\udce9" in store.collate().read_text(encoding="utf-8")
    assert check_results(store.root).faults == []


def test_where_there_is_no_plan_it_is_said_whether_there_are_runs(store):
    with pytest.raises(BenchError, match=r"There are no runs under .* First: mmvae-bench run"):
        store.read_plan()
    store.publish(result())
    with pytest.raises(BenchError, match=r"There are runs under .*, but no plan\. The command that ran them writes it"):
        store.read_plan()


def test_the_record_holds_no_nan(store):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.publish(result(rows=[{"value": float("nan")}]))
    assert store.status(SPEC) == "absent"


@pytest.mark.parametrize("name", ["run.json", "scores.jsonl", "history.csv", "model.safetensors", "artifacts.npz"])
@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_a_folder_cut_off_names_itself_and_the_way_out(store, name, fault):
    folder = store.publish(result())
    if fault == "gone":
        (folder / name).unlink()
    else:
        os.truncate(folder / name, (folder / name).stat().st_size // 2)
    assert store.status(SPEC) == "broken"
    for read in (store.scores, lambda: StoredRun.read(folder)):
        with pytest.raises(
            BenchError, match=r"Move the folder elsewhere, or repeat the command that made it"
        ) as raised:
            read()
        assert str(folder) in str(raised.value)
        assert name in str(raised.value)


def test_an_edited_spec_is_seen(store):
    folder = store.publish(result())
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"seed": 0', '"seed": 5'))
    with pytest.raises(BenchError, match="its spec was edited"):
        StoredRun.read(folder)


def test_a_broken_folder_is_kept_beside_its_replacement(store):
    for expected in (1, 2, 3):
        folder = store.publish(result())
        (folder / "scores.jsonl").write_text("mine")
        store.publish(result())
        kept = [p for p in folder.parent.iterdir() if ".broken" in p.name]
        assert len(kept) == expected
        assert all((p / "scores.jsonl").read_text() == "mine" for p in kept)
    assert store.folders() == [folder]


def test_a_failure_never_takes_the_place_of_a_result(store):
    folder = store.publish(result())
    assert store.publish(result(error="NaN", rows=[])) is None
    assert StoredRun.read(folder).done


def test_a_replacement_that_was_cut_off_is_undone_or_finished(store):
    folder = store.publish(result())
    aside = folder.with_name(f".{folder.name}.replaced")
    folder.rename(aside)  # killed between the two renames
    folder.with_name(f".{folder.name}.abc.tmp").mkdir()
    assert store.folders() == [] and store.status(SPEC) == "absent"
    restore(folder)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    shutil.copytree(folder, aside)  # killed after them
    restore(folder)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 60), name=st.sampled_from(["done", "failed", "broken"]))
def test_a_death_at_any_system_call_of_a_replacement_leaves_a_run_that_can_be_read(tmp_path_factory, at, name):
    """Each call that changes the disk is a step, and the process dies before one of them."""
    store = Store(tmp_path_factory.mktemp("root"))
    folder = store.publish(result(error="NaN" if name == "failed" else "", info={"rate": 1.0}))
    if name == "broken":
        (folder / "history.csv").write_text("mine")
    with dying(at):
        store.publish(result(info={"rate": 2.0}))
    restore(folder)
    if name == "broken" and store.status(SPEC) != "done":
        assert store.status(SPEC) in ("broken", "absent")
    else:
        assert StoredRun.read(folder).record["rate"] in (1.0, 2.0)
    kept = [path for path in folder.parent.iterdir() if (path / "history.csv").read_text() == "mine"]
    assert name != "broken" or len(kept) == 1, "what was edited is never lost"
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]
    store.publish(result(info={"rate": 3.0}))
    assert StoredRun.read(folder).record["rate"] == 3.0


class Died(BaseException):
    """The process is no more: nothing that follows is done."""


@contextmanager
def dying(at: int) -> Iterator[None]:
    """Let the process die before its system call number ``at`` that changes the disk; nothing follows."""
    left = [at]
    names = ("mkdir", "rename", "unlink", "rmdir", "open")
    with pytest.MonkeyPatch.context() as patch:
        for each in names:
            original = getattr(os, each)

            def call(*args, original=original, **more):
                writes = original.__name__ != "open" or (len(args) > 1 and args[1] & os.O_CREAT)
                left[0] -= writes
                if left[0] < 0 and writes:
                    raise Died
                return original(*args, **more)

            patch.setattr(os, each, call)
        with suppress(Died):
            yield


def test_a_result_of_a_newer_version_is_not_replaced(store):
    folder = store.publish(result())
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"schema": SCHEMA + 1}))
    assert store.status(SPEC) == "newer"
    assert store.publish(result()) is None
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_table_that_was_read_before_a_run_was_published_is_written_again(store, monkeypatch):
    store.publish(result())
    original, other = Store.scores, replace(SPEC, seed=1)

    def slowly(self, **how):
        frame = original(self, **how)
        if len(store.folders()) == 1:  # another command publishes its last run meanwhile
            store.publish(result(other))
        return frame

    monkeypatch.setattr(Store, "scores", slowly)
    assert other.run_id in store.collate().read_text()
