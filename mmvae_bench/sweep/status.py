"""How far a plan is: runs done, under way, failed and left, their owners, and the time left. Only reads."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunStatus
from mmvae_bench.store.run import RUN_ID, StoredRun, steadily
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay
from mmvae_bench.sweep.estimate import in_words
from mmvae_bench.sweep.progress import progress

WIDTH = 160  # characters of a text that others wrote
UNDER_WAY, INTERRUPTED, WAITING = "under way", "interrupted", "waiting"
SECTIONS = {
    UNDER_WAY: "Under way:",
    INTERRUPTED: "Interrupted; the same run command goes on with them:",
    RunStatus.FAILED: "Failed:",
    RunStatus.BROKEN: "Broken; mmvae-bench check-results says what is wrong:",
}


@dataclass(frozen=True)
class Seen:
    """A run of a plan."""

    state: str  # done, waiting, or a key of :data:`SECTIONS`
    title: str  # text for people
    text: str = ""  # how far it is and whose it is, or why it failed
    share: float = 0.0  # share of its epochs that is done, if it is under way
    seconds: float = 0.0  # time that its result took


def describe(store: Store, name: str | None = None) -> Iterator[str]:
    """Describe the runs of a plan line by line: of the last one by default, or all runs where there is no plan.

    Raises:
        BenchError: If there is no such plan, or nothing at all.
    """
    plan = store.read_plan(name) if name or any(store.root.glob("plans/*.json")) else {}
    folders = {folder.name: folder for folder in store.folders()}
    begun = {path.stem for path in store.root.glob("work/*") if re.fullmatch(RUN_ID, path.stem)}
    run_ids = plan["run_ids"] if plan else sorted({*folders, *begun})
    if not run_ids and not plan:
        raise BenchError(f"There are no runs under '{store.root}'. First: mmvae-bench run")
    titles = plan.get("titles", {})
    seen = [_look(UnderWay(store.root, run_id), folders.get(run_id), titles.get(run_id, "")) for run_id in run_ids]
    title = f": {_line(plan['title'])}" if plan.get("title") else ""
    yield f"Plan '{_line(plan['name'])}'{title}" if plan else f"All runs under '{store.root}'"
    counts = Counter(run.state for run in seen)
    left = counts[INTERRUPTED] + counts[WAITING]
    known = [f"{counts[state]} {state}" for state in (RunStatus.DONE, UNDER_WAY, RunStatus.FAILED)]
    rare = {RunStatus.BROKEN: counts[RunStatus.BROKEN], RunStatus.SKIPPED: len(plan.get("skipped", []))}
    known += [f"{left} left", *(f"{count} {state}" for state, count in rare.items() if count)]
    done = [run.seconds for run in seen if run.state == RunStatus.DONE]
    ahead = left + sum(1 - run.share for run in seen if run.state == UNDER_WAY)
    time = (
        in_words(sum(done) / len(done) * ahead, left + counts[UNDER_WAY], counts[UNDER_WAY]) if done and ahead else ""
    )
    yield "; ".join(filter(None, [", ".join(known), time]))
    for state, head in SECTIONS.items():
        if counts[state]:
            yield head
        for run in seen:
            if run.state == state:
                yield f"  {_line(run.title)}" + (f": {_line(run.text)}" if run.text else "")
    if left and not counts[UNDER_WAY] and plan.get("command"):
        yield f"To go on: {_printable(plan['command'])}"  # whole: it is to be typed


def _look(under_way: UnderWay, folder: Path | None, title: str) -> Seen:
    """Look at one run; ``title`` is the plan's, if it has one."""
    owner, note = under_way.owner(), under_way.read_note()
    title = title or str(note.get("title", ""))
    name = title or under_way.folder.name
    how_far = progress(note) if note else "starting"
    if under_way.taken:
        since = f"; {owner}, since {owner.since} UTC" if owner else ""
        return Seen(UNDER_WAY, name, how_far + since, note["epoch"] / note["epochs"] if note else 0.0)
    try:
        if folder and (run := steadily(folder, StoredRun.read)):
            state = RunStatus.DONE if run.done else RunStatus.FAILED
            return Seen(state, title or run.spec.title, run.error, seconds=run.seconds)
    except BenchError:
        return Seen(RunStatus.BROKEN, name)
    kept = under_way.checkpoint.exists()
    if owner or kept:
        whose = f"; {owner}, died" if owner else ""
        return Seen(INTERRUPTED, name, how_far + whose + ("" if kept else "; no checkpoint, so it starts again"))
    return Seen(WAITING, name)


def _printable(text: str) -> str:
    """Replace what a terminal cannot print in a text that others wrote."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _line(text: str) -> str:
    """Make a text one line of at most :data:`WIDTH` characters."""
    plain = _printable(text)
    return plain if len(plain) <= WIDTH else f"{plain[: WIDTH - 1]}…"
