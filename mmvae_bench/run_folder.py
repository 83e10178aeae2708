"""One run's folder: written whole, and read back only if nothing in it is cut off or edited."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunSpec, canonical_json

SCHEMA = 1


@dataclass(frozen=True)
class RunResult:
    """What a finished run leaves behind.

    Attributes:
        rows: Tidy rows, each with the keys of :data:`mmvae_bench.store.COLUMNS`.
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


def read_run(folder: Path) -> dict[str, Any]:
    """Read and check a run's ``run.json``: its files are all there, whole, and its spec fits its name.

    Raises:
        BenchError: If not.
    """
    way_out = "move the folder away, or let the same run command do it and train this run again"
    run = read_json(folder / "run.json", way_out)
    try:
        if run["status"] not in ("done", "failed"):
            raise ValueError(f"its status is {run['status']!r}")
        bad = [name for name, size in run["files"].items() if not _has_size(folder / name, size)]
        identity = hashlib.sha256(canonical_json(run["spec"]).encode()).hexdigest()[:16]
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise BenchError(f"'{folder / 'run.json'}' is not a run's record ({error!r}); {way_out}") from error
    if bad or identity != folder.name:
        fault = f"{', '.join(bad)} is cut off or missing" if bad else "its spec was edited"
        raise BenchError(f"the results in '{folder}' cannot be used: {fault}; {way_out}")
    return run


def read_json(path: Path, way_out: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        BenchError: If it does not; ends with ``way_out``.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"cannot read '{path}' ({type(error).__name__}); {way_out}") from error
    if not isinstance(value, dict):
        raise BenchError(f"'{path}' is not a record; {way_out}")
    return value


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def free_name(path: Path) -> Path:
    """``path``, or with the first number that is free."""
    number, candidate = 1, path
    while candidate.exists():
        number, candidate = number + 1, path.with_suffix(f"{path.suffix}{number + 1}")
    return candidate


def write_files(folder: Path, result: RunResult) -> None:
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
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
