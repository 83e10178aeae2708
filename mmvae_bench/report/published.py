"""Published numbers beside ours. Two tables of the package hold the numbers and what is known of their settings.

A row of ``suites/published.csv`` is a number; its ``settings`` name a line of ``suites/published_settings.csv``.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import pandas as pd

from mmvae_bench.errors import counted
from mmvae_bench.report.averaging import average
from mmvae_bench.report.render import csv_text, hidden
from mmvae_bench.report.select import Run, Selection
from mmvae_bench.report.statistics import Summary
from mmvae_bench.spec import Missing

TASK = ["metric", "variant", "prior", "given", "target"]
HELD_OUT = 0.1  # tolerance of the number of steps, since 5 % of our training rows are for validation
COLUMNS = (
    "id", "data_set", "label", "missing_scheme", "missing_ratio", "incomplete", *TASK, "ours", "ours_sd",
    "ours_half_width", "ours_n", "published", "published_sd", "published_n", "difference", "why_not", "paper", "table",
    "source", "confidence", "note",
)  # fmt: skip


@cache
def published() -> list[Any]:
    """Return all rows of ``published.csv`` as named tuples, with what was hidden (``missing``) and scored (``place``).

    Fields that do not explain themselves:
        source: Place where the number was read.
        confidence: ``A``: in the paper's own text or table; ``B``: a second party's table or rerun; ``C``: off a plot.
        model: Registered name, or the paper's where we have none.
        dataset_options: Options of the data set that the number is about.
        metric: Registered name; ``fid`` is Inception's, which we do not compute.
        views: Number of modalities given, where the number is a mean over all sets of that size.
        value: Number in our unit: shares in 0..1, nats.
        sd: Standard deviation over ``n_seeds`` seeds; both None where not stated.
        incomparable: Reason why no run of ours can be compared, whatever its settings; empty if there is none.
    """
    frame = _read("published")
    for name, kind in {"ratio": float, "value": float, "sd": float, "n_seeds": int}.items():
        frame[name] = pd.Series([kind(text) if text else None for text in frame[name]], dtype=object)
    frame["missing"] = pd.Series(map(_missing, frame["scheme"], frame["ratio"]), dtype=object)
    frame["place"] = pd.Series(zip(*(frame[name] for name in TASK), strict=True), dtype=object)
    return list(frame.itertuples(index=False, name="Published"))


def _missing(scheme: str, ratio: float) -> Missing:
    scheme, dropped, _ = scheme.partition(",drop")
    return Missing(ratio, scheme, "drop" if dropped else "keep")


@cache
def settings() -> dict[str, dict[Any, str]]:
    """Return ``published_settings.csv`` by name; an empty field is not known."""
    return {row.pop("settings"): row for row in _read("published_settings").to_dict("records")}


def _read(name: str) -> pd.DataFrame:
    with (files("mmvae_bench") / "suites" / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def parsed(text: str, bare: str = "") -> dict[str, str]:
    """Return ``conv;hidden=400`` as ``{bare: "conv", "hidden": "400"}``."""
    pairs = [part.partition("=") for part in text.split(";") if part]
    return {key if equals else bare: value if equals else key for key, equals, value in pairs}


@dataclass(frozen=True)
class Beside:
    """A published number and ours."""

    published: Any
    score: str  # metric and direction
    run: Run
    ours: Summary
    why: str  # reason why they may not be compared; empty if nothing known speaks against it

    def show(self, value: float, spread: float | None = None) -> str:
        """Return ``0.512 ± 0.010``, with as many digits as the size of the published value needs."""
        digits = 1 if abs(self.published.value) >= 10 else 3
        return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")

    @property
    def difference(self) -> float | None:
        """Ours minus the published value."""
        return None if self.why else self.ours.mean - self.published.value


class Section(NamedTuple):
    """Numbers published on a data set, and how many of them have no run of ours to compare with."""

    group: str
    beside: list[Beside]
    unmatched: int


def published_notes(shown: Iterable[Beside]) -> list[str]:
    """Return the notes on published numbers and their settings, each once."""
    said: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    numbers = [one.published for one in shown]
    for p in numbers:
        for part in filter(None, p.note.split("; ")):
            said[p.paper, p.table, part][p.model] = None
    notes = [f"{paper}, {table} ({', '.join(names)}): {part}." for (paper, table, part), names in said.items()]
    return [*notes, *dict.fromkeys(f"Settings of {p.paper}: {settings()[p.settings]['source']}." for p in numbers)]


def beside(selection: Selection) -> list[Section]:
    """Return a section with our scores by model for each data set on which numbers were published."""
    found = []
    for group in selection.groups:
        runs = [run for run in selection.runs if run.group == group]
        data = runs[0].spec.dataset
        about = [p for p in published() if is_about(p, data.name, data.options)]
        pairs = sorted(_pairs(selection, runs, about), key=lambda pair: selection.labels.index(pair.run.label))
        if about:
            found.append(Section(group, pairs, len(about) - len({pair.published.id for pair in pairs})))
    return found


def is_about(p: Any, name: str, options: Mapping[str, Any]) -> bool:
    """Return whether a published value is about a data set with these options."""
    return p.dataset == name and not _contradictions(parsed(p.dataset_options), options)


def _pairs(selection: Selection, runs: list[Run], numbers: list[Any]) -> Iterable[Beside]:
    frame = selection.frame[(selection.frame["status"] == "ok") & (selection.frame["group"] == runs[0].group)]
    scores = dict(list(frame.groupby(["entrant", "missing", *TASK], sort=False)))
    cells = {(run.label, run.spec.missing): run for run in runs}
    for p in numbers:
        for (label, missing), run in cells.items():
            rows = scores.get((label, missing, *p.place))
            if rows is not None and (p.model, p.missing) == (run.spec.model.name, missing):
                cell = average(list(rows.itertuples()), 1, 0, selection)
                dead = f"{cell.dead} of {counted(len(rows), 'seed')} dead here" if cell.dead else ""
                about = selection.metrics[p.metric]
                column = about.column(p.given, p.target, len(run.spec.likelihoods))
                where = f"{p.views} given" if p.views and not p.given else column
                score = f"{about.title_of(p.variant, p.prior)}, {where}"
                if cell.summary:
                    yield Beside(p, score, run, cell.summary, "; ".join(filter(None, [dead, why_not(p, run)])))


def why_not(p: Any, run: Run) -> str:
    """Return the known reasons against comparing a published value with a run's in one line; empty if none."""
    spec, known = run.spec, settings()[p.settings]
    wanted = {**parsed(known["nets"], "nets"), **parsed(known["data"]), **parsed(known["likelihoods"])}
    wanted |= {key: known[key] for key in ("latent_dim", "epochs", "batch_size", "learning_rate", "optimiser")}
    wanted |= parsed(p.model_options)
    facts = {"nets": spec.nets.name, **spec.nets.options, **spec.dataset.options, **vars(spec.train)}
    facts |= {f"{m}.{key}": value for m, part in spec.likelihoods.items() for key, value in part.items()}
    facts |= {"latent_dim": spec.latent_dim, **spec.model.options}
    limits = {"train": spec.limit_train, "test": spec.limit_test}
    reasons = [p.incomparable, f"our data: {run.subset}" if run.subset else ""]
    reasons += [f"{counted(n, f'{part} row')} here" for part, n in limits.items() if n is not None]
    reasons += _contradictions(wanted, facts)
    steps = run.record.get("steps")
    if known["steps"] and steps and not math.isclose(steps, float(known["steps"]), rel_tol=HELD_OUT):
        reasons.append(f"{steps:,} steps instead of {int(known['steps']):,}")
    settled = {"nets": known["nets"], "budget": known["epochs"] or known["steps"]}
    if unknown := [name for name, text in settled.items() if not text]:
        reasons.append(f"unknown there: {', '.join(unknown)}")
    return "; ".join(filter(None, reasons))


