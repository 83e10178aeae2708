"""One task: what becomes of a run, of its folder and of its claim, whatever happens to the process or beside it."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from mmvae_bench.errors import BenchError, TrainingFailed
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from mmvae_bench.sweep import backends, execute
from mmvae_bench.sweep import runner as sweep
from mmvae_bench.sweep import signals as stops
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.request import Request
from mmvae_bench.sweep.worker import DEATHS, Command, Halt, Task, work
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


def test_a_run_that_was_taken_over_is_left_to_the_thief_whatever_comes_of_it_here(task, settings, store, monkeypatch):
    """Also its failure, and the thief's checkpoint."""

    def robbed(*_arguments, **_more):
        thief = store.claims.take(task.spec.run_id, expired=store.claims.holder(task.spec.run_id))
        assert thief
        UnderWay(store.root, task.spec.run_id).checkpoint.write_text("the thief's")
        raise TrainingFailed("the loss is NaN")

    monkeypatch.setattr(execute, "run", robbed)
    assert work(task, settings, COMMAND).how == "busy"
    assert UnderWay(store.root, task.spec.run_id).checkpoint.read_text() == "the thief's"
    assert store.status(task.spec) == "absent"


def test_a_value_that_is_no_json_fails_its_run_and_no_other(task, settings, store, monkeypatch):
    monkeypatch.setattr(execute, "run", lambda *_, **__: made(task, artifacts={}, history=[{"n": 1.0}]))
    monkeypatch.setattr(execute, "run", lambda *_, **__: replace(made(task), rows=[{"n": np.int64(5)}]))
    outcome = work(task, settings, COMMAND)
    assert outcome.how == "failed" and "int64 is not JSON serializable" in outcome.sentence
    assert store.status(task.spec) == "failed"


def test_a_run_whose_stored_failure_was_removed_meanwhile_is_done(task, settings, store, monkeypatch):
    monkeypatch.setattr(execute, "run", lambda *_, **__: made(task))
    assert work(replace(task, seen="a failure that was there"), settings, COMMAND).how == "done"
    assert store.status(task.spec) == "done"


def test_a_task_that_was_sent_before_the_command_was_asked_to_stop_does_nothing(task, settings, store):
    store.claims.root.mkdir()
    COMMAND.request(store.root).touch()
    assert work(task, settings, COMMAND).how == "stopped"
    assert not (store.root / "work").exists()


def test_deaths_count_only_while_a_run_does_not_get_on(task, store):
    under_way = UnderWay(store.root, task.spec.run_id)
    under_way.start()
    assert [under_way.deaths("ours", another=True) for _ in range(DEATHS)] == [1, 2, 3]
    assert under_way.deaths("ours", another=False) == DEATHS
    assert under_way.deaths("another", another=False) == 0
    under_way.checkpoint.write_text("")  # it went on before it died again
    assert under_way.deaths("ours", another=False) == 0
    assert under_way.deaths("ours", another=True) == 1


def test_a_run_must_stop_when_it_is_lost_when_its_command_is_gone_and_when_it_is_asked(task, store, monkeypatch):
    claim, now = store.claims.take(task.spec.run_id), [0.0]
    halt = Halt(claim, COMMAND.request(store.root), os.getppid(), lambda: now[0])
    assert halt() == ""
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert halt() == "", "it looks twice a second"
    now[0] += 1
    assert halt() == "its command is gone"
    own = Halt(claim, COMMAND.request(store.root), os.getpid(), lambda: now[0])  # in the command's own process
    assert own() == ""
    COMMAND.request(store.root).touch()
    now[0] += 1
    assert own() == "asked to"
    claim.lost = True
    assert "another process has taken the run over" in Halt(claim, COMMAND.request(store.root), 0, lambda: now[0])()


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


def test_workers_that_die_before_they_begin_are_a_sentence_after_three_rounds(settings, monkeypatch):
    rounds = []

    def dying(calls, *_arguments, **_more):
        if "_prepared" in str(next(iter(calls))):
            return iter([(f"linear_gaussian {sorted(options.items())}", "")])
        rounds.append(1)
        raise backends.WorkerDied("killed")

    plan = make_plan(Request(models=("mvae",), datasets=(DATA,)), Store(settings.results_dir), settings.data_dir)
    options = plan.specs[0].dataset.options
    monkeypatch.setattr("mmvae_bench.sweep.runner.results", dying)
    monkeypatch.setattr(sweep, "results", dying)
    monkeypatch.setattr(sweep, "LOOK", 0.01)
    with pytest.raises(BenchError, match=r"die before they begin a run \(killed\)"):
        run(settings, models=("mvae",))
    assert len(rounds) == sweep.VAIN


def test_a_folder_that_cannot_hold_a_plan_is_a_sentence(settings, store):
    (store.root / "plans").write_text("")
    with pytest.raises(BenchError, match="cannot be written under"):
        run(settings, models=("mvae",))
