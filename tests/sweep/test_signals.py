"""Commands that are asked to stop, that lose their folder or their workers: real processes, as a user types them."""

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mmvae_bench.errors import BenchError
from mmvae_bench.store import store
from mmvae_bench.store.work import UnderWay
from tests.sweep.test_runner import run

LONG = "--models mvae mopoe --datasets linear_gaussian[rows=1000] --epochs 4000 --batch-size 50 --limit-test 100"
SHORT = "--models mvae mopoe --datasets linear_gaussian[rows=120] --epochs 2 --limit-test 60"


def wait_for(what, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def ended(process: subprocess.Popen[str], code: int, seconds: float = 120) -> str:
    """What a command printed, which ends with a code and never with a traceback."""
    output = process.communicate(timeout=seconds)[0]
    assert process.returncode == code, output
    assert "Traceback" not in output
    return output


def at_work(results: Path, runs: int = 2):
    """Whether so many runs have taken steps."""

    def look() -> bool:
        notes = [path.read_text() for path in results.glob("work/*/progress.json")]
        return sum('"epoch": 0' not in note for note in notes) >= runs

    return look


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("jobs", [1, 2])
def test_one_signal_writes_checkpoints_unlocks_runs_and_says_how_to_go_on(sent, code, jobs, start, tmp_path):
    results = tmp_path / "results"
    process = start(f"{LONG} --jobs {jobs}")
    wait_for(at_work(results, jobs), process)
    for _ in range(1 + (sent == signal.SIGHUP)):  # a lost connection sends it twice
        os.killpg(process.pid, sent)  # as a terminal and a batch system do: to the command and its workers
    output = ended(process, code, 60)
    assert "Stopping: runs under way write a checkpoint first; once more stops at once." in output
    assert "Stopped: 0 of 2 runs stored, 2 left." in output
    assert f"To go on: mmvae-bench run {LONG.split(maxsplit=1)[0]}" in output
    assert len(list(results.glob("work/*/checkpoint.safetensors"))) == jobs
    assert not [path for path in (results / "work").iterdir() if path.is_file()], "no lock, no request to stop"
    assert not list(results.rglob("*.tmp")) and not list(results.rglob("owner.json"))


@pytest.mark.slow
def test_a_second_signal_stops_at_once_and_what_it_leaves_is_gone_on_with(start, tmp_path):
    results = tmp_path / "results"
    process = start(f"{LONG} --jobs 2")
    wait_for(at_work(results), process)
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGINT)
    ended(process, 130, 20)
    ended(start(f"{LONG.replace('4000', '3')} --jobs 2"), 0)


PLUG_IN = """
import os, signal
from mmvae_bench.models.mvae import MVAE

class Dies(MVAE):
    '''Its process is killed, as one that takes all memory.'''
    def loss(self, batch):
        if {condition}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch)
"""


def plug_in(folder: Path, condition: str) -> dict[str, str]:
    """A package with the model ``dies``; what to add to the environment so that it is found."""
    info = folder / "plug" / "plug-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmvae_bench.models]\ndies = plug_model:Dies\n")
    (folder / "plug" / "plug_model.py").write_text(PLUG_IN.format(condition=condition))
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder / "plug"), os.environ.get("PYTHONPATH")]))}


@pytest.mark.slow
def test_a_run_that_kills_its_process_is_given_up_and_takes_no_other_along(start, tmp_path):
    environment = plug_in(tmp_path, "True")
    process = start(SHORT.replace("mvae mopoe", "dies mvae mopoe") + " --jobs 2", environment=environment)
    output = ended(process, 1, 300)
    frame = store.Store(tmp_path / "results").scores()
    assert set(frame[frame.status == "failed"].label) == {"dies"}
    assert "3 processes died of it" in frame[frame.status == "failed"].reason.item()
    assert set(frame[frame.status == "ok"].label) == {"mvae", "mopoe"}
    assert "a worker process died" in output


@pytest.mark.slow
def test_a_worker_that_dies_once_costs_nothing(start, tmp_path):
    environment = plug_in(
        tmp_path, f"not os.path.exists({str(tmp_path / 'once')!r}) and not os.mkdir({str(tmp_path / 'once')!r})"
    )
    process = start(SHORT.replace("mvae mopoe", "dies mvae") + " --jobs 2", environment=environment)
    output = ended(process, 0, 300)
    assert "a worker process died" in output
    assert set(store.Store(tmp_path / "results").scores().label) == {"dies", "mvae"}


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_that_nobody_listens_to_goes_on(jobs, start, tmp_path):
    environment = plug_in(tmp_path, "print('loud', flush=True)")  # which is false
    process = start(SHORT.replace("mvae mopoe", "dies mvae") + f" --jobs {jobs}", environment=environment)
    process.stdout.close()  # and standard error: they are one pipe
    assert process.wait(300) == 0
    frame = store.Store(tmp_path / "results").scores()
    assert set(frame.label) == {"dies", "mvae"} and "failed" not in set(frame.status)


@pytest.mark.slow
def test_a_command_that_is_killed_takes_its_workers_along(start, tmp_path):
    results = tmp_path / "results"
    process = start(f"{LONG} --jobs 2")
    wait_for(at_work(results), process)
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    names = [path.name for path in (results / "work").iterdir() if path.is_dir()]
    while any(UnderWay(results, name).taken for name in names) and time.monotonic() < end:
        time.sleep(0.1)
    assert names and not any(UnderWay(results, name).taken for name in names)
    assert all("stopped: its command is gone" in path.read_text() for path in results.glob("work/*/log.txt"))


@pytest.mark.slow
def test_a_results_folder_that_vanishes_is_one_sentence(start, tmp_path):
    results = tmp_path / "results"
    process = start(f"{LONG} --jobs 2")
    wait_for(at_work(results), process)
    results.rename(tmp_path / "elsewhere")
    output = ended(process, 2, 60)
    assert output.count("Error: ") == 1
    assert "Cannot write to" in output
    assert not list(results.glob("runs/*/*/*"))


@pytest.mark.parametrize(
    "number",
    [
        errno.ENOSPC,
        pytest.param(errno.EACCES, marks=pytest.mark.slow),
        pytest.param(errno.EROFS, marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_takes_no_more_is_one_sentence_and_nothing_half_written_is_a_result(
    number, settings, monkeypatch, capsys
):
    run(settings, models=("mvae",))
    original = store.write_files

    def full(folder, result):
        original(folder, result)
        (folder / "run.json").unlink()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store, "write_files", full)
    with pytest.raises(BenchError, match=r"any more .*\. Finished runs are safe\. Fix the problem"):
        run(settings)
    stored = store.Store(settings.results_dir)
    assert set(stored.scores().label) == {"mvae"}
    assert not list(settings.results_dir.rglob("*.tmp"))
    assert not list(settings.results_dir.glob("work/*.lock"))
    monkeypatch.undo()
    assert run(settings)[0] == 0
    log = next(f for f in stored.folders() if f.parent.name == "mopoe") / "log.txt"
    assert "resumed after 1 epochs" in log.read_text(), "only its scoring was done again"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs the right to mount a small disk")
def test_a_real_disk_that_is_full_is_one_sentence(start, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(results)], capture_output=True)  # noqa: PLW1510
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode()}")
    try:
        process = start(f"{SHORT} --jobs 1")
        output = ended(process, 2)
        assert output.count("Error: ") == 1 and "No space left on device" in output
        assert store.Store(results).scores().empty or set(store.Store(results).scores().status) <= {"ok", "skipped"}
    finally:
        subprocess.run(["umount", str(results)], check=True)
