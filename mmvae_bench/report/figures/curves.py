"""Scores against the missing ratio (MEME's Figures 5-7), and against training time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mmvae_bench.report.figures.style import (
    MARKS,
    Look,
    Plot,
    axis_kept,
    handle,
    legend_below,
    legend_right,
    lower_first,
    new_figure,
)
from mmvae_bench.report.render import covered
from mmvae_bench.report.select import Run
from mmvae_bench.report.summary import PARTS
from mmvae_bench.report.tables import Cell, Column, Table
from mmvae_bench.spec import Missing

PANEL = (2.6, 2.3)
TIMED = [*PARTS[0], *PARTS[2]]  # strict, cross-coherence, CCA; the first that a data set has is drawn
FILLS = ("full", "none", "left", "top", "right", "bottom")
MOST_PANELS = 3  # side by side
MOST_LINES = 10
AXIS = " Ratio 0 is the same run under every scheme. The axis is logarithmic in the share of complete rows."


def curves(schemes: Sequence[Table], looks: Mapping[str, Look], slugs: Mapping[str, str]) -> Iterator[Plot]:
    """Draw one variant of a metric, if it has a figure: a panel for each table column and each missing scheme."""
    first = schemes[0]
    if not first.about.is_drawn(first.variant):
        return
    parts = (slugs[first.group], first.metric, first.variant and slugs[first.variant], first.prior)
    title = first.title + " against missing data" * _swept(first)
    key = first.about.key and not first.prior
    yield Plot("-".join(filter(None, parts)), title, _caption(schemes), first.group, _draw(schemes, looks), key)


def _swept(table: Table) -> bool:
    """Return whether there are several missing ratios."""
    return len({column.missing.ratio for column in table.columns}) > 1


def _crowded(schemes: Sequence[Table]) -> bool:
    """Return whether lines would hide one another."""
    return len(schemes[0].cells) > MOST_LINES


def _draw(schemes: Sequence[Table], looks: Mapping[str, Look]) -> Figure:
    """Draw a panel per table column and scheme: lines against the missing ratio, or rows where these are too many."""
    first, crowded, titled = schemes[0], _crowded(schemes), len(schemes) > 1
    texts, labels = list(dict.fromkeys(column.text for column in first.columns)), list(first.cells)
    panels = [(table, text) for text in texts for table in schemes]
    if crowded:
        wide, size = min(len(panels), MOST_PANELS), (2.4, 0.5 + 0.17 * len(labels))
    elif len(texts) > MOST_PANELS:
        wide, size = len(schemes) if titled else MOST_PANELS, PANEL
    else:  # a row per scheme
        panels, wide, size = [(table, text) for table in schemes for text in texts], len(texts), PANEL
    high, one_scale = -(-len(panels) // wide), first.metric != "log_likelihood"
    figure = new_figure(1.9 + size[0] * wide, (0.7 if crowded else 0.3) + size[1] * high)
    axes = figure.subplots(high, wide, squeeze=False, sharey=crowded or one_scale, sharex=crowded and one_scale)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (table, text) in zip(axes.flat, panels, strict=False):
        (_rows if crowded else _curve)(ax, table, [c for c in table.columns if c.text == text], looks)
        ax.set_title(f"{text}\n" + table.scheme.replace(" (", "\n(") if titled else text)  # both may be long
        ax.grid(axis="y", linewidth=0.4, alpha=0.5)
    for ax in axes[:, 0] if not crowded else ():
        ax.set_ylabel(first.title.replace(" (", "\n("))
    below = first.title if crowded else "missing ratio" * _swept(first)
    for ax in axes.flat[max(0, len(panels) - wide) : len(panels)]:
        ax.set_xlabel(below)
    handles = [*(_patterns(schemes) if crowded else _models(first, looks) if _swept(first) else []), *_limits(schemes)]
    legend_below(figure, handles, 4) if crowded else legend_right(figure, handles)
    return figure


def _rows(ax: Axes, table: Table, columns: list[Column], looks: Mapping[str, Look]) -> None:
    """Draw a row per model with a mark per missing ratio, and the intervals as far as these fit the axis."""
    for column, (colour, marker) in zip(columns, cycle(MARKS), strict=False):
        shown = [(i, row[column]) for i, row in enumerate(table.cells.values())]
        y, scores = [i for i, cell in shown if cell.summary], [cell.summary for _, cell in shown if cell.summary]
        means = [score.mean for score in scores]
        ax.plot(means, y, marker, color=colour, markersize=4, zorder=3)
        _hollow(ax, [(cell.mean, i) for i, cell in shown if cell.dead], marker)
        with axis_kept(ax):
            ax.errorbar(means, y, xerr=[s.half_width or 0.0 for s in scores], fmt="none", ecolor=colour, linewidth=1)
        for limits, dash in ((table.chance, "--"), (table.ceiling if table.about.ceiling else {}, ":")):
            if column in limits:
                ax.axvline(sum(limits[column]) / 2, color="black", linewidth=0.9, linestyle=dash, zorder=1)
    ax.set_yticks(range(len(table.cells)), list(table.cells))
    ax.set_ylim(len(table.cells) - 0.5, -0.5)


def _curve(ax: Axes, table: Table, columns: list[Column], looks: Mapping[str, Look]) -> None:
    """Draw a line per model, its seeds as dots, a band where there are enough of them."""
    columns = sorted(columns, key=lambda column: column.missing.ratio)
    ratios = sorted({c.missing.ratio for c in columns})
    for number, (label, row) in enumerate(table.cells.items()):
        points = [(c.missing.ratio if len(ratios) > 1 else number, row[c]) for c in columns if row[c].summary]
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


def _stretch(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log2 of the complete share: halving it is one step, so that high ratios do not crowd."""
    return np.asarray(-np.log2(np.clip(1 - ratio, 1e-6, None)))


