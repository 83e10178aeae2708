"""Tables as values."""

import math
from dataclasses import dataclass, field

from mmvae_bench.metrics import UNDESCRIBED, Description
from mmvae_bench.report.statistics import Summary
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
    """One metric on one data set under one missing scheme.

    Attributes:
        scheme: :attr:`Missing.pattern` of all columns of incomplete rows; empty for a table over all schemes.
        cells: Model label -> column -> cell.
        chance: Column -> least and greatest chance level of its rows.
        ceiling: Column -> least and greatest ceiling of its rows.
        better: 1 if higher is better, -1 if lower, 0 if no best is marked.
        comparable: Columns in which all models were scored on the same data by the same oracles and embeddings.
        about: Description of the metric.
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
    about: Description = UNDESCRIBED

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
