"""Results on disk: one folder per run, present = finished; everything else is rebuilt from these folders.

``<root>/runs/<dataset>/<model>/<run_id>/`` holds ``run.json`` (spec, environment, timings, checksums of the other
files and its own), ``scores.jsonl`` (the record: no NaN, no timings), ``outcomes.npz`` (of each test row),
``history.csv``, ``log.txt``, ``model.safetensors`` and ``artifacts.npz``. ``<root>/plans/<name>.json`` says which runs
a suite consists of and what was skipped and why. ``<root>/work/`` holds what is under way
(:mod:`mmvae_bench.store.work`).
"""

import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmvae_bench.disk import nonce, replace_file
from mmvae_bench.errors import BenchError, BenchWarning
from mmvae_bench.spec import RunSpec, RunStatus
from mmvae_bench.store.plans import read_plan
from mmvae_bench.store.publish import place
from mmvae_bench.store.run import (
    NUMBERS,
    RUN_ID,
    SCHEMA,
    RunResult,
    StoredRun,
    current,
    run_status,
    steadily,
    write_files,
)  # fmt: skip

COLUMNS = [
    "schema", "run_id", "config_id", "dataset", "dataset_options", "subset", "model", "model_options", "label",
    "missing_scheme", "missing_ratio", "incomplete", "complete_fraction", "seed", "split", "tier", "rule", "metric",
    "metric_version", "variant", "prior", "given", "target", "value", "se", "n", "chance", "ceiling",
    "higher_is_better", "status", "control", "bound", "sampled", "reason", "dataset_hash", "oracle_hash",
    "embedding_hash", "device", "precision", "engine", "threads", "package_version", "n_params", "epochs", "steps",
]  # fmt: skip
NO_TEXTS = (
    *NUMBERS, "schema", "seed", "metric_version", "higher_is_better", "control", "bound", "threads", "n_params",
    "epochs", "steps",
)  # fmt: skip
TEXTS = [column for column in COLUMNS if column not in NO_TEXTS]  # empty, never missing, or groupby would drop rows
PUBLISHED = "scores.csv.xz"  # scores without runs, as ``benchmarks/publish.py`` writes them
RECORDS = "runs.csv.xz"  # id of each of these runs, and the part of its record that is published


def read_published(path: Path) -> pd.DataFrame:
    """Return published scores with the columns and types of :meth:`Store.scores`.

    Raises:
        BenchError: If the file is not such a table.
    """
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])
        records: list[Any] = frame.assign(**frame[TEXTS].fillna("")).to_dict("records")
    except Exception as error:  # of pandas, or of a decompressor
        raise BenchError(f"'{path}' is not a table of published scores ({error}). Get the file again.") from error
    return tidy(current(row) for row in records)


