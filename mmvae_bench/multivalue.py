"""Several values after one flag: ``--models mvae mmvae``, which click does not read by itself."""

import re
from collections.abc import Collection, Sequence

import click


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
