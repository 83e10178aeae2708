"""One task: what becomes of a run, of its folder and of its lock, whatever happens to the process or beside it."""

import errno
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from mmvae_bench.cli import app
from mmvae_bench.errors import BenchError
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from mmvae_bench.sweep import backends, execute
from mmvae_bench.sweep import runner as sweep
from mmvae_bench.sweep import signals as stops
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.request import Request
from mmvae_bench.sweep.worker import CRASHES, Command, Halt, Task, work
from tests.sweep.test_runner import DATA, run

COMMAND = Command("ours", os.getpid())


@pytest.fixture
def store(settings) -> Store:
    settings.results_dir.mkdir()
    return Store(settings.results_dir)


@pytest.fixture
def task(settings, store) -> Task:
    request = Request(models=("mvae",), datasets=(DATA,), epochs=1)
    (spec,) = make_plan(request, store, settings.data_dir).specs
    return Task(spec, True, "")


def made(task: Task, **changes) -> RunResult:
    return RunResult(task.spec, [], info={"seconds": {"train": 1.0, "evaluate": 1.0}}, **changes)


def test_a_run_that_another_process_has_is_left_alone(task, settings, store):
    under_way = UnderWay(store.root, task.spec.run_id)
    with under_way.locked() as ours:
        assert ours and under_way.taken
        assert work(task, settings, COMMAND).how == "busy"
    assert not under_way.taken and not list((store.root / "work").iterdir())


def test_a_file_system_without_locks_is_a_sentence_that_names_the_way_out(task, settings, store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("filelock._unix.fcntl.flock", refuse)
    outcome = work(task, settings, COMMAND)
    assert outcome.how == "unwritable" and "no locks" in outcome.sentence and "--shard" in outcome.sentence


def test_a_value_that_is_no_json_fails_its_run_and_no_other(task, settings, store, monkeypatch):
    monkeypatch.setattr(execute, "run", lambda *_, **__: replace(made(task), rows=[{"n": np.int64(5)}]))
    outcome = work(task, settings, COMMAND)
    assert outcome.how == "failed" and "int64 is not JSON serializable" in outcome.sentence
    assert store.status(task.spec) == "failed"


def test_a_run_whose_stored_failure_was_removed_meanwhile_is_done(task, settings, store, monkeypatch):
    monkeypatch.setattr(execute, "run", lambda *_, **__: made(task))
    assert work(replace(task, seen="a failure that was there"), settings, COMMAND).how == "done"
    assert store.status(task.spec) == "done"


def test_a_task_that_was_sent_before_the_command_was_asked_to_stop_does_nothing(task, settings, store):
    COMMAND.request(store.root).parent.mkdir()
    COMMAND.request(store.root).touch()
    assert work(task, settings, COMMAND).how == "stopped"
    assert list((store.root / "work").iterdir()) == [COMMAND.request(store.root)]


def test_crashes_count_only_while_a_run_does_not_get_on(task, store):
    under_way = UnderWay(store.root, task.spec.run_id)
    under_way.folder.mkdir(parents=True)
    assert [under_way.start("ours").crashes for _ in range(CRASHES + 1)] == [0, 1, 2, CRASHES]
    under_way.checkpoint.write_text("")  # it went on before it crashed again
    assert under_way.start("ours").crashes == 1
    assert under_way.start("ours").crashes == 2
    assert under_way.start("another").crashes == 0
    under_way.leave()
    assert under_way.start("another").crashes == 0, "a process that stopped in order did not crash"


def test_a_run_must_stop_when_its_folder_or_command_is_gone_and_when_it_is_asked(task, store, monkeypatch):
    under_way, now, asked = UnderWay(store.root, task.spec.run_id), [0.0], COMMAND.request(store.root)
    under_way.folder.mkdir(parents=True)
    halt = Halt(under_way.folder, asked, os.getppid(), lambda: now[0])
    assert halt() == ""
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert halt() == "", "it looks twice a second"
    now[0] += 1
    assert halt() == "its command is gone"
    own = Halt(under_way.folder, asked, os.getpid(), lambda: now[0])  # in the command's own process
    assert own() == ""
    asked.touch()
    now[0] += 1
    assert own() == "asked to"
    under_way.clear()
    assert Halt(under_way.folder, asked, 0, lambda: now[0])() == "its results folder is gone"


def test_who_listens_no_more_does_not_keep_us_from_stopping(monkeypatch):
    """``2>&1 | tee log``: Ctrl-C ends tee first."""
    asked = []

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr(stops.os, "write", closed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell starts us ignoring it
    try:
        with stops.Stops(lambda: asked.append(True)) as listening:
            signal.raise_signal(signal.SIGINT)
            assert asked == [True]
            assert listening.code == 130
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_lost_connection_stops_in_order_and_under_nohup_nothing(ignored):
    asked = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with app._signals_and_warnings(), stops.Stops(lambda: asked.append(True)) as listening:
            for _ in range(2):  # the kernel and the shell send one each
                signal.raise_signal(signal.SIGHUP)
        assert (asked, listening.code) == (([], 0) if ignored else ([True], 129))
        assert signal.getsignal(signal.SIGHUP) == (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_workers_that_die_before_they_begin_are_a_sentence_after_three_rounds(settings, monkeypatch):
    rounds = []

    def dying(calls, *_arguments, **_more):
        rounds.append(list(calls))
        raise backends.WorkerDied("killed")

    monkeypatch.setattr(sweep, "_prepare", lambda specs, *_: (specs, {}, False))
    monkeypatch.setattr(sweep, "results", dying)
    monkeypatch.setattr(sweep, "LOOK", 0.01)
    with pytest.raises(BenchError, match=r"die before they begin a run \(killed\)"):
        run(settings, models=("mvae",))
    assert len(rounds) == sweep.VAIN


def test_a_folder_that_cannot_hold_a_plan_is_a_sentence(settings, store):
    (store.root / "plans").write_text("")
    with pytest.raises(BenchError, match="Cannot write to"):
        run(settings, models=("mvae",))
