"""Many panels of one kind: a row per model, a column per score, a line per remedy or prior."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmvae_bench.metrics import PRIORS
from mmvae_bench.options import Named, parse_named
from mmvae_bench.priors import OWN
from mmvae_bench.report.figures.style import MARKS, Plot, axis_kept, handle, legend_below, lower_first, new_figure
from mmvae_bench.report.render import covered
from mmvae_bench.report.tables import Cell, Column, Table
from mmvae_bench.spec import Missing

MOST_COLUMNS = 4
DODGE = 0.09  # distance of two lines' marks, so that their bars do not hide one another


@dataclass
class Panels:
    """Scores by model, column, line and place on the axis."""

    axis: str  # name of the axis
    places: list[str]  # on the axis
    lines: list[str]
    share: Literal["all", "col"]  # which panels have one scale
    own: set[str] = field(default_factory=set)  # columns in which each panel has its own
    cells: dict[tuple[str, str], dict[str, dict[str, Cell]]] = field(default_factory=dict)
    chance: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, model: str, column: str, line: str, place: str, cell: Cell) -> None:
        """Enter a score, if there is one."""
        if cell.summary:
            self.cells.setdefault((model, column), {}).setdefault(line, {})[place] = cell

    def draw(self) -> Figure:
        """Draw all panels."""
        models, columns = (list(dict.fromkeys(where[i] for where in self.cells)) for i in (0, 1))
        figure = new_figure(1.2 + 1.9 * len(columns), 0.7 + 1.35 * len(models))
        axes = figure.subplots(len(models), len(columns), squeeze=False, sharex=True, sharey=self.share == "all")
        for row, model in zip(axes, models, strict=True):
            row[0].set_ylabel(model)
            for ax, column in zip(row, columns, strict=True):
                self._panel(ax, (model, column))
        for column, axs in zip(columns, axes.T, strict=True):
            axs[0].set_title(column)
            if self.share == "col" and column not in self.own:
                ends = [ax.get_ylim() for ax in axs if ax.has_data()]
                low, high = min(low for low, _ in ends), max(high for _, high in ends)
                for ax in axs:
                    ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        for ax in axes[-1]:
            crowded = max(map(len, self.places)) > 4
            turned = {"rotation": 40, "ha": "right"} if crowded else {}
            ax.set_xticks(range(len(self.places)), self.places, **turned)
            ax.set_xlabel(self.axis)
        drawn = {line for lines in self.cells.values() for line in lines} - {""}
        handles = [handle(name, color=c, marker=m) for name, (c, m) in self._looks.items() if name in drawn]
        legend_below(figure, handles, min(5, len(handles)))
        return figure

    @property
    def _looks(self) -> dict[str, tuple[str, str]]:
        return dict(zip(self.lines, cycle(MARKS), strict=False))

    def _panel(self, ax: Axes, where: tuple[str, str]) -> None:
        """Draw the lines of a panel, side by side, with their intervals as far as these fit the axis."""
        for number, (name, (colour, marker)) in enumerate(self._looks.items()):
            cells = self.cells.get(where, {}).get(name, {})
            shown = {place: cell.summary for place, cell in cells.items() if cell.summary}
            x = [self.places.index(place) + DODGE * (number - (len(self.lines) - 1) / 2) for place in shown]
            mean = [score.mean for score in shown.values()]
            half = [np.nan if score.half_width is None else score.half_width for score in shown.values()]
            joined = "-" if name else ""  # places without an order
            dash = (0, (1, 1.2)) if name and any(cell.control for cell in cells.values()) else joined
            flat = len({id(cell) for cell in cells.values()}) == 1  # a score that has no place on the axis
            one = 1 if flat else None
            ax.plot(
                x, mean, color=colour, marker=marker, markersize=3.5, linewidth=1.1, linestyle=dash, zorder=3,
                markevery=slice(one),
            )  # fmt: skip
            with axis_kept(ax):
                ax.errorbar(x[:one], mean[:one], half[:one], fmt="none", ecolor=colour, elinewidth=0.9, zorder=2)
        if where in self.chance:
            ax.axhline(self.chance[where], color="black", linewidth=0.9, linestyle="--", zorder=1)
        ax.grid(axis="y", linewidth=0.4, alpha=0.5)
        ax.minorticks_off()
        ax.margins(y=0.1)

    def caption(self, start: str, tables: Sequence[Table], meanings: Mapping[str, str]) -> str:
        """Return a caption: what the lines, the marks and the bars are."""
        over = next(filter(None, map(covered, tables)), "")
        bars = f"bars: 95 % intervals {over}, cut at the axes" if over else "without intervals"
        cells = [cell for lines in self.cells.values() for line in lines.values() for cell in line.values()]
        dotted = " Dotted: chance controls." if any(cell.control for cell in cells) else ""
        dashed = " Dashed: chance." if self.chance else ""
        known = "; ".join(f"{name}: {text}" for name, text in meanings.items())
        return f"{start}. Lines: {known}. Means over seeds, {bars}.{dashed}{dotted}"


def against(tables: Sequence[Table], slugs: Mapping[str, str]) -> Iterator[Plot]:
    """Draw all variants of a metric against the number that they begin with, a figure per missing pattern.

    Of more than :data:`MOST_COLUMNS` columns, those of each given modality have a figure of their own.
    """
    first = tables[0]
    title = f"{first.about.named(first.metric).title} against the {first.about.against}"
    found = dict.fromkeys(column for table in tables for column in table.columns)
    for missing in dict.fromkeys(column.missing for column in found):
        columns = [column for column in found if column.missing == missing]
        parts: dict[str, list[Column]] = defaultdict(list)
        for column in columns:
            parts[column.text.partition(" → ")[0] if len(columns) > MOST_COLUMNS else ""].append(column)
        for given, some in parts.items():
            panels = _variants(tables, some)
            words = {word for line in panels.lines for word in line.split()}
            meanings = {word: text for word, text in first.about.variants.items() if word in words}
            caption = panels.caption(f"{first.group}: {lower_first(title)}{_hidden(missing)}", tables, meanings)
            name = _name(slugs[first.group], first.metric, "against", _hidden(missing), given)
            yield Plot(name, title, caption, first.group, panels.draw(), key=True)


def _variants(tables: Sequence[Table], columns: Sequence[Column]) -> Panels:
    """Return the scores of a metric's variants: a line for what follows the number."""
    numbers, lines = (list(dict.fromkeys(table.variant.partition(" ")[i] for table in tables)) for i in (0, 2))
    panels = Panels(tables[0].about.against, numbers, lines, "all")
    for table in tables:
        number, _, line = table.variant.partition(" ")
        for (label, row), column in ((item, column) for item in table.cells.items() for column in columns):
            panels.add(label, column.text, line, number, row.get(column, Cell()))
            if column in table.chance:
                panels.chance[label, column.text] = sum(table.chance[column]) / 2
    return panels


