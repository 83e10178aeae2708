"""Scores against the missing ratio (MEME's Figures 5-7) and against training time (protocol 5)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mmvae_bench.report.describe import is_main
from mmvae_bench.report.figures import Look, Plot, legend_right, new_figure
from mmvae_bench.report.runs import Run
from mmvae_bench.report.tables import Cell, Column, Table

PANEL = (2.6, 2.3)
AXIS = " Ratio 0 is the same run under every scheme; the axis is logarithmic in the share of complete rows."
FILLS = ("full", "none", "left", "top", "right", "bottom")


def curves(tables: Sequence[Table], looks: Mapping[str, Look], slug: Mapping[str, str]) -> Iterator[Plot]:
    """One figure a main metric: panels by what is scored (columns) and missing scheme (rows)."""
    mains = [table for table in tables if is_main(table.metric, table.variant)]
    for key in dict.fromkeys((t.group, t.metric, t.variant, t.prior) for t in mains):
        schemes = [t for t in mains if (t.group, t.metric, t.variant, t.prior) == key]
        name = "-".join(part for part in (slug[key[0]], *key[1:]) if part)
        title = f"{schemes[0].title} against missing data"
        figure = new_figure(1, 1)
        texts = list(dict.fromkeys(column.text for column in schemes[0].columns))
        figure.set_size_inches(1.9 + PANEL[0] * len(texts), 0.3 + PANEL[1] * len(schemes))
        axes = figure.subplots(len(schemes), len(texts), squeeze=False, sharey=key[1] != "log_likelihood")
        for row, table in zip(axes, schemes, strict=True):
            for ax, text in zip(row, texts, strict=True):
                _curve(ax, table, text, looks)
                ax.set_title(text if len(schemes) == 1 else f"{text}, {table.scheme}")
            row[0].set_ylabel(table.title.replace(" (", "\n("))
        for ax in axes[-1] if len({column.ratio for column in schemes[0].columns}) > 1 else ():
            ax.set_xlabel("missing ratio")
        legend_right(figure, _handles(schemes, looks))
        yield Plot(name, title, _caption(schemes), key[0], figure, key[1] in ("cross_coherence", "linear_probe"))


def _curve(ax: Axes, table: Table, text: str, looks: Mapping[str, Look]) -> None:
    """One panel: a line a model, its seeds as dots, a band where there are enough of them."""
    columns = sorted((c for c in table.columns if c.text == text), key=lambda c: c.ratio)
    ratios = sorted({c.ratio for c in columns})
    for number, (label, row) in enumerate(table.cells.items()):
        points = [(c.ratio if len(ratios) > 1 else number, row[c]) for c in columns if row[c].score]
        _line(ax, points, looks[label])
    _limits(ax, columns, table.chance, "--")
    if len(ratios) > 1:
        ax.set_xscale("function", functions=(_stretch, _squeeze))
        ax.set_xticks(ratios, [f"{ratio:.3g}" for ratio in ratios])
    else:  # nothing to draw against: models side by side
        ax.set_xticks(range(len(table.cells)), list(table.cells), rotation=40, ha="right", rotation_mode="anchor")
    ax.minorticks_off()
    ax.margins(x=0.06)
    ax.grid(axis="y", linewidth=0.4, alpha=0.5)


def _stretch(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """-log2 of the complete share: halving it is one step, so that high ratios do not crowd."""
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
        ax.fill_between(x, mean - half, mean + half, color=look.colour, alpha=0.15, linewidth=0)
    else:
        ax.errorbar(x, mean, half, color=look.colour, linewidth=1)
    dots = [(ratio, value) for ratio, cell, _ in scored if len(cell.by_seed) > 1 for value in cell.by_seed.values()]
    if dots:
        ax.plot(*zip(*dots, strict=True), ".", color=look.colour, markersize=2.5, alpha=0.6, zorder=2)


def _limits(ax: Axes, columns: list[Column], limits: Mapping[Column, tuple[float, float]], dash: str) -> None:
    """Chance: a line where it is one number, else the middle of its range over models."""
    known = [(c.ratio, sum(limits[c]) / 2) for c in columns if c in limits]
    if len({round(value, 6) for _, value in known}) == 1:
        ax.axhline(known[0][1], color="black", linewidth=0.9, linestyle=dash, zorder=1)
    elif known:
        ax.plot(*zip(*known, strict=True), color="black", linewidth=0.9, linestyle=dash, zorder=1)


def _handles(tables: Sequence[Table], looks: Mapping[str, Look]) -> list[Line2D]:
    """The legend: models, then chance."""
    handles = []
    for label in (name for name, row in tables[0].cells.items() if any(cell.score for cell in row.values())):
        control = any(cell.control for cell in tables[0].cells[label].values())
        look, name = looks[label], label + "\n(chance control)" * control
        handles.append(Line2D([], [], color=look.colour, marker=look.marker, markersize=4, label=name,
                              linestyle=(0, (1, 1.2)) if control else "-"))  # fmt: skip
    if any(table.chance for table in tables):
        handles.append(Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="chance"))
    return handles


def _caption(tables: Sequence[Table]) -> str:
    table = tables[0]
    cells = [cell for t in tables for row in t.cells.values() for cell in row.values()]
    banded = any(cell.score and cell.score.half_width is not None for cell in cells)
    many = any(len(cell.by_seed) > 1 for cell in cells)
    seeds = " Lines: means over seeds" + (", dots: seeds" if many else "")
    seeds += ", bands: 95 % t-intervals (3 seeds or more)." if banded else ". Too few seeds for intervals."
    moved = any(low != high for low, high in table.chance.values())
    chance = " Chance depends on the run; its mid-range is dashed." if moved else ""
    axis = AXIS if len({column.ratio for column in table.columns}) > 1 else ""
    return f"{table.group}: {table.definition[:1].lower()}{table.definition[1:]}{seeds}{chance}{axis}"


def against_time(
    tables: Sequence[Table], runs: Sequence[Run], looks: Mapping[str, Look], slug: Mapping[str, str]
) -> Iterator[Plot]:
    """Cross-coherence against training seconds, all missing patterns of a data set in one panel a direction."""
    for group in dict.fromkeys(run.group for run in runs):
        found = [t for t in tables if (t.group, t.metric, t.variant) == (group, "cross_coherence", "micro")]
        seconds = _seconds([run for run in runs if run.group == group])
        if found and seconds:
            yield _against_time(found, seconds, looks, f"{slug[group]}-time", _steps(runs, group))


def _seconds(runs: Sequence[Run]) -> dict[tuple[str, str, float], float]:
    """Mean training seconds of each model and missing pattern."""
    taken: dict[tuple[str, str, float], list[float]] = {}
    for run in runs:
        if seconds := run.train_seconds:
            taken.setdefault((run.label, run.scheme, run.ratio), []).append(seconds)
    return {key: float(np.mean(values)) for key, values in taken.items()}


def _steps(runs: Sequence[Run], group: str) -> str:
    steps = sorted({run.record["steps"] for run in runs if run.group == group and run.record.get("steps")})
    devices = sorted({str(run.record["device"]) for run in runs if run.group == group and run.record.get("device")})
    budget = f"Steps a run: {', '.join(f'{n:,}' for n in steps)}." if steps else ""
    return f" {budget} Device: {', '.join(devices) or 'not recorded'}."


def _against_time(
    tables: Sequence[Table],
    seconds: Mapping[tuple[str, str, float], float],
    looks: Mapping[str, Look],
    name: str,
    budget: str,
) -> Plot:
    columns = list(dict.fromkeys(column for table in tables for column in _ends(table)))
    texts = list(dict.fromkeys(column.text for column in columns))
    conditions = list(dict.fromkeys(column.condition for column in columns))
    figure = new_figure(1.6 + 2.7 * len(texts), 2.7)
    axes = figure.subplots(1, len(texts), squeeze=False, sharey=True)[0]
    for ax, text in zip(axes, texts, strict=True):
        for column in (c for c in columns if c.text == text):
            _points(ax, column, tables, seconds, looks, FILLS[conditions.index(column.condition) % len(FILLS)])
        _limits(ax, [c for c in columns if c.text == text], tables[0].chance, "--")
        ax.set(title=text, xlabel="training time [s]")
        ax.set_xlim(0, 1.08 * max(seconds.values()))
        ax.grid(linewidth=0.4, alpha=0.5)
    axes[0].set_ylabel("cross-coherence\n(micro)")
    models = [Line2D([], [], color=looks[label].colour, marker=looks[label].marker, linestyle="", label=label)
              for label in tables[0].cells]  # fmt: skip
    fills = [Line2D([], [], color="black", marker="o", linestyle="", label=text, fillstyle=FILLS[i % len(FILLS)])  # type: ignore[arg-type]
             for i, text in enumerate(conditions)]  # fmt: skip
    legend_right(figure, [*models, *fills])
    group = tables[0].group
    caption = f"Cross-coherence against training seconds on {group}, at the lowest and highest missing ratio; "
    caption += f"means over seeds. Dashed: chance.{budget}"
    return Plot(name, "Score against training time", caption, group, figure)


def _ends(table: Table) -> list[Column]:
    """Ratio 0 and the highest one: more would not be told apart."""
    ratios = {column.ratio for column in table.columns}
    return [column for column in table.columns if column.ratio in (0, max(ratios))]


def _points(
    ax: Axes,
    column: Column,
    tables: Sequence[Table],
    seconds: Mapping[tuple[str, str, float], float],
    looks: Mapping[str, Look],
    fill: str,
) -> None:
    table = next(t for t in tables if column in t.columns)
    for label, row in table.cells.items():
        time, score = seconds.get((label, column.scheme, column.ratio)), row[column].score
        if time is not None and score:
            look = looks[label]
            ax.plot(time, score.mean, look.marker, color=look.colour, fillstyle=fill, markersize=6)
