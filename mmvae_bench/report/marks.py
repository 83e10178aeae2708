"""Which cells of a table are marked: the best of a column, and those that are not told from it."""

from collections.abc import Sequence
from dataclasses import replace

from mmvae_bench.report.statistics import paired_difference
from mmvae_bench.report.tables import Cell, Cells, Column


def mark(cells: Cells, columns: Sequence[Column], better: int, decimals: int) -> Cells:
    """Mark the best of each column that is beyond chance, its equals at the precision shown, and the undecided.

    One model alone is no best.

    Args:
        cells: Those of a table.
        columns: Where models may be compared.
        better: As :class:`Table`'s; with 0 nothing is marked.
        decimals: Digits shown.
    """
    marked = {label: dict(row) for label, row in cells.items()}
    for column in columns if better else ():
        shown = {label: row[column] for label, row in cells.items() if row[column].score and not row[column].control}
        if len(shown) > 1:
            for label, cell in _mark(shown, better, decimals).items():
                marked[label][column] = cell
    return marked


def _mark(shown: dict[str, Cell], better: int, decimals: int) -> dict[str, Cell]:
    """The cells of one column that are beyond chance, marked."""
    fit = {name: (cell, cell.score.mean * better) for name, cell in shown.items() if cell.score and not cell.at_chance}
    first, most = max(fit.values(), key=lambda pair: pair[1], default=(Cell(), 0.0))
    return {
        label: replace(cell, best=True)
        if round(mean, decimals) == round(most, decimals)
        else replace(cell, undecided=_undecided(first, cell))
        for label, (cell, mean) in fit.items()
    }


def _undecided(best: Cell, other: Cell) -> bool:
    """Whether the paired interval of the difference holds 0; never without an interval."""
    difference = paired_difference(best.by_seed, other.by_seed)
    return difference is not None and difference.half_width is not None and not difference.excludes_zero
