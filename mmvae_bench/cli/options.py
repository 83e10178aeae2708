"""Several values after one flag: ``--models mvae mmvae``, which click does not read by itself."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import platformdirs

if TYPE_CHECKING:
    pass


class MultiValue(click.Command):
    """A command whose repeatable options (``multiple=True``) also take several values after one flag.

    What was typed is kept in ``ctx.meta["typed"]``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Expand the values to repeated flags, then parse as click does."""
        ctx.meta["typed"] = tuple(args)
        options = [option for option in self.params if isinstance(option, click.Option) and option.multiple]
        flags = {flag for option in options for flag in option.opts}
        return super().parse_args(ctx, expand(args, flags))


def expand(args: Sequence[str], flags: Collection[str]) -> list[str]:
    """Repeat a flag before each of its values: ``--models a b`` becomes ``--models a --models b``.

    Values end at the next flag; a negative number is a value.

    Raises:
        click.BadOptionUsage: If one of ``flags`` has no value.
    """
    expanded: list[str] = []
    flag, values = "", 1
    for arg in [*args, "--end"]:
        if flag and _is_value(arg):
            expanded += [flag, arg]
            values += 1
            continue
        if flag and not values:
            raise click.BadOptionUsage(flag, f"Option '{flag}' requires an argument.")
        name, equals, value = arg.partition("=")
        flag, values = (name, 0) if name in flags else ("", 1)
        expanded += [arg] if not flag else [name, value] if equals else []
        values += bool(equals)
    return expanded[:-1]


def _is_value(arg: str) -> bool:
    return not arg.startswith("-") or re.match(r"-[\d.]", arg) is not None


class Folder(click.Path):
    """A folder that may be there or not; one that cannot be is refused before anybody looks into it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        path: Any = super().convert(value, param, ctx)
        try:
            (path / ("x" * 200)).exists()  # there must be room for names below it
        except OSError as error:
            self.fail(f"'{value}' cannot be a folder here ({error.strerror})", param, ctx)
        return path


FOLDER = Folder(path_type=Path)
data_option = click.option(
    "--data-dir", type=FOLDER, default="data", show_default=True, envvar="MMVAE_BENCH_DATA", show_envvar=True,
    help="Files of data sets; only 'data fetch' writes there.",
)  # fmt: skip
cache_option = click.option(
    "--cache-dir", type=FOLDER, default=lambda: platformdirs.user_cache_dir("mmvae-bench"), envvar="MMVAE_BENCH_CACHE",
    show_default="the user's cache", show_envvar=True, help="What is derived: generated data, classifiers that judge.",
)  # fmt: skip
plan_option = click.option(  # a suite's file names the plan by its stem
    "--suite", metavar="NAME", help="Which plan; the one that was run last by default.",
    callback=lambda _ctx, _param, name: Path(name).stem if name and name.endswith(".toml") else name,
)  # fmt: skip
results_option = click.option("--results-dir", type=FOLDER, default="results", show_default=True, help="Stored runs.")
