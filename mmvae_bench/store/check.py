"""A results folder, looked through for what is broken, edited, left over or out of date; nothing is written."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmvae_bench.errors import BenchError, NewerSchema
from mmvae_bench.options import parse_named
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import plans as stored_plan
from mmvae_bench.store.run import (
    RECORD,
    WholeRun,
    current,
    read_arrays,
    read_file,
    read_rows,
    read_run,
    run_checksum,
    run_status,
)
from mmvae_bench.store.store import COLUMNS, NUMBERS, Store

SCORED = ("metric", "variant", "prior", "given", "target")  # what tells one score of a run from another
WAY_OUT = "move the folder away and run the same command again"


def read_whole(folder: Path) -> tuple[WholeRun | None, list[str]]:
    """Read every file of a run, the weights too.

    Returns:
        The run, if its record and rows can be read; and a sentence for each fault, each with its path and way out.

    Raises:
        NewerSchema: If nothing is wrong with it, but a newer version wrote it.
    """
    stamp, faults = run_checksum(folder), []
    try:
        record = read_run(folder)
    except NewerSchema:
        raise
    except BenchError as error:
        return None, [str(error)]
    for name in sorted(record["files"]):
        try:
            _read(folder, record, name)
        except BenchError as error:
            faults.append(str(error))
    try:
        spec = _spec(folder, record)
        run = WholeRun(folder, record, read_rows(folder, record), spec, stamp)
    except BenchError as error:
        return None, list(dict.fromkeys([*faults, str(error)]))  # of rows it may be the same sentence
    return run, [*faults, *_row_faults(run)]


def _read(folder: Path, record: Mapping[str, Any], name: str) -> None:
    """Read a file as what it is."""
    if name.endswith((".safetensors", ".npz")):
        read_arrays(folder, record, name)
    elif name == "history.csv":
        try:
            Store(folder.parents[3]).history(folder)
        except (ValueError, TypeError) as error:
            raise BenchError(f"'{folder / name}' is no table of numbers; {WAY_OUT}") from error
    else:
        read_file(folder, record, name)


def _spec(folder: Path, record: Mapping[str, Any]) -> RunSpec:
    """The spec of a record whose folder is where such a run belongs."""
    try:
        spec = RunSpec.from_dict(record["spec"])
    except BenchError as error:
        raise BenchError(f"'{folder / 'run.json'}': {error}; {WAY_OUT}") from error
    place = (spec.dataset.name, spec.model.name)
    if folder.parts[-3:-1] != place:
        raise BenchError(f"'{folder}' is a run of {place[1]} on {place[0]}; move it to runs/{place[0]}/{place[1]}/")
    return spec


def _row_faults(run: WholeRun) -> Iterator[str]:
    """A sentence for each kind of fault in the rows of a run."""
    found: dict[str, list[int]] = {}
    scored = set()
    for number, row in enumerate(run.rows, 1):
        faults = [*_misfits(row, run.spec), *_bad_numbers(row), *_bad_status(row)]
        score = tuple(str(row.get(column)) for column in SCORED)
        if score in scored:
            faults.append("the same metric, variant, prior, given and target as in a row before")
        scored.add(score)
        for fault in faults:
            found.setdefault(fault, []).append(number)
    for fault, numbers in found.items():
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield f"'{run.folder / RECORD}', row {numbers[0]}{more}: {fault}; {WAY_OUT}"


def _misfits(row: Mapping[str, Any], spec: RunSpec) -> Iterator[str]:
    """What is not as the spec says, or not known at all."""
    expected = {
        "dataset": spec.dataset.name, "model": spec.model.name, "missing_ratio": spec.missing.ratio,
        "seed": spec.seed, "precision": spec.precision, "epochs": spec.train.epochs,
    }  # fmt: skip
    for column, value in expected.items():
        if row.get(column, value) != value:
            yield f"its {column} is {row[column]!r}, its run's is {value!r}"
    if "label" in row and not _fits(row["label"], spec):
        yield f"its label {row['label']!r} is none of {spec.model.name}"
    if unknown := row.keys() - set(COLUMNS):
        yield f"unknown columns: {', '.join(sorted(map(repr, unknown)))}"


def _fits(label: Any, spec: RunSpec) -> bool:
    """Whether a label may have been typed for a spec's model."""
    try:
        named = parse_named(str(label))
    except BenchError:
        return False
    return named.name == spec.model.name and named.options.keys() <= spec.model.options.keys()


def _bad_numbers(row: Mapping[str, Any]) -> Iterator[str]:
    for column in sorted(NUMBERS):
        value = row.get(column)
        if value is not None and not is_number(value):
            yield f"its {column} is no finite number: {value!r}"


