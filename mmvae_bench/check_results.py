"""A results folder, looked through for what is broken, edited, left over or out of date; nothing is written."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmvae_bench import publish, stored_plan
from mmvae_bench.check_run import read_whole
from mmvae_bench.errors import BenchError
from mmvae_bench.store import Store

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
    done = {folder.name for folder in store.folders() if publish.status(folder) == "done"}
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
    return enough and rows == [{column: row.get(column) for column in columns} for row in wanted]
