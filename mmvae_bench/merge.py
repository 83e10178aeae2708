"""Several results folders become one: all is read and compared first, then each run is copied whole or not at all."""

import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from mmvae_bench import publish, stored_plan
from mmvae_bench.check_run import WholeRun, read_whole
from mmvae_bench.compare import Difference, difference, same
from mmvae_bench.copy_run import Copy, copy_run
from mmvae_bench.errors import BenchError, NewerSchema
from mmvae_bench.store import Store


class Merger:
    """Joins results folders into a store: :meth:`read` finds what is to be done, :meth:`write` does it.

    Args:
        store: Where all is joined.
        prefer: The folder whose results win where two may both be right.

    Attributes:
        copied: Runs that were copied; ``same`` are those that both had, ``preferred`` those that differed, as they may,
            and were chosen by ``prefer``; ``failures`` failed elsewhere and are not taken, because there is a result or
            another failure.
        left_out: A sentence for each run and plan that could not be taken.
        differences: Of all results that are not the same.
        refusal: Why nothing may be written, and the way out; or empty.
    """

    def __init__(self, store: Store, prefer: Path | None = None) -> None:
        self.store, self.prefer = store, prefer
        self.copied = self.same = self.preferred = self.failures = 0
        self.left_out: list[str] = []
        self.differences: list[Difference] = []
        self._undecided = 0
        self._copies: list[Copy] = []
        self._plans: dict[Path, tuple[dict[str, Any], float]] = {}  # and when each was run

    def read(self, roots: Sequence[Path]) -> None:
        """Read everything and compare what is there more than once; write nothing.

        Raises:
            BenchError: If a root has no runs or is the store itself, or ``prefer`` is none of them all.
        """
        self.store.check_writable(make=False)
        self._check(roots)
        found: dict[str, list[Path]] = {}
        for root in {path.resolve(): path for path in roots}.values():
            for folder in Store(root).folders():
                found.setdefault(folder.name, []).append(folder)
            for path in sorted(root.glob("plans/*.json")):
                self._read_plan(path)
        for folders in found.values():
            self._read_run(folders)

    def _check(self, roots: Sequence[Path]) -> None:
        for root in roots:
            if not (root / "runs").is_dir():
                raise BenchError(f"there are no results in '{root}': it has no folder 'runs'")
            if root.resolve() == self.store.root.resolve():
                raise BenchError(f"'{root}' cannot be merged into itself; choose another --results-dir")
        known = [self.store.root, *roots]
        if self.prefer and self.prefer.resolve() not in [path.resolve() for path in known]:
            names = ", ".join(f"'{path}'" for path in known)
            raise BenchError(f"--prefer is one of the folders that are merged, {names}, not '{self.prefer}'")

    def _read_run(self, folders: Sequence[Path]) -> None:
        """Decide what becomes of one run."""
        theirs = [run for run in map(self._whole, folders) if run]
        if not theirs:
            return
        target = self.store.root.joinpath(*theirs[0].folder.parts[-4:])
        seen = publish.stamp(target)
        try:
            ours, faults = read_whole(target) if seen else (None, [])
        except NewerSchema as error:
            self.left_out.append(str(error))
            return
        runs = [ours, *theirs] if ours and not faults else theirs
        results = [run for run in runs if run.done]
        winner, preferred = self._choose(results) if results else (runs[0], False)
        if winner is None:
            self._undecided += 1
        elif winner is not ours:
            broken = bool(seen) and runs is theirs
            self._copies.append(Copy(winner.folder, winner.stamp, target, seen, broken, winner.done, preferred))
        elif preferred:
            self.preferred += 1
        elif any(same(winner, run) for run in theirs):
            self.same += 1
        else:
            self.failures += 1

    def _whole(self, folder: Path) -> WholeRun | None:
        """A run to merge; None where it is not what was written, which is remembered."""
        try:
            run, faults = read_whole(folder)
        except NewerSchema as error:
            run, faults = None, [str(error)]
        self.left_out += faults[:1]
        return None if faults else run

    def _choose(self, results: Sequence[WholeRun]) -> tuple[WholeRun | None, bool]:
        """The result to keep, the store's own before its equals; and whether it had to be preferred to others."""
        pairs = [difference(a, b) for a, b in combinations(results, 2) if not same(a, b)]
        self.differences += pairs
        if not pairs:
            return results[0], False
        wanted = next((run for run in results if self.prefer and run.root.resolve() == self.prefer.resolve()), None)
        if wanted is None or not all(pair.lawful for pair in pairs):
            return None, False
        return next(run for run in results if same(run, wanted)), True

    def _read_plan(self, path: Path) -> None:
        """Decide what becomes of one plan."""
        target = self.store.root / "plans" / path.name
        try:
            theirs, time = stored_plan.read_plan(path), path.stat().st_mtime
            if target in self._plans:
                ours, before = self._plans[target]
            elif target.exists():
                ours, before = stored_plan.read_plan(target), target.stat().st_mtime
            else:
                ours, before = theirs, 0.0
        except BenchError as error:
            self.left_out.append(str(error))
            return
        joined = stored_plan.union(ours, theirs)
        if joined != ours or not target.exists():
            self._plans[target] = joined, max(before, time)

    @property
    def refusal(self) -> str:
        """Why nothing may be written, and the way out; or empty."""
        runs = f"{self._undecided} {'run' if self._undecided == 1 else 'runs'}"
        if any(not each.lawful for each in self.differences):
            return (
                f"nothing was copied: the folders differ in {runs}, and not only where versions, data or hardware do: "
                "one of the two was edited, or its model is not deterministic; move one away and merge again"
            )
        if self._undecided:
            return f"nothing was copied: the folders differ in {runs}, see above; say whose win: --prefer DIR"
        return ""

    def write(self) -> None:
        """Copy what is to be copied, and write the plans.

        Raises:
            BenchError: If the results folder takes no files.
        """
        self.store.check_writable()
        try:
            for copy in self._copies:
                if why := copy_run(copy, self.store):
                    self.left_out.append(why)
                else:
                    self.preferred += copy.preferred
                    self.copied += not copy.preferred
            for path, (plan, time) in self._plans.items():
                self.store.write_plan(path.stem, plan)
                os.utime(path, (time, time))  # the plan that was run last stays the one that a report is about
        except OSError as error:
            raise BenchError(
                f"cannot write under '{self.store.root}' ({error.strerror}); what was copied is whole: "
                "mend that and merge again"
            ) from error
