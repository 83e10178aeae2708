"""The command ``run``: from flags to a plan, and from a plan to results."""

import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmvae_bench.cli.options import MultiValue, cache_option, data_option, results_option
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import OPTIMISERS, PRECISIONS

if TYPE_CHECKING:
    from mmvae_bench.store.store import Store
    from mmvae_bench.sweep.plan import Plan
    from mmvae_bench.sweep.request import Request, Settings


@click.command(cls=MultiValue, short_help="Train and score every model of a grid, or of a suite.")
@click.option("--models", multiple=True, metavar="all|NAME...", help="Default: all. 'mmvae[k=30]' sets an option.")
@click.option("--datasets", multiple=True, metavar="NAME...", help="Default: mnist_street.")
@click.option("--missing", multiple=True, metavar="RATIO...", help="Shares of incomplete rows, in [0, 1). Default: 0.")
@click.option("--scheme", multiple=True, metavar="SCHEME...", help="split (default), only:NAME, independent, ...")
@click.option("--incomplete", multiple=True, metavar="keep|drop...", help="Train on incomplete rows (keep), or not.")
@click.option("--seeds", type=int, metavar="N", help="The seeds 0 to N-1. Default: 1.")
@click.option("--seed-list", multiple=True, metavar="SEED...", help="These seeds.")
@click.option("--suite", metavar="FILE|NAME", help="A TOML file or a name of 'list suites'; flags override it.")
@click.option("--nets", metavar="NAME", help="Such as 'conv[text=transformer]'. Default: the data set's protocol.")
@click.option("--epochs", type=int, help="Default: the data set's protocol.")
@click.option("--batch-size", type=int, help="Default: the data set's protocol.")
@click.option("--learning-rate", type=float, help="Adam's. Default: the data set's protocol.")
@click.option("--optimiser", type=click.Choice(OPTIMISERS), help="Default: adam.")
@click.option("--scale", "scales", multiple=True, metavar="NAME=NUMBER...", help="Of a modality's likelihood.")
@click.option("--weight", "weights", multiple=True, metavar="NAME=NUMBER...", help="Of a modality's log-likelihood.")
@click.option("--latent-dim", type=int, help="Default: the data set's protocol.")
@click.option("--limit-train", type=int, metavar="N", help="Use N training rows. Default: all.")
@click.option("--limit-test", type=int, metavar="N", help="Use N test rows. Default: all.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of the nets in training. Default: fp32.")
@click.option("--compile", "compiled", is_flag=True, help="Fuse steps by torch.compile: minutes first, then faster.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="auto and cuda mean all GPUs."
)
@click.option("--jobs", default="auto", show_default=True, metavar="N|auto", help="Runs at a time.")
@click.option("--threads", type=int, default=1, show_default=True, help="Of each run.")
@click.option("--checkpoint-seconds", type=float, default=60.0, show_default=True, help="Between two of a run.")
@click.option(
    "--backend", type=click.Choice(["loky", "dask"]), default="loky", show_default=True,
    help="Processes here, or a cluster that sees the same folders.",
)  # fmt: skip
@click.option("--address", default="", metavar="URL", help="Of the cluster's scheduler. Default: one is started here.")
@click.option("--shard", default="", metavar="I/N", help="Only the I-th of N parts of the plan, from 1/N to N/N.")
@data_option
@cache_option
@results_option
@click.option("--dry-run", is_flag=True, help="Print the plan and the time it may take, and stop.")
@click.option(
    "--overwrite", type=click.Choice(["never", "failed", "always"]), default="failed", show_default=True,
    help="Which stored runs to repeat.",
)  # fmt: skip
@click.pass_context
def run(ctx: click.Context, /, dry_run: bool, **flags: Any) -> None:
    """Train and score every model of a grid, or of a suite; what is stored is not repeated.

    Several values may follow one flag, or be joined by commas: --models mvae mmvae --missing 0,0.5. Without --models,
    --datasets and --suite, the suite 'quick' runs.
    """
    from mmvae_bench.sweep.environment import check_device

    typed = shlex.join(["mmvae-bench", "run", *ctx.meta.get("typed", ())])
    request = replace(_request(flags), command=typed)
    settings = _settings(flags)
    check_device(settings.device, request.precision)  # what cannot be had is said before anything is planned
    from mmvae_bench.store.store import Store
    from mmvae_bench.sweep.plan import make_plan

    store = Store(settings.results_dir)
    store.check_writable(make=not dry_run)
    plan = make_plan(request, store, settings.data_dir)
    if flags["shard"]:
        plan = plan.shard(*_shard(flags["shard"]))
    _show(plan, settings, store, every=dry_run)
    code = plan.exit_code(settings.overwrite)
    if code == 2:
        raise BenchError("nothing could run; the reasons are above")
    if not dry_run:
        code = _execute(plan, settings)
    ctx.exit(code)


