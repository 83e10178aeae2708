"""Putting a run's folder in its place: whole or not at all, once, and never instead of something that was not seen.

A new folder is made under a temporary name, synced, and renamed to a name that must be free. Where something is to be
replaced (a failed run, scores that lack a metric), that is first moved into a room of the replacer's own,
``<run_id>.<nonce>.old/``, and looked at once more: if it is not what was seen, another was quicker, and it is put back.

A process that was thought dead may wake up in the middle of this. So who takes a run over first renames every temporary
folder and every room of it (:func:`restore`): each rename that the other still tries then names what is not there. And
what is deleted is renamed before, so that no such rename brings half of it back.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from mmvae_bench.disk import free_name, nonce, rename_new, sync, temporary_beside
from mmvae_bench.store.run import RunResult, run_checksum, run_status, write_files


def publish(target: Path, result: RunResult, seen: str | None, held: Callable[[], bool]) -> Path | None:
    """Write a run's folder and rename it to ``target``; see :meth:`mmvae_bench.store.store.Store.publish`."""
    if not held():
        return None
    seen = run_checksum(target) if seen is None else seen
    before = run_status(target)
    if before == "newer" or (result.error and before == "done"):  # a failure never takes a result's place
        return None
    return target if place(target, lambda folder: write_files(folder, result), seen, held=held) else None


def place(
    target: Path, write: Callable[[Path], None], seen: str, *, keep: bool = False,
    held: Callable[[], bool] = lambda: True,
) -> bool:  # fmt: skip
    """Have a folder written under a temporary name, and :func:`put` it in its place; whether that was done."""
    temporary = temporary_beside(target)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        return put(temporary, target, seen, keep=keep, held=held)
    except FileNotFoundError:
        if temporary.exists():
            raise
        return False  # who has taken the run over has cleared it away
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put(
    temporary: Path, target: Path, seen: str, *, keep: bool = False, held: Callable[[], bool] = lambda: True
) -> bool:
    """Rename a finished folder to ``target``, in place of what was ``seen`` there and of nothing else.

    What is broken is kept beside it; so is anything its caller says to ``keep``. The run must be ``held`` when all
    that :func:`restore` would rename is there: whoever steals it afterwards stops us.
    """
    if run_checksum(target) != seen:
        return False
    room = _room(target)
    if seen:
        room.mkdir()
    done = False
    try:
        done = held() and _exchange(temporary, target, seen, room / target.name)
        if done:
            sync(target.parent)
    finally:
        if seen:
            _settle(room, target, replaced=done, keep=keep)
    return done


def restore(target: Path) -> None:
    """Undo or finish what others began who had the run before, dead or alive; only for who has the run's claim.

    What they would still rename gets other names first: if they wake up, they fail.
    """
    for found in list(target.parent.glob(f".{target.name}.*.tmp")):
        _delete(found, target)
    for found in list(target.parent.glob(f"{target.name}.*.old")):
        room = _room(target)
        with contextlib.suppress(FileNotFoundError):
            found.rename(room)
        _settle(room, target)


def _exchange(temporary: Path, target: Path, seen: str, aside: Path) -> bool:
    """Move what is there aside, if something was seen, and the new folder in its place."""
    try:
        if seen:
            target.rename(aside)
            if run_checksum(aside) != seen:
                return False
        return rename_new(temporary, target)
    except FileNotFoundError:  # another has moved it, or has taken the run over
        return False


def _settle(room: Path, target: Path, *, replaced: bool = False, keep: bool = False) -> None:
    """Put back what is in a room; if its replacement is there, keep it beside that or delete it."""
    aside = room / target.name
    with contextlib.suppress(FileNotFoundError):  # there is nothing, or another has taken the run over
        if replaced or not rename_new(aside, target):
            if keep or run_status(aside) == "broken":
                rename_new(aside, free_name(target.with_suffix(".broken")))
            else:
                _delete(aside, target)
    with contextlib.suppress(OSError):
        room.rmdir()


def _delete(folder: Path, target: Path) -> None:
    """Delete a folder so that nobody ever renames half of it."""
    doomed = temporary_beside(target)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _room(target: Path) -> Path:
    """A name that nobody else uses for a folder in which to put what is to be replaced."""
    return target.with_name(f"{target.name}.{nonce()}.old")
