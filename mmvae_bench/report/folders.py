"""What a results folder holds, as a :class:`Selection`: runs of a plan, or published scores without runs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError
from mmvae_bench.report.select import Run, Selection, assemble, plain, select
from mmvae_bench.spec import RunStatus
from mmvae_bench.store.run import OUTCOMES
from mmvae_bench.store.store import PUBLISHED, RECORDS, Store, read_published

AGAIN = "Get the folder again, or publish its suite again with benchmarks/publish.py."


@dataclass(frozen=True)
class PublishedRun(Run):
    """A run whose record and outcomes are published, and whose folder is not."""

    outcomes: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # those of :func:`benchmarks.publish.outcomes`

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the published outcomes on test rows; nothing else is published."""
        return dict(self.outcomes) if name == OUTCOMES else {}


@dataclass(frozen=True)
class Source:
    """A plan's results."""

    name: str  # of the plan, or of the published suite
    selection: Selection

    @cached_property
    def lacking(self) -> set[tuple[str, str, str]]:
        """Return metric, variant and prior of the means over test rows whose outcomes are not published.

        An interval over seeds alone would be too narrow for them.
        """
        frame = self.selection.frame
        kept = frame[frame["sampled"] == "rows"].drop_duplicates(["metric", "variant", "prior", "given", "target"])
        rows: Iterable[Any] = kept.itertuples()
        return {(row.metric, row.variant, row.prior) for row in rows if self.selection.outcomes(row) is None}


def read_folder(root: Path) -> Iterator[Source]:
    """Yield what a results folder holds: its published scores, or each of its plans that has a stored run.

    Raises:
        BenchError: If it holds neither, or a file of it cannot be read.
    """
    if (root / PUBLISHED).is_file():
        yield Source(root.resolve().name, read_published_folder(root))
        return
    store = Store(root)
    stored = {folder.name for folder in store.folders()}
    plans = [store.read_plan(path.stem) for path in sorted(root.glob("plans/*.json"))]
    found = [plan for plan in plans if stored.intersection(plan["run_ids"])]
    if not found:
        raise BenchError(
            f"There is nothing to show in '{root}': no {PUBLISHED}, and no plan with stored runs. "
            "Name a folder of results, or run something first: mmvae-bench run"
        )
    yield from (Source(plan["name"], select(store, plan)) for plan in found)


def read_published_folder(root: Path) -> Selection:
    """Return published scores with their runs' records and outcomes.

    Raises:
        BenchError: If a file is missing or was edited.
    """
    rows = plain(read_published(root / PUBLISHED))
    tiers = {str(run_id): list(dict.fromkeys(own)) for run_id, own in rows.groupby("run_id", sort=False)["tier"]}
    once = rows[rows["tier"] == rows["run_id"].map(lambda run_id: tiers[run_id][0])]
    records, outcomes = _records(root / RECORDS), _outcomes(root / OUTCOMES)
    firsts = once.drop_duplicates("run_id").set_index("run_id")[["label", "subset"]]
    runs: list[Run] = []
    for run_id, (label, subset) in zip(firsts.index, firsts.itertuples(index=False, name=None), strict=True):
        run = PublishedRun(root, records.get(run_id, {}), "", label, subset, outcomes=outcomes.get(run_id, {}))
        if not run.record or run.run_id != run_id:
            raise BenchError(f"'{root / RECORDS}' has no record of the run {run_id}, or another one. {AGAIN}")
        runs.append(run)
    return assemble(once.reset_index(drop=True), runs, tiers, set(rows["rule"]) - {""})


def _records(path: Path) -> dict[str, Any]:
    """Return the published records by run id."""
    try:
        frame = pd.read_csv(path, dtype=str)
        pairs = zip(frame["run_id"], frame["record"], strict=True)
        return {run_id: {**json.loads(record), "status": RunStatus.DONE} for run_id, record in pairs}
    except Exception as error:  # of pandas, of a decompressor, or of a record
        raise BenchError(f"Cannot read the records of runs in '{path}' ({error}). {AGAIN}") from error


def _outcomes(path: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the published outcomes by run id and score."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in [name for name in arrays.files if not name.endswith("/run_id")]:
                _, score = name.split("/", 1)  # after the data set's name
                for run_id, x in zip(arrays[f"{name}/run_id"], arrays[name], strict=True):
                    found.setdefault(str(run_id), {})[score] = x
    except Exception as error:
        raise BenchError(f"Cannot read the outcomes in '{path}' ({error}). {AGAIN}") from error
    return found
