"""``mmvae-bench board``: one page that shows any number of results folders, and the values of papers.

The page holds its numbers as JSON; Jinja escapes it, and its script puts text into the page as text.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from mmvae_bench import __version__, datasets, metrics, models
from mmvae_bench.disk import as_utf8, replace_file
from mmvae_bench.errors import BenchError, counted
from mmvae_bench.metrics import UNDESCRIBED, Description
from mmvae_bench.report import facts
from mmvae_bench.report.averaging import whole_tables
from mmvae_bench.report.folders import Source, read_folder
from mmvae_bench.report.published import beside, is_about, published, settings
from mmvae_bench.report.render import DEAD_RUNS, DIRECTIONS, show_limits
from mmvae_bench.report.select import Run
from mmvae_bench.report.summary import PARTS
from mmvae_bench.report.tables import Cell, Column, Table
from mmvae_bench.report.verdict import STATES, states, verdict
from mmvae_bench.spec import TIERS, Missing

LIBRARY = "vendor/chart-4.6.1.min.js"
MAIN = {(part.metric, part.variant, part.prior) for line in PARTS for part in line}
Json = dict[str, Any]


@dataclass(frozen=True)
class Board:
    """A written board."""

    page: Path
    runs: int  # number of runs
    values: int  # number of papers' values


def write_board(folders: Sequence[Path], out: Path) -> Board:
    """Write ``index.html`` of some results folders into ``out``.

    Raises:
        BenchError: If a folder holds no results, or cannot be read.
    """
    data = board_data([source for folder in folders for source in read_folder(folder)])
    page = out / "index.html"
    out.mkdir(parents=True, exist_ok=True)
    replace_file(page, as_utf8(render(data)))
    return Board(page, data["runs"], len(published()))


def render(data: Json) -> str:
    """Return the page."""
    own = files("mmvae_bench.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    scripts = {"library": LIBRARY, "script": "board.js", "style": "board.css"}
    texts = {name: own.joinpath(path).read_text(encoding="utf-8") for name, path in scripts.items()}
    template = environment.from_string(own.joinpath("board.html").read_text(encoding="utf-8"))
    return template.render(data=data, **texts)


def board_data(sources: Sequence[Source]) -> Json:
    """Return all that the page shows, as plain JSON values; the source with most runs comes first."""
    ordered = sorted(sources, key=lambda source: -len(source.selection.runs))
    sets = [one for source in ordered for one in _sets(source)]
    own = {(run.spec.dataset.name, *_options(run)) for source in ordered for run in source.selection.runs}
    labels = {run.label: run.spec.model.name for source in ordered for run in source.selection.runs}
    return {
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "runs": len({run.run_id for source in ordered for run in source.selection.runs}),
        "states": STATES,
        "directions": {str(better): text for better, text in DIRECTIONS.items()},
        "dead": DEAD_RUNS,
        "tiers": _tiers(ordered),
        "models": {label: _about(label, name) for label, name in labels.items()},
        "sets": [*sets, *_papers_alone(own)],
    }


def _tiers(sources: Iterable[Source]) -> dict[str, str]:
    used = {run.tier or "default" for source in sources for run in source.selection.runs}
    return {str(tier): text for tier, text in TIERS.items() if tier in used}


def _options(run: Run) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(run.spec.dataset.options.items()))


def _about(label: str, name: str) -> Json:
    """Return what is known of a model without its code; of a plug-in only its name."""
    paper, about = models.PAPERS.get(name), models.ABOUT.get(name, models.NOT_KNOWN)
    title = label.replace(name, paper.title, 1) if paper and label.startswith(name) else label
    cited = {"cited": paper.cited, "arxiv": paper.arxiv} if paper else {}
    return {"title": title, "name": name, **about._asdict(), **cited}


def _sets(source: Source) -> Iterator[Json]:
    """Yield each data set and tier of a source."""
    selection = source.selection
    tables, costs, numbers = whole_tables(selection), facts.costs(selection), beside(selection)
    why = {(section.group, one.published.id): one.why for section in numbers for one in section.beside}
    warnings = facts.warnings(selection, [])
    for group in selection.groups:
        runs = [run for run in selection.runs if run.group == group]
        data = runs[0].spec.dataset
        about = [p for p in published() if is_about(p, data.name, data.options)]
        values = [_value(p, why.get((group, p.id), p.incomparable or "no run of ours beside it")) for p in about]
        own = [table for table in tables if table.group == group]
        own.sort(key=lambda table: (table.metric, table.variant, table.prior) not in MAIN)
        name = partial(_short, names={run.label: run.spec.model.name for run in runs})
        yield {
            "source": source.name,
            "title": _data_title(runs[0]),
            "group": group,
            "name": data.name,
            "tier": runs[0].tier or "default",
            "summary": _summary(data.name),
            "subset": runs[0].subset,
            "warnings": [text for text in warnings if group in text or " on " not in text.lower()],
            "facts": _facts(source, runs),
            "models": [{"label": label, **_settings(label, runs, group, costs)} for label in own_labels(runs, source)],
            "values": values,
            "tables": [_table(table, source, about, name, len(runs[0].spec.likelihoods)) for table in own],
        }


def own_labels(runs: Sequence[Run], source: Source) -> list[str]:
    """Return the labels of some runs, in the order of tables."""
    found = {run.label for run in runs}
    return [label for label in source.selection.labels if label in found]


def _data_title(run: Run) -> str:
    """Return the title of a run's data set without its tier."""
    inside = run.group.removeprefix(run.spec.dataset.name)[2:-1]
    rest = inside.removeprefix(run.tier).removeprefix(", ") if run.tier else inside
    return run.spec.dataset.name + (f" ({rest})" if rest else "")


