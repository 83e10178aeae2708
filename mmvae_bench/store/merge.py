"""Merge results folders: everything is read and compared first, then each run is copied whole or not at all."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, starmap
from pathlib import Path
from typing import Any

from mmvae_bench.disk import sync
from mmvae_bench.errors import BenchError, NewerSchema
from mmvae_bench.spec import canonical_json
from mmvae_bench.store.check import read_whole
from mmvae_bench.store.plans import read_plan, union
from mmvae_bench.store.publish import place, restore
from mmvae_bench.store.run import StoredRun, run_checksum
from mmvae_bench.store.store import Store
from mmvae_bench.store.work import UnderWay

CONDITIONS = (
    "dataset_hash", "oracle_hash", "embedding_hash", "device", "precision", "engine", "threads", "package_version",
)  # fmt: skip
SCORED = ("metric", "variant", "prior", "given", "target")  # what distinguishes the scores of a run


@dataclass(frozen=True)
class Difference:
    """How two results of a run differ."""

    lawful: bool  # different conditions; under the same conditions the same run gives the same numbers
    size: float  # largest |a - b| over the rows that both have
    sentence: str  # for people


def provenance(run: StoredRun) -> dict[str, str]:
    """Return the conditions of a run's numbers beside its spec; which metrics scored it is one of them."""
    known = {name: " ".join(sorted({str(row.get(name) or "") for row in run.rows()})) for name in CONDITIONS}
    known["hardware"] = str(run.record.get("hardware", ""))
    for part in ("versions", "metrics", "priors"):
        if isinstance(found := run.record.get(part), dict):
            known |= {f"{part} {name}": canonical_json(value).strip('"') for name, value in found.items()}
    return known


def difference(a: StoredRun, b: StoredRun) -> Difference | None:
    """Return how two results differ; None if they have the same conditions, and the same rows in any order."""
    here, there = provenance(a), provenance(b)
    other = [key for key in sorted(here | there) if here.get(key) != there.get(key)]
    ours, theirs = (Counter(canonical_json({**row, "schema": 0, "label": ""}) for row in run.rows()) for run in (a, b))
    if not other and ours == theirs:  # whatever the schema, and however the model was typed
        return None
    why = ", ".join(f"{key} ({here.get(key) or 'none'}, {there.get(key) or 'none'})" for key in other)
    size, where = _largest(a, b)
    sentence = f"{a}: {f'different {why}' if other else 'different rows'}; {where}"
    return Difference(bool(other), size, sentence)


def _largest(a: StoredRun, b: StoredRun) -> tuple[float, str]:
    """Return the largest difference of a value that both have, and where it is."""
    ours, theirs = (
        {tuple(str(row.get(column) or "") for column in SCORED): row["value"] for row in run.rows()} for run in (a, b)
    )
    numbers = [{key for key, value in own.items() if value is not None} for own in (ours, theirs)]
    common, alone = numbers[0] & numbers[1], len(numbers[0] ^ numbers[1])
    rest = f"; values that one of them lacks: {alone}" if alone else ""
    if not common:
        return 0.0, f"no value is in both{rest}"
    size, key = max((abs(ours[key] - theirs[key]), key) for key in common)
    if not size:
        return 0.0, f"all {len(common)} common values are equal{rest}"
    where = f"{ours[key]!r} in '{a.root}', {theirs[key]!r} in '{b.root}'"
    return size, f"largest difference {size:.3g}, in {' '.join(filter(None, key))}: {where}{rest}"


@dataclass(frozen=True)
class Copy:
    """A run that is to be copied to ``target``."""

    run: StoredRun
    target: Path
    seen: str  # checksum of the run that it replaces there; empty where there is none
    broken: bool  # the run that it replaces has faults, and is to be kept beside it
    preferred: bool  # chosen by ``prefer`` from results that differ


def _write(run: StoredRun, temporary: Path) -> None:
    """Write the files that the run's record names, and the record itself last."""
    for name in run.record["files"]:
        (temporary / name).write_bytes(run.file(name))
        sync(temporary / name)
    record = (run.folder / "run.json").read_bytes()
    if hashlib.sha256(record).hexdigest() != run.checksum:
        raise BenchError(f"'{run.folder}' has changed since it was read. Merge again.")
    (temporary / "run.json").write_bytes(record)
    sync(temporary / "run.json")
    sync(temporary)


