"""One run in a worker process: locked, trained or scored, published once, and unlocked, whatever happens."""

import errno
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mmvae_bench.errors import DataError, Stopped, TrainingFailed
from mmvae_bench.spec import RunSpec, RunStatus
from mmvae_bench.store.publish import restore
from mmvae_bench.store.run import RunResult, run_checksum
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import EVERY, UnderWay
from mmvae_bench.sweep.request import Settings

CRASHES = 3  # worker processes that may crash in one run before it is given up; dask allows as many


@dataclass(frozen=True)
class Command:
    """The command that workers work for."""

    nonce: str  # identifies the command in the notes of its runs and in the request to stop
    pid: int  # number of its process

    def request(self, results_dir: Path) -> Path:
        """Path of the file whose presence asks its workers to stop."""
        return results_dir / "work" / f"{self.nonce}.stop"


@dataclass(frozen=True)
class Task:
    """A run to be done."""

    spec: RunSpec
    train: bool  # False scores it by the metrics registered, or changed, since
    seen: str  # checksum of what was stored when the run was planned; any other result comes from another process
    metrics: tuple[str, ...] = ()  # names of the metrics that are scored; empty means all
    priors: tuple[str, ...] = ()  # learned priors that are scored


@dataclass(frozen=True)
class Outcome:
    """How a task ended: done, failed, busy, stopped, or unwritable, of which ``sentence`` is the reason."""

    run_id: str
    how: RunStatus
    sentence: str = ""  # for people


def work(task: Task, settings: Settings, command: Command) -> Outcome:
    """Do a task, unless another process has it or did it."""
    spec, store = task.spec, Store(settings.results_dir)
    under_way, folder = UnderWay(store.root, spec.run_id), store.folder(spec)
    try:
        if command.request(store.root).exists():  # the task was sent before the command was asked to stop
            return Outcome(spec.run_id, RunStatus.STOPPED)
        with under_way.locked() as ours:
            if not ours:
                return Outcome(spec.run_id, RunStatus.BUSY)
            restore(folder)
            how = store.status(spec)
            if run_checksum(folder) != task.seen and how in (RunStatus.DONE, RunStatus.FAILED):
                under_way.clear()
                return Outcome(spec.run_id, how, f"{spec.title}: {how} by another process")
            try:
                return _locked(task, settings, command, store, under_way)
            finally:
                under_way.leave()  # while the run is still ours: the next owner writes its own note
    except OSError as error:
        return Outcome(spec.run_id, RunStatus.UNWRITABLE, error.strerror or str(error))


def _locked(task: Task, settings: Settings, command: Command, store: Store, under_way: UnderWay) -> Outcome:
    """Do a task whose run this process has locked."""
    spec, owner = task.spec, under_way.start(command.nonce)
    under_way.say(f"{spec.title}: taken by {owner}")
    try:
        if owner.crashes >= CRASHES:
            raise TrainingFailed(f"{CRASHES} processes died of it, one after the other (killed for their memory?)")
        halt = Halt(under_way.folder, command.request(store.root), command.pid)
        result = _result(task, settings, command, store, under_way, halt)
    except Stopped as why:
        under_way.say(f"stopped: {why}")
        return Outcome(spec.run_id, RunStatus.STOPPED, f"{spec.title}: stopped: {why}")
    except Exception as error:
        return _failed(error, task, store, under_way)
    try:
        return _published(result, task, store, under_way)
    except (TypeError, ValueError) as error:  # a plug-in's value that is not JSON or not an array
        return _failed(error, task, store, under_way)


def _failed(error: Exception, task: Task, store: Store, under_way: UnderWay) -> Outcome:
    """Record why a run failed; of a stored run only tell why new metrics did."""
    from mmvae_bench.sweep import records

    spec = task.spec
    under_way.say(traceback.format_exc())
    if task.train:
        return _published(records.failed(spec, error), task, store, under_way)
    under_way.clear()
    if isinstance(error, DataError):
        return Outcome(spec.run_id, RunStatus.DONE, f"{spec.title}: stored; new metrics would need its data: {error}")
    return Outcome(spec.run_id, RunStatus.FAILED, f"{spec.title}: new metrics failed: {error}; its scores are kept")


