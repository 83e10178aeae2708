"""Results on disk: one folder a run, present = finished; everything else is rebuilt from these folders.

``<root>/runs/<dataset>/<model>/<run_id>/`` holds ``run.json`` (spec, environment, timings, checksums of the other
files and its own), ``scores.jsonl`` (the record: no NaN, no timings), ``history.csv``, ``log.txt``,
``model.safetensors`` and ``artifacts.npz``. ``<root>/plans/<name>.json`` says which runs a suite consists of and what
was skipped and why. ``<root>/work/<run_id>/`` is a run under way, ``<root>/claims/<run_id>/`` whose it is.
"""

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd

from mmvae_bench.disk import nonce, replace_file, temporary_beside
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import plans as stored_plan
from mmvae_bench.store import publish
from mmvae_bench.store.claims import Claims
from mmvae_bench.store.run import SCHEMA, RunResult, read_file, read_rows, read_run, run_checksum, run_status, steadily

__all__ = ["COLUMNS", "NUMBERS", "SCHEMA", "RunResult", "Status", "Store", "read_run"]
COLUMNS = [
    "schema", "run_id", "config_id", "dataset", "dataset_options", "subset", "model", "model_options", "label",
    "missing_scheme", "missing_ratio", "incomplete", "complete_fraction", "seed", "metric", "metric_version", "variant",
    "prior", "given", "target", "value", "se", "n", "chance", "ceiling", "higher_is_better", "status", "control",
    "reason", "dataset_hash", "oracle_hash", "embedding_hash", "device", "precision", "engine", "threads",
    "package_version", "n_params", "epochs", "steps",
]  # fmt: skip
NUMBERS = {"value", "se", "n", "chance", "ceiling", "missing_ratio", "complete_fraction"}
Status = Literal["absent", "done", "failed", "newer", "broken"]


class Store:
    """The results under ``root``.

    Raises:
        BenchError: If ``root`` cannot be made or written to (only when it is written to).
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.claims = Claims(self.root)

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
        try:
            if not make:
                parent = next(p for p in (self.root.absolute(), *self.root.absolute().parents) if p.exists())
                if not (parent.is_dir() and os.access(parent, os.W_OK)):
                    raise BenchError(f"cannot write results under '{self.root}'; choose another --results-dir")
                return
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{nonce()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BenchError(
                f"cannot write results under '{self.root}' ({error.strerror}); choose another --results-dir"
            ) from error

    def status(self, spec: RunSpec) -> Status:
        """Whether a run is done, failed, absent, of a newer version than ours, or its folder cut off or edited."""
        return cast(Status, run_status(self.folder(spec)))

    def stamp(self, spec: RunSpec) -> str:
        """What tells the stored result of a run from a later one; empty where there is none."""
        return run_checksum(self.folder(spec))

    def publish(
        self, result: RunResult, seen: str | None = None, held: Callable[[], bool] = lambda: True
    ) -> Path | None:
        """Write a run's folder under a temporary name, sync it, rename it: it is there whole or not at all.

        A broken folder that stood there is kept beside it, renamed.

        Args:
            result: The run's.
            seen: The :meth:`stamp` of what it may replace; by default of what is there now.
            held: Whether the run is still its caller's to publish, asked at the last moment.

        Returns:
            The folder, or None where nothing was published: another was quicker, the caller holds the run no longer,
            or it is a failure and there is a result.

        Raises:
            OSError: If it cannot be written.
        """
        return publish.publish(self.folder(result.spec), result, seen, held)

    def folders(self) -> list[Path]:
        """All published run folders, sorted."""
        return sorted(p for p in self.root.glob("runs/*/*/*") if not p.name.startswith(".") and not p.suffix)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """The tidy rows of one run folder, of this schema or an older one.

        Raises:
            BenchError: If the folder is cut off or edited; names it and what to do.
        """
        return read_rows(folder, read_run(folder))

    def history(self, folder: Path) -> list[dict[str, float]]:
        """One record an epoch of one run folder.

        Raises:
            BenchError: If the folder is cut off or edited.
        """
        text = read_file(folder, read_run(folder), "history.csv").decode()
        return [{key: float(value) for key, value in record.items()} for record in csv.DictReader(io.StringIO(text))]

    def scores(self, run_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the tidy table of all runs, or of some; columns as in :data:`COLUMNS`.

        Raises:
            BenchError: If a folder is cut off or edited; names it and what to do.
        """
        wanted = None if run_ids is None else set(run_ids)
        rows: list[dict[str, Any]] = []
        for folder in self.folders():
            if wanted is None or folder.name in wanted:
                rows += steadily(folder, self.rows, [])
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        return frame.astype(dict.fromkeys(NUMBERS, float))

    def collate(self) -> Path:
        """Write ``scores.csv`` (and ``scores.parquet`` if pyarrow is there) at the root; return the CSV's path."""
        path = self.root / "scores.csv"
        before, now = None, self._stamps()
        while before != now:  # else a table that another writes later, but read earlier, would stay
            before, frame = now, self.scores()
            replace_file(path, frame.to_csv(index=False))
            now = self._stamps()
        with contextlib.suppress(ImportError):  # pyarrow is optional; the CSV is the collated table
            table = path.with_suffix(".parquet")
            temporary = temporary_beside(table)
            frame.to_parquet(temporary, index=False)
            temporary.replace(table)
        return path

    def _stamps(self) -> dict[Path, int]:
        """What changes whenever a run is published."""
        paths = [folder / "run.json" for folder in self.folders()]
        return {path: path.stat().st_mtime_ns for path in paths if path.exists()}

    def write_plan(self, name: str, plan: Mapping[str, Any]) -> None:
        """Record which runs a suite consists of: ``run_ids``, ``skipped`` rows with reasons, ``title``."""
        record = {"schema": SCHEMA, "name": name, **plan}
        (self.root / "plans").mkdir(parents=True, exist_ok=True)
        replace_file(self.root / "plans" / f"{name}.json", json.dumps(record, indent=1))

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
        return stored_plan.read_plan(found[-1])
