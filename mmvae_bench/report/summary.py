"""The summary: one table per data set, one row per model and missing pattern, for the terminal and the page."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import fill
from typing import NamedTuple

import pandas as pd

from mmvae_bench.report.averaging import build_table, in_order
from mmvae_bench.report.render import (
    DEAD_RUNS,
    MARKS,
    SMALLEST,
    baselines,
    chance_notes,
    marks_of,
    show,
    show_limits,
)
from mmvae_bench.report.select import Selection
from mmvae_bench.report.tables import Cell, Column, Comparison, Table, compare_column
from mmvae_bench.spec import Missing


class Part(NamedTuple):
    """One score of the summary, with its short name."""

    name: str
    metric: str
    variant: str = ""
    prior: str = ""


PARTS = (  # from each line, the first score that a data set has
    (Part("strict", "attributes_strict"), Part("cross-coherence", "cross_coherence", "micro")),
    (Part("joint strict", "attributes_strict", "", "model"), Part("joint coh.", "joint_coherence", "", "model")),
    tuple(Part("CCA", "cca", f"mean {side}") for side in ("features", "resnet101", "oracle")),
    (Part("recall@10", "retrieval_recall", "10"),),
    (Part("linear probe", "linear_probe", "mean"),),
    (Part("relatedness", "relatedness_auroc"),),
)
WIDTH = 120


@dataclass(frozen=True)
class SummaryTable:
    """The main scores of a data set."""

    group: str
    # Short name and table (averaged over modalities where there are more than two) of each metric there is
    parts: list[tuple[str, Table]]
    conditions: list[Missing]  # missing patterns, complete first
    labels: list[str]

    @property
    def columns(self) -> list[tuple[str, Table, str]]:
        """Metric, table and task of each column."""
        return [(*part, text) for part in self.parts for text in dict.fromkeys(c.text for c in part[1].columns)]

    @property
    def heads(self) -> list[tuple[str, str]]:
        """Metric and task of each column."""
        return [(name, text) for name, _, text in self.columns]

    def row(self, label: str, missing: Missing) -> list[tuple[Table, Cell]]:
        """Return the cells of a model under a missing pattern."""
        return [(t, t.cells.get(label, {}).get(Column(text, missing), Cell())) for _, t, text in self.columns]

    def chance(self, missing: Missing) -> list[str]:
        """Return the chance level of each column, empty where there is none."""
        return self._limits(missing, "chance")

    def smallest(self, missing: Missing) -> list[str]:
        """Return the smallest difference that each column can show, empty where no order is claimed."""
        return self._limits(missing, "smallest")

    def _limits(self, missing: Missing, name: str) -> list[str]:
        columns = [(table, Column(text, missing)) for _, table, text in self.columns]
        return [show_limits(getattr(table, name).get(column), table.decimals(column)) for table, column in columns]

    @property
    def main_conditions(self) -> list[Missing]:
        """Complete data and the highest ratio of each scheme, for the first view of the page."""
        highest = {m.pattern: m for m in self.conditions}  # ratios rise
        return [m for m in self.conditions if m == highest[m.pattern]]


def summarise_groups(selection: Selection) -> list[SummaryTable]:
    """Return the summary of each data set that has any of the main scores."""
    found = []
    for group in selection.groups:
        frame = selection.frame[selection.frame["group"] == group]
        labels = [label for label in selection.labels if label in set(frame["entrant"])]
        if parts := [part for line in PARTS if (part := _first(line, selection, frame))]:
            found.append(SummaryTable(group, parts, in_order(frame["missing"]), labels))
    return found


def _first(line: Sequence[Part], selection: Selection, frame: pd.DataFrame) -> tuple[str, Table] | None:
    """Return the first score of a line that any model has, without the columns in which no model has one."""
    for name, metric, variant, prior in line:
        rows = frame[frame["metric"] == metric]
        if ((rows["variant"] == variant) & (rows["prior"] == prior) & (rows["status"] == "ok")).any():
            key = (str(rows["group"].iloc[0]), metric, variant, prior)
            table = build_table(key, rows, selection, coarse=True)
            texts = {column.text for row in table.cells.values() for column, cell in row.items() if cell.summary}
            if columns := [column for column in table.columns if column.text in texts]:
                return name, replace(table, columns=columns)
    return None


def compare_summary(table: SummaryTable) -> Iterator[Comparison]:
    """Yield all pairs of ranked models on the summary's columns, the one with the better mean first."""
    for _, part in table.parts:
        for column in part.columns:
            yield from compare_column(part, column)


def to_terminal(tables: Sequence[SummaryTable], warnings: Sequence[str]) -> str:
    """Return plain text of at most 120 columns. ``*`` marks the best, ``≈`` what cannot be distinguished from it."""
    blocks = [f"{table.group}\n{_text(table)}" for table in tables]
    rows = [row for table in tables for _, part in table.parts for row in part.cells.values()]
    used = "".join(marks_of(cell) for row in rows for cell in row.values())
    legends = ["* best among the models above chance   n/a not defined   - not run"]
    legends += [fill(f"{mark} {meaning}", WIDTH) for mark, meaning in MARKS.items() if mark in used]
    if any(cell.dead for row in rows for cell in row.values()):
        legends.append(fill(f"+1: one seed is dead. {DEAD_RUNS}", WIDTH))
    legends += [fill(text, WIDTH) for text in summary_notes(tables)]
    notes = [wrapped for text in warnings for wrapped in fill(f"Note: {text}", WIDTH).splitlines()]
    return "\n\n".join([*blocks, "\n".join([*(legends if blocks else []), *notes])]).strip("\n")


def summary_notes(tables: Sequence[SummaryTable]) -> list[str]:
    """Return notes on the smallest difference and the baselines, and how scores without intervals are told from chance.

    Each is one sentence or two.
    """
    rows = [row for table in tables for _, part in table.parts for row in part.cells.items()]
    cells = [(label, cell) for label, row in rows for cell in row.values()]
    smallest = [SMALLEST] if any(part.smallest for table in tables for _, part in table.parts) else []
    return [*smallest, *baselines(dict.fromkeys(label for label, _ in rows)), *chance_notes(cells)]


def _text(table: SummaryTable) -> str:
    """Return the table as text, below each missing pattern its models; pandas folds what is too wide."""
    heads = pd.MultiIndex.from_tuples(table.heads, names=["", "missing / model"])
    parts = []
    for missing in table.conditions:
        chance = [text.replace(" to ", "-") + " " * bool(text) for text in table.chance(missing)]
        smallest = [re.sub(r"\b0\.", ".", text).replace(" to ", "-") + " " for text in table.smallest(missing)]
        cells = {name: [_mean(*cell) for cell in table.row(name, missing)] for name in table.labels}
        rows = {f"-- {missing.text}": [""] * len(heads), **cells, "(chance)": chance}
        if any(map(str.strip, smallest)):
            rows["(smallest diff.)"] = smallest
        parts.append(pd.DataFrame.from_dict(rows, orient="index", columns=heads))
    return pd.concat(parts).to_string(line_width=WIDTH, max_colwidth=None)


def _mean(table: Table, cell: Cell) -> str:
    shown = show(cell, table)
    return shown.mean + f"+{cell.dead}" * bool(cell.dead) + ("*" if cell.best else marks_of(cell) or " ")
