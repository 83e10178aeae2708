"""What can be told from a class alone, be it a model's or a data set's: its signature and its options."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, get_type_hints

from mmvae_bench.errors import BenchError
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.options import Named, coerce, parse_named


class Broken(AssertionError):
    """A rule does not hold. The message is a sentence that says which one, and where."""


class Check(NamedTuple):
    """One rule of the conformance suite.

    Attributes:
        name: One to three words.
        covers: What holds if it passes, for people.
        run: Raises :class:`Broken` if it does not; what the checked code raises itself passes through.
    """

    name: str
    covers: str
    run: Callable[[], None]


def must(holds: object, sentence: str) -> None:
    """``assert``, which ``python -O`` would strip: then everything conformed.

    Raises:
        Broken: If it does not hold.
    """
    if not holds:
        raise Broken(sentence)


def declared_checks(entry: Any, base: type) -> list[Check]:
    """The checks of what is registered under a name.

    Args:
        entry: What is registered.
        base: The class that it must derive from; a model's takes networks, and options by keyword as a data set's.
    """
    before = "the networks, then options" if base is MultimodalVAE else "options"
    return [
        Check("declaration", f"a class with a docstring and a version; {before} by keyword",
              partial(_declaration, entry, base)),
        Check("options", "each has a type that can be typed in a shell, and its default, typed, is itself",
              partial(_options, entry)),
    ]  # fmt: skip


def _declaration(entry: Any, base: type) -> None:
    derived = inspect.isclass(entry) and issubclass(entry, base)
    must(derived, f"{entry!r} is registered, which is no class derived from {base.__name__}")
    name = entry.__name__
    left = ", ".join(sorted(entry.__abstractmethods__))
    must(not left, f"{name} lacks {left}, which {base.__name__} leaves to it")
    doc = inspect.getdoc(entry) or ""
    own = doc and doc != inspect.getdoc(base) and not doc.startswith(f"{name}(")  # what @dataclass writes by itself
    must(own, f"{name} has no docstring: it is where a reader looks for the formula and the paper")
    version = entry.version
    must(type(version) is int and version >= 1, f"{name}.version is a whole number from 1 up, not {version!r}")
    parameters = inspect.signature(entry).parameters.values()
    placed = [p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    expected = 1 if base is MultimodalVAE else 0
    starred = [p for p in parameters if p.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)]
    takes = "networks alone" if expected else "nothing"
    proper = len(placed) == expected and not starred
    must(proper, f"{name}'s constructor takes {takes} by position, and options by name, after a '*': no **options")


def _options(entry: Any) -> None:
    hints = get_type_hints(entry.__init__, include_extras=True)
    for key, parameter in inspect.signature(entry).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        what = f"{entry.__name__}'s option {key}"
        must(key in hints, f"{what} has no type; annotate it, with options.Positive or another")
        if parameter.default is not inspect.Parameter.empty:
            _round_trip(parameter.default, hints[key], key, what)


def _round_trip(default: Any, hint: Any, key: str, what: str) -> None:
    """The default as a user would type it, ``name[key=default]``, gives the default."""
    try:
        back = coerce(parse_named(Named("name", {key: str(default)}).label).options[key], hint, what)
    except BenchError as error:
        raise Broken(f"{what} has the default {default!r}, which cannot be typed: {error}") from error
    except Exception as error:  # a type that was never meant to be typed raises anything
        raise Broken(
            f"{what} has the type {hint}, which cannot be typed; use bool, int, float, str, Literal"
        ) from error
    scalar = back is None or isinstance(back, bool | int | float | str)
    must(scalar, f"{what} has the type {hint}, which cannot be typed; use bool, int, float, str, Literal")
    same = back == default and isinstance(back, bool) == isinstance(default, bool)
    must(same, f"{what} has the default {default!r}, but typed it is {back!r}")
