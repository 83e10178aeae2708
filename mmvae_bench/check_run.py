"""One stored run, read to its last byte: whether it is what was written, and whether its rows are those of its spec."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmvae_bench import publish
from mmvae_bench.errors import BenchError, NewerSchema
from mmvae_bench.options import parse_named
from mmvae_bench.run_folder import RECORD, read_arrays, read_file, read_rows, read_run
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import COLUMNS, NUMBERS, Store

SCORED = ("metric", "variant", "prior", "given", "target")  # what tells one score of a run from another
WAY_OUT = "move the folder away and run the same command again"


@dataclass(frozen=True)
class WholeRun:
    """A run that could be read.

    Attributes:
        folder: Where it is.
        record: Its ``run.json``.
        rows: Its tidy rows.
        spec: What was run.
        stamp: What tells it from a later result under the same name.
    """

    folder: Path
    record: Mapping[str, Any]
    rows: list[dict[str, Any]]
    spec: RunSpec
    stamp: str

    @property
    def root(self) -> Path:
        """The results folder that it is stored under."""
        return self.folder.parents[3]

    @property
    def done(self) -> bool:
        """Whether it is a result; else it failed."""
        return bool(self.record["status"] == "done")

    def __str__(self) -> str:
        """For people."""
        return f"{self.spec.title} ({self.folder.name})"


def read_whole(folder: Path) -> tuple[WholeRun | None, list[str]]:
    """Read every file of a run, the weights too.

    Returns:
        The run, if its record and rows can be read; and a sentence for each fault, each with its path and way out.

    Raises:
        NewerSchema: If nothing is wrong with it, but a newer version wrote it.
    """
    stamp, faults = publish.stamp(folder), []
    try:
        record = read_run(folder)
    except NewerSchema:
        raise
    except BenchError as error:
        return None, [str(error)]
    for name in sorted(record["files"]):
        try:
            _read(folder, record, name)
        except BenchError as error:
            faults.append(str(error))
    try:
        spec = _spec(folder, record)
        run = WholeRun(folder, record, read_rows(folder, record), spec, stamp)
    except BenchError as error:
        return None, list(dict.fromkeys([*faults, str(error)]))  # of rows it may be the same sentence
    return run, [*faults, *_row_faults(run)]


def _read(folder: Path, record: Mapping[str, Any], name: str) -> None:
    """Read a file as what it is."""
    if name.endswith((".safetensors", ".npz")):
        read_arrays(folder, record, name)
    elif name == "history.csv":
        try:
            Store(folder.parents[3]).history(folder)
        except (ValueError, TypeError) as error:
            raise BenchError(f"'{folder / name}' is no table of numbers; {WAY_OUT}") from error
    else:
        read_file(folder, record, name)


def _spec(folder: Path, record: Mapping[str, Any]) -> RunSpec:
    """The spec of a record whose folder is where such a run belongs."""
    try:
        spec = RunSpec.from_dict(record["spec"])
    except BenchError as error:
        raise BenchError(f"'{folder / 'run.json'}': {error}; {WAY_OUT}") from error
    place = (spec.dataset.name, spec.model.name)
    if folder.parts[-3:-1] != place:
        raise BenchError(f"'{folder}' is a run of {place[1]} on {place[0]}; move it to runs/{place[0]}/{place[1]}/")
    return spec


def _row_faults(run: WholeRun) -> Iterator[str]:
    """A sentence for each kind of fault in the rows of a run."""
    found: dict[str, list[int]] = {}
    scored = set()
    for number, row in enumerate(run.rows, 1):
        faults = [*_misfits(row, run.spec), *_bad_numbers(row), *_bad_status(row)]
        score = tuple(str(row.get(column)) for column in SCORED)
        if score in scored:
            faults.append("the same metric, variant, prior, given and target as in a row before")
        scored.add(score)
        for fault in faults:
            found.setdefault(fault, []).append(number)
    for fault, numbers in found.items():
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield f"'{run.folder / RECORD}', row {numbers[0]}{more}: {fault}; {WAY_OUT}"


def _misfits(row: Mapping[str, Any], spec: RunSpec) -> Iterator[str]:
    """What is not as the spec says, or not known at all."""
    expected = {
        "dataset": spec.dataset.name, "model": spec.model.name, "missing_ratio": spec.missing.ratio,
        "seed": spec.seed, "precision": spec.precision, "epochs": spec.train.epochs,
    }  # fmt: skip
    for column, value in expected.items():
        if row.get(column, value) != value:
            yield f"its {column} is {row[column]!r}, its run's is {value!r}"
    if "label" in row and not _fits(row["label"], spec):
        yield f"its label {row['label']!r} is none of {spec.model.name}"
    if unknown := row.keys() - set(COLUMNS):
        yield f"unknown columns: {', '.join(sorted(map(repr, unknown)))}"


def _fits(label: Any, spec: RunSpec) -> bool:
    """Whether a label may have been typed for a spec's model."""
    try:
        named = parse_named(str(label))
    except BenchError:
        return False
    return named.name == spec.model.name and named.options.keys() <= spec.model.options.keys()


def _bad_numbers(row: Mapping[str, Any]) -> Iterator[str]:
    for column in sorted(NUMBERS):
        value = row.get(column)
        if value is not None and not is_number(value):
            yield f"its {column} is no finite number: {value!r}"


def is_number(value: Any) -> bool:
    """Whether a value that was read from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bad_status(row: Mapping[str, Any]) -> Iterator[str]:
    status, scored = row.get("status"), row.get("value") is not None
    if status not in ("ok", "skipped", "failed"):
        yield f"unknown status {status!r}"
    elif scored != (status == "ok"):
        yield f"its status is {status!r}, and it has {'a' if scored else 'no'} value"
