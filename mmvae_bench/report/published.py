"""Published numbers beside ours. Two tables of the package hold the numbers and what is known of their settings.

A row of ``suites/published.csv`` is a number; its ``settings`` name a line of ``suites/published_settings.csv``.
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from mmvae_bench.metrics import Description
from mmvae_bench.report.render import csv_text, hidden
from mmvae_bench.report.select import Run, Selection
from mmvae_bench.report.statistics import Summary, summarise
from mmvae_bench.spec import Missing


@dataclass(frozen=True)
class Published:
    """A published number: a row of ``published.csv``.

    Attributes:
        source: Place where the number was read.
        confidence: ``A``: in the paper's own text or table; ``B``: a second party's table or rerun; ``C``: off a plot.
        settings: Name of the line of ``published_settings.csv``.
        model: Registered name, or the paper's where we have none.
        model_options: Known options of the model.
        dataset: Registered name.
        dataset_options: Options of the data set that the number is about.
        metric: Registered name; ``fid`` is Inception's, which we do not compute.
        views: Number of modalities given, where the number is a mean over all sets of that size.
        value: Number in our unit: shares in 0..1, nats.
        sd: Standard deviation over seeds, where stated.
        n_seeds: Number of seeds, where stated.
        incomparable: Reason why no run of ours can be compared, whatever its settings; empty if there is none.
        note: Other remarks.
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
    def missing(self) -> Missing:
        """What was hidden in training."""
        scheme, dropped, _ = self.scheme.partition(",drop")
        return Missing(self.ratio, scheme, "drop" if dropped else "keep")

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        """What is scored, as our rows name it."""
        return self.metric, self.variant, self.prior, self.given, self.target


@cache
def published() -> tuple[Published, ...]:
    """Return all rows of ``published.csv``."""
    kinds = {field.name: field.type for field in fields(Published)}
    return tuple(
        Published(**{key: _typed(text, kinds[key]) for key, text in row.items()}) for row in _read("published")
    )


@cache
def settings() -> dict[str, dict[str, str]]:
    """Return ``published_settings.csv`` by name; an empty field is not known."""
    return {row.pop("settings"): row for row in _read("published_settings")}


