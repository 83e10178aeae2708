"""Which cells of a table are marked: the best of a column, and those that are not told from it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmvae_bench.report.statistics import MIN_SEEDS, paired_difference
from mmvae_bench.report.tables import Cell, Cells, Column


def mark(cells: Cells, columns: Sequence[Column], better: int) -> Cells:
    """Mark the best of each column that is beyond chance, its equals at the precision shown, and the undecided.

    One model alone is no best, and there is none where models have other seeds: means over those say nothing of order.

    Args:
        cells: Those of a table.
        columns: Where models may be compared.
        better: As :class:`Table`'s; with 0 nothing is marked.
    """
    marked = {label: dict(row) for label, row in cells.items()}
    for column in columns if better else ():
        shown = ranked(cells, column)
        if len(shown) > 1 and same_seeds(shown):
            for label, cell in _mark(shown, better).items():
                marked[label][column] = cell
    return marked


def ranked(cells: Cells, column: Column) -> dict[str, Cell]:
    """The scored cells of a column by model, without chance controls."""
    return {label: row[column] for label, row in cells.items() if row[column].score and not row[column].control}


def same_seeds(shown: Mapping[str, Cell]) -> bool:
    """Whether all cells are means over the same seeds."""
    return len({frozenset(cell.by_seed) for cell in shown.values()}) <= 1


def _mark(shown: dict[str, Cell], better: int) -> dict[str, Cell]:
    """The cells of one column that are beyond chance, marked."""
    fit = {name: (cell, cell.score.mean * better) for name, cell in shown.items() if cell.score and not cell.at_chance}
    first, most = max(fit.values(), key=lambda pair: pair[1], default=(Cell(), 0.0))
    return {label: _beside(first, most, cell, mean) for label, (cell, mean) in fit.items()}


def _beside(first: Cell, most: float, cell: Cell, mean: float) -> Cell:
    """A cell beside the best one; two that are told apart are never both the best, however they are rounded."""
    difference = paired_difference(first.by_seed, cell.by_seed)
    if difference is None or difference.excludes_zero:
        return cell
    best = round(mean, cell.decimals) == round(most, cell.decimals)
    return replace(cell, best=best, undecided=not best and difference.n >= MIN_SEEDS)
