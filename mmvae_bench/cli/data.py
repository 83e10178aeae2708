"""Commands about data sets, registered names and this machine: ``data``, ``list``, ``env``."""

from pathlib import Path
from typing import Any

import click

from mmvae_bench.cli.options import cache_option, data_option
from mmvae_bench.errors import DataError


@click.command("list", short_help="Print the names of models, data sets, metrics or suites.")
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


@click.group()
def data() -> None:
    """Fetch a data set's files, or check those that are there."""


@data.command()
@click.argument("name")
@data_option
def fetch(name: str, data_dir: Path) -> None:
    """Download the official files of data set NAME and verify them."""
    dataset = _dataset(name)
    dataset.fetch(data_dir)
    dataset.sources(data_dir)
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


@click.command(short_help="Print versions, cores, memory and devices.")
@cache_option
@data_option
def env(data_dir: Path, cache_dir: Path) -> None:
    """Print versions, cores, memory and devices: what a bug report needs."""
    from mmvae_bench.sweep.environment import describe

    for line in describe():
        click.echo(line)
    for name, folder in (("data", data_dir), ("cache", cache_dir)):
        click.echo(f"{name:<14} {click.format_filename(folder.absolute())}")
