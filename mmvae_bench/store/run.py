"""One run's folder: written whole, and read back only if nothing in it is cut off, changed or edited."""

import hashlib
import io
import json
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.disk import read_json, refuse, sync
from mmvae_bench.errors import BenchError, NewerSchema
from mmvae_bench.spec import RunSpec, canonical_json

SCHEMA = 2  # of run.json and of each row. 1: only the sizes of files were known; rows before had no engine, precision
RECORD = "scores.jsonl"
OWN = ("schema", "status", "error", "spec", "files", "checksum")  # keys of run.json; all others are RunResult.info
WAY_OUT = "move the folder away, or let the same run command do it and train this run again"
MOVE = "move the folder away and run the same command: it is trained again"


@dataclass(frozen=True)
class RunResult:
    """What a finished run leaves behind.

    Attributes:
        rows: Tidy rows, each with the keys of :data:`mmvae_bench.store.store.COLUMNS`.
        history: One record an epoch.
        info: Environment and timings for ``run.json``.
        weights: The model's state, as arrays; ``artifacts``: what figures need.
        error: The message of a failed run, else empty.
        log: What happened to the run, a line an event.
    """

    spec: RunSpec
    rows: list[dict[str, Any]]
    history: list[dict[str, float]] = field(default_factory=list)
    info: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    artifacts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    error: str = ""
    log: str = ""


