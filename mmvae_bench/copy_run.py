"""A run copied from one results folder to another: claimed there, checked on the way, and put in its place at once."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmvae_bench import publish
from mmvae_bench.disk import sync
from mmvae_bench.errors import BenchError
from mmvae_bench.run_folder import read_file, read_run
from mmvae_bench.store import Store
from mmvae_bench.under_way import UnderWay


@dataclass(frozen=True)
class Copy:
    """A run that is to be copied.

    Attributes:
        source: The run's folder.
        stamp: Of what was read there.
        target: Where it is to be.
        seen: The stamp of what it replaces there; empty where there is nothing.
        broken: Whether that is broken, and to be kept beside it.
        done: Whether it is a result and no failure.
        preferred: Whether it replaces another result, or is one of several, because it was said to win.
    """

    source: Path
    stamp: str
    target: Path
    seen: str
    broken: bool
    done: bool
    preferred: bool


def copy_run(copy: Copy, store: Store) -> str:
    """Copy a run into a store; return why it was not, or an empty text.

    Raises:
        OSError: If it cannot be written.
    """
    run_id = copy.target.name
    claim = store.claims.take(run_id)
    if claim is None:
        holder = store.claims.holder(run_id) or "another process"
        return f"'{copy.source}' is not taken: its run is under way in '{store.root}', by {holder}; merge again later"
    with claim:
        publish.restore(copy.target)
        try:
            if not publish.place(copy.target, partial(_write, copy), copy.seen, keep=copy.broken, held=claim.held):
                return f"'{copy.target}' has changed since it was compared with '{copy.source}'; merge again"
        except BenchError as error:
            return str(error)
        if copy.done:
            UnderWay(store.root, run_id).clear()  # what is stored is not resumed
    return ""


def _write(copy: Copy, temporary: Path) -> None:
    """Write the files that the run's record names, and the record itself last."""
    record = read_run(copy.source)
    for name in record["files"]:
        (temporary / name).write_bytes(read_file(copy.source, record, name))
        sync(temporary / name)
    if publish.stamp(copy.source) != copy.stamp:
        raise BenchError(f"'{copy.source}' has changed since it was read; merge again")
    (temporary / "run.json").write_bytes((copy.source / "run.json").read_bytes())
    sync(temporary / "run.json")
    sync(temporary)
