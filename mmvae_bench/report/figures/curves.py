"""Scores against the missing ratio (MEME's Figures 5-7)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mmvae_bench.report.figures.rows import limit_handles, panel_title, rows
from mmvae_bench.report.figures.style import Look, Plot, legend_right, new_figure
from mmvae_bench.report.select import slug
from mmvae_bench.report.tables import Cell, Column, Table

PANEL = (2.6, 2.3)
MOST_PANELS = 3  # side by side
MOST_LINES = 10
AXIS = " Ratio 0 is the same run under every scheme. The axis is logarithmic in the share of complete rows."


def curves(schemes: Sequence[Table], looks: Mapping[str, Look], slugs: Mapping[str, str]) -> Iterator[Plot]:
    """Draw one variant of a metric, if it has a figure: a panel for each table column and each missing scheme."""
    first = schemes[0]
    if not first.about.is_drawn(first.variant):
        return
    parts = (slugs[first.group], first.metric, first.variant and slug(first.variant), first.prior)
    title = first.title + " against missing data" * _swept(first)
    figure = rows(schemes) if _crowded(schemes) else _draw(schemes, looks)
    key = first.about.key and not first.prior
    yield Plot("-".join(filter(None, parts)), title, _caption(schemes), first.group, figure, key)


def _swept(table: Table) -> bool:
    """Return whether there are several missing ratios."""
    return len({column.missing.ratio for column in table.columns}) > 1


def _crowded(schemes: Sequence[Table]) -> bool:
    """Return whether lines would hide one another."""
    return len(schemes[0].cells) > MOST_LINES


def _draw(schemes: Sequence[Table], looks: Mapping[str, Look]) -> Figure:
    """Draw one row of panels per scheme; with many table columns one row per column, or rows of three panels."""
    texts = list(dict.fromkeys(column.text for column in schemes[0].columns))
    panels = [(table, text) for table in schemes for text in texts]
    wide = len(texts)
    if wide > MOST_PANELS:
        panels = [(table, text) for text in texts for table in schemes]
        wide = len(schemes) if len(schemes) > 1 else MOST_PANELS
    high = -(-len(panels) // wide)
    figure = new_figure(1.9 + PANEL[0] * wide, 0.3 + PANEL[1] * high)
    axes = figure.subplots(high, wide, squeeze=False, sharey=schemes[0].metric != "log_likelihood")
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (table, text) in zip(axes.flat, panels, strict=False):
        _curve(ax, table, text, looks)
        ax.set_title(panel_title(text, table, schemes))
    for ax in axes[:, 0]:
        ax.set_ylabel(schemes[0].title.replace(" (", "\n("))
    for ax in axes.flat[max(0, len(panels) - wide) : len(panels)] if _swept(schemes[0]) else ():
        ax.set_xlabel("missing ratio")
    legend_right(figure, _handles(schemes, looks))
    return figure


def _curve(ax: Axes, table: Table, text: str, looks: Mapping[str, Look]) -> None:
    """Draw one panel: a line per model, its seeds as dots, a band where there are enough of them."""
    columns = sorted((c for c in table.columns if c.text == text), key=lambda c: c.missing.ratio)
    ratios = sorted({c.missing.ratio for c in columns})
    for number, (label, row) in enumerate(table.cells.items()):
        points = [(c.missing.ratio if len(ratios) > 1 else number, row[c]) for c in columns if row[c].score]
        _line(ax, points, looks[label])
    draw_chance(ax, columns, table.chance)
    if table.about.ceiling:
        draw_chance(ax, columns, table.ceiling, ":")
    if len(ratios) > 1:
        ax.set_xscale("function", functions=(_stretch, _squeeze))
        ax.set_xticks(ratios, [f"{ratio:.3g}" for ratio in ratios])
    else:  # nothing to draw against: models side by side
        ax.set_xticks(range(len(table.cells)), list(table.cells), rotation=40, ha="right", rotation_mode="anchor")
    ax.minorticks_off()
    ax.margins(x=0.06)
    ax.grid(axis="y", linewidth=0.4, alpha=0.5)


def _stretch(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log2 of the complete share: halving it is one step, so that high ratios do not crowd."""
    return np.asarray(-np.log2(np.clip(1 - ratio, 1e-6, None)))


