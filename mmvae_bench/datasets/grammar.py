"""Captions that a grammar writes: one sentence for each combination of attributes, which it reads back exactly."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.words import EOS, PAD

if TYPE_CHECKING:
    from torch import Tensor

Ids = NDArray[np.int16] | NDArray[np.int64]
Places = Sequence[tuple[str, tuple[str, ...]]]  # of a caption, in order: attribute, and words of which it contains one


class Grammar:
    """The captions of some attributes, one for each combination of values; and their judge, which reads them exactly.

    Args:
        names: the A attributes, the class first.
        places: all places, those of other attributes too; a word that stands alone at its place says nothing.
        vocabulary: V words by id, the specials first.
        length: T, one more than the longest caption's words.
        version: increased by every change of how captions are written or read.
    """

    def __init__(
        self, names: Sequence[str], places: Places, vocabulary: Sequence[str], length: int, version: int
    ) -> None:
        self.names = tuple(names)
        self.places = tuple((name, words) for name, words in places if name in self.names)
        self.vocabulary = tuple(vocabulary)
        self.length = length
        self.attributes: Mapping[str, tuple[str, ...]] = {
            # A value of two words is written with a space
            name: tuple(" ".join(words) for words in product(*(ws for n, ws in self.places if n == name and ws[1:])))
            for name in self.names
        }
        self.accuracy: float | None = 1.0
        self.hash = hashlib.sha256(repr((version, self.vocabulary, self.places)).encode()).hexdigest()[:16]

    def write(self, values: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the captions of values [N, A]: word ids [N, T], <eos> after the last word, then padding."""
        ids = np.full((len(values), self.length), PAD, np.int16)
        for t, (name, words) in enumerate(self.places):
            # The word is a digit of the attribute's value, that of its last place the units
            units = math.prod(len(after) for n, after in self.places[t + 1 :] if n == name)
            digit = values[:, self.names.index(name)] // units % len(words)
            ids[:, t] = np.array([self.vocabulary.index(word) for word in words])[digit]
        ids[:, len(self.places)] = EOS
        return ids

    def predict(self, x: "Tensor") -> NDArray[np.int64]:
        """Return the class that captions [N, T] name: [N]; C where none, or more than one, is named."""
        return self.read(x)[:, 0]

    def read(self, x: "Tensor | Ids") -> NDArray[np.int64]:
        """Return the value of each attribute in captions [N, T]: [N, A]; the number of values if it is unreadable.

        An attribute is readable if exactly one of its words (of a value of two words, one of each) occurs before the
        first <eos>, at any place. Other words of the caption do not matter; :meth:`accepts` checks the whole caption.
        """
        said = until_eos(np.asarray(x))
        out = np.zeros((len(said), len(self.names)), np.int64)
        readable = np.ones((len(said), len(self.names)), np.bool_)
        for name, words in self.places:
            if len(words) > 1:
                a = self.names.index(name)
                found = np.stack([(said == self.vocabulary.index(word)).sum(1) for word in words], 1)
                out[:, a] = out[:, a] * len(words) + found.argmax(1)
                readable[:, a] &= found.sum(1) == 1
        return np.where(readable, out, [len(values) for values in self.attributes.values()])

    def accepts(self, x: "Tensor | Ids") -> NDArray[np.bool_]:
        """Return True for captions [N, T] that equal one of the grammar up to their first <eos>: [N]."""
        values = self.read(x) % np.array([len(values) for values in self.attributes.values()])
        accepted: NDArray[np.bool_] = np.all(self.write(values) == until_eos(np.asarray(x)), axis=1)
        return accepted


def until_eos(ids: Ids) -> Ids:
    """Return captions [N, T] with padding after their first <eos>."""
    over = np.cumsum(ids == EOS, 1) - (ids == EOS) > 0
    return np.where(over, PAD, ids)
