"""The command ``run``: from flags to :func:`mmvae_bench.api.start`."""

import shlex
from pathlib import Path
from typing import Any

import click

from mmvae_bench.cli.options import Given, Jobs, MultiValue, cache_option, data_option, results_option
from mmvae_bench.spec import OPTIMISERS, PRECISIONS, RunStatus


@click.command(cls=MultiValue, short_help="Train and score every model of a grid, or of a suite.")
@click.option("--models", multiple=True, metavar="all|NAME...", help="Models, such as 'mmvae[k=30]'. Default: all.")
@click.option("--datasets", multiple=True, metavar="NAME...", help="Data sets. Default: mnist_street.")
@click.option(
    "--missing", type=float, multiple=True, metavar="RATIO...", help="Shares of incomplete rows, in [0, 1). Default: 0."
)
@click.option("--scheme", multiple=True, metavar="SCHEME...", help="split (default), only:NAME, independent, ...")
@click.option(
    "--incomplete", multiple=True, metavar="keep|drop...", help="Train on incomplete rows, or leave them out."
)
@click.option("--seeds", type=int, metavar="N", help="Number of seeds: 0 to N-1. Default: 1.")
@click.option("--seed-list", type=int, multiple=True, metavar="SEED...", help="Seeds by number, in place of --seeds.")
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME...",
    help="Metrics to compute now. Default: all but log_likelihood_ais, prior_fit, robustness_*, attribute_swap, "
    "attribute_probe and joint_completion.",
)
@click.option(
    "--priors", "--prior", multiple=True, metavar="NAME...",
    help="Priors to learn after training and score beside the model's own and the aggregate: gmm, 'ncp[bound=2]'.",
)  # fmt: skip
@click.option("--name", metavar="NAME", help="Name of the plan. Default: the suite's, or custom.")
@click.option("--suite", metavar="FILE|NAME", help="A TOML file or a name of 'list suites'; other flags override it.")
@click.option(
    "--from", "record", type=Given(exists=True, path_type=Path), metavar="RUN",
    help="Train and score one stored run again: its run.json, or its folder. Nothing else says what to run.",
)  # fmt: skip
@click.option("--nets", metavar="NAME", help="Networks, such as 'conv[text=transformer]'. Default: the data set's.")
@click.option("--epochs", type=int, help="Passes over the training rows. Default: the data set's.")
@click.option("--batch-size", type=int, help="Rows in each step. Default: the data set's.")
@click.option("--learning-rate", type=float, help="Learning rate of Adam. Default: the data set's.")
@click.option("--optimiser", type=click.Choice(OPTIMISERS), help="Variant of Adam. Default: adam.")
@click.option("--scale", "scales", multiple=True, metavar="NAME=NUMBER...", help="Scale of a modality's likelihood.")
@click.option("--weight", "weights", multiple=True, metavar="NAME=NUMBER...", help="Weight of a modality's likelihood.")
@click.option("--latent-dim", type=int, help="Size of the latent space. Default: the data set's.")
@click.option("--limit-train", type=int, metavar="N", help="Number of training rows. Default: all.")
@click.option("--limit-test", type=int, metavar="N", help="Number of test rows. Default: all.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Precision of networks in training. Default: fp32.")
@click.option("--tiers", multiple=True, metavar="TIER...", help="Settings: default, authors, tuned. Default: default.")
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile: minutes at first, then faster.")
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda (all GPUs) or cuda:i. Default: auto.")
@click.option(
    "--jobs", type=Jobs(), default="auto", show_default=True, metavar="N|auto", help="Number of runs at a time."
)
@click.option("--threads", type=int, help="CPU threads per run. Default: 1.")
@click.option("--checkpoint-seconds", type=float, default=60.0, show_default=True, help="Seconds between checkpoints.")
@click.option(
    "--backend", type=click.Choice(["loky", "dask"]), default="loky", show_default=True,
    help="Processes here, or a dask cluster that sees the same folders.",
)  # fmt: skip
@click.option("--address", default="", metavar="URL", help="Address of the scheduler. Default: one is started here.")
@click.option("--shard", default="", metavar="I/N", help="Run only the I-th of N parts of the plan.")
@data_option
@cache_option
@results_option
@click.option("--dry-run", is_flag=True, help="Print the plan and its estimated time, and stop.")
@click.option(
    "--overwrite", type=click.Choice(["never", "failed", "changed", "always"]), default="failed", show_default=True,
    help="Which stored runs to repeat; changed: failed ones and those made by different code.",
)  # fmt: skip
@click.pass_context
def run(ctx: click.Context, /, dry_run: bool, **flags: Any) -> None:
    """Train and score every model of a grid, or of a suite. Stored runs are not repeated.

    Several values may follow one flag, or be joined by commas: --models mvae mmvae --missing 0,0.5. Without --models,
    --datasets and --suite, the suite 'quick' runs.
    """
    from mmvae_bench.api import start
    from mmvae_bench.store.store import Store
    from mmvae_bench.sweep.request import numbers_by_name

    values = {key: (value or None) if isinstance(value, tuple) else value for key, value in flags.items()}
    values |= {key: numbers_by_name(flags[key]) or None for key in ("scales", "weights")}
    typed = shlex.join(["mmvae-bench", "run", *ctx.meta.get("typed", ())])
    plan, code = start(values, command=typed, dry_run=dry_run)
    stored = (Store(flags["results_dir"]).status(entry.spec) == RunStatus.DONE for entry in plan.entries if entry.tiers)
    if not dry_run and code <= 2 and any(stored):  # else how to go on was said, or there is nothing to report
        where = [] if flags["results_dir"] == Path("results") else ["--results-dir", str(flags["results_dir"])]
        click.echo(f"Next: {shlex.join(['mmvae-bench', 'report', '--suite', plan.name, *where])}")
    ctx.exit(code)