def _contradictions(wanted: Mapping[str, str], facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each known setting that differs from ``facts``."""
    known = {key: want for key, want in wanted.items() if want}
    other = [(key, want) for key, want in known.items() if key in facts and not _same(facts[key], want)]
    lacks = [f"{key}={want}" for key, want in known.items() if key not in facts]
    return [
        *(f"{key.replace('_', ' ')} {_text(facts[key])} instead of {want}" for key, want in other),
        *(f"the paper uses {setting} (this model has no such option)" for setting in lacks),
    ]


def _same(fact: Any, want: str) -> bool:
    try:
        return math.isclose(float(fact), float(want), rel_tol=1e-3)
    except (TypeError, ValueError):
        return _text(fact) == want


def _text(fact: Any) -> str:
    return fact if isinstance(fact, str) else json.dumps(fact)


def beside_csv(sections: Iterable[Section]) -> str:
    """Return a CSV file with a line for each published value and each model of ours beside it."""
    return csv_text(COLUMNS, (
        {**one.published._asdict(), "data_set": one.run.group, "label": one.run.label, **hidden(one.run.spec.missing),
         **{f"ours_{name}": number for name, number in vars(one.ours).items()}, "ours": one.ours.mean,
         "published": one.published.value, "published_sd": one.published.sd, "published_n": one.published.n_seeds,
         "difference": one.difference, "why_not": one.why}
        for section in sections for one in section.beside
    ))  # fmt: skip
