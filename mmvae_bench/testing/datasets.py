"""Checks of a data set: it builds what it declares, the same anywhere, from the files that it names."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch

from mmvae_bench import nets
from mmvae_bench.datasets.base import FACTS, Built, Dataset, Repeated, Rows, Stored
from mmvae_bench.datasets.cache import array_hash
from mmvae_bench.datasets.rules import check_labels, check_modalities, check_rows, check_singles
from mmvae_bench.errors import must
from mmvae_bench.metrics.oracle import to_device
from mmvae_bench.options import parse_named, resolve
from mmvae_bench.spec import TrainSpec
from mmvae_bench.testing.rules import Check
from mmvae_bench.types import Modality


@dataclass(frozen=True)
class Trial:
    """A data set that is checked, made and built when first asked for."""

    make: Callable[[], Dataset]
    data_dir: Path  # only read

    @cached_property
    def dataset(self) -> Dataset:
        """Data set with its options."""
        return self.make()

    @cached_property
    def returned(self) -> object:
        """Result of the first ``build``, of whatever type."""
        return self.dataset.build(self.data_dir)

    @property
    def built(self) -> Built:
        """Rows of the data set."""
        must(isinstance(self.returned, Built), f"build() returns a {type(self.returned).__name__}, not a Built")
        return cast(Built, self.returned)

    @property
    def splits(self) -> Mapping[str, Rows]:
        """Rows of each split by name."""
        return {"train": self.built.train, "test": self.built.test}

    @property
    def modalities(self) -> list[Modality]:
        """Modalities with their vocabularies, declared or computed."""
        known = self.built.vocabularies
        return [replace(m, vocabulary=known.get(m.name, m.vocabulary)) for m in self.dataset.modalities]


def dataset_checks(make: Callable[[], Dataset], data_dir: Path) -> list[Check]:
    """Return the checks of a data set, in the order in which a broken one is best understood."""
    trial = Trial(make, data_dir)
    rules: list[tuple[str, str, Callable[[Trial], None]]] = [
        ("modalities", "two at least; their names, likelihoods and types fit together", _modalities),
        ("sources", "the files that it reads are named and there, and reading them changes nothing", _sources),
        ("rows", "arrays of the declared shapes and types, values that fit the likelihood, ids of known words", _rows),
        ("labels", "labels, items and attributes as declared; each class, and no item, is in both splits", _labels),
        ("splits", "at most half of the test rows are copies of training rows", _splits),
        ("singles", "entries for oracles are declared as training rows are, and are not copies of test rows", _singles),
        ("nets", "its protocol's nets can be made, and take and give its entries", _nets),
        ("judges", "each reads true test entries as classes", _judges),
        ("repeatable", "other builds, at another time and under another hash seed, give the same rows", _repeatable),
    ]
    return [Check(name, covers, partial(rule, trial)) for name, covers, rule in rules]


def fingerprints(built: Built) -> dict[str, str]:
    """Return a digest of each part that is built, by its name."""
    found = {"the subset": built.subset}
    for split, rows in (("train", built.train), ("test", built.test)):
        found |= {f"{split} {name}": array_hash(x) for name, x in rows.x.items()}
        facts = {fact: getattr(rows, fact) for fact in FACTS}
        found |= {f"the {fact} of {split}": array_hash(x) for fact, x in facts.items() if x is not None}
    found |= {f"singles[{name!r}]": array_hash(*pair) for name, pair in (built.singles or {}).items()}
    return found | {f"the vocabulary of {name}": repr(words) for name, words in built.vocabularies.items()}


def _modalities(trial: Trial) -> None:
    check_modalities(trial.dataset)


def _rows(trial: Trial) -> None:
    check_rows(trial.dataset, trial.built)


def _labels(trial: Trial) -> None:
    check_labels(trial.dataset, trial.built)
    classes = trial.dataset.classes if trial.dataset.related == "class" else None
    for split, rows in trial.splits.items():
        for k, name in enumerate(classes or ()):
            there = rows.label is not None and k in rows.label
            must(there, f"{split} has no row of class {name!r}, and rows are related by class")


def _splits(trial: Trial) -> None:
    test, train = (_keys(*rows.x.values()) for rows in (trial.built.test, trial.built.train))
    must(not _copies(test, train), "more than half of the rows of test are rows of train, equal in every modality")


def _singles(trial: Trial) -> None:
    check_singles(trial.dataset, trial.built)
    for name, (x, _) in (trial.built.singles or {}).items():
        single, test = _keys(x), _keys(trial.built.test.x[name])
        copies = _copies(single, test) or _copies(test, single)
        what = f"singles[{name!r}] or of test {name}"
        must(not copies, f"more than half of {what} are in both: an oracle would judge what it knows")


def _keys(*modalities: Stored | Repeated) -> list[bytes]:
    """Return a digest of the entries of each row."""
    digests = []
    for x in modalities:
        entries, index = (x.entries, x.index) if isinstance(x, Repeated) else (x, range(len(x)))
        each = [hashlib.sha256(entry.tobytes()).digest() for entry in entries]
        digests.append([each[i] for i in index])
    return [b"".join(row) for row in zip(*digests, strict=True)]


def _copies(rows: Sequence[bytes], others: Sequence[bytes]) -> bool:
    """Return whether more than half of ``rows`` are among ``others``, and three in four of these are distinct.

    Otherwise there are few values, as in captions of one word, and rows recur by chance.
    """
    count = Counter(others)
    there = sum(row in count for row in rows)
    alone = sum(n == 1 for n in count.values())
    return there > len(rows) / 2 and alone > 0.75 * len(others)


LATER = 400 * 86_400 + 3_661  # seconds: another year, day, hour, minute and second
AGAIN = """
import json, sys
try:
    from importlib import import_module
    from pathlib import Path
    from mmvae_bench.testing.datasets import fingerprints
    module, name, options, data_dir = json.loads(sys.argv[1])
    dataset = getattr(import_module(module), name)(**options)
