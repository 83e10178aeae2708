"""Putting a run's folder in its place: whole or not at all, once, and never instead of something that was not seen.

A new folder is made under a temporary name, synced, and renamed to a name that must be free. Where something is to be
replaced (a failed run, scores that lack a metric), that is first renamed to ``<run_id>.old`` and looked at once more:
if it is not what its replacer had seen, another was quicker, and it is put back.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from mmvae_bench.disk import free_name, rename_new, sync, temporary_beside
from mmvae_bench.errors import BenchError
from mmvae_bench.run_folder import RunResult, read_run, write_files


def stamp(folder: Path) -> str:
    """What tells one published result from the next under the same name; empty where there is none."""
    try:
        return hashlib.sha256((folder / "run.json").read_bytes()).hexdigest()
    except OSError:
        return "unreadable" if folder.exists() else ""


def status(folder: Path) -> str:
    """``absent``, ``done``, ``failed``, or ``broken`` for a folder that was cut off or edited."""
    if not folder.exists():
        return "absent"
    try:
        return str(read_run(folder)["status"])
    except BenchError:
        return "broken" if folder.exists() else "absent"  # it may be on its way to be replaced


def publish(target: Path, result: RunResult, seen: str | None, held: Callable[[], bool]) -> Path | None:
    """Write a run's folder and rename it to ``target``; see :meth:`mmvae_bench.store.Store.publish`."""
    if not held():
        return None
    seen = stamp(target) if seen is None else seen
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        temporary.mkdir()
        write_files(temporary, result)
        if result.error and status(target) == "done":  # a failure never takes a result's place
            return None
        return target if held() and put(temporary, target, seen) else None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put(temporary: Path, target: Path, seen: str, *, keep: bool = False) -> bool:
    """Rename a finished folder to ``target``, in place of what was ``seen`` there and of nothing else.

    What is broken is kept beside it; so is anything its caller says to ``keep``.
    """
    aside = _old(target)
    if seen:
        keep = keep or status(target) == "broken"
        if aside.exists():  # of one who was killed after publishing
            shutil.rmtree(aside)
        try:
            target.rename(aside)
        except FileNotFoundError:
            return False
        if stamp(aside) != seen:
            rename_new(aside, target)
            return False
    if not rename_new(temporary, target):
        return False
    sync(target.parent)
    if seen and keep:
        aside.rename(free_name(target.with_suffix(".broken")))
    elif seen:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def restore(target: Path) -> None:
    """Undo or finish what one who was killed while replacing left; only for who has the run's claim."""
    aside = _old(target)
    if aside.exists() and not rename_new(aside, target):
        shutil.rmtree(aside, ignore_errors=True)  # its replacement is there
    for temporary in target.parent.glob(f".{target.name}.*.tmp"):
        shutil.rmtree(temporary, ignore_errors=True)


def _old(target: Path) -> Path:
    return target.with_suffix(".old")
