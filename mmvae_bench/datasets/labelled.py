"""A data set with its labels as one more modality: the option ``labels`` of every data set that has classes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Judge, Protocol, Rows
from mmvae_bench.datasets.words import SPECIALS

if TYPE_CHECKING:
    from torch import Tensor

    from mmvae_bench.types import Modality

NAME = "label"
WEIGHT = 50.0  # of log p(label | z), the same for every model: a few nats beside hundreds of pixels


class Symbols:
    """The judge of labels, which reads them exactly. ``sizes`` are the numbers of values, the class first.

    An entry says the first ``shown`` attributes: by default all.
    """

    def __init__(self, sizes: Sequence[int], shown: int | None = None) -> None:
        self.sizes = np.array(sizes)
        self.shown = len(sizes) if shown is None else shown
        self.first = 1 + np.cumsum([0, *sizes[: self.shown - 1]])  # id of each place's first value; 0 is padding
        self.accuracy: float | None = 1.0
        known = ("symbols", *sizes) if self.shown == len(sizes) else ("symbols", *sizes, "shown", self.shown)
        self.hash = hashlib.sha256(repr(known).encode()).hexdigest()[:16]

    def write(self, values: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the ids [N, shown] of values [N, A]."""
        return np.asarray(values[:, : self.shown] + self.first, np.int16)

    def read(self, x: "Tensor | NDArray[np.integer]") -> NDArray[np.int64]:
        """Return the values [N, A] of ids; the number of values where an id is of another place, or none says it."""
        values = np.tile(self.sizes, (len(x), 1))
        found, sizes = np.asarray(x, np.int64) - self.first, self.sizes[: self.shown]
        values[:, : self.shown] = np.where((found >= 0) & (found < sizes), found, sizes)
        return values

    def predict(self, x: "Tensor | NDArray[np.integer]") -> NDArray[np.int64]:
        """Return the class of each entry, [N]."""
        return self.read(x)[:, 0]


class Labelled(Dataset):
    """A data set with one more modality, ``label``: the values of all attributes of a row, else its class.

    An entry has a symbol for each attribute, categorical; all places share one list of symbols. With ``class_alone`` it
    has one, of the first attribute, which is the class, and leaves the others open. What is not the label is the same
    as without it: rows, splits, and the judges of the other modalities.
    """

    def __init__(self, of: Dataset, *, class_alone: bool = False) -> None:
        self.of = of
        self.version, self.summary = of.version, of.summary  # type: ignore[misc]
        self.classes, self.related, self.pairs = of.classes, of.related, of.pairs  # type: ignore[misc]
        self.ordered = of.ordered  # type: ignore[misc]
        values = dict(of.attributes or {"class": of.classes or ()})
        self.judge = Symbols([len(each) for each in values.values()], 1 if class_alone else None)
        shown = list(values.values())[: self.judge.shown]
        self.vocabulary = (SPECIALS[0], *(value for each in shown for value in each))

    @property
    def modalities(self) -> Sequence["Modality"]:
        """The data set's own, then ``label``, a symbol for each attribute that it says."""
        from mmvae_bench.types import Modality

        label = Modality(NAME, (self.judge.shown,), "categorical", 1.0, WEIGHT, "int16", self.vocabulary, kind="symbol")
        return (*self.of.modalities, label)

    @property
    def protocol(self) -> Protocol:
        """The data set's own."""
        return self.of.protocol

    @property
    def may_be_shown(self) -> bool:
        """True if the data set's own pictures may be published."""
        return self.of.may_be_shown

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]] | None:
        """The data set's own."""
        return self.of.attributes

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Return the data set's own exact judges, and that of the label."""
        return {**self.of.judges(vocabularies), NAME: self.judge}

    def build(self, data_dir: Path) -> Built:
        """Build the data set, and add the labels of its rows."""
        built = self.of.build(data_dir)
        return replace(built, train=self._with(built.train), test=self._with(built.test))

    def _with(self, rows: Rows) -> Rows:
        if rows.values is None:  # the rules of data sets say so
            return rows
        return replace(rows, x={**rows.x, NAME: self.judge.write(rows.values)})

    def sources(self, data_dir: Path) -> list[Path]:
        """Return the files that the data set reads."""
        return self.of.sources(data_dir)

    def fetch(self, data_dir: Path) -> None:
        """Download the data set's files."""
        self.of.fetch(data_dir)

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy the user's files."""
        self.of.take(files, data_dir)