except Exception:
    print("{}")
else:
    print(json.dumps(fingerprints(dataset.build(Path(data_dir)))))
"""  # in a new process; prints no digests if the data set cannot be made there


def _sources(trial: Trial) -> None:
    named = trial.dataset.sources(trial.data_dir)
    for path in named:
        why = "which is not there: raise a DataError that says what helps"
        must(path.exists(), f"sources() lists '{path.name}', {why}")
    before = _listing(trial.data_dir)
    _opened().clear()
    must(trial.returned is not None, "build() returns nothing")  # the first build: a later one may remember
    opened = {*_opened()}
    changed = sorted(path.name for path, _ in before ^ _listing(trial.data_dir))
    must(not changed, f"build() writes to the data folder, which is only read: {', '.join(changed[:3])}")
    # What it reads in the folder that is neither named nor in a named folder, without Python's own files
    folder, environment = _places([trial.data_dir]), Path(sys.prefix)
    known = _places([*named, *([environment] if _inside(environment, folder) else [])])
    data = (path for path in map(Path, opened) if path.suffix not in (".py", ".pyc") and not _inside(path, known))
    read = sorted(path.name for path in data if _inside(path, folder) and path.is_file())
    why = "so a stored cache would outlive a change of it"
    must(not read, f"build() reads what sources() does not name, {why}: {', '.join(read[:3])}")


def _listing(folder: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in folder.rglob("*")} if folder.exists() else set()


@cache  # an audit hook cannot be removed, so there is one per process
def _opened() -> set[str]:
    """Return the files that Python code opens from now on; files opened by a C library are not seen."""
    files: set[str] = set()

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            files.add(os.fsdecode(args[0]))

    sys.addaudithook(hook)
    return files


def _places(paths: Iterable[Path]) -> set[Path]:
    return {place for path in paths for place in (path.absolute(), path.resolve())}


def _inside(path: Path, places: set[Path]) -> bool:
    """Return whether a path, as written or with links followed, is one of ``places`` or below one."""
    return any(not places.isdisjoint((p, *p.parents)) for p in _places([path]))


def _nets(trial: Trial) -> None:
    protocol = trial.dataset.protocol
    TrainSpec(protocol.epochs, protocol.batch_size, protocol.learning_rate)
    named = parse_named(protocol.nets)
    must(named.name in nets.registry.names(), f"the protocol's nets preset '{named.name}' is not registered")
    preset = nets.registry.get(named.name)
    made = preset(trial.modalities, protocol.latent_dim, **resolve(preset, named)).eval()
    with torch.no_grad():
        for m in trial.modalities:
            x = to_device(trial.built.train.x[m.name][:2], torch.device("cpu"))
            raw, theta = made.encode_entries(m.name, x), made.decode(m.name, torch.zeros(2, protocol.latent_dim))
            shape = (2, *m.shape, len(m.vocabulary)) if m.is_text else (2, *m.shape)
            must(raw.shape == (len(x), 2 * protocol.latent_dim), f"'{named.label}' encodes {m.name} to another shape")
            must(theta.shape == shape, f"'{named.label}' decodes {m.name} to another shape")


def _judges(trial: Trial) -> None:
    classes, test = len(trial.dataset.classes or ()), trial.built.test
    for name, judge in trial.dataset.judges({m.name: m.vocabulary for m in trial.modalities}).items():
        must(name in test.x, f"judges() names '{name}', which is not a modality")
        x = to_device(test.x[name][:64], torch.device("cpu"))
        said = judge.predict(x)
        proper = said.shape == (len(x),) and said.min() >= 0 and said.max() <= classes
        must(proper, f"the judge of {name} does not give a class, or {classes} for none, of each entry")


def _repeatable(trial: Trial) -> None:
    first, clock, clock_ns = fingerprints(trial.built), time.time, time.time_ns
    with (
        patch.object(time, "time", lambda: clock() + LATER),
        patch.object(time, "time_ns", lambda: clock_ns() + LATER * 10**9),
    ):
        again = fingerprints(trial.dataset.build(trial.data_dir))
    for what in (*first, *again):
        same = first.get(what) == again.get(what)
        must(same, f"{what} differs between two builds, at two times: draw from named seeds only")
    other = _in_a_new_process(trial.dataset, trial.data_dir)
    for what in (*first, *other) if other else ():
        same = first.get(what) == other.get(what)
        must(same, f"{what} differs in a process with another hash seed: sets have no order, and hash() is no seed")


def _in_a_new_process(dataset: Dataset, data_dir: Path) -> dict[str, str]:
    """Return the digests of a build under another hash seed; empty if class or options cannot be passed by name."""
    made: Any = type(dataset)
    module, name = made.__module__, made.__qualname__
    if getattr(sys.modules.get(module), name, None) is not made or not is_dataclass(made):
        return {}
    options = {field.name: getattr(dataset, field.name) for field in fields(made) if field.init}
    if not all(isinstance(value, bool | int | float | str | None) for value in options.values()):
        return {}
    call = json.dumps([module, name, options, str(data_dir)])
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(  # noqa: S603 # ourselves
        [sys.executable, "-P", "-c", AGAIN, call], env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    why = done.stderr.strip().rpartition("\n")[2]
    must(done.returncode == 0, f"build() fails in a process of its own: {why}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])  # build() may print, too
    return found
