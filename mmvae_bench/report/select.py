"""Which runs and rows a report is about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mmvae_bench.errors import BenchError
from mmvae_bench.models import registry as models
from mmvae_bench.report.naming import name_groups, tell_models_apart
from mmvae_bench.report.runs import Run
from mmvae_bench.store.store import NUMBERS, Store, read_run


@dataclass(frozen=True)
class Selection:
    """All that is reported.

    Attributes:
        rows: Tidy rows of all stored runs, as they are.
        frame: Those of finished runs, with ``group``, ``entrant``, ``scheme`` and ``ratio`` added.
        absent: Planned run ids that are not stored.
        labels: Every model's label, in the order of tables and colours.
        public: Whether pictures that may not be published are left out.
    """

    rows: pd.DataFrame
    frame: pd.DataFrame
    runs: list[Run]
    failed: list[Run] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    public: bool = False

    @cached_property
    def hidden(self) -> list[str]:
        """Titles of the data sets whose pictures are left out."""
        one_each = {run.group: run for run in self.runs} if self.public else {}
        return [group for group, run in one_each.items() if not run.may_be_shown]

    @property
    def groups(self) -> list[str]:
        """Titles of the data sets (with options and subset where needed), in the plan's order."""
        return list(dict.fromkeys(run.group for run in self.runs))


def select(store: Store, plan: Mapping[str, Any], *, public: bool = False) -> Selection:
    """Read the plan's runs that are stored.

    Raises:
        BenchError: If none is stored, a folder is broken, or two models cannot be told apart.
    """
    wanted = list(dict.fromkeys(plan.get("run_ids", [])))
    folders = {folder.name: folder for folder in store.folders()}
    place = {run_id: number for number, run_id in enumerate(wanted)}
    frame = _plain(store.scores(wanted))
    frame = frame.sort_values("run_id", key=lambda ids: ids.map(place), kind="stable", ignore_index=True)
    firsts = frame.drop_duplicates("run_id").set_index("run_id")[["label", "subset"]].T.to_dict("list")
    found = [_run(folders[run_id], *firsts.get(run_id, ("", ""))) for run_id in wanted if run_id in folders]
    if not found:
        raise BenchError(
            f"none of the {len(wanted)} runs of '{plan.get('name', 'this plan')}' is stored under '{store.root}'; "
            "first: mmvae-bench run"
        )
    done = tell_models_apart(name_groups([run for run in found if not run.failed]))
    failed = [run for run in found if run.failed]
    absent = [run_id for run_id in wanted if run_id not in folders]
    labels = _ordered({run.label: run for run in done})
    return Selection(frame, _annotate(frame, done), done, failed, absent, labels, public)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Text columns without missing values, so that groups and comparisons never lose a row."""
    text = [column for column in frame if column not in NUMBERS]
    return frame.assign(**{str(c): frame[c].astype(object).where(frame[c].notna(), "") for c in text})


def _run(folder: Path, label: str, subset: str) -> Run:
    """A stored run, with what its rows say of it."""
    record = read_run(folder)
    return Run(folder.name, folder, record, str(label) or str(record["spec"]["model"]["name"]), str(subset))


def _annotate(frame: pd.DataFrame, runs: list[Run]) -> pd.DataFrame:
    by_id = {run.run_id: run for run in runs}
    rows = frame[frame["run_id"].isin(list(by_id)) & (frame["metric"] != "")]
    kept = [by_id[run_id] for run_id in rows["run_id"]]
    return rows.assign(
        group=[run.group for run in kept],
        entrant=[run.label for run in kept],
        scheme=[run.scheme for run in kept],
        ratio=[run.ratio for run in kept],
    )


def _ordered(by_label: dict[str, Run]) -> list[str]:
    """Labels in the registry's order of their models, then by text, numbers in it as numbers: k=3 before k=10."""
    order = models.names()

    def place(label: str) -> tuple[int, list[str | int]]:
        name = by_label[label].spec["model"]["name"]
        parts = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label)]
        return (order.index(name) if name in order else len(order), parts)

    return sorted(by_label, key=place)
