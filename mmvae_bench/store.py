"""Results on disk: one folder a run, present = finished; everything else is rebuilt from these folders.

``<root>/runs/<dataset>/<model>/<run_id>/`` holds ``run.json`` (spec, environment, timings, a manifest of the
other files), ``scores.jsonl`` (the record: no NaN, no timings), ``history.csv``, ``model.safetensors`` and
``artifacts.npz``. ``<root>/plans/<name>.json`` says which runs a suite consists of and what was skipped and why.
"""

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mmvae_bench.errors import BenchError
from mmvae_bench.run_folder import SCHEMA, RunResult, free_name, read_json, read_run, sync, write_files
from mmvae_bench.spec import RunSpec

__all__ = ["COLUMNS", "NUMBERS", "SCHEMA", "RunResult", "Status", "Store", "read_run"]

COLUMNS = [
    "schema",
    "run_id",
    "config_id",
    "dataset",
    "dataset_options",
    "subset",
    "model",
    "model_options",
    "label",
    "missing_scheme",
    "missing_ratio",
    "complete_fraction",
    "seed",
    "metric",
    "metric_version",
    "variant",
    "prior",
    "given",
    "target",
    "value",
    "se",
    "n",
    "chance",
    "ceiling",
    "higher_is_better",
    "status",
    "reason",
    "dataset_hash",
    "oracle_hash",
    "embedding_hash",
    "device",
    "precision",
    "engine",
    "threads",
    "package_version",
    "n_params",
    "epochs",
    "steps",
]
NUMBERS = {"value", "se", "n", "chance", "ceiling", "missing_ratio", "complete_fraction"}
Status = Literal["absent", "done", "failed", "broken"]


class Store:
    """The results under ``root``.

    Raises:
        BenchError: If ``root`` cannot be made or written to (only when it is written to).
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder(self, spec: RunSpec) -> Path:
        """Where a run's results are or will be."""
        return self.root / "runs" / spec.dataset.name / spec.model.name / spec.run_id

    def check_writable(self, *, make: bool = True) -> None:
        """Make the root and prove that it takes files, before hours of work are done.

        Args:
            make: False asks the file system's permissions and writes nothing.

        Raises:
            BenchError: If it does not.
        """
        if not make:
            parent = next(p for p in (self.root.absolute(), *self.root.absolute().parents) if p.exists())
            if not (parent.is_dir() and os.access(parent, os.W_OK)):
                raise BenchError(f"cannot write results under '{self.root}'; choose another --results-dir")
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BenchError(
                f"cannot write results under '{self.root}' ({error.strerror}); choose another --results-dir"
            ) from error

    def status(self, spec: RunSpec) -> Status:
        """Whether a run is done, failed, absent, or its folder cut off or edited."""
        folder = self.folder(spec)
        if not folder.exists():
            return "absent"
        try:
            return "failed" if read_run(folder)["status"] == "failed" else "done"
        except BenchError:
            return "broken"

    def publish(self, result: RunResult) -> Path:
        """Write a run's folder under a temporary name, sync it, rename it: it is there whole or not at all.

        What stood there before (a failed run, a broken folder) is replaced; a broken one is kept beside it, renamed.
        """
        target = self.folder(result.spec)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write_files(temporary, result)
        before = self.status(result.spec)
        if before == "done" and result.error:  # a failure never takes a result's place
            shutil.rmtree(temporary)
            return target
        aside = free_name(target.with_suffix(".broken" if before == "broken" else ".old"))
        if before != "absent":
            target.rename(aside)
        temporary.rename(target)
        sync(target.parent)
        if before in ("done", "failed"):
            shutil.rmtree(aside)
        return target

    def folders(self) -> list[Path]:
        """All published run folders, sorted."""
        return sorted(p for p in self.root.glob("runs/*/*/*") if not p.name.startswith(".") and not p.suffix)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """The tidy rows of one run folder."""
        path = folder / "scores.jsonl"
        try:
            return [json.loads(line) for line in path.read_text().splitlines()]
        except ValueError as error:
            raise BenchError(f"'{path}' was edited and is no record; move its folder away, run it again") from error

    def history(self, folder: Path) -> list[dict[str, float]]:
        """One record an epoch of one run folder."""
        with (folder / "history.csv").open(newline="") as file:
            return [{key: float(value) for key, value in record.items()} for record in csv.DictReader(file)]

    def scores(self, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the tidy table of all runs, or of some; columns as in :data:`COLUMNS`.

        Raises:
            BenchError: If a folder is cut off or edited; names it and what to do.
        """
        wanted = None if run_ids is None else set(run_ids)
        rows: list[dict[str, Any]] = []
        for folder in self.folders():
            if wanted is None or folder.name in wanted:
                read_run(folder)
                rows += self.rows(folder)
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        return frame.astype(dict.fromkeys(NUMBERS, float))

    def collate(self) -> Path:
        """Write ``scores.csv`` (and ``scores.parquet`` if pyarrow is there) at the root; return the CSV's path."""
        frame = self.scores()
        path = self.root / "scores.csv"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        frame.to_csv(temporary, index=False)
        temporary.replace(path)
        with contextlib.suppress(ImportError):  # pyarrow is optional; the CSV is the collated table
            frame.to_parquet(self.root / "scores.parquet", index=False)
        return path

    def write_plan(self, name: str, plan: Mapping[str, Any]) -> None:
        """Record which runs a suite consists of: ``run_ids``, ``skipped`` rows with reasons, ``title``."""
        path = self.root / "plans" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"name": name, **plan}, indent=1))
        temporary.replace(path)

    def read_plan(self, name: str | None = None) -> dict[str, Any]:
        """Return the plan called ``name``, or the one that was run last.

        Raises:
            BenchError: If there is none.
        """
        plans = sorted(self.root.glob("plans/*.json"), key=lambda path: path.stat().st_mtime)
        found = [path for path in plans if name is None or path.stem == name]
        if not found:
            have = f"; there are {', '.join(p.stem for p in plans)}" if plans else ""
            what = f"no runs of '{name}'" if name else "no runs"
            raise BenchError(f"{what} under '{self.root}'{have}; first: mmvae-bench run")
        return read_json(found[-1], "delete it and run the suite again: stored runs are not repeated")