def _published(result: RunResult, task: Task, store: Store, under_way: UnderWay) -> Outcome:
    """Publish a result, and tell how it went."""
    spec, result = task.spec, replace(result, log=result.log + under_way.log())
    if not under_way.folder.exists():  # a results folder that is gone must not come back with one run in it
        raise FileNotFoundError(errno.ENOENT, "the folder is gone", str(store.root))
    store.publish(result)
    under_way.clear()
    if result.error:
        where = f"; traceback in '{store.folder(spec) / 'log.txt'}'"
        return Outcome(spec.run_id, RunStatus.FAILED, f"{spec.title}: failed: {result.error}{where}")
    seconds, lack = result.info["seconds"], result.info.get("engine_remark", "")
    sentence = f"{spec.title}: trained in {seconds['train']:.0f} s, scored in {seconds['evaluate']:.0f} s"
    return Outcome(spec.run_id, RunStatus.DONE, f"{sentence}; {lack}" if lack else sentence)


def _result(
    task: Task, settings: Settings, command: Command, store: Store, under_way: UnderWay, halt: Callable[[], str]
) -> RunResult:
    """Train and score, or only score, on a device that has room; with fewer neighbours where memory ran out."""
    import torch

    from mmvae_bench.engine.checkpoint import Keeper
    from mmvae_bench.engine.device import prepare
    from mmvae_bench.engine.share import place
    from mmvae_bench.sweep import execute

    spec, epochs, scored = task.spec, task.spec.train.epochs, (task.metrics, task.priors)
    folders, changed = (settings.data_dir, settings.cache_dir), settings.overwrite == "changed"
    prepare(settings.threads, spec.precision)
    keeper = Keeper(under_way.checkpoint, settings.checkpoint_seconds, halt, under_way.say)
    while True:
        with place(settings.device) as at:

            def note(epoch: int, loss: float, started: Callable[[], None] = at.started) -> None:
                under_way.note(command=command.nonce, title=spec.title, epoch=epoch, epochs=epochs, loss=loss)
                if epoch:
                    started()

            note(0 if task.train else epochs, 0.0)
            try:
                if task.train:
                    return execute.run(
                        spec, at.device, settings.threads, *folders, lambda p: note(p.epoch, p.loss), keeper,
                        *scored, compiled=settings.compiled,
                    )  # fmt: skip
                return execute.evaluate_again(spec, store, at.device, *folders, keeper, *scored, changed=changed)
            except torch.OutOfMemoryError as error:
                if not at.out_of_memory():
                    why = str(error).splitlines()[0]
                    raise TrainingFailed(
                        f"out of GPU memory without neighbours ({why}): try a smaller --batch-size, or --device cpu"
                    ) from None
                under_way.say("out of GPU memory: again, with fewer neighbours")
        torch.cuda.empty_cache()


class Halt:
    """Asked at each step whether a run must stop; looks at the disk at most every :data:`EVERY` seconds.

    Args:
        folder: folder of the run's work.
        request: file whose presence asks all runs of a command to stop.
        command: number of the command's process. If it is our parent and dies, the run stops.
        now: clock, in seconds.
    """

    def __init__(self, folder: Path, request: Path, command: int, now: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.request, self.now = folder, request, now
        self._command = command if os.getppid() == command else 0
        self._next = 0.0
        self._why = ""

    def __call__(self) -> str:
        """Return why the run must stop, or an empty text."""
        if not self._why and self.now() >= self._next:
            self._next = self.now() + EVERY
            with suppress(OSError):  # a folder that cannot be read asks for nothing
                if self._command and os.getppid() != self._command:
                    self._why = "its command is gone"
                elif not self.folder.exists():
                    self._why = "its results folder is gone"
                elif self.request.exists():
                    self._why = "asked to"
        return self._why