class Merger:
    """Joins results folders into a store: :meth:`read` finds what is to be done, :meth:`write` does it.

    Where two results may both be right, those of the folder ``prefer`` win.

    Attributes:
        copied: number of runs that were copied.
        same: number of runs that both had.
        preferred: number of runs that differed under other conditions, and were chosen by ``prefer``.
        failures: number of runs that failed elsewhere and are not taken, because there is a result or another failure.
        left_out: one sentence per run and plan that could not be taken.
        differences: differences of all results that are not the same.
        refusal: why nothing may be written, and what to do; or empty.
    """

    def __init__(self, store: Store, prefer: Path | None = None) -> None:
        self.store, self.prefer = store, prefer
        self.copied = self.same = self.preferred = self.failures = 0
        self.left_out: list[str] = []
        self.differences: list[Difference] = []
        self._undecided = 0
        self._copies: list[Copy] = []
        self._plans: dict[Path, dict[str, Any]] = {}

    def read(self, roots: Sequence[Path]) -> None:
        """Read everything and compare what is there more than once; write nothing.

        Raises:
            BenchError: If a root has no runs or is the store itself, or ``prefer`` is none of them all.
        """
        self.store.check_writable(make=False)
        for root in roots:
            if not (root / "runs").is_dir():
                raise BenchError(f"There are no results in '{root}': it has no folder 'runs'.")
            if root.resolve() == self.store.root.resolve():
                raise BenchError(f"'{root}' cannot be merged into itself. Choose another --results-dir.")
        known = [self.store.root, *roots]
        if self.prefer and self.prefer.resolve() not in [path.resolve() for path in known]:
            names = ", ".join(f"'{path}'" for path in known)
            raise BenchError(f"--prefer names one of the merged folders, {names}, not '{self.prefer}'.")
        found: dict[str, list[Path]] = {}
        for root in {path.resolve(): path for path in roots}.values():
            for folder in Store(root).folders():
                found.setdefault(folder.name, []).append(folder)
            for path in sorted(root.glob("plans/*.json")):
                self._read_plan(path)
        for folders in found.values():
            self._read_run(folders)

    def _read_run(self, folders: Sequence[Path]) -> None:
        """Decide what becomes of one run."""
        theirs = [run for run in map(self._whole, folders) if run]
        if not theirs:
            return
        target = self.store.root.joinpath(*theirs[0].folder.parts[-4:])
        seen = run_checksum(target)
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
            self._copies.append(Copy(winner, target, seen, broken, preferred))
        elif preferred:
            self.preferred += 1
        elif not all(difference(winner, run) for run in theirs):
            self.same += 1
        else:
            self.failures += 1

    def _whole(self, folder: Path) -> StoredRun | None:
        """A run to merge; None where it is not what was written, which is remembered."""
        try:
            run, faults = read_whole(folder)
        except NewerSchema as error:
            run, faults = None, [str(error)]
        self.left_out += faults[:1]
        return None if faults else run

    def _choose(self, results: Sequence[StoredRun]) -> tuple[StoredRun | None, bool]:
        """The result to keep, the store's own before its equals; and whether it had to be preferred to others."""
        pairs = list(filter(None, starmap(difference, combinations(results, 2))))
        self.differences += pairs
        if not pairs:
            return results[0], False
        wanted = next((run for run in results if self.prefer and run.root.resolve() == self.prefer.resolve()), None)
        if wanted is None or not all(pair.lawful for pair in pairs):
            return None, False
        return next(run for run in results if not difference(run, wanted)), True

    def _read_plan(self, path: Path) -> None:
        """Decide what becomes of one plan."""
        target = self.store.root / "plans" / path.name
        try:
            theirs = read_plan(path)
            if target not in self._plans and target.exists():
                self._plans[target] = read_plan(target)
        except BenchError as error:
            self.left_out.append(str(error))
            return
        self._plans[target] = union(self._plans.get(target, theirs), theirs)

    @property
    def refusal(self) -> str:
        """Why nothing may be written, and the way out; or empty."""
        runs = f"{self._undecided} {'run' if self._undecided == 1 else 'runs'}"
        if any(not each.lawful for each in self.differences):
            return (
                f"Nothing was copied: the folders differ in {runs}, though versions, data and hardware are the same. "
                "One of the two was edited, or its model is not deterministic. Move one elsewhere and merge again."
            )
        if self._undecided:
            return f"Nothing was copied: the folders differ in {runs}, see above. Choose which to keep: --prefer DIR"
        return ""

    def write(self) -> None:
        """Copy what is to be copied, and write the plans.

        Raises:
            BenchError: If the results folder takes no files.
        """
        self.store.check_writable()
        try:
            for copy in self._copies:
                try:
                    self._copy(copy)
                except BenchError as error:
                    self.left_out.append(str(error))
            for path, plan in self._plans.items():
                self.store.write_plan(path.stem, plan)
        except OSError as error:
            raise BenchError(
                f"Cannot write to '{self.store.root}' ({error.strerror}). What was copied is whole. "
                "Fix the problem and merge again."
            ) from error

    def _copy(self, copy: Copy) -> None:
        """Copy a run, unless another process has it, or one of the two changed since they were compared."""
        root, target, under_way = self.store.root, copy.target, UnderWay(self.store.root, copy.target.name)
        with under_way.locked() as ours:
            if not ours:
                owner = under_way.owner() or "another process"
                what = f"'{copy.run.folder}' is not taken: its run is under way in '{root}'"
                raise BenchError(f"{what}, by {owner}. Merge again later.")
            restore(target)
            if run_checksum(target) != copy.seen:
                raise BenchError(f"'{target}' has changed since it was compared with '{copy.run.folder}'. Merge again.")
            place(target, partial(_write, copy.run), keep=copy.broken)
            if copy.run.done:
                under_way.clear()  # what is stored is not resumed
        self.preferred += copy.preferred
        self.copied += not copy.preferred
