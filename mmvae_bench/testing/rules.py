"""Checks and broken rules, and the checks of a class alone: its signature and its options."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mmvae_bench.errors import BenchError, Broken, must
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.options import Named, coerce, declared_options, parse_named


class Check(NamedTuple):
    """A rule of the conformance suite."""

    name: str
    covers: str  # what holds if it passes
    run: Callable[[], None]  # raises :class:`Broken`; exceptions of the checked code pass through


def declared_checks(entry: Any, base: type) -> list[Check]:
    """Return the checks of a registered entry, which must derive from ``base``."""
    takes = "the networks, then options" if base is MultimodalVAE else "options"
    covers = "each has a type that can be typed in a shell, and its default, typed, is itself"
    return [
        Check("declaration", f"a class with a docstring and a version; {takes} by keyword",
              partial(_declaration, entry, base)),
        Check("options", covers, partial(_options, entry)),
    ]  # fmt: skip


def _declaration(entry: Any, base: type) -> None:
    derived = inspect.isclass(entry) and issubclass(entry, base)
    must(derived, f"{entry!r} is registered, which is not a class derived from {base.__name__}")
    name = entry.__name__
    left = ", ".join(sorted(entry.__abstractmethods__))
    must(not left, f"{name} lacks {left}, which {base.__name__} leaves to it")
    doc = inspect.getdoc(entry) or ""
    own = doc and doc != inspect.getdoc(base) and not doc.startswith(f"{name}(")  # what @dataclass writes by itself
    must(own, f"{name} has no docstring: readers look there for the formula and the paper")
    version = entry.version
    must(type(version) is int and version >= 1, f"{name}.version is a whole number from 1 up, not {version!r}")
    kinds = [p.kind for p in inspect.signature(entry).parameters.values()]
    placed = sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds)
    starred = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL} & {*kinds}
    expected, takes = (1, "networks alone") if base is MultimodalVAE else (0, "nothing")
    proper = placed == expected and not starred
    must(proper, f"{name}'s constructor takes {takes} by position, and options by name, after a '*': no **options")


def _options(entry: Any) -> None:
    for key, (parameter, hint) in declared_options(entry, entry.__name__).items():
        what = f"{entry.__name__}'s option {key}"
        must(parameter.annotation is not parameter.empty, f"{what} has no type; annotate it, with options.Positive say")
        default = parameter.default
        if default is parameter.empty:
            continue
        untyped = f"{what} has the type {hint}, which cannot be typed; use bool, int, float, str, Literal"
        try:  # name[key=default], as a user would type it
            back = coerce(parse_named(Named("name", {key: str(default)}).label).options[key], hint, what)
        except BenchError as error:
            raise Broken(f"{what} has the default {default!r}, which cannot be typed: {error}") from error
        except Exception as error:  # a type that was never meant to be typed raises anything
            raise Broken(untyped) from error
        must(back is None or isinstance(back, bool | int | float | str), untyped)
        same = back == default and isinstance(back, bool) == isinstance(default, bool)
        must(same, f"{what} has the default {default!r}, but typed it is {back!r}")
