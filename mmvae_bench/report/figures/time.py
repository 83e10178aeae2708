"""Scores against training time (protocol 5)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mmvae_bench.report.figures.curves import draw_chance
from mmvae_bench.report.figures.style import Look, Plot, legend_right, new_figure
from mmvae_bench.report.select import Run
from mmvae_bench.report.tables import Column, Table
from mmvae_bench.spec import Missing

TIMED = (  # metric and variant; the first that a data set has is drawn
    ("attributes_strict", ""),
    ("cross_coherence", "micro"),
    ("cca", "mean features"),
    ("cca", "mean resnet101"),
    ("cca", "mean oracle"),
)
FILLS = ("full", "none", "left", "top", "right", "bottom")


def against_time(
    tables: Sequence[Table], runs: Sequence[Run], looks: Mapping[str, Look], slug: Mapping[str, str]
) -> Iterator[Plot]:
    """Draw the main score of each data set against training seconds, a panel per direction."""
    for group in dict.fromkeys(run.group for run in runs):
        each = [[t for t in tables if (t.group, t.metric, t.variant, t.prior) == (group, *key, "")] for key in TIMED]
        found = next((some for some in each if some), [])
        seconds = _seconds([run for run in runs if run.group == group])
        if found and seconds:
            yield _against_time(found, seconds, looks, f"{slug[group]}-time", _steps(runs, group))


def _seconds(runs: Sequence[Run]) -> dict[tuple[str, Missing], float]:
    """Return mean training seconds of each model and missing pattern."""
    taken: dict[tuple[str, Missing], list[float]] = {}
    for run in runs:
        if seconds := run.train_seconds:
            taken.setdefault((run.label, run.spec.missing), []).append(seconds)
    return {key: float(np.mean(values)) for key, values in taken.items()}


def _steps(runs: Sequence[Run], group: str) -> str:
    steps = sorted({run.record["steps"] for run in runs if run.group == group and run.record.get("steps")})
    devices = sorted({str(run.record["device"]) for run in runs if run.group == group and run.record.get("device")})
    budget = f"Steps a run: {', '.join(f'{n:,}' for n in steps)}." if steps else ""
    return f" {budget} Device: {', '.join(devices) or 'not recorded'}."


def _against_time(
    tables: Sequence[Table],
    seconds: Mapping[tuple[str, Missing], float],
    looks: Mapping[str, Look],
    name: str,
    budget: str,
) -> Plot:
    columns = list(dict.fromkeys(column for table in tables for column in _ends(table)))
    texts = list(dict.fromkeys(column.text for column in columns))
    conditions = list(dict.fromkeys(column.missing.text for column in columns))
    figure = new_figure(1.6 + 2.7 * len(texts), 2.7)
    axes = figure.subplots(1, len(texts), squeeze=False, sharey=True)[0]
    for ax, text in zip(axes, texts, strict=True):
        for column in (c for c in columns if c.text == text):
            _points(ax, column, tables, seconds, looks, FILLS[conditions.index(column.missing.text) % len(FILLS)])
        draw_chance(ax, [c for c in columns if c.text == text], tables[0].chance)
        ax.set(title=text, xlabel="training time [s]")
        ax.set_xlim(0, 1.08 * max(seconds.values()))
        ax.grid(linewidth=0.4, alpha=0.5)
    axes[0].set_ylabel(tables[0].title.replace(" (", "\n("))
    models = [Line2D([], [], color=looks[label].colour, marker=looks[label].marker, linestyle="", label=label)
              for label in tables[0].cells]  # fmt: skip
    fills = [
        Line2D([], [], color="black", marker="o", linestyle="", label=text.replace(" (", "\n("), fillstyle=fill)  # type: ignore[arg-type]
        for text, fill in zip(conditions, cycle(FILLS), strict=False)
    ]
    legend_right(figure, [*models, *fills])
    group = tables[0].group
    caption = f"{tables[0].title} against training seconds on {group}, at the lowest and highest missing ratio; "
    caption += f"means over seeds. Dashed: chance.{budget}"
    return Plot(name, "Score against training time", caption, group, figure)


def _ends(table: Table) -> list[Column]:
    """Return the columns of ratio 0 and of the highest ratio; more could not be distinguished."""
    ratios = {column.missing.ratio for column in table.columns}
    return [column for column in table.columns if column.missing.ratio in (0, max(ratios))]


def _points(
    ax: Axes,
    column: Column,
    tables: Sequence[Table],
    seconds: Mapping[tuple[str, Missing], float],
    looks: Mapping[str, Look],
    fill: str,
) -> None:
    table = next(t for t in tables if column in t.columns)
    for label, row in table.cells.items():
        time, score = seconds.get((label, column.missing)), row[column].score
        if time is not None and score:
            look = looks[label]
            ax.plot(time, score.mean, look.marker, color=look.colour, fillstyle=fill, markersize=6)