def _read(name: str) -> Iterable[dict[str, str]]:
    text = files("mmvae_bench").joinpath("suites", f"{name}.csv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _typed(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    return None if not text else int(text) if kind == int | None else float(text)


def parsed(text: str, bare: str = "") -> dict[str, str]:
    """Return ``conv;hidden=400`` as ``{bare: "conv", "hidden": "400"}``."""
    pairs = [part.partition("=") for part in text.split(";") if part]
    return {key if equals else bare: value if equals else key for key, equals, value in pairs}


TASK = ["metric", "variant", "prior", "given", "target"]
HELD_OUT = 0.1  # tolerance of the number of steps, since 5 % of our training rows are for validation
COLUMNS = (
    "id", "data_set", "label", "missing_scheme", "missing_ratio", "incomplete", "metric", "variant", "prior", "given",
    "target", "ours", "ours_sd", "ours_half_width", "ours_n", "published", "published_sd", "published_n", "difference",
    "why_not", "paper", "table", "source", "confidence", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Beside:
    """A published number and ours.

    Attributes:
        score: Metric and direction.
        why: Reason why they may not be compared; empty if nothing known speaks against it.
    """

    published: Published
    score: str
    run: Run
    ours: Summary
    why: str

    def show(self, value: float, spread: float | None = None) -> str:
        """Return ``0.512 ± 0.010``, with as many digits as the size of the published value needs."""
        digits = 1 if abs(self.published.value) >= 10 else 3
        return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")

    @property
    def difference(self) -> float | None:
        """Ours minus the published value."""
        return None if self.why else self.ours.mean - self.published.value


@dataclass(frozen=True)
class Section:
    """Numbers published on a data set.

    Attributes:
        unmatched: Number of published values without a run of ours to compare with.
    """

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
        about = [p for p in published() if _is_about(p, runs[0])]
        pairs = sorted(_pairs(selection, runs, about), key=lambda pair: selection.labels.index(pair.run.label))
        if about:
            found.append(Section(group, pairs, len(about) - len({pair.published.id for pair in pairs})))
    return found


def _is_about(p: Published, run: Run) -> bool:
    """Return whether the number was published on this form of the run's data set."""
    data = run.spec["dataset"]
    return p.dataset == data["name"] and not _contradictions(parsed(p.dataset_options), data["options"])


def _pairs(selection: Selection, runs: list[Run], about: list[Published]) -> Iterable[Beside]:
    rows = selection.frame[
        (selection.frame["status"] == "ok") & selection.frame["run_id"].isin([r.run_id for r in runs])
    ]
    scores = {key: list(part) for key, part in rows.groupby(["entrant", "missing", *TASK], sort=False)["value"]}
    cells = {(run.label, run.missing): run for run in runs}
    for p in about:
        for (label, missing), run in cells.items():
            values = scores.get((label, missing, *p.place))
            if values and (p.model, p.missing) == (run.spec["model"]["name"], missing):
                yield Beside(p, _score(p, run, selection.metrics[p.metric]), run, summarise(values), why_not(p, run))


def _score(p: Published, run: Run, about: Description) -> str:
    column = about.column(p.given, p.target, len(run.modalities))
    where = f"{p.views} given" if p.views and not p.given else column
    return f"{about.title_of(p.variant, p.prior)}, {where}"


def why_not(p: Published, run: Run) -> str:
    """Return the known reasons against comparing a published value with a run's in one line; empty if none."""
    spec, known = run.spec, settings()[p.settings]
    wanted = {**parsed(known["nets"], "nets"), **parsed(known["data"]), **parsed(known["likelihoods"])}
    wanted |= {key: known[key] for key in ("latent_dim", "epochs", "batch_size", "learning_rate", "optimiser")}
    wanted |= parsed(p.model_options)
    facts = {"nets": spec["nets"]["name"], **spec["nets"]["options"], **spec["dataset"]["options"], **spec["train"]}
    facts |= {f"{m}.{key}": value for m, part in spec["likelihoods"].items() for key, value in part.items()}
    facts |= {"latent_dim": spec["latent_dim"], **spec["model"]["options"]}
    reasons = [p.incomparable, f"our data: {run.subset}" if run.subset else ""]
    reasons += [
        f"{spec[f'limit_{part}']} {part} rows here" for part in ("train", "test") if spec[f"limit_{part}"] is not None
    ]
    reasons += _contradictions(wanted, facts)
    steps = run.record.get("steps")
    if known["steps"] and steps and not math.isclose(steps, float(known["steps"]), rel_tol=HELD_OUT):
        reasons.append(f"{steps:,} steps instead of {int(known['steps']):,}")
    unknown = [
        name for name, text in (("nets", known["nets"]), ("budget", known["epochs"] or known["steps"])) if not text
    ]
    if unknown:
        reasons.append(f"unknown there: {', '.join(unknown)}")
    return "; ".join(filter(None, reasons))


def _contradictions(wanted: Mapping[str, str], facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each known setting that differs from ``facts``."""
    known = {key: want for key, want in wanted.items() if want}
    lacks = [
        f"the paper uses {key}={want} (this model has no such option)"
        for key, want in known.items()
        if key not in facts
    ]
    other = {key: want for key, want in known.items() if key in facts and not _same(facts[key], want)}
    return [*(f"{key.replace('_', ' ')} {_text(facts[key])} instead of {want}" for key, want in other.items()), *lacks]


def _same(fact: Any, want: str) -> bool:
    try:
        return math.isclose(float(fact), float(want), rel_tol=1e-3)
    except (TypeError, ValueError):
        return _text(fact) == want


def _text(fact: Any) -> str:
    return fact if isinstance(fact, str) else json.dumps(fact)


def beside_csv(sections: Iterable[Section]) -> str:
    """Return a CSV file with a line for each published value and each model of ours beside it."""
    rows = []
    for one in (one for section in sections for one in section.beside):
        p, run, s = one.published, one.run, one.ours
        rows.append([
            p.id, run.group, run.label, *hidden(run.missing), *p.place, s.mean, s.sd, s.half_width, s.n,
            p.value, p.sd, p.n_seeds, one.difference, one.why, p.paper, p.table, p.source, p.confidence, p.note,
        ])  # fmt: skip
    return csv_text(COLUMNS, rows)