def tidy(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table of rows; a text that is missing is empty."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    kinds: dict[str, type] = dict.fromkeys(NUMBERS, float)
    kinds |= {name: object for name in TEXTS if frame[name].isna().all()}  # else they would be numbers
    return frame.astype(kinds).fillna(dict.fromkeys(TEXTS, ""))


class Store:
    """The results under ``root``.

    Raises:
        BenchError: If ``root`` cannot be made or written to (only when it is written to).
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder(self, spec: RunSpec) -> Path:
        """Return the folder of a run's results, present or not."""
        return self.root / "runs" / spec.dataset.name / spec.model.name / spec.run_id

    def check_writable(self, *, make: bool = True) -> None:
        """Make the root and prove that it takes files; with ``make=False`` ask for permissions, and write nothing.

        Raises:
            BenchError: If it does not.
        """
        try:
            if not make:
                parent = next(p for p in (self.root.absolute(), *self.root.absolute().parents) if p.exists())
                if not (parent.is_dir() and os.access(parent, os.W_OK)):
                    raise BenchError(f"Cannot write results under '{self.root}'. Choose another --results-dir.")
                return
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{nonce()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BenchError(
                f"Cannot write results under '{self.root}' ({error.strerror}). Choose another --results-dir."
            ) from error

    def status(self, spec: RunSpec) -> RunStatus:
        """Return whether a run is absent, done, failed, of a newer schema, or broken."""
        return run_status(self.folder(spec))

    def publish(self, result: RunResult) -> Path | None:
        """Write a run's folder and rename it to its place: it is there whole or not at all. The caller has its lock.

        Returns:
            The folder, or None where nothing was published: the run failed and there is a result, or what is there
            is of a newer schema.

        Raises:
            OSError: If it cannot be written.
        """
        target = self.folder(result.spec)
        before = self.status(result.spec)
        if before == RunStatus.NEWER or (result.error and before == RunStatus.DONE):
            return None
        place(target, lambda folder: write_files(folder, result))
        return target

    def folders(self) -> list[Path]:
        """Return all published run folders, sorted."""
        return [path for path in self._beside() if re.fullmatch(RUN_ID, path.name)]

    def strangers(self) -> list[Path]:
        """Return what is beside the run folders and has no run's name, sorted: a note, or a renamed copy."""
        return [path for path in self._beside() if not re.fullmatch(RUN_ID, path.name)]

    def _beside(self) -> list[Path]:
        return sorted(p for p in self.root.glob("runs/*/*/*") if not p.name.startswith(".") and not p.suffix)

    def scores(self, run_ids: Iterable[str] | None = None, *, faults: list[str] | None = None) -> pd.DataFrame:
        """Return the tidy table of all runs, or of some; columns as in :data:`COLUMNS`, no text missing.

        Args:
            run_ids: ids of the runs. Default: all.
            faults: takes a sentence for each run that is cut off or edited, which is then left out.

        Raises:
            BenchError: If a folder is cut off or edited and ``faults`` is None; names it and what to do.
        """
        wanted = None if run_ids is None else set(run_ids)
        rows: list[dict[str, Any]] = []
        for folder in self.folders():
            if wanted is None or folder.name in wanted:
                try:
                    rows += steadily(folder, lambda path: StoredRun.read(path).rows()) or []
                except BenchError as error:
                    if faults is None:
                        raise
                    faults.append(str(error))
        return tidy(rows)

    def collate(self) -> Path:
        """Write ``scores.csv`` at the root, and return its path; warn of what is no run, or none that can be read."""
        path = self.root / "scores.csv"
        faults: list[str] = []
        before, now = None, self._stamps()
        while before != now:  # else a table that another writes later, but read earlier, would stay
            before = now
            faults.clear()
            replace_file(path, self.scores(faults=faults).to_csv(index=False))
            now = self._stamps()
        faults += [f"'{stranger}' is not a run. Move it elsewhere." for stranger in self.strangers()]
        for fault in faults:
            warnings.warn(f"Left out of '{path}': {fault}", BenchWarning, stacklevel=2)
        return path

    def _stamps(self) -> dict[Path, int]:
        """Return the times of all records: one changes whenever a run is published."""
        paths = [folder / "run.json" for folder in self.folders()]
        return {path: path.stat().st_mtime_ns for path in paths if path.exists()}

    def write_plan(self, name: str, plan: Mapping[str, Any]) -> None:
        """Record which runs a suite consists of: ``run_ids``, ``skipped`` rows with reasons, ``title``.

        Unless ``plan`` says when it was run, that is now, and later than all others even if their clock was ahead.
        """
        others = (other["at"] for other in self._plans(self._plan_paths(), []))
        at = plan["at"] if "at" in plan else max(time.time(), 0.001 + max(others, default=0.0))
        record = {"schema": SCHEMA, "name": name, **plan, "at": at}
        (self.root / "plans").mkdir(parents=True, exist_ok=True)
        replace_file(self.root / "plans" / f"{name}.json", json.dumps(record, indent=1))

    def read_plan(self, name: str | None = None) -> dict[str, Any]:
        """Return the plan called ``name``, or the one that was run last; warn of those that cannot be read.

        Raises:
            BenchError: If there is none.
        """
        paths = self._plan_paths()
        found = [path for path in paths if name is None or path.stem == name]
        if not found:
            raise BenchError(self._lack(name, [path.stem for path in paths]))
        faults: list[str] = []
        plans = self._plans(found, faults)
        if not plans:
            raise BenchError(faults[-1])
        for fault in faults:
            warnings.warn(fault, BenchWarning, stacklevel=2)
        return max(plans, key=lambda plan: plan["at"])

    def _plan_paths(self) -> list[Path]:
        return sorted(self.root.glob("plans/*.json"))

    def _plans(self, paths: Iterable[Path], faults: list[str]) -> list[dict[str, Any]]:
        """Return the plans that can be read; ``faults`` takes a sentence for each of the others."""
        plans = []
        for path in paths:
            try:
                plans.append(read_plan(path))
            except BenchError as error:
                faults.append(str(error))
        return plans

    def _lack(self, name: str | None, known: list[str]) -> str:
        """Return why there is no plan to read, and what to do."""
        if known:
            return f"There is no plan '{name}' under '{self.root}'. There are {', '.join(known)}."
        if self.folders():
            return f"There are runs under '{self.root}', but no plan. The command that ran them writes it again."
        return f"There are no runs under '{self.root}'. First: mmvae-bench run"
