"""What every data set must hold: it builds what it declares, twice the same, and writes nothing."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from mmvae_bench import likelihoods, nets
from mmvae_bench.datasets.base import Built, Dataset, Rows
from mmvae_bench.datasets.repeated import Repeated, Stored
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.metrics.classifier import to_device
from mmvae_bench.options import parse_named, resolve
from mmvae_bench.spec import TrainSpec
from mmvae_bench.testing.check import Check, must
from mmvae_bench.types import Modality

JUDGED = 64  # rows


@dataclass(frozen=True)
class Trial:
    """A data set under trial, made and built when first asked for."""

    make: Callable[[], Dataset]
    data_dir: Path

    @cached_property
    def dataset(self) -> Dataset:
        """The data set."""
        return self.make()

    @cached_property
    def built(self) -> Built:
        """Its rows."""
        return self.dataset.build(self.data_dir)

    @property
    def splits(self) -> Mapping[str, Rows]:
        """Both splits by name."""
        return {"train": self.built.train, "test": self.built.test}

    @property
    def modalities(self) -> list[Modality]:
        """The modalities with their vocabularies, declared or computed."""
        known = self.built.vocabularies
        return [replace(m, vocabulary=known.get(m.name, m.vocabulary)) for m in self.dataset.modalities]


def dataset_checks(make: Callable[[], Dataset], data_dir: Path) -> list[Check]:
    """The checks of a data set.

    Args:
        make: Gives the data set.
        data_dir: Where its files are; only read.
    """
    trial = Trial(make, data_dir)
    rules = [
        ("modalities", "two at least; their names, likelihoods and types fit together", _modalities),
        ("sources", "the files that it reads are there, and reading them changes nothing", _sources),
        ("rows", "both splits have the declared shapes and types, finite values, and word ids that are words", _rows),
        ("labels", "labels, items and attributes as declared; no item is in both splits", _labels),
        ("nets", "its protocol's nets can be made, and take and give its entries", _nets),
        ("judges", "each reads true test entries as classes", _judges),
        ("repeatable", "a second build gives the same rows", _repeatable),
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
    for path in trial.dataset.sources(trial.data_dir):
        must(
            path.exists(), f"sources() lists '{path.name}', which is not there: raise a DataError that says what helps"
        )
    before = _listing(trial.data_dir)
    must(trial.built, "build() returns nothing")
    changed = sorted(path.name for path, _ in before ^ _listing(trial.data_dir))
    must(not changed, f"build() writes to the data folder, which is only read: {', '.join(changed[:3])}")


def _listing(folder: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in folder.rglob("*")} if folder.exists() else set()


def _rows(trial: Trial) -> None:
    for split, rows in trial.splits.items():
        must(list(rows.x) == [m.name for m in trial.modalities], f"{split} lists its modalities in another order")
        must(len(rows) > 0, f"{split} has no rows")
        for m in trial.modalities:
            _entries(m, rows.x[m.name], len(rows), f"{split} {m.name}")


def _entries(m: Modality, x: Stored | Repeated, n: int, what: str) -> None:
    must(x.shape == (n, *m.shape), f"{what} has shape {x.shape}, not {(n, *m.shape)}")
    must(x.dtype == np.dtype(m.dtype), f"{what} is {x.dtype}, not {m.dtype}")
    values = x.entries if isinstance(x, Repeated) else x
    if m.dtype == "float32":
        must(np.isfinite(values).all(), f"{what} has values that are not finite")
    if m.is_text:
        must(m.vocabulary[:1] == SPECIALS[:1], f"{what}: word 0 is padding, {SPECIALS[0]}, not {m.vocabulary[:1]}")
        fits = values.min() >= 0 and values.max() < len(m.vocabulary)
        must(fits, f"{what} has word ids outside its {len(m.vocabulary)} words")


def _labels(trial: Trial) -> None:
    classes, attributes = trial.dataset.classes, trial.dataset.attributes
    for split, rows in trial.splits.items():
        if classes:
            label = rows.label
            proper = label is not None and label.dtype == np.int64 and label.shape == (len(rows),)
            must(proper, f"{split} has classes but no int64 labels")
            fits = label is not None and label.min() >= 0 and label.max() < len(classes)
            must(fits, f"{split} has labels outside its {len(classes)} classes")
        must(rows.item is None or rows.item.shape == (len(rows),), f"{split} has items that are not one a row")
        if attributes:
            values, sizes = rows.attributes, np.array([len(each) for each in attributes.values()])
            must(values is not None and values.shape == (len(rows), len(sizes)), f"{split}'s attributes are not [N, A]")
            fits = values is not None and (values >= 0).all() and (values < sizes).all()
            must(fits, f"{split} has values of attributes that are not declared")
    train, test = trial.built.train.item, trial.built.test.item
    if train is not None and test is not None:
        must(not np.intersect1d(train, test).size, "an item has rows in both splits")


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
    again = trial.dataset.build(trial.data_dir)
    for split, rows in trial.splits.items():
        twice: Rows = getattr(again, split)
        for name in rows.x:
            must(_same(rows.x[name], twice.x[name]), f"{split} {name} differs between two builds")
        for fact in ("label", "item", "attributes"):
            same = np.array_equal(getattr(rows, fact), getattr(twice, fact))
            must(same, f"the {fact} of {split} differs between two builds")
    must(trial.built.vocabularies == again.vocabularies, "vocabularies differ between two builds")


def _same(x: Stored | Repeated, y: Stored | Repeated) -> bool:
    if isinstance(x, Repeated) and isinstance(y, Repeated):
        return np.array_equal(x.entries, y.entries) and np.array_equal(x.index, y.index)
    return np.array_equal(np.asarray(x), np.asarray(y))
