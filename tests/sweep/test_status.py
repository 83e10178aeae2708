import errno
import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from tests.helpers import invoke
from tests.stored import damage, fail, plan, publish, snapshot, spec

RUNS = [spec(seed) for seed in range(6)]


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.chdir(tmp_path)
    store = Store(Path("results"))
    store.root.mkdir()
    return store


def status(*args: str, code: int = 0) -> Result:
    before = snapshot(Path())
    result = invoke("status", *args)
    assert result.exit_code == code
    assert snapshot(Path()) == before  # nothing is written
    return result


def lines(*args: str) -> list[str]:
    return status(*args).stdout.splitlines()


def note(store: Store, run, epoch: int, loss: float = 1.5, checkpoint: bool = True) -> None:
    """What a run that is under way leaves."""
    under_way = UnderWay(store.root, run.run_id)
    under_way.folder.mkdir(parents=True, exist_ok=True)
    facts = {"command": "c", "title": run.title, "epoch": epoch, "epochs": 20, "loss": loss}
    (under_way.folder / "progress.json").write_text(json.dumps(facts))
    if checkpoint:
        under_way.checkpoint.write_text("")


@contextmanager
def taken(store: Store, *runs):
    """Have runs, as a worker has them."""
    with ExitStack() as stack:
        for run in runs:
            under_way = UnderWay(store.root, run.run_id)
            assert stack.enter_context(under_way.locked())
            under_way.start("c")
        yield


