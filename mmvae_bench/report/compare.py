"""``mmvae-bench compare``: two models side by side in every table column (protocol 26)."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid

from mmvae_bench.errors import BenchError
from mmvae_bench.registry import Registry
from mmvae_bench.report.averaging import whole_tables
from mmvae_bench.report.render import UNSURE, show_rows
from mmvae_bench.report.select import select
from mmvae_bench.report.summary import WIDTH, summarise_groups
from mmvae_bench.report.tables import Cell, Column, Table, compare_column
from mmvae_bench.store.store import Store

LEGEND = (
    "A and B: means over the n seeds that both have. A - B: mean difference ± half width of its 95 % interval over "
    "seeds and, where their outcomes are stored, over test rows (none below 3 seeds, or where a run is dead). rows: "
    "test rows that it covers (draws: each seed has draws of its own; -: neither, and no order is claimed). p: of no "
    "difference. Holm: p adjusted for all pairs of the plan's models in the table column (one score, one missing "
    "pattern)."
)
CLAIMED = (
    "better: the model that may be called better: the interval covers rows or draws and excludes 0, and one of the two "
    f"is above chance; with {UNSURE}, Holm's p is above 5 %."
)


def versus(store: Store, plan: Mapping[str, Any], a: str, b: str, metric: str | None = None) -> str:
    """Compare the models labelled ``a`` and ``b`` of a plan on a metric, by default on the summary's scores.

    Returns:
        Text of at most 120 columns.

    Raises:
        BenchError: If a name is unknown, both names are the same, or the two share no seed in any column.
    """
    selection = select(store, plan)
    failed = {run.label for run in selection.failed} - set(selection.labels)
    for name in (a, b):
        if name in failed:
            where = f"mmvae-bench status --suite {plan.get('name')}"
            raise BenchError(f"All runs of '{name}' in this plan failed. For the reasons: {where}")
    known: Registry[str] = Registry("model in this plan", dict.fromkeys(selection.labels, ""))
    if known.check(a) == known.check(b):
        raise BenchError(
            f"Cannot compare '{a}' with itself. Name two different models of: {', '.join(selection.labels)}."
        )
    if metric is None:
        tables = [part for summary in summarise_groups(selection) for part in summary.parts]
    else:
        names: Registry[str] = Registry("metric in this plan", dict.fromkeys(selection.metrics, ""))
        tables = [(table.title, table) for table in whole_tables(selection, names.check(metric))]
    grids = {group: _grid() for group in selection.groups}
    for score, table in tables:
        for column in table.columns:
            if texts := _texts(score, table, column, a, b):
                grids[table.group].add_row(*texts)
    if not any(grid.row_count for grid in grids.values()):
        raise BenchError(_why_not(tables, a, b))
    return _text(grids, a, b)


def _why_not(tables: Sequence[tuple[str, Table]], a: str, b: str) -> str:
    """Return why two models can be compared in no column."""
    rows = [
        [table.cells.get(name, {}).get(column, Cell()) for name in (a, b)]
        for _, table in tables
        for column in table.columns
    ]
    for name, cells in zip((a, b), zip(*rows, strict=True), strict=True):
        if not any(cell.summary for cell in cells):
            return f"'{name}' has no such score. For the reason, see the tables of mmvae-bench report."
    if any(x.scores.by_seed.keys() & y.scores.by_seed.keys() for x, y in rows):
        return (
            f"'{a}' and '{b}' are ranked together in no column: wherever both have a score, one is a chance control or "
            "a bound, or they were scored on different data. Both stand in the tables of mmvae-bench report."
        )
    return (
        f"'{a}' and '{b}' share no seed in any column that may be compared. Run both with the same seeds: "
        "mmvae-bench run --models A B --seeds 3."
    )


def _texts(score: str, table: Table, column: Column, a: str, b: str) -> list[str]:
    """Return the line of a table column; empty where the two models share no seed or may not be compared."""
    pair = next((c for c in compare_column(table, column) if {c.better, c.worse} == {a, b}), None)
    if pair is None:
        return []
    x, y = (table.cells[label][column].scores.by_seed for label in (a, b))
    digits, shared, d = table.decimals(column), x.keys() & y.keys(), pair.difference
    means = [sum(scores[seed] for seed in shared) / len(shared) for scores in (x, y)]
    better = ("A" if pair.better == a else "B") + UNSURE * (not pair.survives) if pair.claim else "-"
    sign = 1 if pair.better == a else -1
    difference = f"{sign * d.mean:+z.{digits}f}" + ("" if d.half_width is None else f" ± {d.half_width:.{digits}f}")
    ps = ["-" if p is None else f"{p:.2g}" for p in (d.p, pair.holm)]
    where = [score, column.text, column.missing.text, str(d.n), show_rows(d)]
    return [*where, *(f"{mean:z.{digits}f}" for mean in means), difference, *ps, better]


def _grid() -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("score", "what", "missing"):
        grid.add_column(name, overflow="fold")
    for name in ("n", "rows", "A", "B", "A - B", "p", "Holm", "better"):
        grid.add_column(name, justify="right", no_wrap=True)
    return grid


def _text(grids: Mapping[str, Grid], a: str, b: str) -> str:
    """Return one table per data set, and the meaning of its columns."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, markup=False, highlight=False, emoji=False, color_system=None)
    console.print(f"A = {a}\nB = {b}")
    for group, grid in grids.items():
        if grid.row_count:
            console.print(f"\n{group}")
            console.print(grid)
    console.print(f"\n{LEGEND} {CLAIMED}")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
