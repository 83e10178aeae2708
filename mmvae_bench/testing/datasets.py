"""What every data set must hold: it builds what it declares, the same anywhere, from the files that it names."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from mmvae_bench import nets
from mmvae_bench.datasets.base import Dataset
from mmvae_bench.metrics.oracle import to_device
from mmvae_bench.options import parse_named, resolve
from mmvae_bench.probability import likelihoods
from mmvae_bench.spec import TrainSpec
from mmvae_bench.testing.check import Check, must
from mmvae_bench.testing.rows import Rule, Trial, fingerprints, row_rules

JUDGED = 64  # rows
LATER = 400 * 86_400 + 3_661  # seconds: another year, day, hour, minute and second
AGAIN = """
import json, sys
try:
    from importlib import import_module
    from pathlib import Path
    from mmvae_bench.testing.rows import fingerprints
    module, name, options, data_dir = json.loads(sys.argv[1])
    dataset = getattr(import_module(module), name)(**options)
except Exception:
    print("{}")
else:
    print(json.dumps(fingerprints(dataset.build(Path(data_dir)))))
"""  # in a new process; nothing where the data set cannot be made there


def dataset_checks(make: Callable[[], Dataset], data_dir: Path) -> list[Check]:
    """The checks of a data set.

    Args:
        make: Gives the data set.
        data_dir: Where its files are; only read.
    """
    trial = Trial(make, data_dir)
    rules: list[Rule] = [
        ("modalities", "two at least; their names, likelihoods and types fit together", _modalities),
        ("sources", "the files that it reads are named and there, and reading them changes nothing", _sources),
        *row_rules(),
        ("nets", "its protocol's nets can be made, and take and give its entries", _nets),
        ("judges", "each reads true test entries as classes", _judges),
        ("repeatable", "other builds, at another time and under another hash seed, give the same rows", _repeatable),
    ]
    return [Check(name, covers, partial(rule, trial)) for name, covers, rule in rules]


def _modalities(trial: Trial) -> None:
    declared = trial.dataset.modalities
    names = [m.name for m in declared]
    must(len(set(names)) == len(names) >= 2, f"a data set has at least two modalities with different names: {names}")
    for m in declared:
        must(re.fullmatch(r"\w+", m.name), f"a modality's name is a word, as in --scheme only:name, not {m.name!r}")
        known = likelihoods.registry.names()
        must(m.likelihood in known, f"the likelihood of {m.name} is one of {', '.join(known)}, not {m.likelihood!r}")
        must(m.is_text == (m.likelihood == "categorical"), f"{m.name}: int16 word ids, and only those, are categorical")
        must(m.scale > 0 and m.weight >= 0, f"{m.name} has scale {m.scale} and weight {m.weight}; they are positive")
        must(m.shape and min(m.shape) >= 1, f"{m.name} has the shape {m.shape}: sizes are at least 1")
    again = [m.name for m in trial.dataset.modalities]
    must(again == names, f"modalities change their order from one reading to the next: {names}, then {again}")


def _sources(trial: Trial) -> None:
    named = trial.dataset.sources(trial.data_dir)
    for path in named:
        must(
            path.exists(), f"sources() lists '{path.name}', which is not there: raise a DataError that says what helps"
        )
    before = _listing(trial.data_dir)
    with _opened() as files:
        must(trial.returned is not None, "build() returns nothing")  # the first build: a later one may remember
    changed = sorted(path.name for path, _ in before ^ _listing(trial.data_dir))
    must(not changed, f"build() writes to the data folder, which is only read: {', '.join(changed[:3])}")
    read = _unnamed(map(Path, files), named, trial.data_dir)
    why = "so a stored cache would outlive a change of it"
    must(not read, f"build() reads what sources() does not name, {why}: {', '.join(read[:3])}")


def _listing(folder: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in folder.rglob("*")} if folder.exists() else set()


@contextmanager
def _opened() -> Iterator[set[str]]:
    """The files opened meanwhile by Python code; what a C library opens by itself is not heard of."""
    files: set[str] = set()
    _listeners().append(files)
    try:
        yield files
    finally:
        _listeners().clear()


@cache
def _listeners() -> list[set[str]]:
    """Who is told of opened files: an audit hook stays as long as the process does, so there is one, mostly idle."""
    listeners: list[set[str]] = []

    def hook(event: str, args: tuple[object, ...]) -> None:
        if listeners and event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            listeners[0].add(os.fsdecode(args[0]))

    sys.addaudithook(hook)
    return listeners


def _unnamed(opened: Iterable[Path], named: Iterable[Path], data_dir: Path) -> list[str]:
    """The opened files below ``data_dir`` that are not named, nor below what is; Python's own there are no data."""
    folder, environment = _places([data_dir]), Path(sys.prefix)
    known = _places([*named, *([environment] if _inside(environment, folder) else [])])
    data = (path for path in opened if path.suffix not in (".py", ".pyc") and not _inside(path, known))
    return sorted(path.name for path in data if _inside(path, folder) and path.is_file())


def _places(paths: Iterable[Path]) -> set[Path]:
    return {place for path in paths for place in (path.absolute(), path.resolve())}


def _inside(path: Path, places: set[Path]) -> bool:
    """Whether a path, as it is written or with its links followed, is one of ``places`` or below one."""
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
        must(name in test.x, f"judges() names '{name}', which is no modality")
        x = to_device(test.x[name][:JUDGED], torch.device("cpu"))
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
    _equal(first, again, "differs between two builds, at two times: draw from named seeds alone")
    if other := _in_a_new_process(trial.dataset, trial.data_dir):
        _equal(first, other, "differs in a process with another hash seed: sets have no order, and hash() is no seed")


def _equal(first: dict[str, str], other: dict[str, str], differs: str) -> None:
    for what in (*first, *other):
        must(first.get(what) == other.get(what), f"{what} {differs}")


def _in_a_new_process(dataset: Dataset, data_dir: Path) -> dict[str, str]:
    """What a build under another hash seed gives; empty where class and options cannot be handed over by name."""
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
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    why = done.stderr.strip().rpartition("\n")[2]
    must(done.returncode == 0, f"build() fails in a process of its own: {why}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])  # build() may print, too
    return found
