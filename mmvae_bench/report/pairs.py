"""Pairs of models: what their shared seeds say of the order in one table column (protocol 26)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from mmvae_bench.report.marks import ranked
from mmvae_bench.report.statistics import PairedDifference, holm, paired_difference
from mmvae_bench.report.tables import Cell, Column, Table


@dataclass(frozen=True)
class Comparison:
    """Two models on one column.

    Attributes:
        difference: ``better`` - ``worse``.
        claim: Whether an order may be claimed: the interval excludes 0 and one of the two is above chance.
        holm: The paired t-test's p after Holm's adjustment for all pairs of the column, None below 3 shared seeds.
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
    """All pairs of ranked models that share a seed, the one with the better mean first; none if it is not comparable.

    Without a direction (``table.better`` 0) the order is the table's, and none is claimed.
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
