"""Scores of many models: a row each, where lines against the missing ratio would hide one another."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmvae_bench.report.figures.style import COLOURS, MARKERS, legend_below, new_figure
from mmvae_bench.report.tables import Column, Table

PANEL = 2.4  # inches wide
ROW = 0.17  # inches high
MOST_PANELS = 3  # side by side


def rows(tables: Sequence[Table]) -> Figure:
    """Draw a panel for each table column and missing scheme, with a row per model and a mark per missing ratio."""
    texts = list(dict.fromkeys(column.text for column in tables[0].columns))
    panels = [(table, text) for text in texts for table in tables]
    wide = min(len(panels), MOST_PANELS)
    high, labels = -(-len(panels) // wide), list(tables[0].cells)
    figure = new_figure(1.8 + PANEL * wide, 0.7 + high * (0.5 + ROW * len(labels)))
    axes = figure.subplots(high, wide, squeeze=False, sharey=True, sharex=tables[0].metric != "log_likelihood")
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (table, text) in zip(axes.flat, panels, strict=False):
        for number, column in enumerate(c for c in table.columns if c.text == text):
            _marks(ax, table, column, number)
        ax.set_title(panel_title(text, table, tables))
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.grid(axis="y", linewidth=0.4, alpha=0.5)
    for ax in axes.flat[max(0, len(panels) - wide) : len(panels)]:
        ax.set_xlabel(tables[0].title)
    legend_below(figure, _handles(tables), 4)
    return figure


def _marks(ax: Axes, table: Table, column: Column, number: int) -> None:
    """Draw the means of a column, their intervals as far as these fit the axis, and the chance level."""
    shown = [(i, score) for i, row in enumerate(table.cells.values()) if (score := row[column].score) is not None]
    y, means = [i for i, _ in shown], [score.mean for _, score in shown]
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    ax.plot(means, y, marker, color=colour, markersize=4, zorder=3)
    drawn = ax.dataLim.frozen()
    ax.errorbar(means, y, xerr=[score.half_width or 0.0 for _, score in shown], fmt="none", ecolor=colour, linewidth=1)
    ax.dataLim.set(drawn)  # a t-interval of three seeds may be ten times as wide as all that was measured
    ends = [(table.chance, "--"), (table.ceiling if table.about.ceiling else {}, ":")]
    for limits, dash in ends:
        if column in limits:
            ax.axvline(sum(limits[column]) / 2, color="black", linewidth=0.9, linestyle=dash, zorder=1)


def _handles(tables: Sequence[Table]) -> list[Line2D]:
    """Return the legend: missing patterns, then chance and ceiling."""
    patterns = list(dict.fromkeys(column.missing for column in tables[0].columns))
    names = [m.text if len(tables) == 1 or m.ratio == 0 else f"{m.ratio:g}" for m in patterns]
    found = [
        Line2D([], [], color=COLOURS[i], marker=MARKERS[i], markersize=4, linestyle="", label=name)
        for i, name in enumerate(names)
    ]
    return found + limit_handles(tables)


def panel_title(text: str, table: Table, tables: Sequence[Table]) -> str:
    """Return the table column and, where there are several, the missing scheme below it; both may be long."""
    return text if len(tables) == 1 else f"{text}\n" + table.scheme.replace(" (", "\n(")


def limit_handles(tables: Sequence[Table]) -> list[Line2D]:
    """Return the end of a legend: chance and ceiling, where there are any."""
    found = []
    if any(table.chance for table in tables):
        found.append(Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="chance"))
    if (name := tables[0].about.ceiling) and any(table.ceiling for table in tables):
        found.append(Line2D([], [], color="black", linestyle=":", linewidth=0.9, label=name))
    return found
