"""A data set under trial, and the rules about its rows: as declared, and none of them on both sides."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from mmvae_bench.datasets.base import Built, Dataset, Repeated, Rows, Stored
from mmvae_bench.datasets.cache import FACTS, array_hash
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.testing.check import must
from mmvae_bench.types import Modality


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
    def returned(self) -> object:
        """What ``build`` returns, be it what it should or not."""
        return self.dataset.build(self.data_dir)

    @property
    def built(self) -> Built:
        """Its rows."""
        must(isinstance(self.returned, Built), f"build() returns a {type(self.returned).__name__}, not a Built")
        return cast(Built, self.returned)

    @property
    def splits(self) -> Mapping[str, Rows]:
        """Both splits by name."""
        return {"train": self.built.train, "test": self.built.test}

    @property
    def modalities(self) -> list[Modality]:
        """The modalities with their vocabularies, declared or computed."""
        known = self.built.vocabularies
        return [replace(m, vocabulary=known.get(m.name, m.vocabulary)) for m in self.dataset.modalities]


Rule = tuple[str, str, Callable[[Trial], None]]  # name, what it covers, the rule itself


def row_rules() -> list[Rule]:
    """The rules about rows, in the order in which a broken one is best understood."""
    return [
        ("rows", "both splits have arrays of the declared shapes and types, values that fit the likelihood, and words "
                 "that are words", _rows),
        ("labels", "labels, items and attributes as declared; each class, and no item, is in both splits", _labels),
        ("splits", "at most half of the test rows are copies of training rows", _splits),
        ("singles", "what oracles train on instead of training rows is declared as those, and no copy of test rows",
                    _singles),
    ]  # fmt: skip


def fingerprints(built: Built) -> dict[str, str]:
    """A digest of everything that is built, by what it is."""
    found = {"the subset": built.subset}
    for split, rows in (("train", built.train), ("test", built.test)):
        found |= {f"{split} {name}": array_hash(x) for name, x in rows.x.items()}
        facts = {fact: getattr(rows, fact) for fact in FACTS}
        found |= {f"the {fact} of {split}": array_hash(x) for fact, x in facts.items() if x is not None}
    found |= {f"singles[{name!r}]": array_hash(*pair) for name, pair in (built.singles or {}).items()}
    return found | {f"the vocabulary of {name}": repr(words) for name, words in built.vocabularies.items()}


def _rows(trial: Trial) -> None:
    words = [m.name for m in trial.dataset.modalities if m.is_text]
    for name in trial.built.vocabularies:
        must(name in words, f"a vocabulary is given for {name!r}, which is no modality of word ids")
    for split, rows in trial.splits.items():
        must(isinstance(rows, Rows), f"{split} is a {type(rows).__name__}, not Rows")
        must(list(rows.x) == [m.name for m in trial.modalities], f"{split} lists its modalities in another order")
        for name, x in (*rows.x.items(), *((fact, getattr(rows, fact)) for fact in FACTS)):
            if name in rows.x or x is not None:
                _array(x, f"{split} {name}")
        must(len(rows) > 0, f"{split} has no rows")
        for m in trial.modalities:
            _entries(m, rows.x[m.name], len(rows), f"{split} {m.name}")


def _array(x: object, what: str) -> None:
    must(isinstance(x, np.ndarray | Repeated), f"{what} is a {type(x).__name__}, not a NumPy array")


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


def _labels(trial: Trial) -> None:
    data = trial.dataset
    for split, rows in trial.splits.items():
        if data.classes:
            label: Any = rows.label
            _classes(label, len(rows), len(data.classes), split)
            for k, name in enumerate(data.classes if data.related == "class" else ()):
                must(np.isin(k, label), f"{split} has no row of class {name!r}, and rows are related by class")
        if data.attributes:
            _attributes(rows.attributes, len(rows), data.attributes, split)
        must(data.attributes or rows.attributes is None, f"{split} has attributes, and the data set declares none")
    _items(trial)


def _items(trial: Trial) -> None:
    for split, rows in trial.splits.items():
        proper = rows.item is None or (rows.item.dtype == np.int64 and rows.item.shape == (len(rows),))
        must(proper, f"{split} has items that are not one int64 a row")
        must(rows.item is not None or trial.dataset.related != "item", f"{split} has no items, which relate its rows")
    train, test = trial.built.train.item, trial.built.test.item
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


def _splits(trial: Trial) -> None:
    test, train = (_keys(*rows.x.values()) for rows in (trial.built.test, trial.built.train))
    must(not _copies(test, train), "more than half of the rows of test are rows of train, equal in every modality")


def _singles(trial: Trial) -> None:
    """An oracle reads classes, or all attributes where there are any: so do the labels of singles."""
    modalities, data = {m.name: m for m in trial.modalities}, trial.dataset
    singles: Mapping[str, Any] = trial.built.singles or {}
    for name, pair in singles.items():
        what = f"singles[{name!r}]"
        must(name in modalities, f"{what} is of no modality")
        must(isinstance(pair, tuple) and len(pair) == 2, f"{what} is not (entries, labels)")
        x, label = pair
        for array in pair:
            _array(array, what)
        must(len(x) > 0, f"{what} has no entries")
        _entries(modalities[name], x, len(x), what)
        if data.attributes:
            _attributes(label, len(x), data.attributes, what)
        elif data.classes:
            _classes(label, len(x), len(data.classes), what)
        single, test = _keys(x), _keys(trial.built.test.x[name])
        copies = _copies(single, test) or _copies(test, single)
        must(not copies, f"more than half of {what} or of test {name} are in both: an oracle would judge what it knows")


def _keys(*modalities: Stored | Repeated) -> list[bytes]:
    """A digest of each row's entries: equal where they are, and small where those are pictures."""
    digests = []
    for x in modalities:
        each = [hashlib.sha256(entry.tobytes()).digest() for entry in (x.entries if isinstance(x, Repeated) else x)]
        digests.append([each[i] for i in x.index] if isinstance(x, Repeated) else each)
    return [b"".join(row) for row in zip(*digests, strict=True)]


def _copies(rows: Sequence[bytes], others: Sequence[bytes]) -> bool:
    """Whether more than half of ``rows`` are among ``others``, of which three in four are unlike each other.

    Where there are few values, as in captions of one word, rows recur by chance, and do so on one side as well.
    """
    count = Counter(others)
    there = sum(row in count for row in rows)
    alone = sum(n == 1 for n in count.values())
    return there > len(rows) / 2 and alone > 0.75 * len(others)
