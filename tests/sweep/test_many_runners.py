"""Several commands on one folder: each run is published once, whoever is killed; clusters through joblib."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch

from mmvae_bench.engine import share
from mmvae_bench.engine.share import Place
from mmvae_bench.errors import BenchError
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import Owner, UnderWay
from mmvae_bench.sweep import backends, execute, runner
from tests.sweep.test_runner import run

TINY = "--models mvae --datasets linear_gaussian[rows=60] --epochs 1 --limit-test 20 --seeds {seeds}"


class Watcher(threading.Thread):
    """Sees every result that ever stands under a run's name."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True)
        self.store, self.done = store, threading.Event()
        self.seen: dict[str, set[bytes]] = defaultdict(set)

    def run(self) -> None:
        while not self.done.wait(0.01):
            for path in self.store.root.glob("runs/*/*/*/run.json"):
                if not path.parent.name.startswith("."):
                    self.seen[path.parent.name].add(path.read_bytes())


@pytest.mark.slow
def test_four_commands_on_forty_runs_some_killed_publish_each_once(start, tmp_path):
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")  # noqa: T201 (shown where the test fails)
    generator, store = random.Random(seed), Store(tmp_path / "results")
    watcher = Watcher(store)
    watcher.start()
    commands = [start(TINY.format(seeds=40) + " --jobs 1") for _ in range(4)]
    while len(store.folders()) < 4:
        time.sleep(0.05)
        assert any(command.poll() is None for command in commands)
    outputs = []
    for killed in generator.sample(commands, 2):
        time.sleep(generator.uniform(0.0, 2.0))
        os.killpg(killed.pid, signal.SIGKILL)
        outputs.append(killed.communicate()[0])
    again = start(TINY.format(seeds=40) + " --jobs 2")
    for command in [*commands, again]:
        if command.returncode is None:
            outputs.append(command.communicate(timeout=300)[0])
            assert command.returncode == 0, outputs[-1]
    watcher.done.set()
    watcher.join()
    assert len(store.folders()) == 40
    assert {len(results) for results in watcher.seen.values()} == {1}, "no result ever took the place of another"
    told = Counter(re.findall(r"\] (.*?): trained in", "\n".join(outputs)))
    assert max(told.values()) == 1, told
    assert len(told) >= 38, "of those who were killed the last line may be lost"
    assert not list((store.root / "work").iterdir())
    assert store.scores().run_id.nunique() == 40
    assert "Traceback" not in "".join(outputs)


def test_what_another_command_has_is_waited_for_and_taken_over_when_it_lets_go(settings, monkeypatch):
    store = Store(settings.results_dir)
    monkeypatch.setattr(runner, "LOOK", 0.05)
    let_go, others = threading.Event(), []
    original = runner.Sweep._round

    def have(run_id):
        under_way = UnderWay(store.root, run_id)
        with under_way.locked():
            under_way.folder.mkdir()
            (under_way.folder / "owner.json").write_text(json.dumps(asdict(Owner("another", "far", 1, "now", 0, 0))))
            others.append(run_id)
            let_go.wait()

    def taken(self, tasks, board):
        if not others:
            threading.Thread(target=have, args=(tasks[0].spec.run_id,)).start()
            while not others:
                time.sleep(0.01)
        original(self, tasks, board)

    def say(self, sentence):
        said.append(sentence)
        if sentence.startswith("waiting"):
            let_go.set()

    said = []
    monkeypatch.setattr(runner.Sweep, "_round", taken)
    monkeypatch.setattr(runner.Board, "say", say)
    code, _ = run(settings)
    assert code == 0 and store.scores().run_id.nunique() == 2
    assert "waiting for 1 run of process 1 on far" in said


def test_a_run_that_another_command_published_meanwhile_is_not_done_again(settings, monkeypatch, capsys):
    original = runner.Sweep._round

    def meanwhile(self, tasks, board):
        monkeypatch.setattr(runner.Sweep, "_round", original)
        assert run(settings)[0] == 0
        monkeypatch.setattr(execute, "run", lambda *_, **__: pytest.fail("done again"))
        original(self, tasks, board)

    monkeypatch.setattr(runner.Sweep, "_round", meanwhile)
    code, _ = run(settings)
    assert code == 0
    assert "done by another process" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("fails", "code"), [(2, 0), (9, 1)])
def test_out_of_gpu_memory_a_run_is_tried_with_fewer_neighbours_and_then_failed(fails, code, settings, monkeypatch):
    """Three runs are on the GPU: the second and third failure find one neighbour fewer each."""
    neighbours = [3]

    def out_of_memory() -> bool:
        neighbours[0] -= 1
        return neighbours[0] > 0

    class Seat:
        def __enter__(self) -> Place:
            return Place(torch.device("cpu"), out_of_memory=out_of_memory)

        def __exit__(self, *_: object) -> None:
            return None

    original, left = execute.run, [fails]

    def failing(*arguments, **more):
        left[0] -= 1
        if left[0] >= 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(*arguments, **more)

    monkeypatch.setattr(share, "place", lambda _: Seat())
    monkeypatch.setattr(execute, "run", failing)
    ended, store = run(settings, models=("mvae",))
    assert ended == code
    log = (store.folders()[0] / "log.txt").read_text()
    assert log.count("again, with fewer neighbours") == 2
    if code:
        assert "out of GPU memory without neighbours (CUDA out of memory" in store.scores().reason.item()


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=30)


@pytest.mark.slow
def test_dask_on_two_workers_one_of_them_killed_stores_what_processes_here_store(start, tmp_path):
    pytest.importorskip("distributed")
    address, file = "", tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1"]
    worker += ["--no-dashboard", "--local-directory", str(tmp_path / "dask")]

    def another() -> subprocess.Popen[bytes]:
        return subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    workers = [another()]  # the cluster grows while it works
    try:
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        flags = "--models mvae mopoe --datasets linear_gaussian[rows=1000] --epochs 150 --batch-size 50 --limit-test 60"
        flags += " --seeds 2 --checkpoint-seconds 0.2"
        process = start(f"{flags} --backend dask --address {address}")
        for number in (1, 2):
            while len(owners := list((tmp_path / "results").glob("work/*/owner.json"))) < number:
                time.sleep(0.05)
                assert process.poll() is None, process.communicate()[0]
            workers += [another()] if number == 1 else []
        pids = [json.loads(path.read_text())["pid"] for path in owners]
        assert process.pid not in pids
        time.sleep(1.0)
        os.kill(pids[0], signal.SIGKILL)  # its nanny starts another
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
        assert "Traceback" not in output
    finally:
        stop([*workers, scheduler])
    (tmp_path / "results").rename(tmp_path / "dasks")
    local = start(flags + " --jobs 2")
    output = local.communicate(timeout=300)[0]
    assert local.returncode == 0, output
    pd.testing.assert_frame_equal(Store(tmp_path / "dasks").scores(), Store(tmp_path / "results").scores())


def test_a_cluster_that_does_not_answer_is_a_sentence(settings, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(backends, "TIMEOUT", 1)
    with pytest.raises(BenchError, match=r"No dask scheduler answers at '127.0.0.1:1'"):
        run(replace(settings, backend="dask", address="127.0.0.1:1"))


def test_a_backend_that_is_not_installed_says_what_to_install(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BenchError, match=r"pip install 'mmvae-bench\[dask\]'"):
        run(replace(settings, backend="dask"))