def die_with(store: Store, run) -> int:
    """Let another process take a run and die; return its number."""
    code = (
        "from pathlib import Path; from mmvae_bench.store.work import UnderWay\n"
        f"under_way = UnderWay(Path('results'), '{run.run_id}')\n"
        "with under_way.locked(): under_way.start('c'); import os; os._exit(0)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    assert process.wait(60) == 0
    return process.pid


def test_runs_that_are_done_under_way_failed_left_and_broken_are_counted(store):
    plan(store, *RUNS, title="Six runs")
    publish(store, RUNS[0])
    fail(store, RUNS[1])
    note(store, RUNS[2], 5)
    damage(publish(store, RUNS[3]), "run.json")
    with taken(store, RUNS[2]):
        found = lines()
    assert found[0] == "Plan 'custom': Six runs"
    assert found[1].startswith("1 done, 1 under way, 1 failed, 2 left, 1 broken")
    at = found.index("Broken; mmvae-bench check-results says what is wrong:")
    assert found[at + 1] == f"  {RUNS[3].title}"


def test_a_run_under_way_has_its_epoch_its_loss_its_process_and_since_when(store):
    plan(store, *RUNS)
    note(store, RUNS[0], 5)
    note(store, RUNS[1], 20)
    note(store, RUNS[2], 0)
    with taken(store, *RUNS[:4]):
        found = lines()
    by = f"; process {os.getpid()} on {os.uname().nodename}, since 20"
    assert found[2] == "Under way:"
    texts = ("epoch 5/20, loss 1.50", "scoring", "epoch 0/20", "starting")
    for run, line, text in zip(RUNS, found[3:], texts, strict=False):
        assert line.startswith(f"  {run.title}: {text}{by}") and line.endswith(" UTC")


def test_a_run_in_a_folder_of_another_user_is_under_way(store, monkeypatch):
    plan(store, RUNS[0])
    opened = os.open

    def refuse(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *rest, **more)

    with taken(store, RUNS[0]), monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert lines()[1] == "0 done, 1 under way, 0 failed, 0 left"


def test_runs_that_nobody_has_are_resumed_from_their_checkpoints_and_say_whose_they_were(store):
    command = f"mmvae-bench run --models {'mvae ' * 50}--results-dir results"
    plan(store, *RUNS[:3], command=command)
    for run, checkpoint in zip(RUNS, (True, True, False), strict=False):
        note(store, run, 7, checkpoint=checkpoint)
    pid = die_with(store, RUNS[0])
    found = lines()
    assert found[1] == "0 done, 0 under way, 0 failed, 3 left"
    assert found[2:] == [
        "Interrupted; the same run command goes on with them:",
        f"  {RUNS[0].title}: epoch 7/20, loss 1.50; process {pid} on {os.uname().nodename}, died",
        f"  {RUNS[1].title}: epoch 7/20, loss 1.50",
        f"To go on: {command}",
    ]
    UnderWay(store.root, RUNS[0].run_id).checkpoint.unlink()
    assert lines()[3].endswith(", died; no checkpoint, so it starts again")


def test_failed_runs_have_their_reason_on_one_short_line(store):
    plan(store, *RUNS)
    fail(store, RUNS[0], "the loss is NaN\nat step 3 \x1b[31m" + "x" * 500)
    (line,) = [line for line in lines() if line.startswith("  ")]
    assert line.startswith(f"  {RUNS[0].title}: the loss is NaN at step 3  [31mxxx")
    assert line.endswith("x…") and len(line) < 250


def test_a_stored_run_that_is_scored_again_is_under_way(store):
    plan(store, RUNS[0])
    publish(store, RUNS[0])
    with taken(store, RUNS[0]):
        assert lines()[1].startswith("0 done, 1 under way")


def test_the_time_left_is_the_mean_of_the_done_times_what_is_left(store):
    plan(store, *RUNS)
    publish(store, RUNS[0])  # 10 s
    publish(store, RUNS[1], info={"seconds": {"load": 2.0, "train": 25.0, "evaluate": 3.0}})
    assert lines()[1].endswith("4 left; about 80 s, one run after the other (a rough estimate)")
    note(store, RUNS[2], 5)
    note(store, RUNS[3], 15)
    with taken(store, RUNS[2], RUNS[3]):
        text = lines()[1]
    assert "2 left; about 30 s, 2 runs at a time (a rough" in text  # 20 s x (4 - 1/4 - 3/4) / 2


def test_without_a_done_run_of_the_plan_or_with_nothing_left_no_time_is_given(store):
    plan(store, RUNS[0])
    publish(store, RUNS[5])
    assert lines()[1] == "0 done, 0 under way, 0 failed, 1 left"
    publish(store, RUNS[0])
    assert lines() == ["Plan 'custom'", "1 done, 0 under way, 0 failed, 0 left"]


def test_the_last_plan_is_the_default_and_any_can_be_named(store):
    ahead = plan(store, RUNS[0], name="first", at=4e9)  # by a clock that was ahead
    os.utime(ahead, (4e9, 4e9))
    skipped = {"dataset": "d", "label": "l", "missing": "none", "seed": 0, "reason": "r"}
    plan(store, *RUNS, name="last", skipped=[skipped])
    assert lines() == ["Plan 'last'", "0 done, 0 under way, 0 failed, 6 left, 1 skipped", "To go on: mmvae-bench run"]
    assert lines("--suite", "first")[:2] == ["Plan 'first'", "0 done, 0 under way, 0 failed, 1 left"]
    assert lines("--suite", "suites/first.toml")[0] == "Plan 'first'"
    assert "There is no plan 'none' under 'results'. There are first, last." in status("--suite", "none", code=2).stderr


def test_the_last_plan_is_the_one_that_was_run_last_whatever_the_times_of_the_files_are(store):
    first, last = plan(store, RUNS[0], name="first"), plan(store, RUNS[1], name="last")
    os.utime(first, (4e9, 4e9))
    assert lines()[0] == "Plan 'last'"
    for path in (first, last):  # written before the time was recorded
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "at"}))
    os.utime(first, (1e9, 1e9))
    assert lines()[0] == "Plan 'last'"
    os.utime(first, (4e9, 4e9))
    plan(store, RUNS[1], name="last")
    assert lines()[0] == "Plan 'last'"


@pytest.mark.filterwarnings("default::mmvae_bench.errors.BenchWarning")
def test_a_stranger_among_the_plans_is_a_warning(store):
    path = plan(store, RUNS[0], name="mine")
    path.with_name("notes.json").write_text("{}")
    found = status()
    assert found.stdout.startswith("Plan 'mine'")
    assert found.stderr.startswith("Warning: 'results/plans/notes.json' is not a plan that this version knows.")


def test_without_a_plan_all_runs_are_meant(store):
    publish(store, RUNS[0])
    note(store, RUNS[1], 3)
    with taken(store, RUNS[2]):
        text = status().stdout
    assert text.startswith("All runs under 'results'\n1 done, 1 under way, 0 failed, 1 left; about")
    assert f"  {RUNS[1].title}: epoch 3/20" in text and f"  {RUNS[2].run_id}: starting" in text


def test_where_there_is_nothing_the_way_out_is_said(store):
    assert "Error: There are no runs under 'results'. First: mmvae-bench run" in status(code=2).stderr
    assert "Error: There are no runs under 'none'" in status("--results-dir", "none", code=2).stderr
    path = plan(store, RUNS[0])
    path.write_text('{"name": "custom", "run_ids": ["/etc"]}')
    assert "is not a plan that this version knows. Delete it" in status(code=2).stderr
