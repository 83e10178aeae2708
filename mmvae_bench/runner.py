"""Plan -> prepare what is shared -> run in parallel through joblib -> store.

The only place that knows about processes.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import joblib

from mmvae_bench.errors import BenchError, DataError
from mmvae_bench.planning import Plan
from mmvae_bench.progress import Board, leave_note
from mmvae_bench.request import Settings
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import Store, read_run


def run_plan(plan: Plan, settings: Settings) -> int:
    """Run what is to run, store each run as it ends, and return the exit code.

    0: everything planned is stored; 1: some run failed; 2: nothing could run, or a data set is corrupt (its runs are
    left out with the sentence that helps, the others are run).
    """
    store = Store(settings.results_dir)
    store.check_writable()
    store.write_plan(plan.name, plan.record())
    todo, corrupt = _prepare(plan.todo(settings.overwrite), settings)
    again = [spec for spec in plan.specs if spec not in todo and not corrupt and _lacks_metrics(store, spec, settings)]
    ended = _map(todo, again, store, settings)
    store.collate()
    if corrupt:
        return 2
    return 1 if "failed" in ended else plan.exit_code(settings.overwrite)


def _prepare(specs: list[RunSpec], settings: Settings) -> tuple[list[RunSpec], bool]:
    """Build each data set's cache and train its oracles once, side by side; drop the runs of corrupt data."""
    if not specs:
        return [], False
    groups: dict[tuple[str, str], list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(_data_of(spec), []).append(spec)
    names = ", ".join(name for name, _ in groups)
    _say(f"Preparing {names}: the data, and the classifiers that judge them (once; then from the cache)")
    jobs = min(count_jobs(settings), len(groups))
    tasks = [joblib.delayed(_prepared)(own[0], settings) for own in groups.values()]
    good, corrupt = [], False
    for own, sentence in zip(groups.values(), joblib.Parallel(n_jobs=jobs, backend="loky")(tasks), strict=True):
        if sentence:
            corrupt = True
            _say(f"{len(own)} runs on {own[0].dataset.name} are left out: {sentence}")
        else:
            good += own
    return good, corrupt


def _prepared(spec: RunSpec, settings: Settings) -> str:
    """Why the data set cannot be used, or empty: its cache is built and its oracles are trained."""
    from mmvae_bench.execute import open_material

    try:
        open_material(spec, settings.data_dir, settings.cache_dir).judges(spec.dataset.name, settings.cache_dir)
    except BenchError as error:
        return str(error)
    return ""


def _data_of(spec: RunSpec) -> tuple[str, str]:
    return spec.dataset.name, str(sorted(spec.dataset.options.items()))


def _lacks_metrics(store: Store, spec: RunSpec, settings: Settings) -> bool:
    """Whether a stored run was scored before some metric was registered."""
    from mmvae_bench.records import metric_versions

    if settings.overwrite == "never" or store.status(spec) != "done":
        return False
    scored = read_run(store.folder(spec)).get("metrics", {})
    return any(scored.get(name) != number for name, number in metric_versions().items())


def _map(todo: list[RunSpec], again: list[RunSpec], store: Store, settings: Settings) -> list[str]:
    """Run everything, in parallel; return how each ended: ``done`` or ``failed``."""
    from mmvae_bench.estimate import estimate

    if not todo and not again:
        return []
    notes = Path(tempfile.mkdtemp(prefix="mmvae-bench-"))
    weights = {spec.run_id: estimate([spec], store).seconds for spec in todo} | {spec.run_id: 1.0 for spec in again}
    tasks = [joblib.delayed(_one)(spec, spec in todo, settings, notes) for spec in [*todo, *again]]
    ended = []
    try:
        with Board(weights, notes) as board:
            jobs = min(count_jobs(settings), len(tasks))
            for spec_id, how, sentence in _results(tasks, jobs, settings):
                ended.append(how)
                board.finish(spec_id, sentence)
    except BrokenProcessPool:
        ended.append("failed")
        _say("a worker process died (out of memory?); the runs under way are not stored: run the same command again")
    finally:
        shutil.rmtree(notes, ignore_errors=True)
    return ended


def _results(tasks: list[object], jobs: int, settings: Settings) -> Iterable[tuple[str, str, str]]:
    """What :func:`_one` returns, as runs end: from processes on a CPU, from threads where they share GPUs.

    A process has a CUDA context of its own, and contexts take turns at a GPU; the streams of one context share it.
    """
    from mmvae_bench.engine.device import choose

    backend = "threading" if choose(settings.device).type == "cuda" else "loky"
    results: Iterable[tuple[str, str, str]] = joblib.Parallel(
        n_jobs=jobs, backend=backend, return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs"
    )(tasks)
    return results


def count_jobs(settings: Settings) -> int:
    """How many runs at a time: ``auto`` is one for each core. On GPUs their memory may let in fewer."""
    if settings.jobs != "auto":
        return settings.jobs
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // settings.threads)


def _one(spec: RunSpec, train: bool, settings: Settings, notes: Path) -> tuple[str, str, str]:
    """One run in a worker: train and score it, or only score it by new metrics; store it whatever happens."""
    from mmvae_bench import execute, records
    from mmvae_bench.engine.device import prepare
    from mmvae_bench.engine.share import place

    store, epochs = Store(settings.results_dir), spec.train.epochs
    prepare(settings.threads, spec.precision)
    try:
        with place(settings.device) as (device, settled):

            def note(epoch: int, loss: float) -> None:
                leave_note(notes, spec.run_id, title=spec.title, epoch=epoch, epochs=epochs, loss=loss)
                if epoch:
                    settled()

            note(0 if train else epochs, 0.0)
            if train:
                result = execute.run(
                    spec, device, settings.threads, settings.data_dir, settings.cache_dir,
                    lambda p: note(p.epoch, p.loss), compiled=settings.compiled,
                )  # fmt: skip
            else:
                result = execute.evaluate_again(spec, store, device, settings.data_dir, settings.cache_dir)
    except Exception as error:
        if not train and isinstance(error, DataError):
            return spec.run_id, "done", f"{spec.title}: stored; new metrics would need its data: {error}"
        if not train:
            return spec.run_id, "failed", f"{spec.title}: new metrics failed: {error}; its stored scores are kept"
        result = records.failed(spec, error)
    try:
        store.publish(result)
    except OSError as error:
        return spec.run_id, "failed", f"{spec.title}: its results cannot be written ({error.strerror}): run it again"
    if result.error:
        return spec.run_id, "failed", f"{spec.title}: failed: {result.error}"
    seconds, lack = result.info["seconds"], result.info.get("engine_remark", "")
    sentence = f"{spec.title}: trained in {seconds['train']:.0f} s, scored in {seconds['evaluate']:.0f} s"
    return spec.run_id, "done", f"{sentence}; {lack}" if lack else sentence


def _say(sentence: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
