"""Commands about data sets, registered names and this machine: ``data``, ``list``, ``env``."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from mmvae_bench.cli.options import Given, cache_option, data_option
from mmvae_bench.errors import BenchError, DataError
from mmvae_bench.options import bounds, declared_options, parse_named
from mmvae_bench.registry import Registry

WITH_OPTIONS = ("models", "datasets", "nets", "priors")
TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "none"}


@click.command("list", short_help="Print registered names and what they are.")
@click.argument("what", type=click.Choice([*WITH_OPTIONS, "metrics", "suites"]))
@click.option(
    "--options", is_flag=True, help="Options of each model, data set, nets preset or prior: type, bounds, default."
)
def list_names(what: str, options: bool) -> None:
    """Print the names of all models, data sets, nets presets, priors, metrics or suites, plug-ins included."""
    if options and what not in WITH_OPTIONS:
        raise BenchError(f"The names of 'list {what}' have no options. Leave out --options.")
    if what == "suites":
        from mmvae_bench.sweep.suites import list_suites

        _columns(list_suites())
        return
    from mmvae_bench import datasets, metrics, models, nets, priors

    modules = {"models": models, "datasets": datasets, "nets": nets, "priors": priors, "metrics": metrics}
    registry: Registry[Any] = modules[what].registry
    if not options:
        rows = {name: _summary(registry, name) for name in registry.names()}
        _columns(_with_facts(rows) if what == "models" else rows)
        return
    for name in registry.names():
        try:
            lines = list(_options(registry.get(name), name))
        except BenchError as error:  # a plug-in that cannot be imported hides no other name
            lines = [str(error)]
        click.echo(f"{name}  {_summary(registry, name)}".rstrip())
        for line in lines:
            click.echo(f"    {line}")


def _summary(registry: Registry[Any], name: str) -> str:
    """One sentence about a name, and where a plug-in comes from."""
    text = "" if registry.kind == "metric" else registry.summary(name)
    point = registry.plugin(name)
    return f"{text} (plug-in: {point})".strip() if point else text


def _options(factory: Any, name: str) -> Iterator[str]:
    """One line per option of a registered thing."""
    declared = declared_options(factory, name)
    width = max(map(len, declared), default=0)
    for key, (parameter, hint) in declared.items():
        default = parameter.default
        shown = "no default" if default is parameter.empty else f"default {str(default).lower()}"
        yield f"{key:<{width}}  {_type(hint)}; {shown}"
    if not declared:
        yield "no options"


def _type(hint: Any) -> str:
    """Type of an option with its bounds or choices, for people."""
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        return _type(kind) + "".join(f", {words} {value}" for value, _, words in bounds(notes))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_type, get_args(hint)))
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return TYPES.get(hint, str(hint))


def _with_facts(rows: dict[str, str]) -> dict[str, str]:
    """Put a model's family, latents and rows before its sentence, below a heading; of plug-ins they are not known."""
    from mmvae_bench.models import ABOUT, NOT_KNOWN, About

    facts = {name: ABOUT.get(name, NOT_KNOWN) for name in rows}
    facts = {"name": About("family", "latents", "rows"), **facts}
    widths = [max(map(len, column)) for column in zip(*facts.values(), strict=True)]
    texts = {"name": "paper", **rows}
    return {
        name: "  ".join([*(f"{fact:<{width}}" for fact, width in zip(own, widths, strict=True)), texts[name]])
        for name, own in facts.items()
    }


def _columns(rows: dict[str, str]) -> None:
    """Print names and descriptions in two columns."""
    width = max(map(len, rows), default=0)
    for name, text in rows.items():
        click.echo(f"{name:<{width}}  {text}".rstrip())


@click.group()
def data() -> None:
    """Download or check the files of a data set."""


@data.command()
@click.argument("name")
@click.option(
    "--from", "files", type=Given(exists=True, path_type=Path), multiple=True, metavar="FILE",
    help="A file that you got by hand: it is copied, and nothing is downloaded. May be repeated.",
)  # fmt: skip
@data_option
def fetch(name: str, files: tuple[Path, ...], data_dir: Path) -> None:
    """Download the official files of data set NAME and verify them, or copy files that you have."""
    dataset = _dataset(name)
    if files:
        dataset.take(files, data_dir)
    else:
        dataset.fetch(data_dir)
    try:
        dataset.sources(data_dir)
    except DataError as missing:
        if not files:
            raise
        click.echo(f"Still missing: {missing}")
    else:
        click.echo(f"The files of {name} are in '{data_dir}'.")


@data.command()
@click.argument("name")
@data_option
def check(name: str, data_dir: Path) -> None:
    """Read all of data set NAME and print what it contains."""
    from mmvae_bench.datasets.check import check as examine

    dataset = _dataset(name)
    for line in examine(dataset, name, data_dir):
        click.echo(line)
    try:
        dataset.sources(data_dir)
    except DataError:  # the lines above say what is missing
        click.get_current_context().exit(2)


def _dataset(text: str) -> Any:
    """Data set of a name with options, as typed."""
    from mmvae_bench import datasets

    named = parse_named(text)
    return datasets.make(named.name, datasets.options(named))


@click.command(short_help="Print versions, cores, memory and devices.")
@cache_option
@data_option
def env(data_dir: Path, cache_dir: Path) -> None:
    """Print versions, cores, memory and devices, for a bug report."""
    from mmvae_bench.sweep.environment import describe

    for line in describe():
        click.echo(line)
    for name, folder in (("data", data_dir), ("cache", cache_dir)):
        click.echo(f"{name:<14} {click.format_filename(folder.absolute())}")
