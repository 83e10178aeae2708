"""Tables as values, the marks of their cells, and pairs of models compared on shared seeds (protocol 26)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from mmvae_bench.metrics import UNDESCRIBED, Description
from mmvae_bench.report.statistics import MIN_SEEDS, PairedDifference, Summary, holm, paired_difference
from mmvae_bench.spec import Missing


@dataclass(frozen=True)
class Column:
    """What is scored, such as ``mnist → street``, and what was hidden in training."""

    text: str
    missing: Missing


@dataclass(frozen=True)
class Cell:
    """A model in a column.

    Attributes:
        score: Summary over seeds; None if nothing was scored.
        by_seed: Score of each seed.
        note: Remark on the score, or the reason why there is none (empty if the model was not run).
        control: True for a chance control, which is never best.
        at_chance: True if the score does not exceed its chance level by two standard errors of its test rows and, from
            3 seeds on, by its t-interval. Such a cell is never best.
        best: True for the best of the column, and for its equals at the precision shown that cannot be distinguished
            from it.
        undecided: True if the cell is not best, but cannot be distinguished from the best: the paired 95 % interval of
            their difference contains 0. Never with fewer than 3 seeds, for a control, or at chance.
        decimals: Number of digits after the point, the same for all cells of a column.
    """

    score: Summary | None = None
    by_seed: dict[int, float] = field(default_factory=dict)
    note: str = ""
    control: bool = False
    at_chance: bool = False
    best: bool = False
    undecided: bool = False
    decimals: int = 3

    @property
    def mean(self) -> float:
        """The score; NaN where there is none."""
        return self.score.mean if self.score else math.nan


Cells = dict[str, dict[Column, Cell]]  # model label -> column -> cell


@dataclass(frozen=True)
class Table:
    """One metric on one data set under one missing scheme."""

    group: str
    metric: str
    variant: str
    prior: str
    scheme: str  # :attr:`Missing.pattern` of all columns of incomplete rows; empty for a table over all schemes
    columns: list[Column]
    cells: Cells  # model label -> column -> cell
    chance: dict[Column, tuple[float, float]]  # column -> least and greatest chance level of its rows
    ceiling: dict[Column, tuple[float, float]]  # column -> least and greatest ceiling of its rows
    better: int  # 1 if higher is better, -1 if lower, 0 if no best is marked
    # Columns in which all models were scored on the same data by the same oracles and embeddings
    comparable: frozenset[Column] = frozenset()
    about: Description = UNDESCRIBED  # description of the metric

    @property
    def title(self) -> str:
        """``Cross-coherence (micro)``."""
        return self.about.named(self.metric).title_of(self.variant, self.prior)

    @property
    def definition(self) -> str:
        """One sentence on the metric, the variant and the prior."""
        return self.about.named(self.metric).definition_of(self.variant, self.prior)

    def decimals(self, column: Column) -> int:
        """Return the number of digits after the point in a column."""
        return min((row[column].decimals for row in self.cells.values() if row[column].score), default=3)

    @property
    def seeds(self) -> int | None:
        """Number of seeds of every cell, or None if cells differ."""
        counts = {cell.score.n for row in self.cells.values() for cell in row.values() if cell.score}
        return counts.pop() if len(counts) == 1 else None


def mark(cells: Cells, columns: Sequence[Column], better: int) -> Cells:
    """Mark in each column the best model above chance, its equals at the precision shown, and the undecided ones.

    Nothing is marked where there is one model only, where models were run with different seeds, or without a direction
    (``better`` 0). ``columns`` are those in which models may be compared.
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
    """Two models on one column."""

    group: str
    metric: str
    column: Column
    better: str
    worse: str
    difference: PairedDifference  # ``better`` - ``worse``
    claim: bool  # True if an order may be claimed: the interval excludes 0 and one of the two is above chance
    # p of the paired t-test after Holm's adjustment for all pairs of the column, None below 3 shared seeds
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
