"""How far a plan is: runs done, under way, failed and left, their owners, and the time left. Only reads."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunStatus
from mmvae_bench.store.run import StoredRun
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import Owner, UnderWay
from mmvae_bench.sweep.estimate import duration
from mmvae_bench.sweep.progress import progress

WIDTH = 160  # characters of a text that others wrote


@dataclass
class Overview:
    """What is known of the runs of a plan; each run is in one of the collections below ``notes``.

    Attributes:
        plan: as stored; empty where there is none.
        titles: title of each run.
        notes: last note of each run that is under way or interrupted.
        done: seconds that each result took.
        failed: why each failed run failed.
        broken: runs whose folders were cut off or edited.
        under_way: owner of each run that is locked, if known.
        interrupted: owner of each run that has a checkpoint or whose process died; None if its process ended in order.
        waiting: runs that nobody began.
    """

    plan: dict[str, Any]
    titles: dict[str, str]
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    under_way: dict[str, Owner | None] = field(default_factory=dict)
    interrupted: dict[str, Owner | None] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Number of runs that are still to be begun or resumed; failed ones are not among them."""
        return len(self.interrupted) + len(self.waiting)


def look(store: Store, name: str | None = None) -> Overview:
    """Look at the runs of a plan, by default of the last one, or at all runs where there is no plan.

    Raises:
        BenchError: If there is no such plan, or nothing at all.
    """
    plan = _plan(store, name)
    folders = {folder.name: folder for folder in store.folders()}
    begun = {path.stem for path in store.root.glob("work/*") if path.is_dir() or path.suffix == ".lock"}
    run_ids = plan["run_ids"] if plan else sorted({*folders, *begun})
    if not run_ids and not plan:
        raise BenchError(f"There are no runs under '{store.root}'. First: mmvae-bench run")
    found = Overview(plan, dict(plan.get("titles", {})))
    for run_id in run_ids:
        under_way = UnderWay(store.root, run_id)
        owner = under_way.owner()
        if note := under_way.read_note():
            found.notes[run_id] = note
            found.titles.setdefault(run_id, str(note["title"]))
        if under_way.taken:
            found.under_way[run_id] = owner
        elif run_id in folders and folders[run_id].exists():
            _look_at_stored(found, folders[run_id])
        elif owner or under_way.checkpoint.exists():
            found.interrupted[run_id] = owner
        else:
            found.waiting.append(run_id)
    return found


def _plan(store: Store, name: str | None) -> dict[str, Any]:
    """Read the plan of that name, or the one that was run last; empty where there is none at all."""
    return store.read_plan(name) if name or any(store.root.glob("plans/*.json")) else {}


def _look_at_stored(found: Overview, folder: Path) -> None:
    try:
        run = StoredRun.read(folder)
        title = run.spec.title
    except BenchError:
        (found.broken if folder.exists() else found.waiting).append(folder.name)  # it may just be replaced
        return
    found.titles.setdefault(folder.name, title)
    if run.done:
        found.done[folder.name] = run.seconds
    else:
        found.failed[folder.name] = run.error


def describe(found: Overview, store: Store) -> Iterator[str]:
    """Describe what was found, line by line."""
    plan = found.plan
    title = f": {_line(plan['title'])}" if plan.get("title") else ""
    yield f"Plan '{_line(plan['name'])}'{title}" if plan else f"All runs under '{store.root}'"
    counts = {
        RunStatus.DONE: len(found.done), "under way": len(found.under_way), RunStatus.FAILED: len(found.failed),
        "left": found.left, RunStatus.BROKEN: len(found.broken), RunStatus.SKIPPED: len(plan.get("skipped", [])),
    }  # fmt: skip
    known = [
        f"{count} {what}"
        for what, count in counts.items()
        if count or what not in (RunStatus.BROKEN, RunStatus.SKIPPED)
    ]
    yield f"{', '.join(known)}{_time_left(found)}"
    if found.under_way:
        yield "Under way:"
        for run_id, owner in found.under_way.items():
            yield f"  {_how_far(found, run_id)}" + (f"; {owner}, since {owner.since} UTC" if owner else "")
    if found.interrupted:
        yield "Interrupted; the same run command resumes them from their checkpoints:"
        for run_id, owner in found.interrupted.items():
            yield f"  {_how_far(found, run_id)}" + (f"; {owner}, died" if owner else "")
    if found.failed:
        yield "Failed:"
        for run_id, reason in found.failed.items():
            yield f"  {_line(found.titles[run_id])}: {_line(reason)}"
    if found.broken:
        yield "Broken; mmvae-bench check-results says what is wrong:"
        for run_id in found.broken:
            yield f"  {_line(found.titles.get(run_id, run_id))}"
    if found.left and not found.under_way and plan.get("command"):
        yield f"To go on: {_printable(plan['command'])}"  # whole: it is to be typed


def _how_far(found: Overview, run_id: str) -> str:
    note = found.notes.get(run_id)
    return f"{_line(found.titles.get(run_id, run_id))}: {progress(note) if note else 'starting'}"


def _time_left(found: Overview) -> str:
    """Estimate the time left from the mean of the results; empty if there are none, or nothing is left."""
    if not found.done or not (found.left or found.under_way):
        return ""
    notes = [found.notes[run_id] for run_id in found.under_way if run_id in found.notes]
    ready = sum(note["epoch"] / note["epochs"] for note in notes)
    mean = sum(found.done.values()) / len(found.done)
    beside = max(1, len(found.under_way))
    seconds = mean * (found.left + len(found.under_way) - ready) / beside
    how = f"{beside} runs at a time" if beside > 1 else "one run after the other"
    return f"; about {duration(seconds)} left, {how} (rough: from the mean of those done)"


def _printable(text: str) -> str:
    """Replace what a terminal cannot print in a text that others wrote."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _line(text: str) -> str:
    """Make a text one line of at most :data:`WIDTH` characters."""
    plain = _printable(text)
    return plain if len(plain) <= WIDTH else f"{plain[: WIDTH - 1]}…"
