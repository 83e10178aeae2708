"""Many panels of one kind: a row per model, a column per score, a line per remedy."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmvae_bench.report.figures.style import MARKS, Plot, handle, legend_below, new_figure
from mmvae_bench.report.render import covered
from mmvae_bench.report.tables import Cell, Column, Table

Where = tuple[str, str]  # model and column
Lines = dict[str, dict[str, Cell]]  # name of a line -> place on the axis -> score
Limits = dict[Where, tuple[float, float]]  # least and greatest chance level
MOST_COLUMNS = 4
DODGE = 0.09  # distance of two lines' marks, so that their bars do not hide one another


def against(tables: Sequence[Table], slugs: Mapping[str, str]) -> Iterator[Plot]:
    """Draw all variants of a metric against the number that they begin with, a figure per missing pattern.

    Of more than :data:`MOST_COLUMNS` columns, those of each given modality have a figure of their own.
    """
    first = tables[0]
    for missing in dict.fromkeys(column.missing for table in tables for column in table.columns):
        columns = [column for column in first.columns if column.missing == missing]
        parts: dict[str, list[Column]] = defaultdict(list)
        for column in columns:
            given = column.text.partition(" → ")[0] if len(columns) > MOST_COLUMNS else ""
            parts[given].append(column)
        for given, some in parts.items():
            texts = [slugs[first.group], first.metric, "against", missing.ratio and missing.text, given]
            name = "-".join(re.sub(r"\W+", "_", str(text)) for text in texts if text)
            title = f"{first.about.named(first.metric).title} against the {first.about.against}"
            caption = f"{first.group}: {title[:1].lower()}{title[1:]}{f', {missing.text}' if missing.ratio else ''}."
            yield Plot(name, title, f"{caption} {_meanings(tables)}", first.group, _variants(tables, some), key=True)


def _meanings(tables: Sequence[Table]) -> str:
    """Return what the lines, the marks and the bars are."""
    words = {word for table in tables for word in table.variant.split()[1:]}
    known = [f"{word}: {text}" for word, text in tables[0].about.variants.items() if word in words]
    over = next(filter(None, map(covered, tables)), "")
    bars = f"bars: 95 % intervals {over}, cut at the axes" if over else "without intervals"
    dashed = " Dashed: chance." if any(table.chance for table in tables) else ""
    return f"Lines: {'; '.join(known)}. Means over seeds, {bars}.{dashed}"


def _variants(tables: Sequence[Table], columns: Sequence[Column]) -> Figure:
    """Draw the variants of a metric: a line for what follows the number."""
    panels: dict[Where, Lines] = {}
    chance: Limits = {}
    for table in tables:
        number, _, rest = table.variant.partition(" ")
        for label, row in table.cells.items():
            for column in columns:
                cell = row.get(column, Cell())
                if cell.summary:
                    panels.setdefault((label, column.text), {}).setdefault(rest, {})[number] = cell
                if column in table.chance:
                    chance[label, column.text] = table.chance[column]
    return draw(panels, chance, tables[0].about.against, "all")


def draw(panels: Mapping[Where, Lines], chance: Limits, axis: str, share: Literal["all", "col"]) -> Figure:
    """Draw the panels; ``share`` is which of them have one scale, ``all`` or those of a column (``col``)."""
    labels, texts = (list(dict.fromkeys(where[i] for where in panels)) for i in (0, 1))
    places = list(dict.fromkeys(place for lines in panels.values() for line in lines.values() for place in line))
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    looks = dict(zip(names, cycle(MARKS), strict=False))
    figure = new_figure(1.2 + 1.9 * len(texts), 0.7 + 1.35 * len(labels))
    axes = figure.subplots(len(labels), len(texts), squeeze=False, sharex=True, sharey=share)
    for row, label in zip(axes, labels, strict=True):
        row[0].set_ylabel(label)
        for ax, text in zip(row, texts, strict=True):
            _panel(ax, panels.get((label, text), {}), places, looks)
            if (label, text) in chance:
                ax.axhline(sum(chance[label, text]) / 2, color="black", linewidth=0.9, linestyle="--", zorder=1)
            ax.grid(axis="y", linewidth=0.4, alpha=0.5)
    for ax, text in zip(axes[0], texts, strict=True):
        ax.set_title(text)
    for ax in axes[-1]:
        ax.set_xticks(range(len(places)), places)
        ax.set_xlabel(axis)
    handles = [handle(name, color=looks[name][0], marker=looks[name][1]) for name in names]
    legend_below(figure, handles, min(5, len(handles) or 1))
    return figure


def _panel(ax: Axes, lines: Lines, places: Sequence[str], looks: Mapping[str, tuple[str, str]]) -> None:
    """Draw the lines of a panel, side by side, with their intervals as far as these fit the axis."""
    for number, (name, (colour, marker)) in enumerate(looks.items()):
        shown = {place: cell.summary for place, cell in lines.get(name, {}).items() if cell.summary}
        x = [places.index(place) + DODGE * (number - (len(looks) - 1) / 2) for place in shown]
        mean = [score.mean for score in shown.values()]
        half = [np.nan if score.half_width is None else score.half_width for score in shown.values()]
        ax.plot(x, mean, color=colour, marker=marker, markersize=3.5, linewidth=1.1, zorder=3)
        drawn = ax.dataLim.frozen()
        ax.errorbar(x, mean, half, fmt="none", ecolor=colour, elinewidth=0.9, zorder=2)
        ax.dataLim.set(drawn)
    ax.minorticks_off()
