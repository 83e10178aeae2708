"""One run in a worker process: claimed, trained or scored, published once, released; whatever happens is an outcome."""

import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mmvae_bench.errors import DataError, Stopped, TrainingFailed
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import publish
from mmvae_bench.store.claims import Claim, Holder
from mmvae_bench.store.store import RunResult, Store
from mmvae_bench.store.work import EVERY, UnderWay
from mmvae_bench.sweep.request import Settings

DEATHS = 3  # of processes, in one run, after which it is given up: dask forgives as many


@dataclass(frozen=True)
class Command:
    """The command that workers work for.

    Attributes:
        nonce: Its name in claims and in the request to stop.
        pid: Its process.
    """

    nonce: str
    pid: int

    def request(self, results_dir: Path) -> Path:
        """The file whose presence asks its workers to stop."""
        return results_dir / "claims" / f"{self.nonce}.stop"


@dataclass(frozen=True)
class Task:
    """A run to be done.

    Attributes:
        train: Or only to be scored by the metrics registered since.
        seen: The stamp of what was stored when it was planned: anything else is another process's work.
        expired: Whose claim on it has expired.
    """

    spec: RunSpec
    train: bool
    seen: str
    expired: Holder | None = None


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        how: ``busy``: another process has the run; ``stopped``: on request; ``unwritable``: the results folder takes
            no files, and ``sentence`` is why.
        sentence: For people.
    """

    run_id: str
    how: Literal["done", "failed", "busy", "stopped", "unwritable"]
    sentence: str = ""


def work(task: Task, settings: Settings, command: Command) -> Outcome:
    """Do a task, unless another process has it or did it."""
    spec, store = task.spec, Store(settings.results_dir)
    try:
        if command.request(store.root).exists():  # it was sent before the command was asked to stop
            return Outcome(spec.run_id, "stopped")
        claim = store.claims.take(spec.run_id, command.nonce, task.expired)
        if claim is None:
            return Outcome(spec.run_id, "busy")
        with claim:
            publish.restore(store.folder(spec))
            stamp, how = store.stamp(spec), store.status(spec)
            if stamp != task.seen and how in ("done", "failed"):
                UnderWay(store.root, spec.run_id).clear()
                return Outcome(spec.run_id, how, f"{spec.title}: {how} by another process")
            return _claimed(replace(task, seen=stamp), settings, command, store, claim)
    except OSError as error:
        return Outcome(spec.run_id, "unwritable", error.strerror or str(error))


def _claimed(task: Task, settings: Settings, command: Command, store: Store, claim: Claim) -> Outcome:
    """Do a task whose run is ours."""
    spec, under_way = task.spec, UnderWay(settings.results_dir, task.spec.run_id)
    under_way.start()
    under_way.say(f"{spec.title}: taken by {claim.holder}" + (f", from {claim.before}" if claim.before else ""))
    try:
        another = claim.before is not None and claim.before.runner == command.nonce
        if (deaths := under_way.deaths(command.nonce, another=another)) >= DEATHS:
            raise TrainingFailed(f"{deaths} processes died of it, one after the other (killed for their memory?)")
        halt = Halt(claim, command.request(store.root), command.pid)
        result = _result(task, settings, command, store, under_way, halt)
    except Stopped as why:
        under_way.say(f"stopped: {why}")
        return Outcome(spec.run_id, "stopped", f"{spec.title}: stopped: {why}")
    except Exception as error:
        under_way.say(traceback.format_exc())
        if not task.train:
            under_way.clear()
            if isinstance(error, DataError):
                return Outcome(spec.run_id, "done", f"{spec.title}: stored; new metrics would need its data: {error}")
            sentence = f"{spec.title}: new metrics failed: {error}; its stored scores are kept"
            return Outcome(spec.run_id, "failed", sentence)
        result = _failure(spec, error)
    return _published(result, task, store, claim, under_way)


def _failure(spec: RunSpec, error: Exception) -> RunResult:
    from mmvae_bench.sweep import records

    return records.failed(spec, error)


def _published(result: RunResult, task: Task, store: Store, claim: Claim, under_way: UnderWay) -> Outcome:
    """Publish a result, if the run is still ours, and tell how it went."""
    spec, result = task.spec, replace(result, log=result.log + under_way.log())
    try:
        published = store.publish(result, task.seen, claim.held)
    except (TypeError, ValueError) as error:  # a plug-in's value that is no JSON or no array
        under_way.say(traceback.format_exc())
        if not task.train:
            under_way.clear()
            return Outcome(spec.run_id, "failed", f"{spec.title}: new metrics failed: {error}; its scores are kept")
        return _published(_failure(spec, error), task, store, claim, under_way)
    if published is None and not (result.error and claim.held()):
        return Outcome(spec.run_id, "busy")  # it was taken over, or published, while we were away
    under_way.clear()
    if result.error:
        return Outcome(spec.run_id, "failed", f"{spec.title}: failed: {result.error}")
    seconds, lack = result.info["seconds"], result.info.get("engine_remark", "")
    sentence = f"{spec.title}: trained in {seconds['train']:.0f} s, scored in {seconds['evaluate']:.0f} s"
    return Outcome(spec.run_id, "done", f"{sentence}; {lack}" if lack else sentence)


def _result(
    task: Task, settings: Settings, command: Command, store: Store, under_way: UnderWay, halt: Callable[[], str]
) -> RunResult:
    """Train and score, or only score, on a device that has room; with fewer neighbours where memory ran out."""
    import torch

    from mmvae_bench.engine.checkpoint import Keeper
    from mmvae_bench.engine.device import prepare
    from mmvae_bench.engine.share import place
    from mmvae_bench.sweep import execute

    spec, epochs = task.spec, task.spec.train.epochs
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
                        spec, at.device, settings.threads, settings.data_dir, settings.cache_dir,
                        lambda p: note(p.epoch, p.loss), keeper, compiled=settings.compiled,
                    )  # fmt: skip
                return execute.evaluate_again(spec, store, at.device, settings.data_dir, settings.cache_dir, keeper)
            except torch.OutOfMemoryError as error:
                if not at.out_of_memory():
                    why = str(error).splitlines()[0]
                    raise TrainingFailed(
                        f"out of GPU memory without neighbours ({why}): try a smaller --batch-size, or --device cpu"
                    ) from None
                under_way.say("out of GPU memory: again, with fewer neighbours")
        torch.cuda.empty_cache()


class Halt:
    """Asked at each step whether a run must stop; looks at most every :data:`EVERY` seconds.

    Args:
        claim: The run's.
        request: The file whose presence asks all runs of a command to stop.
        command: The process of that command; if it is our parent and dies, we stop.
    """

    def __init__(self, claim: Claim, request: Path, command: int, now: Callable[[], float] = time.monotonic) -> None:
        self.claim, self.request, self.now = claim, request, now
        self._command = command if os.getppid() == command else 0
        self._next = 0.0
        self._why = ""

    def __call__(self) -> str:
        """Why the run must stop, or empty."""
        if not self._why and self.now() >= self._next:
            self._next = self.now() + EVERY
            self._why = self._look()
        return self._why

    def _look(self) -> str:
        if self.claim.lost:
            return "the results folder is gone, or another process has taken the run over"
        if self._command and os.getppid() != self._command:
            return "its command is gone"
        with suppress(OSError):  # a folder that cannot be read asks for nothing
            return "asked to" if self.request.exists() else ""
        return ""
