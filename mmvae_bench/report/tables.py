"""Tables as values, the marks of their cells, and pairs of models compared on shared seeds (protocol 26)."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from mmvae_bench.metrics import UNDESCRIBED, Description
from mmvae_bench.priors import OWN
from mmvae_bench.report.statistics import LEVEL, Scores, Summary, holm, paired_difference
from mmvae_bench.spec import Missing


@dataclass(frozen=True)
class Column:
    """What is scored, such as ``mnist → street``, and what was hidden in training."""

    text: str
    missing: Missing


@dataclass(frozen=True)
class Cell:
    """A model in a column."""

    summary: Summary | None = None  # over seeds; None if nothing was scored
    scores: Scores = field(default_factory=Scores)  # of each seed, with their outcomes on test rows
    note: str = ""  # remark on the score, or the reason why there is none (empty if the model was not run)
    control: bool = False  # a chance control, which is never ranked
    bound: bool = False  # a bound and not an estimate, which is never ranked
    dead: int = 0  # number of seeds in which a branch that is scored was never trained: no interval and no claim then
    # The score does not exceed its chance level by its interval, or by two standard errors below 3 seeds, or it has no
    # known error; never best
    at_chance: bool = False
    least_gap: float | None = None  # to its chance level that would be told; None without such a level or an error
    best: bool = False  # the best of the column, or its equal at the precision shown that is not distinguished from it
    # Not best, but not distinguished from the best: the interval of their difference contains 0
    undecided: bool = False
    uncorrected: bool = False  # worse than the best by that interval, but not after Holm's correction over the column
    # 1 + number of models of the column that are distinguished as better, after Holm's correction; see ranks()
    rank: int | None = None
    decimals: int = 3  # digits after the point, the same for all cells of a column

    @property
    def mean(self) -> float:
        """The score; NaN where there is none."""
        return self.summary.mean if self.summary else math.nan


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
    left_out: str = ""  # remark on directions that no column contains
    pairs: "Pairs" = field(default_factory=dict)  # all pairs of ranked models in each comparable column

    @property
    def title(self) -> str:
        """``Cross-coherence (micro)``."""
        return self.about.named(self.metric).title_of(self.variant, self.prior)

    @property
    def definition(self) -> str:
        """One sentence on the metric, the variant and the prior."""
        return self.about.named(self.metric).definition_of(self.variant, self.prior)

    @property
    def of_learned_prior(self) -> bool:
        """Whether the scores are of a prior that was learned after training."""
        return self.prior not in ("", *OWN)

    def decimals(self, column: Column) -> int:
        """Return the number of digits after the point in a column."""
        return min((row[column].decimals for row in self.cells.values() if row[column].summary), default=3)

    @property
    def smallest(self) -> dict[Column, tuple[float, float]]:
        """Smallest difference that each column can show: half widths of its pairs' intervals, least and greatest.

        A smaller difference than the first cannot be distinguished from 0 with these seeds and rows, a greater one than
        the second always can. A column has none where no order is claimed.
        """
        found = {}
        for column in self.columns if self.better else ():
            widths = [p.difference.half_width or 0.0 for p in self.pairs.get(column, ()) if p.difference.covers]
            if known := [width for width in widths if width]:
                found[column] = min(known), max(known)
        return found

    @property
    def seeds(self) -> int | None:
        """Number of seeds of every cell, or None if cells differ."""
        counts = {cell.summary.n for row in self.cells.values() for cell in row.values() if cell.summary}
        return counts.pop() if len(counts) == 1 else None


def mark(cells: Cells, pairs: "Pairs", better: int) -> Cells:
    """Mark in each column the best model above chance, its equals at the precision shown, and the undecided ones.

    Models get their ranks, too. Nothing is marked where there is one model only, where models were run with different
    seeds, or without a direction (``better`` 0). ``pairs`` are those of the columns in which models may be compared.
    """
    marked = {label: dict(row) for label, row in cells.items()}
    for column, own in pairs.items() if better else ():
        shown = ranked(cells, column)
        if len(shown) < 2 or not same_seeds(shown):
            continue
        places = ranks(shown, own)
        shown = {label: replace(cell, rank=places.get(label)) for label, cell in shown.items()}
        fit = {label: cell for label, cell in shown.items() if not (cell.at_chance or cell.dead)}
        first = max(fit, key=lambda label: better * fit[label].mean, default="")
        beside = {c.worse if c.better == first else c.better: c for c in own if first in (c.better, c.worse)}
        for label, cell in shown.items():
            near = _beside(fit[first], cell, beside.get(label)) if label in fit else cell
            marked[label][column] = replace(cell, best=True) if label == first else near
    return marked


def ranks(shown: Mapping[str, Cell], pairs: Sequence["Pair"]) -> dict[str, int]:
    """Return 1 + the number of models that are distinguished as better, after Holm's correction, for each model.

    Models that nothing is distinguished from share rank 1. A model with a dead run has no rank, since no order is
    claimed of it. None has one where no interval supports an order: below 3 seeds, or without test rows or draws.
    """
    if not any(pair.difference.covers and pair.holm is not None for pair in pairs):
        return {}
    beaten = Counter(pair.worse for pair in pairs if pair.claim and pair.survives)
    return {label: 1 + beaten[label] for label, cell in shown.items() if not cell.dead}


def ranked(cells: Cells, column: Column) -> dict[str, Cell]:
    """Return the scored cells of a column by model, without chance controls and bounds."""
    own = {label: row[column] for label, row in cells.items()}
    return {label: cell for label, cell in own.items() if cell.summary and not (cell.control or cell.bound)}


def same_seeds(shown: Mapping[str, Cell]) -> bool:
    """Return whether all cells are means over the same seeds."""
    return len({frozenset(cell.scores.by_seed) for cell in shown.values()}) <= 1


def _beside(first: Cell, cell: Cell, pair: "Pair | None") -> Cell:
    """Mark a cell next to the best one. A significant difference leaves it unmarked, even if rounding hides it."""
    if pair is None:
        return cell
    difference = pair.difference
    if difference.excludes_zero:
        return replace(cell, uncorrected=difference.covers and not pair.survives)
    best = round(cell.mean, cell.decimals) == round(first.mean, cell.decimals)
    return replace(cell, best=best, undecided=not best and difference.covers and difference.half_width is not None)


@dataclass(frozen=True)
class Pair:
    """Two models in one column."""

    better: str
    worse: str
    difference: Summary  # ``better`` - ``worse``
    # True if an order may be claimed: the interval covers seeds and test rows and excludes 0, and one of the two is
    # above chance
    claim: bool
    # p of the difference after Holm's adjustment for all pairs of the column, None without an interval
    holm: float | None = None

    @property
    def survives(self) -> bool:
        """True if the difference is significant after Holm's correction, too."""
        return self.holm is not None and self.holm <= 1 - LEVEL


