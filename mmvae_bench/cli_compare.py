"""The command ``compare``: two models, from stored results."""

from pathlib import Path

import click

from mmvae_bench.cli_run import plan_option, results_option


@click.command(short_help="Print how far two models differ, and which order may be claimed.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@plan_option
@click.option("--metric", metavar="NAME", help="One of 'list metrics', with all its variants. Default: the summary's.")
@results_option
def compare(a: str, b: str, suite: str | None, metric: str | None, results_dir: Path) -> None:
    """Print the paired differences of models A and B over shared seeds, for each data set, score and missing pattern.

    A and B are models as the report's tables call them.
    """
    from mmvae_bench.report.versus import versus
    from mmvae_bench.store.store import Store

    store = Store(results_dir)
    plan = store.read_plan(suite)
    click.echo(versus(store, plan, a, b, metric))
