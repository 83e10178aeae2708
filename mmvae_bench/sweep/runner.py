"""Plan -> prepare what is shared -> send runs to workers until each is stored -> the exit code.

Several commands may work on one folder at the same time: whoever starts a run locks it, and whoever finds it locked
goes on to the next and comes back.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import takewhile

import click

from mmvae_bench.disk import nonce
from mmvae_bench.errors import BenchError, counted, described
from mmvae_bench.spec import RunSpec, RunStatus
from mmvae_bench.store.publish import restore
from mmvae_bench.store.run import StoredRun, steadily
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from mmvae_bench.sweep.backends import WorkerDied, cluster, results
from mmvae_bench.sweep.environment import cores
from mmvae_bench.sweep.estimate import estimate
from mmvae_bench.sweep.plan import Plan, PlannedRun
from mmvae_bench.sweep.progress import Board
from mmvae_bench.sweep.request import Settings
from mmvae_bench.sweep.signals import Stops
from mmvae_bench.sweep.worker import Command, Outcome, Task, work

VAIN = 3  # rounds in which workers died and no run was begun, after which the command gives up
LOOK = 1.0  # seconds between two looks at runs that other processes have


class Sweep:
    """The tasks of a command, ``jobs`` at a time, until each is stored by us or by others.

    Attributes:
        stored: number of runs that are done.
        failed: number of runs that failed.
        unwritable: reason why results cannot be written any more, or empty.
        code: exit code of the signal that asked to stop, or 0.
    """

    def __init__(self, tasks: list[Task], jobs: int, store: Store, settings: Settings) -> None:
        self.jobs, self.store, self.settings = jobs, store, settings
        self.stored = self.failed = self.code = 0
        self.unwritable = ""
        self._left = {task.spec.run_id: task for task in tasks}
        self._command = Command(nonce(), os.getpid())
        self._in_vain = 0
        self._suspects: set[str] = set()  # a process died while they were under way: they go on one at a time

    def run(self) -> None:
        """Do what is left, and wait for what others do, until nothing is left or we are asked to stop."""
        if not self._left:
            return
        each = estimate((task.spec for task in self._left.values()), self.store)
        weights = {
            name: seconds if task.train else 1.0 for (name, task), seconds in zip(self._left.items(), each, strict=True)
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
        """Return what can be started now: the runs that nobody has, suspects alone."""
        free = [task for name, task in self._left.items() if not UnderWay(self.store.root, name).taken]
        calm = [task for task in free if task.spec.run_id not in self._suspects]
        return calm or free[:1]

    def _round(self, tasks: list[Task], board: Board) -> None:
        """Send tasks to workers and take what comes back."""
        going = takewhile(lambda _: self._goes_on, tasks)
        calls = (partial(work, task, self.settings, self._command) for task in going)
        outcomes = 0
        try:
            suspect = any(task.spec.run_id in self._suspects for task in tasks)
            jobs = 2 if suspect else max(1, min(self.jobs, len(tasks)))  # one job would be this process
            for outcome in results(calls, jobs, self.settings, processes=suspect):
                outcomes += 1
                self._take(outcome, board)
        except WorkerDied as death:
            owners = {name: UnderWay(self.store.root, name).owner() for name in self._left}
            ours = [name for name, owner in owners.items() if owner and owner.command == self._command.nonce]
            self._suspects.update(ours)
            self._in_vain = 0 if ours or outcomes else self._in_vain + 1
            if self._in_vain == VAIN:
                raise BenchError(
                    f"Worker processes die before they begin a run ({death}). Is there too little memory, or is the "
                    "installation broken? Then run the same command again."
                ) from death
            again = f"; interrupted, and taken up again: {counted(len(ours), 'run')}" if ours else ""
            board.say(f"a worker process died ({death}){again}")

    def _take(self, outcome: Outcome, board: Board) -> None:
        if outcome.how == RunStatus.UNWRITABLE:
            if not self.unwritable:
                self.unwritable = outcome.sentence
                self._ask()
            return
        if outcome.how in (RunStatus.BUSY, RunStatus.STOPPED):
            return
        del self._left[outcome.run_id]
        self.stored += outcome.how == RunStatus.DONE
        self.failed += outcome.how == RunStatus.FAILED
        board.finish(outcome.run_id, outcome.sentence)

    def _wait(self, board: Board) -> None:
        """Wait until another process lets go of a run; what it published is seen when we lock the run."""
        time.sleep(LOOK)
        if not self._free():
            owners = {str(owner) for name in self._left if (owner := UnderWay(self.store.root, name).owner())}
            board.say(
                f"waiting for {counted(len(self._left), 'run')} of {', '.join(sorted(owners)) or 'another process'}"
            )
        while self._goes_on and not self._free():
            time.sleep(LOOK)


def run_plan(plan: Plan, settings: Settings) -> int:
    """Run what is to run, store each run as it ends, and return the exit code.

    0: everything planned is stored; 1: some run failed; 2: nothing could run, or a data set is corrupt (its runs are
    left out with the sentence that helps, the others are run), or results cannot be written any more; 129, 130, 143:
    asked to stop.

    Raises:
        BenchError: If the results folder or the backend cannot be had.
    """
    store = Store(settings.results_dir)
    store.check_writable()
    try:
        return _run(plan, settings, store)
    except OSError as error:
        raise BenchError(
            f"Cannot write to '{store.root}' any more ({error.strerror or error}). Finished runs are safe. Fix the "
            "problem and rerun the same command."
        ) from error


def _run(plan: Plan, settings: Settings, store: Store) -> int:
    if sentence := _replaced(plan, store):
        click.echo(sentence, err=True)
    store.write_plan(plan.name, plan.record())
    _tidy(plan, store, settings)
    planned = {entry.spec.run_id: entry for entry in plan.entries}
    with cluster(settings) as capacity:
        jobs = capacity or count_jobs(settings)
        todo, impossible, corrupt = _prepare(plan.todo(settings.overwrite), jobs, settings)
        if impossible:
            plan = plan.skipping(impossible)
            store.write_plan(plan.name, plan.record())
        tasks = [_task(planned[spec.run_id], settings, train=True) for spec in todo]
        for spec in [] if corrupt else _unscored(plan, store, settings):
            tasks.append(_task(planned[spec.run_id], settings, train=False))
        sweep = Sweep(tasks, jobs, store, settings)
        sweep.run()
    if sweep.unwritable:
        raise OSError(None, sweep.unwritable)
    if sweep.code:
        click.echo(
            f"Stopped: {sweep.stored} of {counted(len(tasks), 'run')} stored, {len(tasks) - sweep.stored} left.\n"
            f"To go on: {plan.command or 'run the same command again'}",
            err=True,
        )
        return sweep.code
    store.collate()
    if corrupt:
        return 2
    return 1 if sweep.failed else plan.exit_code(settings.overwrite)


def _replaced(plan: Plan, store: Store) -> str:
    """Return a sentence if a stored plan of the same name has runs that the new one lacks; else empty."""
    try:
        before = store.read_plan(plan.name)
    except BenchError:  # there is none, or none that could be read
        return ""
    gone = set(before["run_ids"]) - {spec.run_id for spec in plan.specs}
    if not gone:
        return ""
    return (
        f"The last plan '{plan.name}' had {counted(len(gone), 'run')} that this one lacks, and is replaced; what is "
        "stored stays. To keep both plans, give each another name: --name"
    )


def _task(entry: PlannedRun, settings: Settings, *, train: bool) -> Task:
    scored = (entry.metrics, ()) if entry.metrics else (settings.metrics, settings.priors)
    return Task(entry.spec, train, entry.checksum, *scored)


def _tidy(plan: Plan, store: Store, settings: Settings) -> None:
    """Remove the work on stored runs, left by processes that died after they had published them."""
    left = {path.stem for path in (store.root / "work").glob("*")}
    for spec in _kept(plan, settings):  # of one that is trained again, what is stored says nothing of the work
        if spec.run_id in left:
            under_way = UnderWay(store.root, spec.run_id)
            with under_way.locked() as ours:
                if ours:
                    restore(store.folder(spec))
                    under_way.clear()


def _prepare(
    specs: list[RunSpec], jobs: int, settings: Settings
) -> tuple[list[RunSpec], dict[str, str], bool]:  # fmt: skip
    """Build each data set's cache and train its oracles once, side by side.

    Returns:
        The runs that can be trained, why others are impossible (by id), and whether some data set is corrupt.
    """
    if not specs:
        return [], {}, False
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(_group(spec), []).append(spec)
    names = ", ".join(own[0].dataset.name for own in groups.values())
    click.echo(
        f"Preparing {names}: the data, and the classifiers that judge them (once; then from the cache)", err=True
    )
    calls = (partial(_prepared, own, settings) for own in groups.values())
    corrupt: dict[str, str] = {}
    impossible: dict[str, str] = {}
    try:
        for name, sentence, reasons in results(calls, min(jobs, len(groups)), settings, processes=True):
            corrupt |= {name: sentence} if sentence else {}
            impossible |= reasons
    except WorkerDied as death:
        raise BenchError(f"A process died while it prepared {names} ({death}). Is there too little memory?") from death
    why = {spec.run_id: corrupt.get(_group(spec), impossible.get(spec.run_id, "")) for spec in specs}
    left_out = Counter((spec.dataset.name, why[spec.run_id]) for spec in specs if why[spec.run_id])
    for (name, sentence), count in left_out.items():
        click.echo(f"{counted(count, 'run')} on {name} left out: {sentence}", err=True)
    return [spec for spec in specs if not why[spec.run_id]], impossible, bool(corrupt)


def _group(spec: RunSpec) -> str:
    """Name the data set of a run with its options."""
    return f"{spec.dataset.name} {sorted(spec.dataset.options.items())}"


def _prepared(specs: list[RunSpec], settings: Settings) -> tuple[str, str, dict[str, str]]:
    """Prepare the data set of some runs; return its group, why it cannot be used (or empty), and impossible runs."""
    from mmvae_bench.sweep.execute import prepare_data

    try:
        return _group(specs[0]), "", prepare_data(specs, settings.data_dir, settings.cache_dir)
    except Exception as error:  # a plug-in may raise anything
        return _group(specs[0]), described(error), {}


def _kept(plan: Plan, settings: Settings) -> list[RunSpec]:
    """Return the specs of stored runs that are not trained again."""
    again = {spec.run_id for spec in plan.todo(settings.overwrite)}
    return [spec for spec in plan.having({RunStatus.DONE}) if spec.run_id not in again]


def _unscored(plan: Plan, store: Store, settings: Settings) -> Iterator[RunSpec]:
    """Yield the specs of stored runs that lack a metric or, where that is asked for, have it from different code."""
    kept = _kept(plan, settings)
    if settings.overwrite == "never" or not kept:
        return
    from mmvae_bench.sweep.records import scored_by, unscored  # which imports every metric

    now, changed = scored_by(settings.metrics, settings.priors), settings.overwrite == "changed"
    for spec in kept:
        if spec.split == "validation":  # a trial is scored once, by the rule's metric
            continue
        run = steadily(store.folder(spec), StoredRun.read)
        if run and unscored(run.record, now, changed=changed):
            yield spec


def count_jobs(settings: Settings) -> int:
    """Return the number of runs at a time: ``auto`` is one for each core. On GPUs their memory may let in fewer."""
    return max(1, cores() // settings.threads) if settings.jobs == "auto" else settings.jobs
