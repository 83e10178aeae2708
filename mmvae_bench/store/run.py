"""One run's folder: a :class:`RunResult` is written whole, a :class:`StoredRun` is read and verified."""

import csv
import hashlib
import io
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.disk import as_utf8, read_json, refuse, sync
from mmvae_bench.errors import BenchError, NewerSchema
from mmvae_bench.options import parse_named
from mmvae_bench.spec import RunSpec, RunStatus, canonical_json

SCHEMA = 2  # of run.json and of each row
RUN_ID = r"[0-9a-f]{16}"  # the form of a run's id
RECORD, OUTCOMES = "scores.jsonl", "outcomes.npz"
NUMBERS = ("value", "se", "n", "chance", "ceiling", "missing_ratio", "complete_fraction")  # columns
OWN = ("schema", "status", "error", "spec", "files", "checksum")  # keys of run.json; all others are RunResult.info
MOVE = "Move the folder elsewhere, or repeat the command that made it."
T = TypeVar("T")
TRIES = 5  # a folder would have to be replaced as often while it is read


@dataclass(frozen=True)
class RunResult:
    """A finished run, to be written."""

    spec: RunSpec  # what was run
    rows: list[dict[str, Any]]  # tidy rows, each with the keys of :data:`mmvae_bench.store.store.COLUMNS`
    history: list[dict[str, float]] = field(default_factory=list)  # one record per epoch
    info: Mapping[str, Any] = field(default_factory=dict)  # environment and timings, for ``run.json``
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # the model's state as arrays
    artifacts: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # arrays that figures need
    outcomes: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # score -> its outcome on each test row
    error: str = ""  # the message of a failed run, else empty
    log: str = ""  # one line per event of the run


def write_files(folder: Path, result: RunResult) -> None:
    """Write all files of a run, each synced; ``run.json`` comes last and has the checksums of the others."""
    from safetensors.numpy import save

    files = {RECORD: "".join(canonical_json(row) + "\n" for row in result.rows).encode()}
    files["history.csv"] = pd.DataFrame(result.history).to_csv(index=False).encode()
    if result.log:
        files["log.txt"] = as_utf8(result.log)
    if result.weights:
        files["model.safetensors"] = save(dict(result.weights))
    for name, arrays in (("artifacts.npz", result.artifacts), (OUTCOMES, result.outcomes)):
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
            files[name] = buffer.getvalue()
    status = {"status": RunStatus.FAILED, "error": result.error} if result.error else {"status": RunStatus.DONE}
    manifest = {name: _facts(content) for name, content in sorted(files.items())}
    record = {"schema": SCHEMA, **status, "spec": result.spec.to_dict(), "files": manifest, **result.info}
    record = json.loads(json.dumps(record, allow_nan=False))  # as it will be read, or its checksum might differ
    files["run.json"] = json.dumps({**record, "checksum": _checksum(record)}, indent=1).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        sync(folder / name)
    sync(folder)


class Part(NamedTuple):
    """A part of a run and the code that defined it."""

    kind: str  # ``model``, ``nets``, ``dataset``, ``likelihood``, ``metric`` or ``prior``
    name: str  # registered name
    code: str  # hash of its code; empty where that was not known


def parts(record: Mapping[str, Any]) -> list[Part]:
    """Return the parts of a record; none if it was stored before code was recorded."""
    code = dict(record.get("code", {}))
    scored, densities = (code.pop(kind, {}) for kind in ("metrics", "likelihoods"))
    made = [Part(kind, record["spec"][kind]["name"], value) for kind, value in code.items()]
    made += [Part("likelihood", name, value) for name, value in densities.items()]
    return [*made, *dict.fromkeys(part for name in scored for part in scorers(record, name))]


def scorers(record: Mapping[str, Any], metric: str) -> list[Part]:
    """Return a metric of a record, and the learned priors that it scored, each once whatever its options."""
    own = Part("metric", metric, record.get("code", {}).get("metrics", {}).get(metric, ""))
    learned = record.get("priors", {}).get(metric, {}).items()
    return [own, *dict.fromkeys(Part("prior", parse_named(label).name, value) for label, value in learned)]


