"""Suites: TOML files that say which runs make which table. They hold names and numbers, and no code."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from mmvae_bench.errors import BenchError, near_hint
from mmvae_bench.sweep.request import Request, seed_numbers

SUITES = files("mmvae_bench") / "suites"
TEXTS, NUMBERS, COUNTS = "text or a list of texts", "a number or a list of numbers", "a whole number"
TABLE = "a table of modalities and numbers"
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
    "learning_rate": ("a number", (int, float)),
    **dict.fromkeys(("scales", "weights"), (TABLE, (int, float))),
    **dict.fromkeys(("seeds", "epochs", "batch_size", "latent_dim", "limit_train", "limit_test"), (COUNTS, (int,))),
}


def list_suites() -> dict[str, str]:
    """The suites that come with the package: name -> title."""
    found = sorted(item.name for item in SUITES.iterdir() if item.name.endswith(".toml"))
    return {name[:-5]: str(_parse(name, SUITES.joinpath(name).read_text()).get("title", "")) for name in found}


def load_suite(name_or_path: str) -> Request:
    """Return what a suite asks for.

    Args:
        name_or_path: A name of :func:`list_suites`, or the path of a TOML file.

    Raises:
        BenchError: If there is no such suite, or if a key or a value of its file cannot be read.
    """
    values = _parse(name_or_path, _read(name_or_path))
    for key, value in values.items():
        _check(name_or_path, key, value)
    several = values.keys() & {"models", "datasets", "scheme", "missing", "incomplete"}
    lists: dict[str, Any] = {key: _tuple(values.pop(key)) for key in several}
    if "scheme" in lists:
        lists["schemes"] = lists.pop("scheme")
    if "missing" in lists:
        lists["missing"] = tuple(map(float, lists["missing"]))
    listed = [str(seed) for seed in _tuple(values.pop("seed_list", []))]
    try:
        seeds = seed_numbers(values.pop("seeds", None), listed)
        return Request(name=Path(name_or_path).stem, seeds=seeds or (0,), **lists, **values)
    except BenchError as error:
        raise BenchError(f"suite '{name_or_path}': {error}") from error


def _read(name_or_path: str) -> str:
    """The text of a suite's file."""
    if not name_or_path.endswith(".toml"):
        known = list_suites()
        if name_or_path not in known:
            hint, own = near_hint(name_or_path, known), "a suite of your own is a path that ends in .toml"
            raise BenchError(f"no suite '{name_or_path}'; {hint}Known: {', '.join(known)}; {own}")
        return SUITES.joinpath(f"{name_or_path}.toml").read_text()
    try:
        return Path(name_or_path).read_text()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise BenchError(f"cannot read the suite '{name_or_path}': {why}") from error


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"the suite '{name}' is not valid TOML: {error}") from error


def _check(suite: str, key: str, value: object) -> None:
    """Refuse an unknown key, and a value of another type than the key's."""
    if key not in KINDS:
        hint = near_hint(key, KINDS)
        raise BenchError(f"the suite '{suite}' has an unknown key '{key}'; {hint}Known: {', '.join(KINDS)}")
    kind, types = KINDS[key]
    items = value if isinstance(value, list) else [value]
    if kind == TABLE:
        fits, items = isinstance(value, dict), list(value.values()) if isinstance(value, dict) else []
    else:
        fits = "list" in kind if isinstance(value, list) else not kind.startswith("a list")
    if not fits or any(type(item) not in types for item in items):
        raise BenchError(f"the suite '{suite}': '{key}' is {kind}, not {value!r}")


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)
