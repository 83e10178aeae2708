"""Plan -> prepare what is shared -> send runs to workers until each is stored -> the exit code.

Several commands may work on one folder at the same time: each run is claimed by whoever starts it (``claims``), and who
finds it claimed goes on to the next and comes back.
"""

from functools import partial
from typing import Any

from mmvae_bench.backends import WorkerDied, cluster, results
from mmvae_bench.environment import cores
from mmvae_bench.errors import BenchError, described
from mmvae_bench.planning import Plan
from mmvae_bench.request import Settings
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import publish
from mmvae_bench.store.run import steadily
from mmvae_bench.store.store import Store, read_run
from mmvae_bench.store.work import UnderWay
from mmvae_bench.sweep import Sweep
from mmvae_bench.worker import Task


def run_plan(plan: Plan, settings: Settings) -> int:
    """Run what is to run, store each run as it ends, and return the exit code.

    0: everything planned is stored; 1: some run failed; 2: nothing could run, or a data set is corrupt (its runs are
    left out with the sentence that helps, the others are run), or results cannot be written any more; 130, 143: asked
    to stop.

    Raises:
        BenchError: If the results folder or the backend cannot be had.
    """
    store = Store(settings.results_dir)
    store.check_writable()
    try:
        return _run(plan, settings, store)
    except OSError as error:
        raise BenchError(
            f"results cannot be written under '{store.root}' any more ({error.strerror or error}): what is stored is "
            "safe; mend that and run the same command again"
        ) from error


def _run(plan: Plan, settings: Settings, store: Store) -> int:
    store.write_plan(plan.name, plan.record())
    if settings.overwrite != "always":  # there what is stored says nothing of what is under way
        _tidy(plan, store)
    seen = {entry.spec.run_id: entry.stamp for entry in plan.entries if entry.spec}
    with cluster(settings) as capacity:
        jobs = capacity or count_jobs(settings)
        todo, corrupt = _prepare(plan.todo(settings.overwrite), jobs, settings)
        tasks = [Task(spec, True, seen[spec.run_id]) for spec in todo]
        chosen = {spec.run_id for spec in todo}
        for spec in plan.own if not corrupt else ():
            if spec.run_id not in chosen and _lacks_metrics(store, spec, settings):
                tasks.append(Task(spec, False, seen[spec.run_id]))
        sweep = Sweep(tasks, jobs, store, settings)
        sweep.run()
    if sweep.unwritable:
        raise OSError(None, sweep.unwritable)
    if sweep.code:
        _say(f"Stopped: {sweep.stored} of {len(tasks)} runs are stored, {len(tasks) - sweep.stored} are left.")
        _say(f"To go on from the last checkpoints: {plan.command or 'run the same command again'}")
        return sweep.code
    store.collate()
    if corrupt:
        return 2
    return 1 if sweep.failed else plan.exit_code(settings.overwrite)


def _tidy(plan: Plan, store: Store) -> None:
    """Remove what processes that died after publishing a run left of it: a claim, a checkpoint."""
    left = {path.name for part in ("claims", "work") for path in (store.root / part).glob("*")}
    stored = [entry.spec for entry in plan.entries if entry.spec and entry.status == "stored"]
    for spec in stored:
        if spec.run_id in left and (claim := store.claims.take(spec.run_id)):
            with claim:
                publish.restore(store.folder(spec))
                UnderWay(store.root, spec.run_id).clear()


def _prepare(specs: list[RunSpec], jobs: int, settings: Settings) -> tuple[list[RunSpec], bool]:
    """Build each data set's cache and train its oracles once, side by side; drop the runs of corrupt data."""
    if not specs:
        return [], False
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(f"{spec.dataset.name} {sorted(spec.dataset.options.items())}", []).append(spec)
    names = ", ".join(own[0].dataset.name for own in groups.values())
    _say(f"Preparing {names}: the data, and the classifiers that judge them (once; then from the cache)")
    calls = (partial(_prepared, group, own[0], settings) for group, own in groups.items())
    sentences: dict[str, str] = {}
    try:
        sentences.update(results(calls, min(jobs, len(groups)), settings, processes=True))
    except WorkerDied as death:
        raise BenchError(f"a process died while preparing {names} ({death}): is there too little memory?") from death
    good: list[RunSpec] = []
    for group, own in groups.items():
        if sentences[group]:
            _say(f"{len(own)} runs on {own[0].dataset.name} are left out: {sentences[group]}")
        else:
            good += own
    return good, any(sentences.values())


def _prepared(group: str, spec: RunSpec, settings: Settings) -> tuple[str, str]:
    """Why a data set cannot be used, or empty: its cache is built and its oracles are trained."""
    from mmvae_bench.execute import open_material

    try:
        open_material(spec, settings.data_dir, settings.cache_dir).judges(spec.dataset.name, settings.cache_dir)
    except Exception as error:  # a plug-in may raise anything
        return group, described(error)
    return group, ""


def _lacks_metrics(store: Store, spec: RunSpec, settings: Settings) -> bool:
    """Whether a stored run was scored before some metric was registered."""
    from mmvae_bench.records import metric_versions

    if settings.overwrite == "never" or store.status(spec) != "done":
        return False
    nothing: dict[str, Any] = {}
    scored = steadily(store.folder(spec), read_run, nothing).get("metrics", {})
    return any(scored.get(name) != number for name, number in metric_versions().items())


def count_jobs(settings: Settings) -> int:
    """How many runs at a time: ``auto`` is one for each core. On GPUs their memory may let in fewer."""
    if settings.jobs != "auto":
        return settings.jobs
    return max(1, cores() // settings.threads)


def _say(sentence: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