def _squeeze(step: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 - np.exp2(-step))


def _line(ax: Axes, points: list[tuple[float, Cell]], look: Look) -> None:
    scored = [(ratio, cell, cell.summary) for ratio, cell in points if cell.summary]
    if not scored:
        return
    x, mean = [r for r, _, _ in scored], np.array([s.mean for _, _, s in scored])
    dash = (0, (1, 1.2)) if scored[0][1].control else "-"
    ax.plot(x, mean, color=look.colour, marker=look.marker, markersize=4, linewidth=1.4, linestyle=dash, zorder=3)
    _hollow(ax, [(ratio, cell.mean) for ratio, cell, _ in scored if cell.dead], look.marker)
    half = np.array([s.half_width if s.half_width is not None else np.nan for _, _, s in scored])
    if len(x) > 1:
        with axis_kept(ax):
            ax.fill_between(x, mean - half, mean + half, color=look.colour, alpha=0.15, linewidth=0)
    else:
        ax.errorbar(x, mean, half, color=look.colour, linewidth=1)
    dots = [
        (ratio, value)
        for ratio, cell, _ in scored
        if len(cell.scores.by_seed) > 1
        for value in cell.scores.by_seed.values()
    ]
    if dots:
        ax.plot(*zip(*dots, strict=True), ".", color=look.colour, markersize=2.5, alpha=0.6, zorder=2)


def _hollow(ax: Axes, points: list[tuple[float, float]], marker: str) -> None:
    """Whiten the middle of the marks of means that include a dead seed."""
    if points:
        ax.plot(*zip(*points, strict=True), marker, color="white", markersize=2, zorder=4)


def draw_chance(
    ax: Axes, columns: list[Column], chance: Mapping[Column, tuple[float, float]], dash: str = "--"
) -> None:
    """Draw chance (or a ceiling): a line where it is one number, else the middle of its range over models."""
    known = [(c.missing.ratio, sum(chance[c]) / 2) for c in columns if c in chance]
    if len({round(value, 6) for _, value in known}) == 1:
        ax.axhline(known[0][1], color="black", linewidth=0.9, linestyle=dash, zorder=1)
    elif known:
        ax.plot(*zip(*known, strict=True), color="black", linewidth=0.9, linestyle=dash, zorder=1)


def _models(table: Table, looks: Mapping[str, Look]) -> Iterator[Line2D]:
    """Yield the legend of lines: the models with scores."""
    for label, row in table.cells.items():
        if any(cell.summary for cell in row.values()):
            control = any(cell.control for cell in row.values())
            name, dash = (f"{label}\n(chance control)", (0, (1, 1.2))) if control else (label, "-")
            yield handle(name, color=looks[label].colour, marker=looks[label].marker, linestyle=dash)


def _patterns(tables: Sequence[Table]) -> Iterator[Line2D]:
    """Yield the legend of rows: the missing patterns."""
    patterns = dict.fromkeys(column.missing for column in tables[0].columns)
    for m, (colour, marker) in zip(patterns, cycle(MARKS), strict=False):
        name = m.text if len(tables) == 1 or m.ratio == 0 else f"{m.ratio:g}"
        yield handle(name, color=colour, marker=marker, linestyle="")


def _limits(tables: Sequence[Table]) -> list[Line2D]:
    """Return the end of a legend: chance and ceiling, where there are any."""
    ends = {"chance": ("--", tables[0].chance), tables[0].about.ceiling: (":", tables[0].ceiling)}
    return [
        handle(name, color="black", linestyle=dash, linewidth=0.9) for name, (dash, of) in ends.items() if name and of
    ]