@dataclass(frozen=True)
class StoredRun:
    """A run as it is stored. Its record is verified here; every other file is verified when it is read."""

    folder: Path  # the run's folder
    record: Mapping[str, Any]  # content of ``run.json``
    checksum: str  # SHA-256 of ``run.json``; differs from that of any later result of the same run

    @classmethod
    def read(cls, folder: Path, *, named: bool = True) -> "StoredRun":
        """Read ``run.json`` and verify it, the scores' checksum and the sizes of the other files.

        Args:
            folder: the run's folder.
            named: False allows another name than the run's id.

        Raises:
            NewerSchema: If a newer mmvae-bench wrote it.
            BenchError: If a file was cut off, edited or removed.
        """
        path = folder / "run.json"
        checksum = run_checksum(folder)
        record = read_json(path, MOVE)
        run = cls(folder, record, checksum)
        try:
            if type(record["schema"]) is not int or record["status"] not in (RunStatus.DONE, RunStatus.FAILED):
                raise ValueError(f"schema {record['schema']!r}, status {record['status']!r}")
            _check_schema(path, record["schema"])
            if fault := run._fault(named):
                raise BenchError(f"Cannot use the results in '{folder}': {fault}. {MOVE}")
        except (OSError, KeyError, AttributeError, TypeError, ValueError, RecursionError) as error:
            raise BenchError(f"'{path}' is not the record of a run ({error!r}). {MOVE}") from error
        run.file(RECORD)
        return run

    @property
    def run_id(self) -> str:
        """Id of the run, of its spec as it is stored."""
        return hashlib.sha256(canonical_json(self.record["spec"]).encode()).hexdigest()[:16]

    def _fault(self, named: bool) -> str:
        """Return what is wrong with the record or the files that it names, or an empty text."""
        if named and self.run_id != self.folder.name:
            return "its spec was edited"
        if self.record["checksum"] != _checksum(self.record):
            return "run.json was changed after it was written"
        files = self.record["files"]
        if any(not re.fullmatch(r"\w[\w.-]*", name) for name in files):
            raise ValueError("a file's name is a path")
        here = {path.name: path.stat().st_size for path in self.folder.iterdir() if path.is_file()}
        bad = [name for name, facts in files.items() if here.get(name) != facts["size"]]
        return f"{', '.join(bad) or RECORD} is cut off or missing" if bad or RECORD not in files else ""

    @cached_property
    def spec(self) -> RunSpec:
        """What was run.

        Raises:
            BenchError: If this version does not know such a spec.
        """
        try:
            return RunSpec.from_dict(self.record["spec"])
        except BenchError as error:
            raise BenchError(f"'{self.folder / 'run.json'}': {error} {MOVE}") from error

    @property
    def root(self) -> Path:
        """The results folder that the run is stored under."""
        return self.folder.parents[3]

    @property
    def done(self) -> bool:
        """True for a result, False for a failed run."""
        return bool(self.record["status"] == RunStatus.DONE)

    @property
    def error(self) -> str:
        """The message of a failed run, else empty."""
        return str(self.record.get("error", ""))

    @property
    def phases(self) -> dict[str, float]:
        """Seconds of each phase that are recorded, such as ``train``; what no float can be is left out."""
        found = self.record.get("seconds")
        values = found.items() if isinstance(found, dict) else ()
        return {phase: float(v) for phase, v in values if isinstance(v, int | float) and abs(v) <= sys.float_info.max}

    @property
    def seconds(self) -> float:
        """Seconds of all phases together; 0 where none are recorded."""
        return float(sum(self.phases.values()))

    def __str__(self) -> str:
        """Name the run for people."""
        return f"{self.spec.title} ({self.folder.name})"

    def file(self, name: str) -> bytes:
        """Read one of the run's files and verify it.

        Raises:
            BenchError: If its content is not what was written, or cannot be read.
        """
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise BenchError(f"Cannot read '{self.folder / name}' ({error.strerror}). {MOVE}") from error
        if self.record["files"].get(name) != _facts(content):
            raise BenchError(
                f"Cannot use the results in '{self.folder}': {name} was changed after it was written. {MOVE}"
            )
        return content

    @property
    def log(self) -> str:
        """The run's log; empty where it has none."""
        return self.file("log.txt").decode() if "log.txt" in self.record["files"] else ""

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Read the arrays of a ``.safetensors`` or ``.npz`` file; empty where there is no such file.

        Raises:
            BenchError: If the file is not what was written, or not of its format.
        """
        if name not in self.record["files"]:
            return {}
        content = self.file(name)
        try:
            if name.endswith(".safetensors"):
                from safetensors.numpy import load

                return load(content)
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except Exception as error:  # a record and a file may both have been made by hand
            raise BenchError(f"Cannot read '{self.folder / name}' ({type(error).__name__}). {MOVE}") from error

    def rows(self) -> list[dict[str, Any]]:
        """Read the tidy rows.

        Raises:
            BenchError: If they are not what was written, or not this run's.
        """
        content = self.file(RECORD)
        try:
            rows = [json.loads(line, parse_constant=refuse) for line in content.decode().split("\n") if line]
            known = all(row["run_id"] == self.run_id and row["schema"] <= SCHEMA for row in rows)
            known &= all(
                math.isfinite(row[column]) for row in rows for column in NUMBERS if row.get(column) is not None
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            known = False
        if not known:
            raise BenchError(f"'{self.folder / RECORD}' was edited and is not a record. {MOVE}")
        return [current(row) for row in rows]

    def history(self) -> list[dict[str, float]]:
        """Read one record per epoch.

        Raises:
            BenchError: If ``history.csv`` is not what was written, or not a table of numbers.
        """
        text = self.file("history.csv").decode()
        try:
            records = csv.DictReader(io.StringIO(text))
            return [{key: float(value) for key, value in record.items()} for record in records]
        except (ValueError, TypeError) as error:
            raise BenchError(f"'{self.folder / 'history.csv'}' is not a table of numbers. {MOVE}") from error


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a run by itself: a ``run.json``, or that of a folder.

    Raises:
        NewerSchema: If a newer mmvae-bench wrote it.
        BenchError: If it is not a record, or was edited.
    """
    path, way_out = path / "run.json" if path.is_dir() else path, "Name the run.json of a stored run, or its folder."
    record = read_json(path, way_out)
    if type(record.get("schema")) is int:
        _check_schema(path, record["schema"])
    if record.get("checksum") != _checksum(record):
        raise BenchError(f"'{path}' is not the record of a run, or was changed after it was written. {way_out}")
    return record


