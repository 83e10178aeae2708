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


@click.command("check", short_help="Check that a model or a data set conforms.")
@click.argument("name")
@click.option("--latent-dim", type=click.IntRange(min=1), help="Latent dimensions of the example models. Default: 3.")
@data_option
@click.pass_context
def check_name(ctx: click.Context, name: str, latent_dim: int | None, data_dir: Path) -> None:
    """Check the rules of every model or data set on NAME, perhaps with options: 'mmvae[k=3]'.

    Print one line per check: what holds, or what is broken. Exit with 1 if any rule is broken. A data set is built
    from its files, which must be there.
    """
    from mmvae_bench.options import parse_named
    from mmvae_bench.testing import Broken

    faults: list[str] = []
    checks = 0
    try:
        for checks, check in enumerate(_checks(parse_named(name), latent_dim, data_dir), 1):  # noqa: B007
            try:
                check.run()
                click.echo(f"{check.name:<16} {check.covers}")
            except BenchError:  # it cannot be made: a file is missing, for example
                raise
            except Exception as error:  # a plug-in may raise anything
                fault = str(error) if isinstance(error, Broken) else in_a_line(error)
                if fault not in faults:  # if a model cannot be made, all its checks say so
                    click.echo(f"Error: {name} does not conform: {check.name}: {fault}", err=True)
                faults.append(fault)
    except BenchError as error:
        if not faults:
            raise
        click.echo(f"Error: The other checks of {name} cannot be made: {error}", err=True)
    if faults:
        click.echo(f"{name} does not conform: {len(faults)} of {checks} checks fail")
        ctx.exit(1)
    click.echo(f"{name} conforms: {checks} checks")


def _checks(named: "Named", latent_dim: int | None, data_dir: Path) -> Iterator["Check"]:
    """Yield the checks of a name. Options are read once the class itself has been checked.

    Raises:
        BenchError: If nothing has that name, if it cannot be imported, or if an option is unknown or does not fit.
    """
    from mmvae_bench import datasets, models, testing
    from mmvae_bench.datasets.base import Dataset
    from mmvae_bench.models.base import MultimodalVAE
    from mmvae_bench.options import resolve
    from mmvae_bench.testing import declared_checks
    from mmvae_bench.testing.examples import LATENT

    known = {"model": models.registry.names(), "data set": datasets.registry.names()}
    kinds = [kind for kind, names in known.items() if named.name in names]
    if not kinds:
        hint = near_hint(named.name, [name for names in known.values() for name in names])
        lists = "; ".join(f"{kind}s: {', '.join(names)}" for kind, names in known.items())
        raise BenchError(f"There is no model or data set '{named.name}'. {hint[:1].upper()}{hint[1:]}Known {lists}.")
    if latent_dim and "model" not in kinds:
        raise BenchError(f"'{named.name}' is a data set, which has no latent dimensions. Leave out --latent-dim.")
    if "model" in kinds:
        entry = models.registry.get(named.name)
        yield from declared_checks(entry, MultimodalVAE)
        factory = partial(entry, **resolve(entry, named))  # type: ignore[arg-type]
        yield from testing.model_checks(factory, latent_dim=latent_dim or LATENT)
    if "data set" in kinds:
        yield from declared_checks(datasets.registry.get(named.name), Dataset)
        yield from testing.dataset_checks(partial(datasets.made, named.name, datasets.options(named)), data_dir)