def priors(tables: Sequence[Table], slugs: Mapping[str, str]) -> Iterator[Plot]:
    """Draw scores under priors; the axis is the bound of a density ratio or, of fewer than two bounds, the prior.

    ``tables`` are those of one data set that are of a prior.
    """
    first = tables[0]
    for missing in dict.fromkeys(column.missing for table in tables for column in table.columns):
        panels = _priors(tables, missing)
        if panels.cells:
            kinds = [name.partition("[")[0] for name in (*panels.lines, *panels.places)]
            meanings = {kind: PRIORS[kind] for kind in kinds if kind in PRIORS}
            for table in tables:
                if (rest := table.variant.partition(" ")[2]) and table.variant in table.about.variants:
                    meanings[rest] = table.about.variants[table.variant]
            caption = panels.caption(f"{first.group}: scores under priors{_hidden(missing)}", tables, meanings)
            name = _name(slugs[first.group], "priors", _hidden(missing))
            yield Plot(name, f"Priors, by {panels.axis}", caption, first.group, panels.draw(), key=True)


def _priors(tables: Sequence[Table], missing: Missing) -> Panels:
    """Return the scores under priors; what follows the first word of a variant is a line of its own."""
    found = dict.fromkeys(table.prior for table in tables)
    axis, places, where = _axis(
        [*(name for name in OWN if name in found), *(name for name in found if name not in OWN)]
    )
    rests = [rest for table in tables if (rest := table.variant.partition(" ")[2])]
    panels = Panels(axis, places, list(dict.fromkeys([*(line for line, _ in where.values()), *rests])), "col")
    for table in tables:
        kind, _, rest = table.variant.partition(" ")
        title = table.about.named(table.metric).title_of(kind, "").replace(" (", "\n(")
        line, own = where[table.prior]
        for column in (column for column in table.columns if column.missing == missing):
            text = title if column.text in ("all", "joint") else f"{title}\n{column.text}"
            if not (kind or table.about.is_ranked("")):  # of latents, which differ between models
                panels.own.add(text)
            for label, row in table.cells.items():
                for place in own:
                    panels.add(label, text, rest or line, place, row[column])
    return panels


def _axis(labels: Sequence[str]) -> tuple[str, list[str], dict[str, tuple[str, list[str]]]]:
    """Return the name of an axis, its places, and the line and places of each prior: flat where it has no bound."""
    named = {label: parse_named(label) for label in labels}
    bounds = {text for one in named.values() if re.fullmatch(r"\d+\.?\d*", text := one.options.get("bound", ""))}
    if len(places := [*sorted(bounds, key=float), "none"]) < 3:
        return "prior", list(labels), {label: ("", [label]) for label in labels}
    bounded = {one.name for one in named.values() if one.options.get("bound") in bounds}
    where = {}
    for label, one in named.items():
        line = Named(one.name, {key: text for key, text in one.options.items() if key != "bound"}).label
        where[label] = line, [one.options.get("bound", "none")] if one.name in bounded else places
    return "bound of |log r|", places, where


def _hidden(missing: Missing) -> str:
    return f", {missing.text}" if missing.ratio else ""


def _name(*parts: str) -> str:
    return "-".join(re.sub(r"\W+", "_", part).strip("_") for part in parts if part)
