"""The tasks of a command, sent to workers until each is stored, by us or by others."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from mmvae_bench.backends import WorkerDied, results
from mmvae_bench.disk import nonce
from mmvae_bench.errors import BenchError
from mmvae_bench.progress import Board
from mmvae_bench.request import Settings
from mmvae_bench.stops import Stops
from mmvae_bench.store.claims import Watch
from mmvae_bench.store.store import Store
from mmvae_bench.worker import Command, Outcome, Task, work

VAIN = 3  # rounds
LOOK = 1.0  # seconds between two looks at runs that other processes have


class Sweep:
    """The tasks of a command, until each is stored by us or by others.

    Args:
        tasks: What to do.
        jobs: Runs at a time.
        store: Where results go.
        settings: How.

    Attributes:
        stored: Runs that are done; ``failed`` are not.
        unwritable: Why results cannot be written any more, or empty.
        code: The exit code of the signal that asked to stop, or 0.
    """

    def __init__(self, tasks: list[Task], jobs: int, store: Store, settings: Settings) -> None:
        self.jobs, self.store, self.settings = jobs, store, settings
        self.stored = self.failed = self.code = 0
        self.unwritable = ""
        self._left = {task.spec.run_id: task for task in tasks}
        self._command = Command(nonce(), os.getpid())
        self._watch = Watch(store.claims)
        self._in_vain = 0  # rounds in which workers died and nothing was begun
        self._suspects: set[str] = set()  # a process died while they were under way: they go on one at a time

    def run(self) -> None:
        """Do what is left, and wait for what others do, until nothing is left or we are asked to stop."""
        from mmvae_bench.estimate import estimate_each

        if not self._left:
            return
        each = estimate_each((task.spec for task in self._left.values()), self.store)
        weights = {
            name: seconds if task.train else 1.0
            for (name, task), (seconds, _) in zip(self._left.items(), each, strict=True)
        }
        with Board(weights, self.store.root, self._command.nonce) as board, Stops(self._ask) as self._stops:
            try:
                while self._left and self._goes_on:
                    self._round(self._free(), board)
                    if self._left and self._goes_on:
                        self._wait(board)
            finally:
                self.code = self._stops.code
                with suppress(OSError):
                    self._command.request(self.store.root).unlink(missing_ok=True)

    @property
    def _goes_on(self) -> bool:
        return not (self._stops.code or self.unwritable)

    def _ask(self) -> None:
        """Ask our workers to stop."""
        try:
            request = self._command.request(self.store.root)
            request.parent.mkdir(exist_ok=True)
            request.touch()
        except OSError as error:  # workers see a folder that is gone, and a full disk has room for no result either
            self.unwritable = error.strerror or str(error)

    def _free(self) -> list[Task]:
        """What can be started now: the runs that nobody has, suspects alone."""
        free = []
        for name, task in self._left.items():
            holder, over = self._watch.look(name)
            if over:
                free.append(Task(task.spec, task.train, task.seen, holder))
        calm = [task for task in free if task.spec.run_id not in self._suspects]
        return calm or free[:1]

    def _round(self, tasks: list[Task], board: Board) -> None:
        """Send tasks to workers and take what comes back."""
        calls = (partial(work, task, self.settings, self._command) for task in self._unless_stopped(tasks))
        outcomes = 0
        try:
            suspect = any(task.spec.run_id in self._suspects for task in tasks)
            jobs = 2 if suspect else max(1, min(self.jobs, len(tasks)))  # one job would be this process
            for outcome in results(calls, jobs, self.settings, processes=suspect):
                outcomes += 1
                self._take(outcome, board)
        except WorkerDied as death:
            ours = [name for name in self._left if self._is_ours(name)]
            self._suspects.update(ours)
            self._in_vain = 0 if ours or outcomes else self._in_vain + 1
            if self._in_vain == VAIN:
                raise BenchError(
                    f"worker processes die before they begin a run ({death}): is there too little memory, or is the "
                    "installation broken? Then run the same command again"
                ) from death
            board.say(f"a worker process died ({death}); {len(ours)} runs go on from their checkpoints")

    def _unless_stopped(self, tasks: list[Task]) -> Iterator[Task]:
        for task in tasks:
            if not self._goes_on:
                return
            yield task

    def _take(self, outcome: Outcome, board: Board) -> None:
        if outcome.how == "unwritable":
            if not self.unwritable:
                self.unwritable = outcome.sentence
                self._ask()
            return
        if outcome.how in ("busy", "stopped"):
            return
        del self._left[outcome.run_id]
        self.stored += outcome.how == "done"
        self.failed += outcome.how == "failed"
        board.finish(outcome.run_id, outcome.sentence)

    def _is_ours(self, name: str) -> bool:
        holder = self.store.claims.holder(name)
        return holder is not None and holder.runner == self._command.nonce

    def _wait(self, board: Board) -> None:
        """Until a run is nobody's; what others published is seen when it is claimed."""
        time.sleep(LOOK)
        holders = sorted({str(holder) for name in self._left if (holder := self._watch.look(name)[0])})
        if not self._free():
            board.say(f"waiting for {len(self._left)} runs of {', '.join(holders)}")
        while self._goes_on and not self._free():
            time.sleep(LOOK)
