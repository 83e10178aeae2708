"""Pairs of models in one table column, compared on their shared seeds (protocol 26)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mmvae_bench.report.statistics import MIN_SEEDS, PairedDifference, holm, paired_difference
from mmvae_bench.report.tables import Cell, Cells, Column, Table


def mark(cells: Cells, columns: Sequence[Column], better: int) -> Cells:
    """Mark in each column the best model above chance, its equals at the precision shown, and the undecided ones.

    Nothing is marked where there is one model only, or where models were run with different seeds.

    Args:
        cells: Cells of a table.
        columns: Columns in which models may be compared.
        better: See :class:`Table`; with 0 nothing is marked.
    """
    marked = {label: dict(row) for label, row in cells.items()}
    for column in columns if better else ():
        shown = ranked(cells, column)
        fit = {label: cell for label, cell in shown.items() if not cell.at_chance}
        if fit and len(shown) > 1 and same_seeds(shown):
            first = max(fit.values(), key=lambda cell: better * cell.mean)
            for label, cell in fit.items():
                marked[label][column] = _beside(first, cell)
    return marked


def ranked(cells: Cells, column: Column) -> dict[str, Cell]:
    """Return the scored cells of a column by model, without chance controls."""
    return {label: row[column] for label, row in cells.items() if row[column].score and not row[column].control}


def same_seeds(shown: Mapping[str, Cell]) -> bool:
    """Return whether all cells are means over the same seeds."""
    return len({frozenset(cell.by_seed) for cell in shown.values()}) <= 1


def _beside(first: Cell, cell: Cell) -> Cell:
    """Mark a cell next to the best one. A significant difference leaves it unmarked, even if rounding hides it."""
    difference = paired_difference(first.by_seed, cell.by_seed)
    if difference is None or difference.excludes_zero:
        return cell
    best = round(cell.mean, cell.decimals) == round(first.mean, cell.decimals)
    return replace(cell, best=best, undecided=not best and difference.n >= MIN_SEEDS)


@dataclass(frozen=True)
class Comparison:
    """Two models on one column.

    Attributes:
        difference: ``better`` - ``worse``.
        claim: True if an order may be claimed: the interval excludes 0 and one of the two is above chance.
        holm: p of the paired t-test after Holm's adjustment for all pairs of the column, None below 3 shared seeds.
    """

    group: str
    metric: str
    column: Column
    better: str
    worse: str
    difference: PairedDifference
    claim: bool
    holm: float | None = None


def compare_column(table: Table, column: Column) -> list[Comparison]:
    """Return all pairs of ranked models that share a seed, the better mean first; none if they may not be compared.

    Without a direction (``table.better`` 0) pairs are in the table's order, and no order is claimed.
    """
    found = []
    for (a, x), (b, y) in combinations(ranked(table.cells, column).items(), 2) if column in table.comparable else ():
        if d := paired_difference(x.by_seed, y.by_seed):
            claim = bool(table.better) and d.excludes_zero and not (x.at_chance and y.at_chance)
            swap = d.mean * table.better < 0
            better, worse, d = (b, a, replace(d, mean=-d.mean)) if swap else (a, b, d)
            found.append(Comparison(table.group, table.title, column, better, worse, d, claim))
    adjusted = holm([c.difference.p for c in found])
    return [replace(c, holm=p) for c, p in zip(found, adjusted, strict=True)]
