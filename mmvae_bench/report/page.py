"""The page: one HTML file with all tables and pictures. Jinja escapes every value."""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mmvae_bench import __version__
from mmvae_bench.report import facts
from mmvae_bench.report.aggregates import shown
from mmvae_bench.report.comparisons import Comparison
from mmvae_bench.report.figures.style import Picture
from mmvae_bench.report.published import Section, published_notes
from mmvae_bench.report.render import DIRECTIONS, LEGEND, caption, limit_rows, notes, show
from mmvae_bench.report.select import Selection
from mmvae_bench.report.summary import SummaryTable
from mmvae_bench.report.tables import Table


def render_page(
    plan: Mapping[str, Any],
    selection: Selection,
    summaries: Sequence[SummaryTable],
    comparisons: Sequence[Comparison],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    aggregates: pd.DataFrame,
    published: Sequence[Section],
) -> str:
    """Return the page's HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    helpers = {"show": show, "caption": caption, "notes": notes, "limit_rows": limit_rows, "directions": DIRECTIONS,
               "embed": embed, "legend": LEGEND}  # fmt: skip
    template = environment.from_string((files("mmvae_bench.report") / "page.html").read_text(encoding="utf-8"))
    skipped = list(plan.get("skipped", []))
    return template.render(
        **helpers,
        plan=plan,
        title=plan.get("title") or plan.get("name") or "mmvae-bench",
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        version=__version__,
        runs=selection.runs,
        setting=facts.setting(selection),
        warnings=facts.warnings(selection, skipped),
        costs=facts.costs(selection),
        undefined=facts.undefined(selection),
        not_done=facts.not_done(selection, skipped),
        provenance=facts.provenance(selection),
        summaries=summaries,
        comparisons=comparisons,
        aggregates=shown(aggregates),
        published=published,
        published_notes=published_notes,
        shared=max((c.difference.n for c in comparisons), default=0),
        groups=[(g, _families(tables, g), [p for p in pictures if p.group == g]) for g in selection.groups],
    )


def _families(tables: Sequence[Table], group: str) -> dict[str, list[Table]]:
    """Tables of one data set by metric, each with its schemes."""
    found: dict[str, list[Table]] = {}
    for table in tables:
        if table.group == group:
            found.setdefault(table.title, []).append(table)
    return found


def embed(picture: Picture) -> Markup:
    """A picture as a data URI."""
    data = base64.b64encode(picture.png.read_bytes()).decode()
    return Markup("data:image/png;base64,") + data
