"""Options that several commands share, and several values after one flag: ``--models mvae mmvae``."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from mmvae_bench.disk import given_path
from mmvae_bench.options import split_list
from mmvae_bench.sweep.request import cache_folder


class MultiValue(click.Command):
    """A command whose repeatable options (``multiple=True``) also take several values after one flag.

    The arguments as typed are kept in ``ctx.meta["typed"]``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the flag before each of its values, then parse as click does."""
        ctx.meta["typed"] = tuple(args)
        options = [option for option in self.params if isinstance(option, click.Option) and option.multiple]
        flags = {flag for option in options for flag in option.opts}
        return super().parse_args(ctx, expand(args, flags))


def expand(args: Sequence[str], flags: Collection[str]) -> list[str]:
    """Repeat a flag before each of its values: ``--models a,b c`` becomes ``--models a --models b --models c``.

    Values end at the next flag; a negative number is a value.

    Raises:
        click.BadOptionUsage: If one of ``flags`` has no value.
    """
    expanded: list[str] = []
    flag, some = "", True
    for arg in [*args, "--end"]:
        name, equals, value = arg.partition("=")
        if flag and (not arg.startswith("-") or re.match(r"-[\d.]", arg)):
            name, equals, value = flag, "=", arg
        elif not some:
            raise click.BadOptionUsage(flag, f"Option '{flag}' requires an argument.")
        flag, some = (name, bool(equals)) if name in flags else ("", True)
        expanded += [part for each in split_list((value,)) for part in (flag, each)] if flag else [arg]
    return expanded[:-1]


class Jobs(click.types.IntParamType):
    """A whole number, or ``auto``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or ``auto``."""
        return value if value == "auto" else super().convert(value, param, ctx)


class Given(click.Path):
    """A path as :func:`given_path` reads it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        return super().convert(given_path(value), param, ctx)


class Folder(Given):
    """A folder, which may be absent; a path that cannot be a folder is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        path: Any = super().convert(value, param, ctx)
        try:
            (path / ("x" * 200)).exists()  # names below it must not be too long either
        except OSError as error:
            self.fail(f"'{value}' cannot be a folder here ({error.strerror}).", param, ctx)
        return path


FOLDER = Folder(path_type=Path)
data_option = click.option(
    "--data-dir", type=FOLDER, default="data", show_default=True, envvar="MMVAE_BENCH_DATA", show_envvar=True,
    help="Folder of data files; only 'data fetch' writes to it.",
)  # fmt: skip
cache_option = click.option(
    "--cache-dir", type=FOLDER, default=lambda: cache_folder(None), envvar="MMVAE_BENCH_CACHE",
    show_default="the user's cache", show_envvar=True, help="Folder of generated data and of classifiers for scores.",
)  # fmt: skip
plan_option = click.option(  # a path of a suite's file stands for the plan of that name
    "--suite", metavar="NAME", help="Name of the plan. Default: the last one that was run.",
    callback=lambda _ctx, _param, name: Path(name).stem if name and name.endswith(".toml") else name,
)  # fmt: skip
results_option = click.option(
    "--results-dir", type=FOLDER, default="results", show_default=True,
    help="Folder of stored runs.",
)  # fmt: skip
