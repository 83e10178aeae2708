"""How far a plan is: what is done, under way, failed and left, who does it, and how long it may take; only read."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.check import is_number
from mmvae_bench.store.claims import Holder
from mmvae_bench.store.store import Store, read_run
from mmvae_bench.store.work import UnderWay
from mmvae_bench.sweep.estimate import duration
from mmvae_bench.sweep.progress import state

WIDTH = 160  # characters of a text that others wrote


@dataclass
class Status:
    """What is known of the runs of a plan; each is in one of the lists.

    Attributes:
        plan: As stored; empty where there is none.
        titles: What each run is called.
        notes: What runs under way, or interrupted, noted last.
        done: Seconds that each result took.
        failed: Why each failed.
        broken: Runs whose folders were cut off or edited.
        under_way: Who has each run.
        interrupted: Runs with a checkpoint that nobody has, or whose holder died; and that holder.
        waiting: Runs that nobody began.
    """

    plan: dict[str, Any]
    titles: dict[str, str]
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    under_way: dict[str, Holder] = field(default_factory=dict)
    interrupted: dict[str, Holder | None] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How many runs are still to be begun or gone on with; failed ones are not among them."""
        return len(self.interrupted) + len(self.waiting)


def look(store: Store, name: str | None = None) -> Status:
    """Look at the runs of a plan, by default of the last one, or at all runs where there is no plan.

    Raises:
        BenchError: If there is no such plan, or nothing at all.
    """
    plan = _plan(store, name)
    folders, held = {folder.name: folder for folder in store.folders()}, store.claims.held()
    begun = {path.name for path in store.root.glob("work/*")}
    run_ids = plan["run_ids"] if plan else sorted({*folders, *held, *begun})
    if not run_ids and not plan:
        raise BenchError(f"no runs under '{store.root}'; first: mmvae-bench run")
    status = Status(plan, dict(plan.get("titles", {})))
    for run_id in run_ids:
        holder, under_way = held.get(run_id), UnderWay(store.root, run_id)
        if note := under_way.read_note():
            status.notes[run_id] = note
            status.titles.setdefault(run_id, str(note["title"]))
        if holder and not holder.gone:
            status.under_way[run_id] = holder
        elif run_id in folders and folders[run_id].exists():
            _look_at_stored(status, folders[run_id])
        elif holder or under_way.checkpoint.exists():
            status.interrupted[run_id] = holder
        else:
            status.waiting.append(run_id)
    return status


def _plan(store: Store, name: str | None) -> dict[str, Any]:
    """The plan of that name, or the one that was run last; empty where there is none at all."""
    return store.read_plan(name) if name or any(store.root.glob("plans/*.json")) else {}


def _look_at_stored(status: Status, folder: Path) -> None:
    try:
        record = read_run(folder)
        spec = RunSpec.from_dict(record["spec"])
    except BenchError:
        (status.broken if folder.exists() else status.waiting).append(folder.name)  # it may just be replaced
        return
    status.titles.setdefault(folder.name, spec.title)
    if record["status"] == "failed":
        status.failed[folder.name] = str(record.get("error", ""))
    else:
        seconds = record.get("seconds")
        values = seconds.values() if isinstance(seconds, dict) else ()
        status.done[folder.name] = float(sum(value for value in values if is_number(value)))


def describe(status: Status, store: Store) -> Iterator[str]:
    """What was found, line by line."""
    plan = status.plan
    title = f": {_line(plan['title'])}" if plan.get("title") else ""
    yield f"Plan '{_line(plan['name'])}'{title}" if plan else f"All runs under '{store.root}'"
    counts = {
        "done": len(status.done), "under way": len(status.under_way), "failed": len(status.failed),
        "left": status.left, "broken": len(status.broken), "skipped": len(plan.get("skipped", [])),
    }  # fmt: skip
    known = [f"{count} {what}" for what, count in counts.items() if count or what not in ("broken", "skipped")]
    yield f"{', '.join(known)}{_time_left(status)}"
    if status.under_way:
        yield "Under way:"
        for run_id, holder in status.under_way.items():
            yield f"  {_how_far(status, run_id)}; {holder}{_renewed(store, run_id, holder)}"
    if status.interrupted:
        yield "Interrupted; the same run command goes on from their checkpoints:"
        for run_id, died in status.interrupted.items():
            yield f"  {_how_far(status, run_id)}" + (f"; {died}, died" if died else "")
    if status.failed:
        yield "Failed:"
        for run_id, reason in status.failed.items():
            yield f"  {_line(status.titles[run_id])}: {_line(reason)}"
    if status.broken:
        yield "Broken; mmvae-bench check-results says what is wrong:"
        for run_id in status.broken:
            yield f"  {_line(status.titles.get(run_id, run_id))}"
    if status.left and not status.under_way and plan.get("command"):
        yield f"To go on: {_printable(plan['command'])}"  # whole: it is to be typed


def _how_far(status: Status, run_id: str) -> str:
    note = status.notes.get(run_id)
    return f"{_line(status.titles.get(run_id, run_id))}: {state(note) if note else 'starting'}"


def _renewed(store: Store, run_id: str, holder: Holder) -> str:
    """When a claim was renewed last, by the clock of the file system."""
    try:
        renewed = (store.claims.root / run_id / f"{holder.nonce}.json").stat().st_mtime
    except OSError:  # it was released, or taken over, just now
        return ""
    return f", renewed {duration(max(0.0, time.time() - renewed))} ago"


def _time_left(status: Status) -> str:
    """Roughly, from the mean of the results so far; empty if there are none, or nothing is left."""
    if not status.done or not (status.left or status.under_way):
        return ""
    notes = [status.notes[run_id] for run_id in status.under_way if run_id in status.notes]
    ready = sum(note["epoch"] / note["epochs"] for note in notes)
    mean = sum(status.done.values()) / len(status.done)
    beside = max(1, len(status.under_way))
    seconds = mean * (status.left + len(status.under_way) - ready) / beside
    how = f"{beside} runs at a time" if beside > 1 else "one run after the other"
    return f"; about {duration(seconds)} left, {how} (rough: from the mean of those done)"


def _printable(text: str) -> str:
    """A text that others wrote, without what is no letter to a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _line(text: str) -> str:
    """The same, cut to one line of :data:`WIDTH`."""
    plain = _printable(text)
    return plain if len(plain) <= WIDTH else f"{plain[: WIDTH - 1]}…"