def _summary(name: str) -> str:
    try:
        return str(datasets.registry.get(name).summary)
    except BenchError:  # a plug-in that is not installed
        return ""


def _facts(source: Source, runs: Sequence[Run]) -> dict[str, str]:
    """Return the settings of a data set's runs: heading -> text."""
    part = source.selection.of(runs[0].group)
    found = facts.setting(part)
    kept = ("Missing in training", "Chosen by", "Seeds", "Budget", "Networks", "Latent size", "Likelihoods", "Devices")
    found = {key: text for key, text in found.items() if key in kept and text}
    hashes = facts.provenance(part)
    more = {key.capitalize(): text for row in hashes for key, text in row.items() if key != "data set" and text}
    options = ", ".join(f"{key} {value}" for key, value in runs[0].spec.dataset.options.items())
    return {"Options": options, "Runs": str(len(runs)), **found, **more}


def _settings(label: str, runs: Sequence[Run], group: str, costs: Iterable[dict[str, str]]) -> Json:
    """Return the settings and costs of a model on a data set."""
    spec = next(run.spec for run in runs if run.label == label)
    train, cost = spec.train, next(row for row in costs if (row["data set"], row["model"]) == (group, label))
    return {
        "options": ", ".join(f"{key} {json.dumps(value)}" for key, value in spec.model.options.items()) or "none",
        "nets": facts.component(spec.nets),
        "latent": spec.latent_dim,
        "budget": f"{train.epochs} epochs, batch {train.batch_size}, {train.optimiser} {train.learning_rate:g}",
        "parameters": cost["parameters"],
        "seconds": cost["training [s]"],
        "runs": cost["runs"],
    }


def _short(label: str, names: Mapping[str, str]) -> str:
    """Return the title of a model, with its options only where another one has the same title."""
    bare = [re.split(r"[\[ ]", other)[0] for other in names]
    own = re.split(r"[\[ ]", label)[0]
    return str(_about(own if bare.count(own) == 1 else label, names[label])["title"])


def _table(table: Table, source: Source, about: Sequence[Any], name: Callable[[str], str], modalities: int) -> Json:
    """Return a score: its columns, and the cells of each model in them."""
    key = (table.metric, table.variant, table.prior)
    lacking = key in source.lacking
    places: dict[tuple[str, Missing], list[int]] = {}
    for number, p in enumerate(about):
        if (p.metric, p.variant, p.prior) == key:
            text = table.about.column(p.given, p.target, modalities) or ""
            places.setdefault((text, p.missing), []).append(number)
    labels = list(table.cells)
    return {
        "title": table.title,
        "definition": table.definition,
        "main": key in MAIN,
        "better": table.better,
        "bounds": list(table.about.bounds),
        "note": table.left_out,
        "columns": [
            {**_column(table, column, labels, name, lacking), "values": places.get((column.text, column.missing), [])}
            for column in table.columns
        ],
        "labels": labels,
    }


def _column(table: Table, column: Column, labels: Sequence[str], name: Callable[[str], str], lacking: bool) -> Json:
    """Return a column: sentence, limits, and a cell of each model that has one."""
    found = states(table, column)
    cells = []
    for number, label in enumerate(labels):
        cell = table.cells[label][column]
        if cell.summary or cell.note:
            cells.append(_cell(number, cell, found.get(label, ""), lacking))
    digits = table.decimals(column)
    chance, ceiling = table.chance.get(column), table.ceiling.get(column)
    return {
        **_where(column.text, column.missing),
        "verdict": verdict(table, column, name),
        "digits": digits,
        "over": _over(table, column, lacking),
        "chance": show_limits(chance, digits),
        "ceiling": show_limits(ceiling, digits),
        "cells": cells,
    }


def _where(text: str, missing: Missing) -> Json:
    return {"text": text, "ratio": missing.ratio, "pattern": missing.pattern if missing.ratio else "none"}