def read_run(folder: Path) -> dict[str, Any]:
    """Read and check a run's ``run.json``: nobody changed it or the scores, all files are there and of their size.

    The content of the other files, which may be large, is checked when they are read, by :func:`read_file`.

    Raises:
        BenchError: If not.
    """
    path = folder / "run.json"
    run = read_json(path, WAY_OUT)
    try:
        if type(run["schema"]) is not int or run["status"] not in ("done", "failed"):
            raise ValueError(f"schema {run['schema']!r}, status {run['status']!r}")
        if run["schema"] > SCHEMA:
            raise NewerSchema(
                f"'{path}' was written by a newer mmvae-bench (schema {run['schema']}, this one reads up to {SCHEMA}); "
                "upgrade mmvae-bench, or use another --results-dir"
            )
        identity = hashlib.sha256(canonical_json(run["spec"]).encode()).hexdigest()[:16]
        if identity != folder.name:
            raise _Fault("its spec was edited")
        if (run["schema"] > 1 or "checksum" in run) and run["checksum"] != _checksum(run):
            raise _Fault("run.json was changed after it was written")
        if any(not re.fullmatch(r"\w[\w.-]*", name) for name in run["files"]):
            raise ValueError("a file's name is a path")
        bad = [name for name, facts in run["files"].items() if not _has_size(folder / name, _size(facts))]
        if bad or RECORD not in run["files"]:
            raise _Fault(f"{', '.join(bad) or RECORD} is cut off or missing")
        read_file(folder, run, RECORD)
    except _Fault as fault:
        raise BenchError(f"the results in '{folder}' cannot be used: {fault}; {WAY_OUT}") from None
    except (KeyError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise BenchError(f"'{path}' is not a run's record ({error!r}); {WAY_OUT}") from error
    return run


class _Fault(Exception):
    """What is wrong with a folder."""


def read_file(folder: Path, run: Mapping[str, Any], name: str) -> bytes:
    """The content of one of a run's files, which is what was written; of schema 1 only the size is known.

    Args:
        folder: The run's.
        run: What :func:`read_run` returned.
        name: Of the file.

    Raises:
        BenchError: If it is another content, or cannot be read.
    """
    facts = run["files"].get(name)
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read '{folder / name}' ({error.strerror}); {MOVE}") from error
    whole = len(content) == facts if isinstance(facts, int) else facts == _facts(content)
    if not whole:
        raise BenchError(f"the results in '{folder}' cannot be used: {name} was changed after it was written; {MOVE}")
    return content


def read_arrays(folder: Path, run: Mapping[str, Any], name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a run's ``model.safetensors`` or ``artifacts.npz``; none where it has no such file.

    Raises:
        BenchError: If its content is not what was written.
    """
    if name not in run["files"]:
        return {}
    content = read_file(folder, run, name)
    try:
        if name.endswith(".safetensors"):
            from safetensors.numpy import load

            return load(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except Exception as error:  # of schema 1 the content may be anything, and readers raise what they like
        raise BenchError(f"cannot read '{folder / name}' ({type(error).__name__}); {MOVE}") from error


def read_rows(folder: Path, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tidy rows of a run, those of older schemas with what they lacked.

    Raises:
        BenchError: If they are not what was written, or not this run's.
    """
    content = read_file(folder, run, RECORD)
    try:
        rows = [json.loads(line, parse_constant=refuse) for line in content.decode().split("\n") if line]
        known = all(row["run_id"] == folder.name and row["schema"] <= SCHEMA for row in rows)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        known = False
    if not known:
        raise BenchError(f"'{folder / RECORD}' was edited and is no record; {WAY_OUT}")
    return [current({"precision": "fp32", "engine": "eager", **row}) for row in rows]


def current(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with today's columns ``control`` and ``incomplete``.

    Before there were such columns, the reason of a chance control began with these words, and a scheme whose incomplete
    rows were dropped ended in ``,drop``.
    """
    if "control" in row:
        return dict(row)
    remarks = str(row.get("reason") or "").split("; ")
    control = remarks[0].startswith("chance control")
    scheme, dropped, _ = str(row.get("missing_scheme") or "").partition(",drop")
    hidden = {"missing_scheme": scheme, "incomplete": "drop" if dropped else "keep"}
    return {**row, **hidden, "control": control, "reason": "; ".join(remarks[control:])}


def _size(facts: Any) -> int:
    return int(facts if isinstance(facts, int) else facts["size"])


def _has_size(path: Path, size: int) -> bool:
    try:
        facts = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size == size


def _facts(content: bytes) -> dict[str, Any]:
    """What the manifest says of a file."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _checksum(run: Mapping[str, Any]) -> str:
    """Of a record without its checksum, whatever the spaces."""
    rest = {key: value for key, value in run.items() if key != "checksum"}
    return hashlib.sha256(canonical_json(rest).encode()).hexdigest()


def write_files(folder: Path, result: RunResult) -> None:
    """Write all files of a run, ``run.json`` with the checksums of the others last, each synced."""
    from safetensors.numpy import save

    files = {RECORD: "".join(canonical_json(row) + "\n" for row in result.rows).encode()}
    files["history.csv"] = pd.DataFrame(result.history).to_csv(index=False).encode()
    if result.log:
        files["log.txt"] = result.log.encode()
    if result.weights:
        files["model.safetensors"] = save(dict(result.weights))
    if result.artifacts:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(result.artifacts))  # type: ignore[arg-type]
        files["artifacts.npz"] = buffer.getvalue()
    status = {"status": "failed", "error": result.error} if result.error else {"status": "done"}
    manifest = {name: _facts(content) for name, content in sorted(files.items())}
    record = {"schema": SCHEMA, **status, "spec": result.spec.to_dict(), "files": manifest, **result.info}
    record = json.loads(json.dumps(record, allow_nan=False))  # as it will be read, or its checksum might differ
    files["run.json"] = json.dumps({**record, "checksum": _checksum(record)}, indent=1).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        sync(folder / name)
    sync(folder)


@dataclass(frozen=True)
class WholeRun:
    """A run that could be read.

    Attributes:
        folder: Where it is.
        record: Its ``run.json``.
        rows: Its tidy rows.
        spec: What was run.
        stamp: What tells it from a later result under the same name.
    """

    folder: Path
    record: Mapping[str, Any]
    rows: list[dict[str, Any]]
    spec: RunSpec
    stamp: str

    @property
    def root(self) -> Path:
        """The results folder that it is stored under."""
        return self.folder.parents[3]

    @property
    def done(self) -> bool:
        """Whether it is a result; else it failed."""
        return bool(self.record["status"] == "done")

    def __str__(self) -> str:
        """For people."""
        return f"{self.spec.title} ({self.folder.name})"


T = TypeVar("T")
TRIES = 5  # a folder would have to be replaced as often while it is read


def run_checksum(folder: Path) -> str:
    """What tells one published result from the next under the same name; empty where there is none."""
    try:
        return hashlib.sha256((folder / "run.json").read_bytes()).hexdigest()
    except OSError:
        return "unreadable" if folder.exists() else ""


def run_status(folder: Path) -> str:
    """``absent``, ``done``, ``failed``, ``newer`` than we can read, or ``broken`` where it was cut off or edited."""
    if not folder.exists():
        return "absent"
    try:
        return steadily(folder, lambda path: str(read_run(path)["status"]), "absent")
    except NewerSchema:
        return "newer"
    except BenchError:
        return "broken"


def steadily(folder: Path, read: Callable[[Path], T], absent: T) -> T:
    """What is read of a folder that others may replace meanwhile: a fault is one only if it is found again and again.

    Raises:
        BenchError: If it is.
    """
    for left in reversed(range(TRIES)):
        try:
            return read(folder)
        except BenchError:
            if not left and folder.exists():
                raise
    return absent
