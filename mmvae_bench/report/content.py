"""All that a report says of its runs, computed before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import pandas as pd

from mmvae_bench.report import facts, improvement
from mmvae_bench.report.aggregates import aggregate
from mmvae_bench.report.averaging import build_tables
from mmvae_bench.report.frontier import Frontier, frontiers
from mmvae_bench.report.published import Section, beside
from mmvae_bench.report.select import Selection, slugs
from mmvae_bench.report.summary import SummaryTable, compare_summary, summarise_groups
from mmvae_bench.report.tables import Comparison, Table
from mmvae_bench.report.tasks import Family, families


@dataclass(frozen=True)
class Content:
    """Tables of a report, and what is computed from them."""

    selection: Selection
    skipped: Sequence[Mapping[str, Any]]  # combinations that the plan left out

    @cached_property
    def tables(self) -> list[Table]:
        """Tables of all metrics."""
        return build_tables(self.selection)

    @cached_property
    def summaries(self) -> list[SummaryTable]:
        """Summary of each data set."""
        return summarise_groups(self.selection)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Comparisons of all pairs of models in the summary."""
        return [comparison for summary in self.summaries for comparison in compare_summary(summary)]

    @cached_property
    def over_tasks(self) -> list[Family]:
        """Scores of the summary over all tasks."""
        return list(families(self.tables, {run.group: run.tier for run in self.selection.runs}))

    @cached_property
    def aggregates(self) -> pd.DataFrame:
        """Interquartile means and mean ranks."""
        return aggregate(self.over_tasks)

    @cached_property
    def improvements(self) -> list[dict[str, object]]:
        """Probabilities of improvement."""
        return list(improvement.improvements(self.over_tasks))

    @cached_property
    def areas(self) -> list[Frontier]:
        """Frontiers over beta."""
        return frontiers(self.selection)

    @cached_property
    def published(self) -> list[Section]:
        """Values of papers beside ours."""
        return beside(self.selection)

    @cached_property
    def warnings(self) -> list[str]:
        """Warnings above the summary."""
        return facts.warnings(self.selection, self.skipped)

    @cached_property
    def names(self) -> dict[str, str]:
        """Short file name of each data set, variant, prior, scheme and pattern."""
        of_tables = chain.from_iterable((t.variant, t.prior, t.scheme) for t in self.tables)
        return slugs(chain(self.selection.groups, of_tables, (area.missing.text for area in self.areas)))
