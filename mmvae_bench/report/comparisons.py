"""Pairs of models in one table column, compared on their shared seeds (protocol 26)."""

from collections.abc import Iterator, Mapping, Sequence
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
        if len(shown) > 1 and same_seeds(shown):
            for label, cell in _mark(shown, better).items():
                marked[label][column] = cell
    return marked


def ranked(cells: Cells, column: Column) -> dict[str, Cell]:
    """Return the scored cells of a column by model, without chance controls."""
    return {label: row[column] for label, row in cells.items() if row[column].score and not row[column].control}


def same_seeds(shown: Mapping[str, Cell]) -> bool:
    """Return whether all cells are means over the same seeds."""
    return len({frozenset(cell.by_seed) for cell in shown.values()}) <= 1


def _mark(shown: dict[str, Cell], better: int) -> dict[str, Cell]:
    """Return the cells of one column that are above chance, marked."""
    fit = {name: (cell, cell.score.mean * better) for name, cell in shown.items() if cell.score and not cell.at_chance}
    first, most = max(fit.values(), key=lambda pair: pair[1], default=(Cell(), 0.0))
    return {label: _beside(first, most, cell, mean) for label, (cell, mean) in fit.items()}


def _beside(first: Cell, most: float, cell: Cell, mean: float) -> Cell:
    """Mark a cell next to the best one. A significant difference leaves it unmarked, even if rounding hides it."""
    difference = paired_difference(first.by_seed, cell.by_seed)
    if difference is None or difference.excludes_zero:
        return cell
    best = round(mean, cell.decimals) == round(most, cell.decimals)
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
    found = list(_pairs(table, column)) if column in table.comparable else []
    adjusted = holm([c.difference.p for c in found])
    return [replace(c, holm=p) for c, p in zip(found, adjusted, strict=True)]


def _pairs(table: Table, column: Column) -> Iterator[Comparison]:
    for a, b in combinations(ranked(table.cells, column).items(), 2):
        if found := _compare(table, column, a, b):
            yield found


def _compare(table: Table, column: Column, a: tuple[str, Cell], b: tuple[str, Cell]) -> Comparison | None:
    difference = paired_difference(a[1].by_seed, b[1].by_seed)
    if difference is None:
        return None
    if difference.mean * table.better < 0:
        return _compare(table, column, b, a)
    claim = bool(table.better) and difference.excludes_zero and not (a[1].at_chance and b[1].at_chance)
    return Comparison(table.group, table.title, column, a[0], b[0], difference, claim)
