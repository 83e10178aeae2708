"""The commands. Everything heavy is imported inside them: --help and list answer at once."""

import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from mmvae_bench import __version__
from mmvae_bench.cli_check import check_name
from mmvae_bench.cli_compare import compare
from mmvae_bench.cli_run import FOLDER, cache_option, data_option, plan_option, results_option, run
from mmvae_bench.cli_store import check_results, merge, status
from mmvae_bench.errors import BenchError, BenchWarning, DataError

INTERRUPTED = "Interrupted; what is finished is stored, and the same command goes on from there."
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Bench(click.Group):
    """The group of commands; what goes wrong in one of them is a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: 2 for bad input, 130 and 143 for SIGINT and SIGTERM."""
        try:
            with _manners():
                return super().invoke(ctx)
        except BenchError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo(INTERRUPTED, err=True)
            ctx.exit(130)


@contextmanager
def _manners() -> Iterator[None]:
    """SIGTERM leaves with 143 after cleaning up; our own warnings are sentences, others as Python prints them."""
    show = warnings.showwarning
    in_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _terminate) if in_main else None

    def say(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, BenchWarning):
            click.echo(f"Warning: {message}", err=True)
        else:
            show(message, category, *rest, **more)

    warnings.showwarning = say
    try:
        yield
    finally:
        warnings.showwarning = show
        if in_main:
            signal.signal(signal.SIGTERM, previous)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    click.echo(INTERRUPTED, err=True)
    sys.exit(143)


@click.group(cls=Bench, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="mmvae-bench")
def main() -> None:
    """Compare multimodal VAEs: same data, nets, masks and scores for every model.

    First: mmvae-bench run, then mmvae-bench report.
    """


for command in (run, status, compare, merge, check_results, check_name):
    main.add_command(command)


@main.command()
@plan_option
@results_option
@click.option("--out", type=FOLDER, default="reports", show_default=True, help="Where to write.")
@click.option("--public", is_flag=True, help="Leave out pictures of data that may not be published (SVHN, CUB).")
def report(suite: str | None, results_dir: Path, out: Path, public: bool) -> None:
    """Build tables, figures and a page from stored results."""
    from mmvae_bench.store.store import Store

    store = Store(results_dir)
    plan = store.read_plan(suite)
    _make_folder(out)
    from mmvae_bench.report.build import build_report

    built = build_report(store, plan, out, public=public)
    click.echo(built.summary)
    click.echo(f"Report: {built.page}")
    click.echo("Next: open it; then a grid of your own: mmvae-bench run --models mvae mopoe --missing 0 0.5 --seeds 3")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"cannot write the report to '{out}' ({error.strerror}); choose another --out") from error


@main.command("list", short_help="Print the names of models, data sets, metrics or suites.")
@click.argument("what", type=click.Choice(["models", "datasets", "metrics", "suites"]))
def list_names(what: str) -> None:
    """Print the names of all models, data sets, metrics or suites, plug-ins included."""
    if what == "suites":
        from mmvae_bench.sweep.suites import list_suites

        _columns(list_suites())
        return
    from importlib import import_module

    registry = import_module(f"mmvae_bench.{what}").registry
    rows = {}
    for name in registry.names():
        if plugin := registry.plugin(name):
            rows[name] = f"(plug-in: {plugin})"
        else:
            rows[name] = registry.get(name).summary if what == "datasets" else ""
    _columns(rows)


def _columns(rows: dict[str, str]) -> None:
    """Print names and what is said of them."""
    width = max(map(len, rows), default=0)
    for name, text in rows.items():
        click.echo(f"{name:<{width}}  {text}".rstrip())


@main.group()
def data() -> None:
    """Fetch a data set's files, or check those that are there."""


@data.command()
@click.argument("name")
@click.option(
    "--from", "given", type=click.Path(exists=True, path_type=Path), multiple=True, metavar="FILE",
    help="Download nothing: take this file, which you got by hand. Several allowed.",
)  # fmt: skip
@data_option
def fetch(name: str, given: tuple[Path, ...], data_dir: Path) -> None:
    """Download the official files of data set NAME and verify them, or take files that you have."""
    dataset = _dataset(name)
    dataset.fetch(data_dir, *([given] if given else []))  # a plug-in's may take none
    for path in given:
        click.echo(f"Taken: {path}")
    try:
        dataset.sources(data_dir)
    except DataError as missing:
        if not given:
            raise
        click.echo(f"Still missing: {missing}")
    else:
        click.echo(f"The files of {name} are in '{data_dir}'.")


@data.command()
@click.argument("name")
@data_option
def check(name: str, data_dir: Path) -> None:
    """Read data set NAME whole and print what is found."""
    from mmvae_bench.datasets.check import check as examine

    dataset = _dataset(name)
    for line in examine(dataset, name, data_dir):
        click.echo(line)
    try:
        dataset.sources(data_dir)
    except DataError:  # the lines above say what is missing
        click.get_current_context().exit(2)


def _dataset(text: str) -> Any:
    """A data set by its name with options."""
    from mmvae_bench import datasets
    from mmvae_bench.options import parse_named, resolve

    named = parse_named(text)
    return datasets.make(named.name, resolve(datasets.registry.get(named.name), named))


@main.command(short_help="Print versions, cores, memory and devices.")
@cache_option
@data_option
def env(data_dir: Path, cache_dir: Path) -> None:
    """Print versions, cores, memory and devices: what a bug report needs."""
    from mmvae_bench.sweep.environment import describe

    for line in describe():
        click.echo(line)
    for name, folder in (("data", data_dir), ("cache", cache_dir)):
        click.echo(f"{name:<14} {click.format_filename(folder.absolute())}")
