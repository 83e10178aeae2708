"""Suites: TOML files that say which runs make which table. They hold names and numbers, and no code."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from mmvae_bench.disk import given_path
from mmvae_bench.errors import BenchError, near_hint
from mmvae_bench.sweep.request import Request, Search, seed_numbers

SUITES = files("mmvae_bench") / "suites"
TEXTS, NUMBERS, COUNTS = "text or a list of texts", "a number or a list of numbers", "a whole number"
TABLE = "a table of modalities and numbers"
SEARCH = f"a table of {', '.join(field.name for field in fields(Search))}"
KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "models": (TEXTS, (str,)),
    "datasets": (TEXTS, (str,)),
    "scheme": (TEXTS, (str,)),
    "missing": (NUMBERS, (int, float)),
    "seed_list": ("a list of whole numbers", (int,)),
    "title": ("text", (str,)),
    "incomplete": (TEXTS, (str,)),
    "nets": ("text", (str,)),
    "precision": ("text", (str,)),
    "optimiser": ("text", (str,)),
    "tiers": (TEXTS, (str,)),
    "metrics": (TEXTS, (str,)),
    "priors": (TEXTS, (str,)),
    "search": (SEARCH, ()),
    "learning_rate": ("a number", (int, float)),
    **dict.fromkeys(("scales", "weights"), (TABLE, (int, float))),
    **dict.fromkeys(("seeds", "epochs", "batch_size", "latent_dim", "limit_train", "limit_test"), (COUNTS, (int,))),
}


def list_suites() -> dict[str, str]:
    """The suites that come with the package: name -> title."""
    found = sorted(item.name[:-5] for item in SUITES.iterdir() if item.name.endswith(".toml"))
    return {name: str(_parse(name, _own(name)).get("title", "")) for name in found}


def load_suite(name_or_path: str) -> Request:
    """Return what a suite asks for.

    Args:
        name_or_path: A name of :func:`list_suites`, or the path of a TOML file.

    Raises:
        BenchError: If there is no such suite, or if a key or a value of its file cannot be read.
    """
    values = _parse(name_or_path, _read(name_or_path))
    try:
        return replace(Request(name=Path(name_or_path).stem), **_fields(values))
    except BenchError as error:
        raise BenchError(f"Suite '{name_or_path}': {error}") from error


def make_request(asked: Mapping[str, Any], suite: str | None = None, name: str | None = None) -> Request:
    """Return what a suite asks for, or the defaults, with the values of ``asked`` in place of its own.

    Args:
        asked: Values by the keys of a suite's file; None leaves the suite's.
        suite: As in :func:`load_suite`. By default ``quick``, unless models or data sets are asked for.
        name: Name of the plan. Default: the suite's, or ``custom``.

    Raises:
        BenchError: If there is no such suite, or if a key or a value cannot be meant.
    """
    values = {key: value for key, value in asked.items() if value is not None}
    suite = suite or ("" if {"models", "datasets"} & values.keys() else "quick")
    base = load_suite(suite) if suite else Request()
    return replace(base, name=plan_name(name, base.name), **_fields(values))


def plan_name(name: str | None, default: str = Request.name) -> str:
    """Return the name of a plan, or ``default`` where none is given.

    Raises:
        BenchError: If it cannot be a name.
    """
    if name is not None and not re.fullmatch(r"\w[\w-]{,99}", name):
        raise BenchError(f"A plan's name consists of at most 100 letters, digits, '_' and '-', not '{name}'.")
    return name or default


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a :class:`Request` that keys of a suite's file stand for.

    Raises:
        BenchError: If a key is unknown, or a value has another type than the key's.
    """
    plain = {key: _plain(value) for key, value in values.items()}
    for key, value in plain.items():
        if key not in KINDS:
            raise BenchError(f"Unknown key '{key}'; {near_hint(key, KINDS)}Known: {', '.join(KINDS)}.")
        kind, types = KINDS[key]
        if kind == SEARCH:
            plain[key] = _search(value)
            continue
        if kind == TABLE:
            fits, items = isinstance(value, dict), list(value.values()) if isinstance(value, dict) else []
        else:
            fits, items = "list" in kind, value
            if not isinstance(value, list):
                fits, items = not kind.startswith("a list"), [value]
        if not fits or any(type(item) not in types for item in items):
            raise BenchError(f"'{key}' is {kind}, not {value!r}.")
    if seeds := seed_numbers(plain.pop("seeds", None), plain.pop("seed_list", [])):
        plain["seeds"] = seeds
    several = [key for key in plain if KINDS[key][0] in (TEXTS, NUMBERS)]
    return plain | {key: tuple(v) if isinstance(v := plain[key], list) else (v,) for key in several}


def _search(value: Any) -> Search:
    """Return a suite's ``[search]``.

    Raises:
        BenchError: If it has other keys, or values of other types.
    """
    known = {field.name: type(field.default) for field in fields(Search)}
    if not isinstance(value, dict) or not value.keys() <= known.keys():
        raise BenchError(f"'search' is {SEARCH}, not {value!r}.")
    given: dict[str, Any] = {key: tuple(map(float, v)) if isinstance(v, list) else v for key, v in value.items()}
    if wrong := [key for key, v in given.items() if type(v) is not known[key]]:
        raise BenchError(f"'search' has a wrong type of value in {', '.join(wrong)}: {value!r}.")
    return Search(**given)


def _plain(value: Any) -> Any:
    """Arrays, ranges and tuples as lists, and NumPy's numbers as Python's: what TOML could have said."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple, range)) else value


def _own(name: str) -> str:
    """The text of a suite that comes with the package."""
    return SUITES.joinpath(f"{name}.toml").read_text(encoding="utf-8")


def _read(name_or_path: str) -> str:
    """The text of a suite's file."""
    if not name_or_path.endswith(".toml"):
        known = list_suites()
        if name_or_path not in known:
            hint, own = near_hint(name_or_path, known), "A suite of your own is a path that ends in .toml."
            raise BenchError(f"No suite '{name_or_path}'; {hint}Known: {', '.join(known)}. {own}")
        return _own(name_or_path)
    try:
        return given_path(name_or_path).read_text(encoding="utf-8-sig")  # some editors begin with a mark
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BenchError(f"Cannot read the suite '{name_or_path}': {why}.") from error


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"The suite '{name}' is not valid TOML: {error}.") from error