def _request(flags: dict[str, Any]) -> "Request":
    """The suite, or the defaults, with what the flags say in place of its values."""
    from mmvae_bench.options import split_list
    from mmvae_bench.sweep.request import Request, numbers_by_name, ratios, seed_numbers
    from mmvae_bench.sweep.suites import load_suite

    lists = {
        key: tuple(split_list(flags[key]))
        for key in ("models", "datasets", "missing", "scheme", "seed_list", "incomplete")
    }
    changes: dict[str, Any] = {key: lists[key] for key in ("models", "datasets", "incomplete")}
    changes |= {"schemes": lists["scheme"], "missing": ratios(lists["missing"])}
    changes["seeds"] = seed_numbers(flags["seeds"], lists["seed_list"])
    changes |= {key: numbers_by_name(split_list(flags[key])) for key in ("scales", "weights")}
    plain = ("nets", "epochs", "batch_size", "learning_rate", "optimiser", "latent_dim")
    changes |= {key: flags[key] for key in (*plain, "limit_train", "limit_test", "precision")}
    suite = flags["suite"] or ("" if lists["models"] or lists["datasets"] else "quick")
    base = load_suite(suite) if suite else Request()
    return replace(base, **{key: value for key, value in changes.items() if value not in (None, (), {})})


def _settings(flags: dict[str, Any]) -> "Settings":
    """How to run, which changes no number."""
    from mmvae_bench.sweep.request import Settings

    folders = ("data_dir", "cache_dir", "results_dir")
    names = ("device", "threads", "compiled", "checkpoint_seconds", "overwrite", "backend", "address")
    jobs = flags["jobs"]
    if jobs != "auto" and not re.fullmatch(r"\d{1,9}", jobs):
        raise BenchError(f"--jobs is a whole number or auto, not '{jobs}'")
    return Settings(jobs=jobs if jobs == "auto" else int(jobs), **{name: flags[name] for name in (*names, *folders)})


def _shard(text: str) -> tuple[int, int]:
    """``3/8`` as numbers."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise BenchError(f"--shard is I/N with I from 1 to N, such as 1/8, not '{text}'")
    return int(found[1]), int(found[2])


def _show(plan: "Plan", settings: "Settings", store: "Store", *, every: bool) -> None:
    """Print the plan: every run or the counts alone, what stands in the way of some, and the time it may take."""
    from mmvae_bench.sweep.estimate import estimate

    click.echo(f"Plan '{plan.name}'" + (f": {plan.title}" if plan.title else ""))
    reasons = Counter((entry.status, entry.reason) for entry in plan.entries if entry.reason)
    number = {why: f" [{position}]" for position, why in enumerate(reasons, 1)}
    for entry in plan.entries if every else ():
        click.echo(f"  {entry.status:<14} {entry.title}{number.get((entry.status, entry.reason), '')}")
    for (status, reason), count in reasons.items():
        where = number[status, reason].strip()
        click.echo(f"{where} {count} {'run' if count == 1 else 'runs'} {status}: {reason}", err=True)
    counts = ", ".join(f"{count} {status}" for status, count in plan.counts.items())
    todo = plan.todo(settings.overwrite)
    time = estimate(todo, store).text(min(_jobs(settings), max(1, len(todo))))
    click.echo(f"{len(plan.entries)} {'run' if len(plan.entries) == 1 else 'runs'}: {counts}; {time}")


def _jobs(settings: "Settings") -> int:
    """Runs at a time."""
    from mmvae_bench.sweep.runner import count_jobs

    return count_jobs(settings)


def _execute(plan: "Plan", settings: "Settings") -> int:
    """Run the plan and say what to type next."""
    from mmvae_bench.sweep.runner import run_plan

    code: int = run_plan(plan, settings)
    if code > 2:
        return code  # how to go on was said
    where = [] if settings.results_dir == Path("results") else ["--results-dir", str(settings.results_dir)]
    click.echo(f"Next: {shlex.join(['mmvae-bench', 'report', '--suite', plan.name, *where])}")
    return code
