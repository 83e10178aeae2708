"""The command ``check``: the conformance suite on a registered name, of ours or of a plug-in."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmvae_bench.cli.options import data_option
from mmvae_bench.errors import BenchError, in_a_line, near_hint

if TYPE_CHECKING:
    from mmvae_bench.options import Named
    from mmvae_bench.testing import Check


@click.command("check", short_help="Check that a model or a data set, of ours or of a plug-in, conforms.")
@click.argument("name")
@data_option
@click.pass_context
def check_name(ctx: click.Context, name: str, data_dir: Path) -> None:
    """Check what every model or data set must hold on NAME, perhaps with options: 'mmvae[k=3]'.

    A line for each check that passes; the first rule that is broken ends it, with exit code 1. A data set is built
    from its files, which must be there.
    """
    from mmvae_bench.options import parse_named

    passed = 0
    for check in _checks(parse_named(name), data_dir):
        if fault := _fault(check):
            click.echo(f"Error: {name} does not conform: {check.name}: {fault}", err=True)
            ctx.exit(1)
        passed += 1
        click.echo(f"{check.name:<16} {check.covers}")
    click.echo(f"{name} conforms: {passed} checks")


def _checks(named: "Named", data_dir: Path) -> Iterator["Check"]:
    """The checks of a name, lazily: options are read once those of the class have passed.

    Raises:
        BenchError: If nothing has that name, if it cannot be imported, or if an option is unknown or does not fit.
    """
    from mmvae_bench import datasets, models

    known = {"model": models.registry.names(), "data set": datasets.registry.names()}
    kinds = [kind for kind, names in known.items() if named.name in names]
    if not kinds:
        hint = near_hint(named.name, [name for names in known.values() for name in names])
        lists = "; ".join(f"{kind}s: {', '.join(names)}" for kind, names in known.items())
        raise BenchError(f"no model or data set '{named.name}'; {hint}Known {lists}.")
    if "model" in kinds:
        yield from _model_checks(named)
    if "data set" in kinds:
        yield from _dataset_checks(named, data_dir)


def _model_checks(named: "Named") -> Iterator["Check"]:
    from mmvae_bench import models
    from mmvae_bench.models.base import MultimodalVAE
    from mmvae_bench.options import resolve
    from mmvae_bench.testing import declared_checks, model_checks

    entry = models.registry.get(named.name)
    yield from declared_checks(entry, MultimodalVAE)
    yield from model_checks(partial(entry, **resolve(entry, named)))  # type: ignore[arg-type]


def _dataset_checks(named: "Named", data_dir: Path) -> Iterator["Check"]:
    from mmvae_bench import datasets
    from mmvae_bench.datasets.base import Dataset
    from mmvae_bench.options import resolve
    from mmvae_bench.testing import dataset_checks, declared_checks

    entry = datasets.registry.get(named.name)
    yield from declared_checks(entry, Dataset)
    yield from dataset_checks(partial(entry, **resolve(entry, named)), data_dir)


def _fault(check: "Check") -> str:
    """The rule that is broken, or what the checked code raised instead of an answer; empty if all is well.

    Raises:
        BenchError: A sentence with a way out, such as a file that is not there.
    """
    from mmvae_bench.testing import Broken

    try:
        check.run()
    except Broken as rule:
        return str(rule)
    except BenchError:
        raise
    except Exception as error:  # a plug-in may raise anything
        return in_a_line(error)
    return ""