def _check_schema(path: Path, schema: int) -> None:
    if schema > SCHEMA:
        raise NewerSchema(
            f"'{path}' was written by a newer mmvae-bench (schema {schema}, this one reads up to {SCHEMA}). "
            "Upgrade mmvae-bench, or use another --results-dir."
        )


def current(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with today's columns.

    Before there were ``control`` and ``incomplete``, the reason of a chance control began with these words, and a
    scheme whose incomplete rows were dropped ended in ``,drop``.
    """
    row = {"split": "test", "tier": "default", "rule": "", "bound": False, "sampled": "", **row}
    if "control" in row:
        return row
    remarks = str(row.get("reason") or "").split("; ")
    control = remarks[0].startswith("chance control")
    scheme, dropped, _ = str(row.get("missing_scheme") or "").partition(",drop")
    hidden = {"missing_scheme": scheme, "incomplete": "drop" if dropped else "keep"}
    return {**row, **hidden, "control": control, "reason": "; ".join(remarks[control:])}


def _facts(content: bytes) -> dict[str, Any]:
    """Return what the manifest says of a file."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _checksum(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record without its checksum, in canonical form."""
    rest = {key: value for key, value in record.items() if key != "checksum"}
    return hashlib.sha256(canonical_json(rest).encode()).hexdigest()


def run_checksum(folder: Path) -> str:
    """Return the SHA-256 of a run's ``run.json``; empty where there is no such folder."""
    try:
        return hashlib.sha256((folder / "run.json").read_bytes()).hexdigest()
    except OSError:
        return "unreadable" if folder.exists() else ""


def run_status(folder: Path) -> RunStatus:
    """Return whether a folder is absent, done, failed, of a newer schema, or broken (cut off or edited)."""
    if not folder.exists():
        return RunStatus.ABSENT
    try:
        run = steadily(folder, StoredRun.read)
    except NewerSchema:
        return RunStatus.NEWER
    except BenchError:
        return RunStatus.BROKEN
    return RunStatus.ABSENT if run is None else RunStatus(run.record["status"])


def steadily(folder: Path, read: Callable[[Path], T]) -> T | None:
    """Read a folder that another process may replace meanwhile: only a fault found again and again is one.

    Returns:
        What ``read`` returns, or None if the folder is gone.

    Raises:
        BenchError: If every try fails.
    """
    for left in reversed(range(TRIES)):
        try:
            return read(folder)
        except BenchError:
            if not left and folder.exists():
                raise
    return None