def _squeeze(step: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 - np.exp2(-step))


def _line(ax: Axes, points: list[tuple[float, Cell]], look: Look) -> None:
    scored = [(ratio, cell, cell.score) for ratio, cell in points if cell.score]
    if not scored:
        return
    x, mean = [r for r, _, _ in scored], np.array([s.mean for _, _, s in scored])
    dash = (0, (1, 1.2)) if scored[0][1].control else "-"
    ax.plot(x, mean, color=look.colour, marker=look.marker, markersize=4, linewidth=1.4, linestyle=dash, zorder=3)
    half = np.array([s.half_width if s.half_width is not None else np.nan for _, _, s in scored])
    if len(x) > 1:
        drawn = ax.dataLim.frozen()
        ax.fill_between(x, mean - half, mean + half, color=look.colour, alpha=0.15, linewidth=0)
        ax.dataLim.set(drawn)  # a t-interval of three seeds may be ten times as wide as all that was measured
    else:
        ax.errorbar(x, mean, half, color=look.colour, linewidth=1)
    dots = [(ratio, value) for ratio, cell, _ in scored if len(cell.by_seed) > 1 for value in cell.by_seed.values()]
    if dots:
        ax.plot(*zip(*dots, strict=True), ".", color=look.colour, markersize=2.5, alpha=0.6, zorder=2)


def draw_chance(
    ax: Axes, columns: list[Column], chance: Mapping[Column, tuple[float, float]], dash: str = "--"
) -> None:
    """Draw chance (or a ceiling): a line where it is one number, else the middle of its range over models."""
    known = [(c.missing.ratio, sum(chance[c]) / 2) for c in columns if c in chance]
    if len({round(value, 6) for _, value in known}) == 1:
        ax.axhline(known[0][1], color="black", linewidth=0.9, linestyle=dash, zorder=1)
    elif known:
        ax.plot(*zip(*known, strict=True), color="black", linewidth=0.9, linestyle=dash, zorder=1)


def _handles(tables: Sequence[Table], looks: Mapping[str, Look]) -> list[Line2D]:
    """Return the legend: models, then chance and ceiling."""
    handles = []
    scored = [name for name, row in tables[0].cells.items() if any(cell.score for cell in row.values())]
    for label in scored if _swept(tables[0]) else ():
        control = any(cell.control for cell in tables[0].cells[label].values())
        look, name = looks[label], label + "\n(chance control)" * control
        handles.append(Line2D([], [], color=look.colour, marker=look.marker, markersize=4, label=name,
                              linestyle=(0, (1, 1.2)) if control else "-"))  # fmt: skip
    return handles + limit_handles(tables)


def _caption(tables: Sequence[Table]) -> str:
    table = tables[0]
    cells = [cell for t in tables for row in t.cells.values() for cell in row.values()]
    banded = any(cell.score and cell.score.half_width is not None for cell in cells)
    many = any(len(cell.by_seed) > 1 for cell in cells)
    crowded = _crowded(tables)
    seeds = " Means over seeds" + (", dots: seeds" if many and not crowded else "")
    interval = "bars" if crowded or not _swept(table) else "bands"
    interval += ", cut at the axes" * (crowded or _swept(table))
    seeds += f", {interval}: 95 % t-intervals (3 seeds or more)." if banded else ". Too few seeds for intervals."
    moved = any(low != high for low, high in table.chance.values())
    chance = " Chance depends on the run; its mid-range is dashed." if moved else ""
    axis = AXIS if _swept(table) and not crowded else ""
    return f"{table.group}: {table.definition[:1].lower()}{table.definition[1:]}{seeds}{chance}{axis}"
