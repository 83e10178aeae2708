"""What the commands do, as functions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmvae_bench.disk import disk_errors, given_path
from mmvae_bench.errors import BenchError, counted
from mmvae_bench.store.store import PUBLISHED, Store, read_published
from mmvae_bench.sweep.again import Recorded, recorded
from mmvae_bench.sweep.environment import check_device
from mmvae_bench.sweep.request import Request, Settings, cache_folder, data_folder, shard_numbers
from mmvae_bench.sweep.streams import unread
from mmvae_bench.sweep.suites import KINDS, make_request, plan_name

if TYPE_CHECKING:
    import pandas as pd

    from mmvae_bench.report.board import Board
    from mmvae_bench.report.build import ReportResult
    from mmvae_bench.sweep.plan import Plan

Several = str | Sequence[str] | None


def run(
    models: Several = None, datasets: Several = None, missing: float | Sequence[float] | None = None,
    seeds: int | Sequence[int] | None = None, *, suite: str | None = None, name: str | None = None,
    metrics: Several = None, priors: Several = None, scheme: Several = None, incomplete: Several = None,
    nets: str | None = None, epochs: int | None = None, batch_size: int | None = None,
    learning_rate: float | None = None, optimiser: str | None = None, latent_dim: int | None = None,
    scales: Mapping[str, float] | None = None, weights: Mapping[str, float] | None = None,
    limit_train: int | None = None, limit_test: int | None = None,
    precision: str | None = None, tiers: Several = None, overwrite: str = "failed", device: str | None = None,
    jobs: int | str = "auto", threads: int | None = None, compiled: bool = False, checkpoint_seconds: float = 60.0,
    backend: str = "loky", address: str = "", shard: str = "", results_dir: str | Path = "results",
    data_dir: str | Path | None = None, cache_dir: str | Path | None = None, record: str | Path | None = None,
) -> "pd.DataFrame":  # fmt: skip
    """Train and score every model of a grid, or of a suite, as ``mmvae-bench run`` does; return the scores.

    Arguments are the command's flags (``mmvae-bench run --help`` describes them) with underscores, except: ``seeds`` is
    a number of seeds or a sequence of them, several values are a list, and ``record`` is the flag ``--from``. What is
    stored is not repeated.

    Returns:
        The scores of the plan's runs, a row each; of a failed run one row with its reason.

    Raises:
        BenchError: If an argument cannot be meant, or nothing could run.
        KeyboardInterrupt: If it was interrupted; the same call goes on.
    """
    flags = locals()
    with unread():
        plan, code = start(flags)
    if code > 2:
        raise KeyboardInterrupt
    return Store(given_path(results_dir)).scores(spec.run_id for spec in plan.own)


def _read(flags: Mapping[str, Any], command: str) -> tuple[Settings, Request, Recorded | None]:
    """Return from the flags of ``run`` those that change no number, those that are a suite's keys, and the record."""
    grid = {
        key: flags.get(key) or None if key in ("metrics", "priors") else flags.get(key)
        for key in KINDS
        if key != "title"
    }
    if not isinstance(grid["seeds"], int | None):
        grid["seeds"], grid["seed_list"] = None, grid["seeds"]
    again, usual = None, {"device": "auto", "threads": 1}
    if flags.get("record"):
        again = recorded(given_path(flags["record"]), {**grid, "metrics": None, "suite": flags["suite"]})
        names, usual = grid["metrics"], usual | again.settings
        request = again.request(plan_name(flags["name"]), (names,) if isinstance(names, str) else names)
    else:
        request = make_request(grid, flags["suite"], flags["name"])
    known = {field.name: flags[field.name] for field in fields(Settings)}
    known |= {key: value for key, value in usual.items() if flags[key] is None or flags[key] is False}
    known |= {"metrics": request.metrics, "priors": request.priors, "results_dir": given_path(flags["results_dir"])}
    known |= {"data_dir": data_folder(flags["data_dir"]), "cache_dir": cache_folder(flags["cache_dir"])}
    return Settings(**known), replace(request, command=command), again


def start(flags: Mapping[str, Any], *, command: str = "", dry_run: bool = False) -> "tuple[Plan, int]":
    """Plan what is asked for, print the plan, and run it; return the plan and the exit code of the command ``run``.

    Args:
        flags: arguments of :func:`run`, and perhaps ``seed_list``.
        command: command line that was typed.
        dry_run: True prints every run, and stops.

    Raises:
        BenchError: If nothing could run, or something that is asked for cannot be had.
    """
    settings, request, again = _read(flags, command)
    check_device(settings.device, request.precision)  # what cannot be had is said before anything is planned
    from mmvae_bench.sweep.plan import make_plan, plan_again
    from mmvae_bench.sweep.runner import run_plan

    if again and again.warning:
        click.echo(again.warning, err=True)
    store = Store(settings.results_dir)
    store.check_writable(make=not dry_run)
    waited = 0
    while True:
        known = store, settings.data_dir
        plan = plan_again(again.spec, request, *known) if again else make_plan(request, *known)
        if flags["shard"]:
            plan = plan.shard(*shard_numbers(flags["shard"]))
        _show(plan, settings, store, every=dry_run)
        code = plan.exit_code(settings.overwrite)
        if code == 2:
            raise BenchError(plan.refusal)
        code = code if dry_run else run_plan(plan, settings)
        if dry_run or code > 1 or plan.waiting in (0, waited):  # else trials were stored, and winners may be known
            return plan, code
        waited = plan.waiting
        settings = replace(settings, overwrite="failed" if settings.overwrite == "always" else settings.overwrite)


