"""Results on disk: one folder a run, present = finished; everything else is rebuilt from these folders.

``<root>/runs/<dataset>/<model>/<run_id>/`` holds ``run.json`` (spec, environment, timings, a manifest of the
other files), ``scores.jsonl`` (the record: no NaN, no timings), ``history.csv``, ``model.safetensors`` and
``artifacts.npz``. ``<root>/plans/<name>.json`` says which runs a suite consists of and what was skipped and why.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunSpec, canonical_json

SCHEMA = 1
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


@dataclass(frozen=True)
class RunResult:
    """What a finished run leaves behind.

    Attributes:
        rows: Tidy rows, each with the keys of :data:`COLUMNS`.
        history: One record an epoch.
        info: Environment and timings for ``run.json``.
        weights: The model's state, as arrays; ``artifacts``: what figures need.
        error: The message of a failed run, else empty.
    """

    spec: RunSpec
    rows: list[dict[str, Any]]
    history: list[dict[str, float]] = field(default_factory=list)
    info: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    artifacts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    error: str = ""


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
        _write_files(temporary, result)
        if self.status(result.spec) == "broken":
            target.rename(_free_name(target.with_suffix(".broken")))
        elif target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        _sync(target.parent)
        return target

    def folders(self) -> list[Path]:
        """All published run folders, sorted."""
        return sorted(p for p in self.root.glob("runs/*/*/*") if not p.name.startswith(".") and not p.suffix)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """The tidy rows of one run folder."""
        return [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]

    def history(self, folder: Path) -> list[dict[str, float]]:
        """One record an epoch of one run folder."""
        frame = pd.read_csv(folder / "history.csv", float_precision="round_trip")
        return [{str(key): float(value) for key, value in record.items()} for record in frame.to_dict("records")]

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
        return _read_json(found[-1], "delete it and run the suite again: stored runs are not repeated")


def read_run(folder: Path) -> dict[str, Any]:
    """Read and check a run's ``run.json``: its files are all there, whole, and its spec fits its name.

    Raises:
        BenchError: If not.
    """
    way_out = "move the folder away, or let the same run command do it and train this run again"
    run = _read_json(folder / "run.json", way_out)
    try:
        bad = [name for name, size in run["files"].items() if not _has_size(folder / name, size)]
        identity = hashlib.sha256(canonical_json(run["spec"]).encode()).hexdigest()[:16]
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise BenchError(f"'{folder / 'run.json'}' is not a run's record ({error!r}); {way_out}") from error
    if bad or identity != folder.name:
        fault = f"{', '.join(bad)} is cut off or missing" if bad else "its spec was edited"
        raise BenchError(f"the results in '{folder}' cannot be used: {fault}; {way_out}")
    return run


def _read_json(path: Path, way_out: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"cannot read '{path}' ({type(error).__name__}); {way_out}") from error
    if not isinstance(value, dict):
        raise BenchError(f"'{path}' is not a record; {way_out}")
    return value


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _free_name(path: Path) -> Path:
    """``path``, or with the first number that is free."""
    number, candidate = 1, path
    while candidate.exists():
        number, candidate = number + 1, path.with_suffix(f"{path.suffix}{number + 1}")
    return candidate


def _write_files(folder: Path, result: RunResult) -> None:
    """Write all files of a run, ``run.json`` with the sizes of the others last, each synced."""
    from safetensors.numpy import save_file

    (folder / "scores.jsonl").write_text("".join(canonical_json(row) + "\n" for row in result.rows))
    pd.DataFrame(result.history).to_csv(folder / "history.csv", index=False)
    if result.weights:
        save_file(dict(result.weights), folder / "model.safetensors")
    if result.artifacts:
        np.savez_compressed(folder / "artifacts.npz", **dict(result.artifacts))  # type: ignore[arg-type]
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    status = {"status": "failed", "error": result.error} if result.error else {"status": "done"}
    record = {"schema": SCHEMA, **status, "spec": result.spec.to_dict(), "files": sizes, **result.info}
    (folder / "run.json").write_text(json.dumps(record, indent=1, allow_nan=False))
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
