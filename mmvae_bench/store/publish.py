"""Put a run's folder in its place, whole or not at all. The caller holds the run's lock."""

import shutil
from collections.abc import Callable
from pathlib import Path

from mmvae_bench.disk import free_name, sync, temporary_beside
from mmvae_bench.spec import RunStatus
from mmvae_bench.store.run import run_status


def place(target: Path, write: Callable[[Path], None], *, keep: bool = False) -> None:
    """Write a folder under a temporary name, and rename it to ``target``.

    What stood there is renamed aside first and removed last. A folder that was cut off or edited is kept beside it as
    ``<run_id>.broken``.

    Args:
        target: the run's folder.
        write: writes all files of the new folder, synced.
        keep: True also keeps what stood there if its fault is deeper than :func:`run_status` looks.

    Raises:
        OSError: If it cannot be written; what stood there is still there.
    """
    restore(target)
    keep = keep or run_status(target) == RunStatus.BROKEN
    aside = free_name(target.with_suffix(".broken")) if keep else _aside(target)
    temporary = temporary_beside(target)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        if target.exists():
            target.rename(aside)
        temporary.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        restore(target)


def restore(target: Path) -> None:
    """Undo or finish what a process left that died in :func:`place`."""
    for half in target.parent.glob(f".{target.name}.*.tmp"):
        shutil.rmtree(half, ignore_errors=True)
    aside = _aside(target)
    if not target.exists() and aside.exists():
        aside.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")
