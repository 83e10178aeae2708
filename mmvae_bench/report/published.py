"""Published numbers, and what is known of how they were made: two tables that come with the package.

A row of ``suites/published.csv`` is a number; its ``settings`` name a line of ``suites/published_settings.csv``.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Published:
    """A published number: a row of ``published.csv``.

    Attributes:
        source: Where it was read.
        confidence: ``A``: in the paper's own text or table; ``B``: a second party's table or rerun; ``C``: off a plot.
        settings: The line of ``published_settings.csv``.
        model: Registered name, or the paper's where we have none; ``model_options``: what is known of its options.
        dataset: Registered name; ``dataset_options`` say which of its forms the number is about.
        metric: As our rows have it; ``fid`` is Inception's, which we do not compute. ``variant``, ``prior``, ``given``,
            ``target``, ``scheme`` and ``ratio`` likewise.
        views: Number of modalities given, where it is a mean over those of that size.
        value: In our unit: shares in 0..1, nats.
        sd: Over seeds, where stated; ``n_seeds`` likewise.
        incomparable: Why no run of ours can be compared, whatever its settings; empty if that is not so.
        note: What else a reader must know.
    """

    id: str
    paper: str
    table: str
    source: str
    confidence: str
    settings: str
    model: str
    model_options: str
    dataset: str
    dataset_options: str
    metric: str
    variant: str
    prior: str
    given: str
    target: str
    views: str
    scheme: str
    ratio: float
    value: float
    sd: float | None
    n_seeds: int | None
    incomparable: str
    note: str

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        """What is scored, as our rows name it."""
        return self.metric, self.variant, self.prior, self.given, self.target


@cache
def published() -> tuple[Published, ...]:
    """All rows of ``published.csv``."""
    kinds = {field.name: field.type for field in fields(Published)}
    return tuple(
        Published(**{key: _typed(text, kinds[key]) for key, text in row.items()}) for row in _read("published")
    )


@cache
def settings() -> dict[str, dict[str, str]]:
    """``published_settings.csv`` by name; a field that is empty is not known."""
    return {row.pop("settings"): row for row in _read("published_settings")}


def _read(name: str) -> Iterable[dict[str, str]]:
    text = files("mmvae_bench").joinpath("suites", f"{name}.csv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _typed(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    return None if not text else int(text) if kind == int | None else float(text)


def parsed(text: str, bare: str = "") -> dict[str, str]:
    """``conv;hidden=400`` as ``{bare: "conv", "hidden": "400"}``."""
    pairs = [part.partition("=") for part in text.split(";") if part]
    return {key if equals else bare: value if equals else key for key, equals, value in pairs}
