"""Any interleaving of writers, and any of them killed anywhere, leaves a readable store and loses no result.

Writers are threads of which one goes on at a time. Each waits before every call to the file system (an audit hook, and
patches where Python has no event); a story that hypothesis makes up says who goes on for how many calls and who is
killed: from then on every call of his raises, so no ``finally`` of his does anything either, as after SIGKILL.
"""

import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmvae_bench import disk
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import publish
from mmvae_bench.store.claims import Claim
from mmvae_bench.store.store import RunResult, Store
from tests.store.test_store import SPEC
from tests.store.test_store import result as plain_result

SPECS = (SPEC, replace(SPEC, seed=1))
BROKEN = -1  # the version of a folder that was broken before anybody came
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "os.truncate",
          "shutil.rmtree"}  # fmt: skip
CHANGES = {"os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
CALL, CHANGE, RENAME = range(3)  # a rename is a change, and each is a call
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

# --- the stage -------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing more happens in this thread."""


class Writer(threading.Thread):
    """Somebody who writes when told to."""

    def __init__(self, root: Path, play: Callable[["Writer"], object]) -> None:
        super().__init__(daemon=True)
        self.root, self.play = str(root), play
        self.killed = self.over = False
        self.next = CALL
        self.error: BaseException | None = None
        self.claim: Claim | None = None
        self.seen = self.published = None
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self._waits.acquire()

    def run(self) -> None:
        ACTING[threading.get_ident()] = self
        try:
            self.wait()
            self.play(self)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            del ACTING[threading.get_ident()]
            self.over = True
            self._waits.release()

    def wait(self, path: object = "", kind: int = CALL) -> None:
        """Before a call to the file system: until told to go on."""
        if self.killed:
            raise Killed
        if isinstance(path, str | Path) and Path(path).is_absolute() and not str(path).startswith(self.root):
            return
        self.next = kind
        self._waits.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def go_on(self, number: int, kind: int) -> Iterator[None]:
        """Make so many calls of a kind and stop before the next one of it; yields after each call of any kind."""
        while not self.over and (number or self.next < kind):
            number -= self.next >= kind
            self._go.release()
            self._waits.acquire()
            yield

    def kill(self) -> None:
        if not self.over:
            self.killed = True
            self._go.release()
            self._waits.acquire()
            self.join()


ACTING: dict[int, Writer] = {}


def hook(event: str, args: tuple[object, ...]) -> None:
    if ACTING and event in EVENTS and (writer := ACTING.get(threading.get_ident())):
        writer.wait(args[0], RENAME if event == "os.rename" else CHANGE if changes(event, args) else CALL)


def changes(event: str, args: tuple[object, ...]) -> bool:
    return event in CHANGES or (event == "open" and bool(args[2] & WRITES))


sys.addaudithook(hook)  # it can never be removed, so it does nothing for threads that are no writers


WRITE = os.write


def waiting(call: Callable[..., object]) -> Callable[..., object]:
    """A call that has no audit event."""

    def wrapped(*args, **named):
        if writer := ACTING.get(threading.get_ident()):
            writer.wait(args[0], CHANGE if call is WRITE else CALL)
        return call(*args, **named)

    return wrapped


def write_in_halves(path: Path, content: bytes) -> int:
    with path.open("wb", buffering=0) as file:
        file.write(content[: len(content) // 2])
        if writer := ACTING.get(threading.get_ident()):
            writer.wait(path, CHANGE)
        return file.write(content[len(content) // 2 :])


@contextmanager
def stage() -> Iterator[Path]:
    """A new folder, the calls patched, and names that are the same each time."""
    numbers = itertools.count()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("os.stat", waiting(os.stat)),
        mock.patch("os.write", waiting(os.write)),
        mock.patch("os.fsync"),
        mock.patch.object(Path, "write_bytes", write_in_halves),
        mock.patch.object(disk.secrets, "token_hex", lambda n: f"{next(numbers):0{2 * n}x}"),
    ):
        yield Path(folder)


# --- the story -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What a writer does.

    Attributes:
        kind: ``work``, ``collate`` or ``plan``.
        run: On which of :data:`SPECS`.
        steals: Takes the run from whoever has it, who may be alive.
        fails: Its result is a failure.
        late: Sees what is stored when it begins, and not before all begin.
    """

    kind: str
    run: int = 0
    steals: bool = False
    fails: bool = False
    late: bool = False


@dataclass(frozen=True)
class Turn:
    """Who goes on, for how many calls of which kind, and whether he is killed then."""

    who: int
    number: int
    kind: int = CALL
    dies: bool = False


@dataclass(frozen=True)
class Story:
    """What is stored of each run at ``first``, who does what, and in which turns."""

    first: tuple[str, str]
    parts: list[Part]
    turns: list[Turn]


OFTEN, SELDOM = st.sampled_from([True, True, False]), st.sampled_from([False, False, True])
WORK = st.builds(Part, st.just("work"), st.sampled_from([0, 0, 0, 1]), OFTEN, SELDOM, SELDOM)
THIEF = st.builds(Part, st.just("work"), st.just(0), st.just(True), SELDOM, SELDOM)
OTHER = st.builds(Part, st.sampled_from(["collate", "plan"]))
PARTS = st.builds(
    lambda *parts: [p for p in parts if p], WORK, THIEF, THIEF | WORK, st.none() | WORK, st.none() | OTHER
)
DIES = st.sampled_from([False] * 9 + [True])
TURN = st.one_of(
    st.builds(Turn, st.integers(0, 4), st.integers(1, most), st.just(kind), DIES)
    for kind, most in ((CALL, 20), (CHANGE, 30), (RENAME, 8))
)
FIRST = st.sampled_from(["nothing", "failed", "done", "broken"])
STORIES = st.builds(Story, st.tuples(FIRST, FIRST), PARTS, st.lists(TURN, min_size=5, max_size=25))


def version(spec: RunSpec, number: int, *, fails: bool = False) -> RunResult:
    """A result whose rows say whose it is."""
    row = plain_result(spec).rows[0] | {"value": float(number)}
    return RunResult(spec, [row | {"n": 1}, row | {"n": 2}], [{"epoch": 1.0}], error="it failed" if fails else "")


def work(store: Store, number: int, part: Part, seen: str) -> Callable[[Writer], None]:
    """What ``worker.work`` does on disk; twice at most, as a sweep comes back."""
    spec = SPECS[part.run]

    def play(writer: Writer) -> None:
        writer.seen = store.stamp(spec) if part.late else seen
        for _ in range(2):
            holder = store.claims.holder(spec.run_id) if part.steals else None
            claim = writer.claim = store.claims.take(spec.run_id, str(number), holder)
            if claim is not None:
                publish.restore(store.folder(spec))
                if store.stamp(spec) == writer.seen:
                    claim.beat()
                    writer.published = store.publish(version(spec, number, fails=part.fails), writer.seen, claim.held)
                claim.release()
                return

    return play


@dataclass
class Audience:
    """Looks after every call, and remembers.

    Attributes:
        told: Each run's versions as they were seen one after the other, :data:`BROKEN` if it was.
    """

    store: Store
    writers: list[Writer]
    failures: set[int]
    told: dict[str, list[int]] = field(default_factory=lambda: {spec.run_id: [] for spec in SPECS})
    _before: object = None

    def look(self) -> None:
        for spec in SPECS:
            claims = [w.claim.path for w in self.writers if w.claim and w.claim.path.parent.name == spec.run_id]
            assert sum(path.exists() for path in claims) <= 1, "two have the run"
        now = self._trace()
        if now == self._before:  # it would read the same
            return
        self._before = now
        for spec in SPECS:
            seen, told = self._version(spec), self.told[spec.run_id]
            if seen is not None and told[-1:] != [seen]:
                assert seen not in told, "what was replaced is back"
                assert not (seen in self.failures and told and told[-1] not in {*self.failures, BROKEN}), "worse"
                told.append(seen)

    def _version(self, spec: RunSpec) -> int | None:
        try:
            frame = self.store.scores([spec.run_id])
        except BenchError:
            assert (self.store.folder(spec) / "history.csv").read_text() == "mine", "a reader sees a broken run"
            return BROKEN
        if frame.empty:
            return None
        number = frame["value"][0]
        assert frame[["value", "n"]].to_numpy().tolist() == [[number, 1], [number, 2]]
        assert set(frame["run_id"]) == {spec.run_id}
        return int(number)

    def _trace(self) -> object:
        """What a reader reads: names, sizes and times below the runs, without the hidden."""
        found = {}
        for folder in self.store.folders():
            for entry in os.scandir(folder) if folder.is_dir() else ():
                facts = entry.stat()
                found[entry.path] = facts.st_ino, facts.st_size, facts.st_mtime_ns
        return found


def perform(story: Story) -> None:
    with stage() as root:
        store = Store(root / "results")
        store.check_writable()
        for number, (spec, first) in enumerate(zip(SPECS, story.first, strict=True)):
            if first != "nothing":
                folder = store.publish(version(spec, 100 + number, fails=first == "failed"))
                if first == "broken":
                    (folder / "history.csv").write_text("mine")
        seen = [store.stamp(spec) for spec in SPECS]
        failures = {number for number, part in enumerate(story.parts) if part.fails}
        failures |= {100 + number for number, first in enumerate(story.first) if first == "failed"}
        writers = [Writer(root, play_of(store, number, part, seen)) for number, part in enumerate(story.parts)]
        audience = Audience(store, writers, failures)
        audience.look()
        try:
            for turn in [*story.turns, *(Turn(number, sys.maxsize) for number in range(len(writers)))]:
                writer = writers[turn.who % len(writers)]
                for _ in writer.go_on(turn.number, turn.kind):
                    audience.look()
                if turn.dies:
                    writer.kill()
                    audience.look()
            judge(store, story, writers, audience)
        finally:
            for writer in writers:
                writer.kill()


def play_of(store: Store, number: int, part: Part, seen: list[str]) -> Callable[[Writer], object]:
    if part.kind == "plan":
        return lambda writer: store.write_plan("same", {"run_ids": [f"{number:016x}"] * 100})
    if part.kind == "collate":

        def collate(writer: Writer) -> None:
            try:
                store.collate()
            except BenchError as error:
                if "history.csv is cut off" not in str(error):  # it was before anybody came
                    raise

        return collate
    return work(store, number, part, seen[part.run])


def judge(store: Store, story: Story, writers: list[Writer], audience: Audience) -> None:
    """What holds when all have finished or died, and one more worker has come along."""
    for writer in writers:
        if writer.error:
            raise writer.error
    for run, spec in enumerate(SPECS):
        own = [(w, n) for n, w in enumerate(writers) if story.parts[n].kind == "work" and story.parts[n].run == run]
        successes = [(w.seen, n) for w, n in own if w.published]
        assert len({was for was, _ in successes}) == len(successes), "two replaced the same"
        told, folder = audience.told[spec.run_id], store.folder(spec)
        assert {n for _, n in successes} <= set(told)
        assert {n for n in told if 0 <= n < 100} <= {n for w, n in own if w.published or w.killed}
        if told and not any(w.killed for w, _ in own):
            assert folder.exists(), "it is gone"
        last_worker(store, spec)
        audience.look()
        left = [p.name for p in folder.parent.iterdir() if p.name.startswith(spec.run_id) or spec.run_id in p.name]
        assert sorted(left) == [spec.run_id] + [f"{spec.run_id}.broken"] * (told[0] == BROKEN and told[-1] != BROKEN)
        assert told[-1] == audience._version(spec)
    for name in ("plan", "collate"):
        if any(part.kind == name and not w.killed for part, w in zip(story.parts, writers, strict=True)):
            if name == "plan":
                assert len(set(store.read_plan("same")["run_ids"])) == 1
            elif "broken" not in story.first:
                assert (store.root / "scores.csv").exists()


def last_worker(store: Store, spec: RunSpec) -> None:
    """Takes the run from whoever is left; trains it if there is no result."""
    holder = store.claims.holder(spec.run_id)
    claim = store.claims.take(spec.run_id, "last", holder)
    assert claim is not None
    publish.restore(store.folder(spec))
    if store.status(spec) == "absent":
        assert store.publish(version(spec, 99), "", claim.held)
    claim.release()
    assert store.claims.holder(spec.run_id) is None


COMMON = settings(deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))


@given(STORIES)
@settings(COMMON, max_examples=120)
def test_any_interleaving_of_writes_leaves_a_readable_store(story):
    perform(story)


@pytest.mark.slow
@given(STORIES)
@settings(COMMON, max_examples=600)
def test_any_interleaving_of_writes_leaves_a_readable_store_tried_longer(story):
    perform(story)