def _show(plan: "Plan", settings: Settings, store: Store, *, every: bool) -> None:
    """Print the plan: every run or the counts alone, what stands in the way of some, and the time it may take."""
    from mmvae_bench.sweep.estimate import estimate, in_words
    from mmvae_bench.sweep.runner import count_jobs

    click.echo(f"Plan '{plan.name}'" + (f": {plan.title}" if plan.title else ""))
    reasons = Counter((entry.status, entry.reason) for entry in plan.entries if entry.reason)
    number = {why: f" [{position}]" for position, why in enumerate(reasons, 1)}
    for entry in plan.entries if every else ():
        click.echo(f"  {entry.status:<14} {entry.spec.title}{number.get((entry.status, entry.reason), '')}")
    for (status, reason), count in reasons.items():
        where = number[status, reason].strip()
        click.echo(f"{where} {counted(count, 'run')} {status}: {reason}", err=True)
    for sentence in (*plan.changes, *plan.untuned):
        click.echo(sentence, err=True)
    counts = ", ".join(f"{count} {status}" for status, count in plan.counts.items())
    todo = plan.todo(settings.overwrite)
    jobs = min(count_jobs(settings), len(todo))
    time = in_words(sum(estimate(todo, store)), len(todo), jobs) if todo else "nothing to run"
    click.echo(f"{counted(len(plan.entries), 'run')}: {counts}; {time}")
    if plan.waiting:
        click.echo(f"Tuned first: {counted(plan.waiting, 'model')}, whose runs are planned when all trials are stored")


def load_scores(results_dir: str | Path = "results", suite: str | None = None) -> "pd.DataFrame":
    """Return the scores of all stored runs, or of the plan called ``suite``, a row each.

    Empty texts are ``""`` and never NaN, so that ``groupby`` keeps every row. A folder with published scores
    (``scores.csv.xz``) and without runs is read as well.

    Raises:
        BenchError: If nothing is stored, or a run's folder was edited.
    """
    store = Store(given_path(results_dir))
    published = store.root / PUBLISHED
    if suite is None and published.is_file() and not store.folders():
        return read_published(published)
    return store.scores(store.read_plan(suite)["run_ids"] if suite or not store.folders() else None)


def build_report(
    results_dir: str | Path = "results",
    out: str | Path = "reports",
    suite: str | None = None,
    public: bool = False,
    pdf: bool = False,
) -> Path:
    """Write tables, figures and a page of a plan's stored runs, as ``mmvae-bench report`` does; return the page's path.

    Args:
        results_dir: folder of the results.
        out: folder of the reports.
        suite: name of the plan. Default: the one that was run last.
        public: True leaves out pictures of data that may not be published.
        pdf: True writes each figure as PDF too.

    Raises:
        BenchError: If nothing is stored, or the report cannot be written.
    """
    return write_report(results_dir, out, suite, public=public, pdf=pdf).page


def write_report(
    results_dir: str | Path, out: str | Path, suite: str | None, *, public: bool = False, pdf: bool = False
) -> "ReportResult":
    """Write a report as :func:`build_report` does; return all that was written."""
    store, folder = Store(given_path(results_dir)), given_path(out)
    plan = store.read_plan(suite)
    from mmvae_bench.report.build import build_report as build

    way_out = "Move what is in the way or free some space, or choose another --out."
    with disk_errors(f"Cannot write the report to '{out}'", way_out):
        folder.mkdir(parents=True, exist_ok=True)
        return build(store, plan, folder, public=public, pdf=pdf)


def write_board(folders: Sequence[str | Path], out: str | Path) -> "Board":
    """Write one page of several results folders; without any, of those under ``results``.

    Raises:
        BenchError: If a folder holds no results, or the page cannot be written.
    """
    from mmvae_bench.report.board import write_board as write

    found = [given_path(folder) for folder in folders] or _results_here(Path("results"))
    with disk_errors(f"Cannot write the board to '{out}'", "Free some space, or choose another --out."):
        return write(found, given_path(out))


def _results_here(root: Path) -> list[Path]:
    """Return the published folders below ``root``, and ``root`` where runs are stored in it."""
    found = sorted(path.parent for path in root.glob(f"*/{PUBLISHED}"))
    found += [root] if Store(root).folders() else []
    if not found:
        raise BenchError(
            "There is nothing to show under 'results': no published scores, and no stored runs. "
            "Name folders of results, or run something first: mmvae-bench run"
        )
    return found
