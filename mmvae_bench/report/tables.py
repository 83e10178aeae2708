"""Tables as values: what a cell holds, and what its reader must know."""

from dataclasses import dataclass, field

from mmvae_bench.report.statistics import Summary
from mmvae_bench.report.words import definition, metric_title
from mmvae_bench.spec import Missing


@dataclass(frozen=True)
class Column:
    """What is scored (``mnist → street``) and what was hidden in training."""

    text: str
    missing: Missing


@dataclass(frozen=True)
class Cell:
    """A model in a column.

    Attributes:
        score: Over seeds; None if nothing was scored, and ``note`` is the reason (empty: not run).
        note: Of a score: what it must not be taken for.
        by_seed: What was averaged.
        control: A chance control: never best.
        at_chance: Not beyond its chance level by two standard errors of its test rows and, from 3 seeds on, by its
            t-interval: never best.
        best: The best of its column, or equal to it at the precision shown and not told from it.
        undecided: Not best, but not told from it: the paired 95 % interval of their difference holds 0. Never with
            fewer than 3 seeds, of a control, or at chance.
        decimals: Digits shown after the point, the same for all of a column's cells.
    """

    score: Summary | None = None
    by_seed: dict[int, float] = field(default_factory=dict)
    note: str = ""
    control: bool = False
    at_chance: bool = False
    best: bool = False
    undecided: bool = False
    decimals: int = 3


Cells = dict[str, dict[Column, Cell]]  # model label -> column -> cell


@dataclass(frozen=True)
class Table:
    """One metric on one data set under one missing scheme.

    Attributes:
        scheme: :attr:`Missing.pattern` of all columns of incomplete rows; empty for a table over all schemes.
        cells: Model label -> column -> cell.
        chance: Column -> least and greatest chance level of its rows; ``ceiling`` likewise.
        better: 1 if higher is better, -1 if lower, 0 if no best is marked.
        comparable: Columns in which all models were scored on the same data by the same oracles and embeddings.
    """

    group: str
    metric: str
    variant: str
    prior: str
    scheme: str
    columns: list[Column]
    cells: Cells
    chance: dict[Column, tuple[float, float]]
    ceiling: dict[Column, tuple[float, float]]
    better: int
    comparable: frozenset[Column] = frozenset()

    @property
    def title(self) -> str:
        """``Cross-coherence (micro)``."""
        return metric_title(self.metric, self.variant, self.prior)

    @property
    def definition(self) -> str:
        """One line."""
        return definition(self.metric, self.variant, self.prior)

    def decimals(self, column: Column) -> int:
        """Digits shown after the point of a column's numbers."""
        return min((row[column].decimals for row in self.cells.values() if row[column].score), default=3)

    @property
    def seeds(self) -> int | None:
        """Seeds of every cell, or None if cells differ."""
        counts = {cell.score.n for row in self.cells.values() for cell in row.values() if cell.score}
        return counts.pop() if len(counts) == 1 else None