def _cell(number: int, cell: Cell, state: str, lacking: bool) -> list[Any]:
    """Return place of the label, mean, half width, number of seeds, state, number of dead seeds, and remark."""
    if cell.summary is None:
        return [number, None, None, 0, "", 0, cell.note]
    half = None if lacking and not cell.summary.covers else cell.summary.half_width
    digits = cell.decimals
    return [number, _number(cell.mean, digits), _number(half, digits), cell.summary.n, state, cell.dead, cell.note]


def _over(table: Table, column: Column, lacking: bool) -> str:
    """Return what the intervals of a column cover."""
    scored = [s for row in table.cells.values() if (s := row[column].summary) and s.half_width is not None]
    if rows := {s.rows for s in scored if s.rows}:
        return f"seeds and {max(rows):,} test rows"
    if any(s.covers for s in scored):
        return "seeds, each with draws of its own"
    if lacking:
        return "nothing: outcomes of this score's test rows are not published, and seeds alone would claim too much"
    return "seeds alone, so no order is claimed" if scored else ""


def _number(value: float | None, digits: int) -> float | None:
    """Return a number as tables print it, so that the page cannot round it otherwise; None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}f}")


def _value(p: Any, why: str) -> Json:
    """Return a published value with its source."""
    known = models.PAPERS.get(p.model)
    return {
        "model": known.title if known else p.model,
        "options": p.model_options.replace(";", ", "),
        "score": _described(p.metric).title_of(p.variant, p.prior),
        "where": " → ".join(filter(None, (p.given, p.target))) or f"{p.views} given" * bool(p.views),
        **{key: value for key, value in _where("", p.missing).items() if key != "text"},
        "value": p.value,
        "sd": p.sd,
        "n": p.n_seeds,
        "source": f"{p.paper}, {p.table}",
        "read": p.source,
        "confidence": p.confidence,
        "note": p.note,
        "settings": settings()[p.settings]["source"],
        "why": why,
    }


def _described(metric: str) -> Description:
    try:
        return metrics.registry.get(metric).about.named(metric)
    except BenchError:  # one that only papers have
        return UNDESCRIBED.named(metric)


def _papers_alone(own: set[tuple[Any, ...]]) -> Iterator[Json]:
    """Yield the data sets of which papers have values and no source has runs."""
    places: dict[tuple[str, str], list[Any]] = {}
    for p in published():
        if not any(p.dataset == name and is_about(p, name, dict(options)) for name, *options in own):
            places.setdefault((p.dataset, p.dataset_options), []).append(p)
    for (dataset, options), about in places.items():
        title = dataset + (f" ({options.replace(';', ', ').replace('=', ' ')})" if options else "")
        common = {"source": "papers", "title": title, "group": title, "name": dataset, "tier": "", "subset": ""}
        values = [_value(p, "no run of ours beside it") for p in about]
        rest = {"summary": _summary(dataset), "warnings": [], "facts": {}, "models": [], "values": values}
        yield {**common, **rest, "tables": list(_papers_tables(about))}


def _papers_tables(about: Sequence[Any]) -> Iterator[Json]:
    """Yield a table for each score, all of whose columns have papers' values alone."""
    modalities = len({name for p in about for text in (p.given, p.target) for name in text.split("+") if name})
    tables: dict[tuple[str, str, str], dict[tuple[str, Missing], list[int]]] = {}
    for number, p in enumerate(about):
        rest = f"{p.views} given" if p.views and not p.given else ""
        text = rest or _described(p.metric).column(p.given, p.target, modalities) or "all"
        key = (p.metric, "micro" if rest and p.variant.startswith("micro") else p.variant, p.prior)
        tables.setdefault(key, {}).setdefault((text, p.missing), []).append(number)
    for (metric, variant, prior), columns in sorted(tables.items(), key=lambda item: item[0] not in MAIN):
        described = _described(metric)
        better = 1 if described.higher_is_better and metric != "fid" else -1
        yield {
            "title": described.title_of(variant, prior),
            "definition": described.definition_of(variant, prior) if described.definition else "",
            "main": (metric, variant, prior) in MAIN,
            "better": better,
            "bounds": list(described.bounds),
            "note": "",
            "columns": [_papers_column(*where, [about[n] for n in own], own, better) for where, own in columns.items()],
            "labels": [],
        }


def _papers_column(text: str, missing: Missing, own: Sequence[Any], numbers: list[int], better: int) -> Json:
    """Return a column without runs."""
    first = max(own, key=lambda p: better * p.value)
    name = models.PAPERS[first.model].title if first.model in models.PAPERS else first.model
    end = "highest" if better > 0 else "lowest"
    paper, count = first.paper.removesuffix(f" ({name})"), counted(len(own), "published value")
    said = (
        f"This page has no run on these data, so nothing is ranked. The {end} of {count} is {first.value:g}, "
        f"{name} ({paper}). Papers differ in nets, data and budget."
    )
    rest = {"digits": 3, "over": "", "chance": "", "ceiling": "", "cells": [], "values": numbers}
    return {**_where(text, missing), "verdict": said, **rest}
