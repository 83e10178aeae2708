"""Names with options, as typed: ``mmvae[estimator=iwae,k=30]`` or ``mmvae:k=30:estimator=iwae``.

The options of a registered class or function are its keyword-only parameters. Their annotations give type and bounds.
"""

import inspect
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt

from mmvae_bench.errors import BenchError, in_a_line

Scalar = bool | int | float | str | None
Count = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Range:
    """The range of an option's random search: log-uniform between two positive numbers. An annotation, no bound."""

    low: float
    high: float


Weight = Annotated[float, Ge(0.0), Range(0.05, 5.0)]


@dataclass(frozen=True)
class Named:
    """A registered name with its raw options, as a user typed them."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The canonical text, in the brackets form: ``mmvae[k=30]``; the bare name without options."""
        inside = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}[{inside}]" if inside else self.name


def parse_named(text: str) -> Named:
    """Parse ``name``, ``name[key=value,...]`` or ``name:key=value:...``.

    Raises:
        BenchError: If the text has neither form.
    """
    match = re.fullmatch(r"\s*([\w.-]+)(?:\[(.*)\]|:(.*))?\s*", text)
    if not match:
        raise BenchError(f"Cannot read '{text}'. Write name, 'name[key=value,...]' or name:key=value.")
    name, inside, after = match.groups()
    pairs = [pair for pair in (inside or "").split(",") if pair] or [p for p in (after or "").split(":") if p]
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise BenchError(f"Cannot read the option '{pair}' of '{text}'. Write key=value.")
        if key in options:
            raise BenchError(f"The option '{key}' is given twice in '{text}'. Keep one.")
        options[key] = value
    return Named(name, options)


def split_list(texts: tuple[str, ...]) -> list[str]:
    """Split at commas outside brackets: ``("a,b[k=1,l=2]", "c") -> ["a", "b[k=1,l=2]", "c"]``."""
    return [part.strip() for text in texts for part in re.split(r",(?![^\[]*\])", text) if part.strip()]


def declared_options(factory: Callable[..., Any], name: str) -> dict[str, tuple[inspect.Parameter, Any]]:
    """Return the options of ``factory``: its keyword-only parameters and their annotations (``str`` without one).

    Raises:
        BenchError: If they cannot be read; ``name`` is what ``factory`` is registered as.
    """
    annotated = getattr(factory, "__init__", factory) if inspect.isclass(factory) else factory
    try:
        hints = get_type_hints(annotated, include_extras=True)
        parameters = inspect.signature(factory).parameters
    except Exception as error:  # a plug-in's name may stand for no class, or for one whose annotations name nothing
        raise BenchError(f"the options of '{name}' cannot be read: {in_a_line(error)}") from error
    keyword = (one for one in parameters.values() if one.kind is inspect.Parameter.KEYWORD_ONLY)
    return {one.name: (one, hints.get(one.name, str)) for one in keyword}


def ranges(factory: Callable[..., Any], name: str) -> dict[str, Range]:
    """Return the options of ``factory`` that declare a range of search."""
    declared = declared_options(factory, name)
    notes = {key: get_args(hint)[1:] for key, (_, hint) in declared.items() if get_origin(hint) is Annotated}
    return {key: note for key, own in notes.items() for note in own if isinstance(note, Range)}


def resolve(factory: Callable[..., Any], named: Named) -> dict[str, Scalar]:
    """Return all options of ``factory``: those of ``named`` coerced to their types, defaults for the rest.

    Raises:
        BenchError: If an option is unknown or its value does not fit its type.
    """
    declared = declared_options(factory, named.name)
    for key in named.options:
        if key not in declared:
            have = f"Its options are {', '.join(declared)}." if declared else "It has no options."
            raise BenchError(f"'{named.name}' has no option '{key}'. {have}")
    resolved: dict[str, Scalar] = {}
    for key, (parameter, hint) in declared.items():
        what = f"{named.name}[{key}]"
        if key in named.options:
            resolved[key] = coerce(named.options[key], hint, what)
        elif parameter.default is inspect.Parameter.empty:
            raise BenchError(f"{what} has no default. Write '{named.name}[{key}=...]'.")
        elif getattr(hint, "__origin__", hint) is float and parameter.default is not None:
            resolved[key] = float(parameter.default)  # a default written 1 and a typed 1.0 are the same run
        else:
            resolved[key] = parameter.default
    return resolved


def as_typed(factory: Callable[..., Any], name: str, options: Mapping[str, Scalar]) -> Named:
    """Return a name with those of its options that are not the defaults, as a user would type them."""
    declared = declared_options(factory, name)
    plain = {key for key, (parameter, _) in declared.items() if options.get(key, ...) == parameter.default}
    text = {key: str(value) if isinstance(value, str) else str(value).lower() for key, value in options.items()}
    return Named(name, {key: value for key, value in text.items() if key not in plain})


def coerce(text: str, hint: Any, what: str) -> Scalar:
    """Turn ``text`` into the type of an annotation: bool, int, float, str, Literal, one of these or None, or bounded.

    Raises:
        BenchError: If it does not fit, or is outside its bounds; ``what`` names the option.
    """
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        bounded = coerce(text, kind, what)
        for bound, holds, words in bounds(notes):
            if bounded is not None and not holds(bounded, bound):
                raise BenchError(f"{what} must be {words} {bound}, not '{text}'.")
        return bounded
    if get_origin(hint) in (Union, UnionType):
        arms = get_args(hint)
        if text.lower() == "none" and type(None) in arms:
            return None
        return coerce(text, next(arm for arm in arms if arm is not type(None)), what)
    if get_origin(hint) is Literal:
        choices = {str(choice): choice for choice in get_args(hint)}
        if text not in choices:
            raise BenchError(f"{what} must be one of {', '.join(choices)}, not '{text}'.")
        choice: Scalar = choices[text]
        return choice
    try:
        if hint is bool:
            return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[text.lower()]
        value: Scalar = hint(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError
        return value
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, str(hint))
        raise BenchError(f"{what} takes {kind}, not '{text}'.") from None


BOUNDS: Mapping[type[object], tuple[str, Callable[[Any, Any], bool], str]] = {
    Ge: ("ge", operator.ge, "at least"),
    Gt: ("gt", operator.gt, "more than"),
    Le: ("le", operator.le, "at most"),
    Lt: ("lt", operator.lt, "less than"),
}


def bounds(notes: Iterable[Any]) -> Iterator[tuple[Any, Callable[[Any, Any], bool], str]]:
    """Yield the bounds in an annotation, those of ``Interval`` included: value, comparison and words."""
    for note in notes:
        for one in note if isinstance(note, GroupedMetadata) else (note,):
            if known := BOUNDS.get(type(one)):
                name, holds, words = known
                yield getattr(one, name), holds, words
