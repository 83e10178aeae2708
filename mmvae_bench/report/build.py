"""``mmvae-bench report``: write all tables, figures and the page, whose every value Jinja escapes."""

import base64
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from mmvae_bench import __version__
from mmvae_bench.disk import as_utf8
from mmvae_bench.errors import BenchWarning, counted
from mmvae_bench.report import facts, frontier, improvement, render
from mmvae_bench.report.aggregates import shown
from mmvae_bench.report.content import Content
from mmvae_bench.report.figures.curves import against_time, curves
from mmvae_bench.report.figures.exemplars import Exemplar, exemplars
from mmvae_bench.report.figures.frontier import frontier_figures
from mmvae_bench.report.figures.panels import against, priors
from mmvae_bench.report.figures.profiles import profiles
from mmvae_bench.report.figures.relatedness import class_matrices, embeddings, histograms
from mmvae_bench.report.figures.samples import captions, grids
from mmvae_bench.report.figures.style import Picture, Plot, palette, save_all
from mmvae_bench.report.published import Section, beside_csv, published_notes
from mmvae_bench.report.render import csv_text, hidden, to_csv, to_latex, to_markdown
from mmvae_bench.report.select import Selection, file_name, select
from mmvae_bench.report.sounds import Sounds, sounds
from mmvae_bench.report.summary import summary_notes, to_terminal
from mmvae_bench.report.tables import Comparison, Table
from mmvae_bench.report.tasks import ERRORS, error_rows
from mmvae_bench.store.store import COLUMNS, Store

PAIRS = (
    "data_set", "metric", "column", "missing_scheme", "missing_ratio", "incomplete", "better", "worse", "difference",
    "half_width", "n", "rows", "p", "p_holm", "smallest_p", "claim",
)  # fmt: skip
FACTS = ("setting", "costs", "searches", "trials", "undefined", "provenance")  # of the runs, on the page
WRITTEN = ".report-files"  # list of the files of the last report, so that the next one can delete those out of date


@dataclass(frozen=True)
class ReportResult:
    """A report: its page, all its files, its summary for the terminal, and what else a page of it may show."""

    page: Path
    files: list[Path]
    summary: str
    pictures: list[Picture]
    published: list[Section]


def build_report(
    store: Store, plan: Mapping[str, Any], out: Path, *, public: bool = False, pdf: bool = False
) -> ReportResult:
    """Write tables, figures and the page of a plan's stored runs to a subfolder of ``out`` named after the plan.

    ``public`` leaves out pictures of data that may not be published; ``pdf`` writes each figure as PDF as well.

    Raises:
        BenchError: If no run is stored, one is broken, or a cell would average scores of different settings.
    """
    selection = select(store, plan, public=public)
    content = Content(selection, list(plan.get("skipped", [])))
    folder = report_folder(out, str(plan.get("name") or "report"))
    examples = {group: exemplars(selection.runs, group, selection.labels) for group in selection.groups}
    plots = list(_plots(content, examples))  # refuses what may not be averaged, before anything is replaced
    _say_what_is_replaced(folder, selection)
    _clear(folder)
    pictures = save_all(plots, folder / "figures", pdf=pdf)
    page, scores = folder / "index.html", folder / "scores.csv"
    selection.rows[list(COLUMNS)].to_csv(scores, index=False, errors="backslashreplace")
    texts = {
        page: render_page(plan, content, pictures, sounds=_sounds(selection, examples)),
        folder / "comparisons.csv": csv_text(PAIRS, map(_comparison_row, content.comparisons)),
        folder / "aggregates.csv": content.aggregates.drop(columns="score").to_csv(index=False),
        folder / "improvements.csv": csv_text(improvement.COLUMNS, content.improvements),
        folder / "errors.csv": csv_text(ERRORS, error_rows(content.over_tasks)),
        folder / "published.csv": beside_csv(content.published),
        **_table_texts(content, folder / "tables"),
    }
    for path, text in texts.items():
        path.write_bytes(as_utf8(text))
    every = [*texts, scores, *(picture.png for picture in pictures)]
    every += [picture.png.with_suffix(".pdf") for picture in pictures if pdf]
    (folder / WRITTEN).write_text("".join(f"{path.relative_to(folder)}\n" for path in every), encoding="utf-8")
    summary = to_terminal(content.summaries, content.warnings)
    return ReportResult(page, every, summary, pictures, content.published)


def report_folder(out: Path, name: str) -> Path:
    """Return the folder of a plan's report: of the plan's name, which is a file's name already, or of a safe one."""
    return Path(out) / (name if name == Path(name).name and name.strip(".") else file_name(name))


def _say_what_is_replaced(folder: Path, selection: Selection) -> None:
    """Warn if the last report in this place has runs that the new one lacks."""
    try:
        before = set(pd.read_csv(folder / "scores.csv", usecols=["run_id"], dtype=str)["run_id"])
    except (OSError, ValueError):  # there is none, or it is another's file
        return
    if gone := before - set(selection.rows["run_id"]):
        warnings.warn(
            f"The last report in '{folder}' had {counted(len(gone), 'run')} that this one lacks, and is replaced. "
            "To keep both next time, give the plan another name (run --name), or the report another place (--out).",
            BenchWarning,
            stacklevel=2,
        )


