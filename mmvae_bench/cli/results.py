"""The commands about stored runs: how far they are, whether they are what was written, what they show when joined."""

from collections.abc import Iterable
from pathlib import Path

import click

from mmvae_bench.cli.options import FOLDER, plan_option, results_option
from mmvae_bench.errors import BenchError, counted


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
    from mmvae_bench.report.compare import versus
    from mmvae_bench.store.store import Store

    store = Store(results_dir)
    plan = store.read_plan(suite)
    click.echo(versus(store, plan, a, b, metric))


SHOWN = 10  # differences, the largest first


@click.command(short_help="Print what is done, under way, failed and left.")
@plan_option
@results_option
def status(suite: str | None, results_dir: Path) -> None:
    """Print how far a plan is, who works on it, and how long it may take. Changes nothing; run it at any time."""
    from mmvae_bench.store.store import Store
    from mmvae_bench.sweep.status import describe

    for line in describe(Store(results_dir), suite):
        click.echo(line)


@click.command("check-results", short_help="Check that stored runs are what was written.")
@results_option
@click.pass_context
def check_results(ctx: click.Context, results_dir: Path) -> None:
    """Read every file of every stored run, compare it with its checksum, and name what is broken or left over.

    Repairs nothing and writes nothing. The exit code is 1 if there is a fault.
    """
    from mmvae_bench.code import describe
    from mmvae_bench.store.check import check_results as check

    found = check(results_dir)
    _say([*found.notes, *describe(found.parts.elements())], found.faults)
    failed = f" ({found.failed} failed)" if found.failed else ""
    click.echo(
        f"{counted(found.runs, 'run')}{failed}, {counted(found.rows, 'row')}, {counted(len(found.faults), 'fault')}"
    )
    ctx.exit(1 if found.faults else 0)


def _say(notes: Iterable[str], faults: Iterable[str]) -> None:
    """Print what a check found, a line each."""
    for line in notes:
        click.echo(f"note: {line}")
    for line in faults:
        click.echo(f"fault: {line}")


@click.command(short_help="Check results that you want to publish, and print what else is asked.")
@click.argument("folder", type=FOLDER)
@click.option("--suite", metavar="NAME", help="Name of the suite. Default: that of the folder's only plan.")
@click.pass_context
def submit(ctx: click.Context, folder: Path, suite: str | None) -> None:
    """Check FOLDER against its suite: checksums, versions, every run and seed, and nothing else.

    FOLDER has the stored runs of one suite, or was published already. Each fault is a line, and then the exit code is
    2. Without one, the checklist of a pull request is printed. Writes nothing.
    """
    from mmvae_bench.sweep.submit import check_submission

    found = check_submission(folder, suite)
    _say(found.notes, found.faults)
    suite = f"{found.suite}: " if found.suite else ""
    click.echo(
        f"{suite}{counted(found.runs, 'run')}, {counted(found.rows, 'row')}, {counted(len(found.faults), 'fault')}"
    )
    if found.faults:
        ctx.exit(2)
    click.echo(found.checklist(folder))


@click.command(short_help="Join results folders of several machines.")
@click.argument("dirs", nargs=-1, required=True, type=FOLDER, metavar="DIR...")
@results_option
@click.option("--prefer", type=FOLDER, metavar="DIR", help="Folder whose runs win where both have different ones.")
@click.pass_context
def merge(ctx: click.Context, dirs: tuple[Path, ...], results_dir: Path, prefer: Path | None) -> None:
    """Copy the runs and plans of each DIR into one results folder.

    All is compared first: where a run is there twice with other numbers, nothing is copied. The exit code is 1 if some
    run was left out.
    """
    from mmvae_bench.store.merge import Merger
    from mmvae_bench.store.store import Store

    store = Store(results_dir)
    merger = Merger(store, prefer)
    merger.read(dirs)
    differences = sorted(merger.differences, key=lambda each: (each.lawful, -each.size))
    for each in differences[:SHOWN]:
        click.echo(each.sentence, err=True)
    if len(differences) > SHOWN:
        click.echo(f"... and {len(differences) - SHOWN} more, with smaller differences", err=True)
    if merger.refusal:
        raise BenchError(merger.refusal)
    merger.write()
    for line in merger.left_out:
        click.echo(f"left out: {line}", err=True)
    store.collate()
    failures = f", {merger.failures} failed elsewhere and not taken" if merger.failures else ""
    click.echo(
        f"{merger.copied} copied, {merger.same} the same, {merger.preferred} preferred, "
        f"{len(merger.left_out)} left out{failures}"
    )
    ctx.exit(1 if merger.left_out else 0)


@click.command()
@plan_option
@results_option
@click.option("--out", type=FOLDER, default="reports", show_default=True, help="Folder of all reports.")
@click.option("--public", is_flag=True, help="Leave out pictures of data that may not be published (SVHN, CUB).")
@click.option("--pdf", is_flag=True, help="Write each figure as PDF too, for a paper; takes twice as long.")
def report(suite: str | None, results_dir: Path, out: Path, public: bool, pdf: bool) -> None:
    """Build tables, figures and a page from stored results."""
    from mmvae_bench.api import write_report

    built = write_report(results_dir, out, suite, public=public, pdf=pdf)
    click.echo(built.summary)
    click.echo(f"Report: {built.page}")
    click.echo("Next: open it; then a grid of your own: mmvae-bench run --models mvae mopoe --missing 0 0.5 --seeds 3")


@click.command(short_help="Build one page that compares all results.")
@click.argument("folders", nargs=-1, type=FOLDER, metavar="[FOLDER]...")
@click.option("--out", type=FOLDER, default="reports/board", show_default=True, help="Folder of the page.")
def board(folders: tuple[Path, ...], out: Path) -> None:
    """Build one page, for any browser and without a network, that compares the results of each FOLDER.

    A FOLDER holds stored runs, or published scores (results/SUITE/ of the repository). Default: all under 'results'.
    Values that papers published are beside them.
    """
    from mmvae_bench.api import write_board

    made = write_board(folders, out)
    click.echo(f"{counted(made.runs, 'run')}, {counted(made.values, 'published value')}")
    click.echo(f"Board: {made.page}")