Pairs = Mapping[Column, Sequence[Pair]]  # column -> its pairs of models


@dataclass(frozen=True)
class Comparison(Pair):
    """Two models in a named column."""

    group: str = ""
    metric: str = ""
    column: Column = Column("", Missing())


def compare_cells(shown: Mapping[str, Cell], better: int) -> list[Pair]:
    """Return all pairs of models that share a seed, the better mean first.

    Without a direction (``better`` 0) pairs are in the given order, and no order is claimed. Nor is it of a dead run,
    whose pairs yet count for Holm's correction, with p = 1: a column is not easier to claim in where models collapse.
    """
    found, ps = [], list[float | None]()
    for (a, x), (b, y) in combinations(shown.items(), 2):
        if d := paired_difference(x.scores, y.scores):
            ps.append(1.0 if x.dead or y.dead else d.p)
            if x.dead or y.dead:
                d = replace(d, half_width=None, p=None)
            claim = bool(better) and d.covers and d.excludes_zero and not (x.at_chance and y.at_chance)
            swap = d.mean * better < 0
            found.append(Pair(b, a, replace(d, mean=-d.mean), claim) if swap else Pair(a, b, d, claim))
    return [
        replace(pair, holm=p if pair.difference.p is not None else None)
        for pair, p in zip(found, holm(ps), strict=True)
    ]


def compare_columns(cells: Cells, columns: Iterable[Column], better: int) -> Pairs:
    """Return all pairs of ranked models in each of the columns, which are those where models may be compared."""
    return {column: compare_cells(ranked(cells, column), better) for column in columns}


def compare_column(table: Table, column: Column) -> list[Comparison]:
    """Return all pairs of ranked models of a column; none if they may not be compared."""
    return [
        Comparison(**vars(pair), group=table.group, metric=table.title, column=column)
        for pair in table.pairs.get(column, ())
    ]