def _plots(content: Content, examples: Mapping[str, list[Exemplar]]) -> Iterator[Callable[[], Iterator[Plot]]]:
    """Yield calls that each draw a few figures in any process, in the order of the page."""
    selection, tables, names = content.selection, content.tables, content.names
    looks = palette(selection.labels)
    yield partial(frontier_figures, content.areas, names)
    if any(map(improvement.enough, content.over_tasks)):
        yield partial(profiles, content.over_tasks, looks)
    for _, schemes in groupby(tables, lambda t: (t.group, t.metric, t.variant, t.prior)):
        if not (own := list(schemes))[0].of_learned_prior:
            yield partial(curves, own, looks, names)
    if any(table.of_learned_prior for table in tables):
        drawn = [t for t in tables if t.prior and t.about.is_drawn(t.variant) and t.about.columns != "density"]
        for _, some in groupby(drawn, lambda t: t.group):
            yield partial(priors, list(some), names)
    numbered = [table for table in tables if table.about.against and table.variant[:1].isdigit()]
    for _, variants in groupby(numbered, lambda t: (t.group, t.metric)):
        yield partial(against, list(variants), names)
    yield partial(against_time, tables, selection.runs, looks, names)
    for group in selection.groups:
        name, rows = names[group], examples[group]
        modalities = next(list(run.spec.likelihoods) for run in selection.runs if run.group == group)
        yield partial(histograms, rows, group, looks, name)
        yield partial(class_matrices, rows, group, name)
        if group not in selection.hidden:
            yield partial(grids, rows, group, name)
            yield partial(captions, rows, group, name)
        yield partial(embeddings, rows, group, name, modalities)


def _sounds(selection: Selection, examples: Mapping[str, list[Exemplar]]) -> list[Sounds]:
    """Return the sounds of all data sets that may be published."""
    groups = [group for group in selection.groups if group not in selection.hidden]
    return [each for group in groups for each in sounds(examples[group], group)]


def _table_texts(content: Content, folder: Path) -> dict[Path, str]:
    """Return the text of each table's files."""
    names = content.names
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[Path, str] = {}
    for table in content.tables:
        scheme = "" if table.scheme == "none" else table.scheme
        parts = (names[table.group], table.metric, *(text and names[text] for text in (table.variant, table.prior)))
        name = file_name("-".join(filter(None, (*parts, scheme and names[scheme]))))
        for ending, write in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
            found[folder / f"{name}.{ending}"] = write(table)
    return found


def _comparison_row(c: Comparison) -> dict[str, object]:
    where = {"data_set": c.group, "metric": c.metric, "column": c.column.text, **hidden(c.column.missing)}
    d = c.difference
    numbers = {**vars(d), "difference": d.mean, "smallest_p": d.smallest_p, "p_holm": c.holm, "claim": int(c.claim)}
    return {**where, "better": c.better, "worse": c.worse, **numbers}


def _best(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons of the best model of each column; the CSV has the others."""
    beaten = {(c.group, c.metric, c.column, c.worse) for c in comparisons}
    return [c for c in comparisons if (c.group, c.metric, c.column, c.better) not in beaten]


def _clear(folder: Path) -> None:
    """Delete the files of the last report, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / WRITTEN
    for line in record.read_text(encoding="utf-8").splitlines() if record.exists() else ():
        path = folder / line
        if path.resolve().is_relative_to(folder.resolve()):
            path.unlink(missing_ok=True)


def render_page(plan: Mapping[str, Any], content: Content, pictures: Sequence[Picture], **values: Any) -> str:
    """Return the page's HTML; ``values`` are further ones for the template, which escapes every value."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("mmvae_bench.report") / "page.html").read_text(encoding="utf-8"))
    selection, comparisons = content.selection, _best(content.comparisons)
    helpers = {name: getattr(render, name) for name in ("show", "show_rows", "caption", "notes", "limit_rows")}
    return template.render(
        **helpers,
        **values,
        embed=embed,
        counted=counted,
        marks=render.MARKS,
        dead_runs=render.DEAD_RUNS,
        summaries=content.summaries,
        summary_notes=summary_notes(content.summaries),
        comparisons=comparisons,
        aggregates=shown(content.aggregates),
        improvements=improvement.shown(content.improvements),
        areas=frontier.shown(content.areas),
        published=content.published,
        directions=render.DIRECTIONS,
        published_notes=published_notes,
        plan=plan,
        title=plan.get("title") or plan.get("name") or "mmvae-bench",
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        version=__version__,
        runs=selection.runs,
        warnings=content.warnings,
        not_done=facts.not_done(selection, content.skipped),
        **{name: getattr(facts, name)(selection) for name in FACTS},
        shared=max((c.difference.n for c in comparisons), default=0),
        over_tasks=[picture for picture in pictures if not picture.group],
        groups=[(g, _families(content.tables, g), [p for p in pictures if p.group == g]) for g in selection.groups],
    )


def _families(tables: Sequence[Table], group: str) -> dict[str, list[Table]]:
    """Tables of one data set by metric, each with its schemes; all attacks, and all learned priors, together."""
    found: dict[str, list[Table]] = {}
    for table in tables:
        if table.group == group:
            about, title = table.about.named(table.metric), table.title
            if about.against:
                title = about.title
            elif table.of_learned_prior:
                title = f"{about.title_of(table.variant, '')} under learned priors"
            found.setdefault(title, []).append(table)
    return found


def embed(picture: Picture) -> str:
    """A picture as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(picture.png.read_bytes()).decode()}"
