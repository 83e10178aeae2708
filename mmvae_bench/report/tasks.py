"""Scores over tasks: for each of the summary's scores what all its models share, and their export for rank tools.

A task is data set x missing pattern x table column. Chance controls and bounds are left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.report.summary import PARTS
from mmvae_bench.report.tables import Cell, Table, ranked
from mmvae_bench.spec import Missing

ERRORS = ("tier", "score", "method", "task", "seed", "metric_error")  # columns of errors.csv


@dataclass(frozen=True)
class Block:
    """A data set under a missing pattern, on the columns and seeds that all models have."""

    group: str  # title of the data set
    missing: Missing
    columns: list[str]
    seeds: list[int]
    scores: NDArray[np.float64]  # [model, column, seed]
    ranks: NDArray[np.float64]  # [model, column], NaN where a model has none
    dead: NDArray[np.int64]  # [model], number of cells in which a branch that is scored was never trained


@dataclass(frozen=True)
class Family:
    """One of the summary's scores in one tier."""

    tier: str
    title: str
    key: tuple[str, str, str]  # metric, variant, prior
    models: list[str]
    blocks: list[Block]
    of: int  # number of tasks that any model has

    @property
    def tasks(self) -> int:
        """Number of tasks that all models have."""
        return sum(len(block.columns) for block in self.blocks)

    @property
    def cells(self) -> int:
        """Number of task x seed cells of each model."""
        return sum(block.scores[0].size for block in self.blocks)

    @property
    def least_seeds(self) -> int:
        """Least number of seeds of a block; 0 without blocks."""
        return min((len(block.seeds) for block in self.blocks), default=0)

    def scores_of(self, model: int) -> list[NDArray[np.float64]]:
        """Return the scores [column, seed] of a model in each block."""
        return [block.scores[model] for block in self.blocks]


def families(tables: Sequence[Table], tiers: Mapping[str, str] | None = None) -> Iterator[Family]:
    """Yield each of the summary's scores with the tasks, and seeds of them, that all its models have.

    Args:
        tables: All tables of a report.
        tiers: Tier of each of their groups: tiers are kept apart, since they share data sets, and runs.
    """
    keys = dict.fromkeys((part.metric, part.variant, part.prior) for line in PARTS for part in line)
    tier_of = {table.group: (tiers or {}).get(table.group, "") for table in tables}
    for tier, key in product(dict.fromkeys(tier_of.values()), keys):
        own = [t for t in tables if tier_of[t.group] == tier and (t.metric, t.variant, t.prior) == key]
        if own:
            yield _family(tier, key, own)


def _family(tier: str, key: tuple[str, str, str], tables: Sequence[Table]) -> Family:
    found: dict[tuple[str, Missing], dict[str, dict[str, Cell]]] = defaultdict(dict)
    for table in tables:
        for column in (column for column in table.columns if column in table.comparable):
            found[table.group, column.missing][column.text] = ranked(table.cells, column)
    models = list(dict.fromkeys(label for columns in found.values() for row in columns.values() for label in row))
    blocks = [_block(*where, columns, models) for where, columns in found.items()]
    of = sum(map(len, found.values()))
    return Family(tier, tables[0].title, key, models, [block for block in blocks if block.scores.size], of)


def _block(group: str, missing: Missing, columns: Mapping[str, dict[str, Cell]], models: Sequence[str]) -> Block:
    full = {text: row for text, row in columns.items() if models and row.keys() == set(models)}
    each = [set(cell.scores.by_seed) for row in full.values() for cell in row.values()]
    seeds = sorted(set.intersection(*each)) if each else []
    cells = [[row[model] for row in full.values()] for model in models]
    scores = np.array([[[cell.scores.by_seed[seed] for seed in seeds] for cell in row] for row in cells])
    ranks = np.array([[np.nan if cell.rank is None else cell.rank for cell in row] for row in cells])
    dead = np.array([sum(cell.dead for cell in row) for row in cells])
    return Block(group, missing, list(full), seeds, scores, ranks, dead)


def error_rows(found: Iterable[Family]) -> Iterator[dict[str, object]]:
    """Yield one error per model, task and seed: 1 - score, which is a share or a cosine.

    The columns ``method``, ``task``, ``seed`` and ``metric_error`` are those that TabArena's ``bencheval`` reads.
    Within a tier and score every model has every task and seed, as it asks.
    """
    for family in found:
        for block, (m, model) in product(family.blocks, enumerate(family.models)):
            for (c, column), (s, seed) in product(enumerate(block.columns), enumerate(block.seeds)):
                task = f"{family.title}, {block.group}, {column}, {block.missing.text}"
                error = max(0.0, 1 - float(block.scores[m, c, s]))
                where = {"tier": family.tier, "score": family.title, "method": model, "task": task, "seed": seed}
                yield {**where, "metric_error": error}
