"""Rules that a data set's declared modalities and built arrays obey, checked before anything is trained on them.

Each check raises :class:`~mmvae_bench.errors.Broken`, whose message says which rule does not hold, and where.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mmvae_bench.datasets.base import FACTS, Built, Dataset, Repeated, Rows, Stored
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.errors import must
from mmvae_bench.kinds import kinds
from mmvae_bench.probability import likelihoods
from mmvae_bench.types import Modality


def check_modalities(dataset: Dataset) -> None:
    """Check that names, likelihoods, types and shapes fit together."""
    declared = dataset.modalities
    names = [m.name for m in declared]
    must(len(set(names)) == len(names) >= 2, f"a data set has at least two modalities with different names: {names}")
    for m in declared:
        must(re.fullmatch(r"\w+", m.name), f"a modality's name is a word, as in --scheme only:name, not {m.name!r}")
        known = likelihoods.names()
        must(m.likelihood in known, f"the likelihood of {m.name} is one of {', '.join(known)}, not {m.likelihood!r}")
        must(m.is_text == (m.likelihood == "categorical"), f"{m.name}: int16 ids, and only those, are categorical")
        must(m.kind in kinds.names(), f"the kind of {m.name} is one of {', '.join(kinds.names())}, not {m.kind!r}")
        fitting = kinds.get(m.kind).likelihoods or known
        must(m.likelihood in fitting, f"a {m.kind} as {m.name} is {' or '.join(fitting)}, not {m.likelihood}")
        must(m.scale > 0 and m.weight >= 0, f"{m.name} has scale {m.scale} and weight {m.weight}; they are positive")
        must(m.shape and min(m.shape) >= 1, f"{m.name} has the shape {m.shape}: sizes are at least 1")
    again = [m.name for m in dataset.modalities]
    must(again == names, f"modalities change their order from one reading to the next: {names}, then {again}")


def check_rows(dataset: Dataset, built: Built) -> None:
    """Check shapes, types and values of the entries."""
    modalities = _modalities(dataset, built)
    words = [m.name for m in modalities if m.is_text]
    for name in built.vocabularies:
        must(name in words, f"a vocabulary is given for {name!r}, which is not a modality of word ids")
    for split, rows in (("train", built.train), ("test", built.test)):
        must(isinstance(rows, Rows), f"{split} is a {type(rows).__name__}, not Rows")
        must(list(rows.x) == [m.name for m in modalities], f"{split} lists its modalities in another order")
        for name, x in (*rows.x.items(), *((fact, getattr(rows, fact)) for fact in FACTS)):
            if name in rows.x or x is not None:
                proper = isinstance(x, np.ndarray | Repeated)
                must(proper, f"{split} {name} is a {type(x).__name__}, not a NumPy array")
        must(len(rows) > 0, f"{split} has no rows")
        for m in modalities:
            _entries(m, rows.x[m.name], len(rows), f"{split} {m.name}")


def _modalities(dataset: Dataset, built: Built) -> list[Modality]:
    """Return the modalities with their vocabularies, declared or computed."""
    return [replace(m, vocabulary=built.vocabularies.get(m.name, m.vocabulary)) for m in dataset.modalities]


def _entries(m: Modality, x: Stored | Repeated, n: int, what: str) -> None:
    must(x.shape == (n, *m.shape), f"{what} has shape {x.shape}, not {(n, *m.shape)}")
    must(x.dtype == np.dtype(m.dtype), f"{what} is {x.dtype}, not {m.dtype}")
    values = x.entries if isinstance(x, Repeated) else x
    if m.dtype == "float32":
        must(np.isfinite(values).all(), f"{what} has values that are not finite")
        fits = m.likelihood != "bernoulli" or (values.min() >= 0 and values.max() <= 1)  # pixels are divided by 255
        must(fits, f"{what} has values outside [0, 1], which bernoulli takes: scale them, or store uint8 pixels")
    if m.is_text:
        must(m.vocabulary[:1] == SPECIALS[:1], f"{what}: word 0 is padding, {SPECIALS[0]}, not {m.vocabulary[:1]}")
        fits = values.min() >= 0 and values.max() < len(m.vocabulary)
        must(fits, f"{what} has word ids outside its {len(m.vocabulary)} words")
        must(values.any(), f"{what} is nothing but padding in every row")


def check_labels(data: Dataset, built: Built) -> None:
    """Check labels, attributes and items: no item is in both splits."""
    for split, rows in (("train", built.train), ("test", built.test)):
        if data.classes:
            _classes(rows.label, len(rows), len(data.classes), split)
        if data.attributes:
            _attributes(rows.attributes, len(rows), data.attributes, split)
        must(data.attributes or rows.attributes is None, f"{split} has attributes, and the data set declares none")
        proper = rows.item is None or (rows.item.dtype == np.int64 and rows.item.shape == (len(rows),))
        must(proper, f"{split} has items that are not one int64 a row")
        must(rows.item is not None or data.related != "item", f"{split} has no items, which relate its rows")
    train, test = built.train.item, built.test.item
    must(data.ordered in ("", "line", "circle"), f"classes are ordered as a line or a circle, not {data.ordered!r}")
    must(data.classes or not data.ordered, f"the classes are ordered as a {data.ordered}, and there are none")
    must((train is None) == (test is None), f"{'train' if train is None else 'test'} has no items, the other split has")
    if train is not None and test is not None:
        must(not np.intersect1d(train, test).size, "an item has rows in both splits")


def _classes(label: Any, n: int, classes: int, what: str) -> None:
    proper = label is not None and label.dtype == np.int64 and label.shape == (n,)
    must(proper, f"{what} has classes but no int64 labels, one a row")
    must(label.min() >= 0 and label.max() < classes, f"{what} has labels outside its {classes} classes")


def _attributes(values: Any, n: int, attributes: Mapping[str, Sequence[str]], what: str) -> None:
    sizes = np.array([len(each) for each in attributes.values()])
    must(values is not None and values.shape == (n, len(sizes)), f"{what}'s attributes are not [N, A]")
    must((values >= 0).all() and (values < sizes).all(), f"{what} has values of attributes that are not declared")


def check_singles(data: Dataset, built: Built) -> None:
    """Check the entries that oracles train on; their labels are classes, or attributes if there are any."""
    modalities = {m.name: m for m in _modalities(data, built)}
    singles: Mapping[str, Any] = built.singles or {}
    for name, pair in singles.items():
        what = f"singles[{name!r}]"
        must(name in modalities, f"{what} is of no modality")
        must(isinstance(pair, tuple) and len(pair) == 2, f"{what} is not (entries, labels)")
        x, label = pair
        for array in pair:
            must(isinstance(array, np.ndarray | Repeated), f"{what} is a {type(array).__name__}, not a NumPy array")
        must(len(x) > 0, f"{what} has no entries")
        _entries(modalities[name], x, len(x), what)
        if data.attributes:
            _attributes(label, len(x), data.attributes, what)
        elif data.classes:
            _classes(label, len(x), len(data.classes), what)
