"""Check a results folder for what is broken, edited, left over or out of date. Writes nothing."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmvae_bench.disk import as_utf8
from mmvae_bench.errors import BenchError, NewerSchema, counted
from mmvae_bench.spec import RunStatus
from mmvae_bench.store.plans import read_plan
from mmvae_bench.store.run import Part, StoredRun, parts, run_status
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay

TEMPORARY = (".*.tmp", "plans/.*.tmp", "runs/*/*/.*.tmp")
ANEW = "The same run command writes it again."


def read_whole(folder: Path) -> tuple[StoredRun | None, list[str]]:
    """Read every file of a run, the weights too.

    Returns:
        The run, if its record and rows can be read; and a sentence for each fault, with its path and what to do.

    Raises:
        NewerSchema: If nothing is wrong with it, but a newer version wrote it.
    """
    try:
        run = StoredRun.read(folder)
    except NewerSchema:
        raise
    except BenchError as error:
        return None, [str(error)]
    faults = []
    for name in sorted(run.record["files"]):
        try:
            if name.endswith((".safetensors", ".npz")):
                run.arrays(name)
            elif name == "history.csv":
                run.history()
            else:
                run.file(name)
        except BenchError as error:
            faults.append(str(error))
    try:
        place = (run.spec.dataset.name, run.spec.model.name)
        if folder.parts[-3:-1] != place:
            where = f"runs/{place[0]}/{place[1]}/"
            raise BenchError(f"'{folder}' is a run of {place[1]} on {place[0]}. Move it to {where}.")
        run.rows()
    except BenchError as error:
        return None, list(dict.fromkeys([*faults, str(error)]))  # of rows it may be the same sentence
    return run, faults


@dataclass
class Findings:
    """Faults and counts of a results folder."""

    runs: int = 0  # number of runs that were read
    failed: int = 0  # number of failed runs among them
    rows: int = 0  # number of rows in all of them
    faults: list[str] = field(default_factory=list)  # one sentence per fault, with a path and what to do
    notes: list[str] = field(default_factory=list)  # sentences that are not faults
    parts: Counter[Part] = field(default_factory=Counter)  # number of runs that each part made


def check_results(root: Path) -> Findings:
    """Check a results folder.

    Raises:
        BenchError: If it is not a results folder.
    """
    if not (root / "runs").is_dir():
        raise BenchError(f"There are no results in '{root}': it has no folder 'runs'. Name another with --results-dir.")
    store, findings = Store(root), Findings()
    for folder in store.folders():
        try:
            run, faults = read_whole(folder)
        except NewerSchema as error:
            run, faults = None, [str(error)]
        if faults and not folder.exists():  # it is being replaced, now
            continue
        findings.runs += 1
        findings.faults += faults
        if run:
            findings.failed += not run.done
            findings.rows += len(run.rows())
            findings.parts.update(parts(run.record))
    findings.notes += [f"'{path}' is not a run, and nothing reads it." for path in store.strangers()]
    sound = not findings.faults
    findings.faults += _leftovers(store)
    _check_plans(store, findings)
    table = root / "scores.csv"
    if not table.is_file():
        findings.notes.append(f"There is no '{table}'. {ANEW}")
    elif not sound:
        findings.notes.append(f"'{table}' was not compared with the runs, because some of them have faults.")
    elif table.read_bytes() != as_utf8(store.scores().to_csv(index=False)):
        findings.faults.append(f"'{table}' does not agree with the runs. {ANEW}")
    return findings


def _check_plans(store: Store, findings: Findings) -> None:
    """Add plans that cannot be read to the faults, and runs that a plan lacks to the notes."""
    stored = {folder.name for folder in store.folders()}
    for path in sorted(store.root.glob("plans/*.json")):
        try:
            wanted = read_plan(path)["run_ids"]
            if lacking := set(wanted) - stored:
                findings.notes.append(f"'{path}': {len(lacking)} of {counted(len(wanted), 'run')} not stored.")
        except BenchError as error:
            findings.faults.append(str(error))


def _leftovers(store: Store) -> Iterator[str]:
    """Yield a sentence for each thing that a process left that is still at work, or that died."""
    root = store.root
    for pattern in TEMPORARY:
        for path in sorted(root.glob(pattern)):
            yield f"'{path}' is half written. If no command runs here now, delete it."
    for path in sorted(root.glob("runs/*/*/.*.replaced")):
        yield f"'{path}' was being replaced when a process died. The same run command puts it back or removes it."
    for path in sorted(root.glob("runs/*/*/*.broken*")):
        yield f"'{path}' was broken and has been replaced. Delete it if you need nothing in it."
    done = {folder.name for folder in store.folders() if run_status(folder) == RunStatus.DONE}
    for path in sorted(path for path in root.glob("work/*") if path.is_dir()):
        under_way = UnderWay(root, path.name)
        if under_way.taken:
            yield f"'{path}' is in use by {under_way.owner() or 'a process'}. Let it end."
        elif path.name in done:
            yield f"'{path}' is the work on a run that is stored. Delete it."