def is_number(value: Any) -> bool:
    """Whether a value that was read from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bad_status(row: Mapping[str, Any]) -> Iterator[str]:
    status, scored = row.get("status"), row.get("value") is not None
    if status not in ("ok", "skipped", "failed"):
        yield f"unknown status {status!r}"
    elif scored != (status == "ok"):
        yield f"its status is {status!r}, and it has {'a' if scored else 'no'} value"


TEMPORARY = (".*.tmp", "plans/.*.tmp", "claims/.*.tmp", "runs/*/*/.*.tmp")
ANEW = "the same run command writes it anew"


@dataclass
class Findings:
    """What was found.

    Attributes:
        runs: How many were looked at; ``failed`` are no results, ``old`` are of schema 1, which knew no checksums.
        rows: In all of them.
        faults: A sentence each, with a path and the way out.
        notes: What is no fault.
    """

    runs: int = 0
    failed: int = 0
    old: int = 0
    rows: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_results(root: Path) -> Findings:
    """Look through a results folder.

    Raises:
        BenchError: If it is none.
    """
    if not (root / "runs").is_dir():
        raise BenchError(f"there are no results in '{root}': it has no folder 'runs'; name another by --results-dir")
    store, findings = Store(root), Findings()
    _check_runs(store, findings)
    sound = not findings.faults
    findings.faults += _leftovers(store)
    _check_plans(store, findings)
    _check_table(store, findings, sound=sound)
    return findings


def _check_runs(store: Store, findings: Findings) -> None:
    """Look at every file of every run."""
    for folder in store.folders():
        try:
            run, faults = read_whole(folder)
        except BenchError as error:
            run, faults = None, [str(error)]
        if faults and not folder.exists():  # it is being replaced, now
            continue
        findings.runs += 1
        findings.faults += faults
        if run:
            findings.failed += not run.done
            findings.old += run.record["schema"] == 1
            findings.rows += len(run.rows)


def _leftovers(store: Store) -> Iterator[str]:
    """What processes that ended before their time, or that are still at work, have left."""
    root, held = store.root, store.claims.held()
    for pattern in TEMPORARY:
        for path in sorted(root.glob(pattern)):
            yield f"'{path}' is half written: if nothing runs here now, delete it"
    for path in sorted(root.glob("runs/*/*/*.old")):
        if path.with_name(path.name.split(".")[0]).exists():
            yield f"'{path}' is left of a run that was replaced: delete it"
        else:
            yield f"'{path}' holds a run that was being replaced: the same run command puts it back"
    for path in sorted(root.glob("runs/*/*/*.broken*")):
        yield f"'{path}' was broken and has been replaced: delete it if you need nothing in it"
    for run_id, holder in held.items():
        what = "which is gone: the next run of it takes it over" if holder.gone else "which may be at work: let it end"
        yield f"'{store.claims.root / run_id}' is held by {holder}, {what}"
    done = {folder.name for folder in store.folders() if run_status(folder) == "done"}
    for path in sorted(root.glob("work/*")):
        if path.name in done and path.name not in held:
            yield f"'{path}' is the work on a run that is stored: delete it"


def _check_plans(store: Store, findings: Findings) -> None:
    stored = {folder.name for folder in store.folders()}
    for path in sorted(store.root.glob("plans/*.json")):
        try:
            plan = stored_plan.read_plan(path)
        except BenchError as error:
            findings.faults.append(str(error))
            continue
        if lacking := set(plan["run_ids"]) - stored:
            findings.notes.append(f"'{path}': {len(lacking)} of {len(plan['run_ids'])} runs are not stored")


def _check_table(store: Store, findings: Findings, *, sound: bool) -> None:
    path = store.root / "scores.csv"
    if not path.exists():
        findings.notes.append(f"there is no '{path}': {ANEW}")
    elif not sound:
        findings.notes.append(f"'{path}' was not compared with the runs: some are not what they should be")
    elif not _agrees(path, store.scores().to_csv(index=False)):
        findings.faults.append(f"'{path}' does not agree with the runs: {ANEW}")


def _agrees(path: Path, expected: str) -> bool:
    """Whether a table says what is expected, in the columns that it has: those of older versions had fewer."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, ValueError, csv.Error):
        return False
    wanted = csv.DictReader(io.StringIO(expected, newline=""))
    enough = {"run_id", "metric", "value"} <= set(columns)
    same_columns = [{column: current(row).get(column) for column in columns} for row in rows]
    return enough and same_columns == [{column: row.get(column) for column in columns} for row in wanted]