def _caption(tables: Sequence[Table]) -> str:
    table = tables[0]
    cells = [cell for t in tables for row in t.cells.values() for cell in row.values()]
    many = any(len(cell.scores.by_seed) > 1 for cell in cells)
    crowded = _crowded(tables)
    seeds = " Means over seeds" + (", dots: seeds" if many and not crowded else "")
    interval = "bars" if crowded or not _swept(table) else "bands"
    interval += ", cut at the axes" * (crowded or _swept(table))
    over = next(filter(None, map(covered, tables)), "")
    seeds += f", {interval}: 95 % intervals {over}." if over else ", without intervals."
    moved = any(low != high for low, high in table.chance.values())
    chance = " Chance depends on the run; its mid-range is dashed." if moved else ""
    axis = AXIS if _swept(table) and not crowded else ""
    left_out = " White in the middle: a seed is dead." * any(cell.dead for cell in cells)
    left_out += f" {table.left_out}" if table.left_out else ""
    return f"{table.group}: {lower_first(table.definition)}{seeds}{chance}{axis}{left_out}"


def against_time(
    tables: Sequence[Table], runs: Sequence[Run], looks: Mapping[str, Look], slugs: Mapping[str, str]
) -> Iterator[Plot]:
    """Draw the main score of each data set against training seconds (protocol 5), a panel per direction."""
    for group in dict.fromkeys(run.group for run in runs):
        each = [[t for t in tables if (t.group, t.metric, t.variant, t.prior) == (group, *part[1:])] for part in TIMED]
        found = next((some for some in each if some), [])
        own = [run for run in runs if run.group == group]
        taken = defaultdict(list)
        for run in own:
            if run.train_seconds:
                taken[run.label, run.spec.missing].append(run.train_seconds)
        if found and taken:
            title = found[0].title
            steps = sorted({run.record["steps"] for run in own if run.record.get("steps")})
            devices = sorted({str(run.record["device"]) for run in own if run.record.get("device")})
            budget = f"Steps a run: {', '.join(f'{n:,}' for n in steps)}." if steps else ""
            caption = (
                f"{title} against training seconds on {group}, at the lowest and highest missing ratio; means over "
                f"seeds. Dashed: chance. {budget} Device: {', '.join(devices) or 'not recorded'}."
            )
            figure = _draw_times(found, {key: sum(some) / len(some) for key, some in taken.items()}, looks)
            yield Plot(f"{slugs[group]}-time", "Score against training time", caption, group, figure)


def _draw_times(
    tables: Sequence[Table], seconds: Mapping[tuple[str, Missing], float], looks: Mapping[str, Look]
) -> Figure:
    cells = {(c, label): row[c] for t in tables for c in _ends(t) for label, row in t.cells.items()}
    columns = list(dict.fromkeys(column for column, _ in cells))
    texts = list(dict.fromkeys(column.text for column in columns))
    fills = dict(zip(dict.fromkeys(column.missing.text for column in columns), cycle(FILLS), strict=False))
    figure = new_figure(1.6 + 2.7 * len(texts), 2.7)
    axes = dict(zip(texts, figure.subplots(1, len(texts), squeeze=False, sharey=True)[0], strict=True))
    for (column, label), cell in cells.items():
        if cell.summary and (time := seconds.get((label, column.missing))) is not None:
            look, fill = looks[label], fills[column.missing.text]
            axes[column.text].plot(time, cell.mean, look.marker, color=look.colour, fillstyle=fill, markersize=6)
    for text, ax in axes.items():
        draw_chance(ax, [c for c in columns if c.text == text], tables[0].chance)
        ax.set(title=text, xlabel="training time [s]", xlim=(0, 1.08 * max(seconds.values())))
        ax.grid(linewidth=0.4, alpha=0.5)
    axes[texts[0]].set_ylabel(tables[0].title.replace(" (", "\n("))
    style = {"linestyle": "", "markersize": 6}
    handles = [handle(name, color=looks[name].colour, marker=looks[name].marker, **style) for name in tables[0].cells]
    for text, fill in fills.items():
        handles.append(handle(text.replace(" (", "\n("), color="black", marker="o", fillstyle=fill, **style))
    legend_right(figure, handles)
    return figure


def _ends(table: Table) -> list[Column]:
    """Return the columns of ratio 0 and of the highest ratio; more could not be distinguished."""
    ratios = {column.missing.ratio for column in table.columns}
    return [column for column in table.columns if column.missing.ratio in (0, max(ratios))]
