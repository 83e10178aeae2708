"""Captions of one shape: the grammar that writes them, and the judge that reads them exactly by it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.captioned_shapes.pictures import BACKGROUNDS, COLOURS, HORIZONTAL, OUTLINES, SIZES, VERTICAL
from mmvae_bench.datasets.words import EOS, PAD, SPECIALS

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1  # increased by every change of how captions are written or read
LENGTH = 8  # T: the seven words of "small red heart top left on dark" and <eos>
ATTRIBUTES = ("shape", "size", "colour", "position", "background")  # level k names the first k
ORDER = (  # of a caption: attribute, and words of which it contains one
    ("size", tuple(SIZES)),
    ("colour", tuple(COLOURS)),
    ("shape", tuple(OUTLINES)),
    ("position", tuple(VERTICAL)),
    ("position", tuple(HORIZONTAL)),
    ("background", ("on",)),
    ("background", tuple(BACKGROUNDS)),
)
VOCABULARY = (*SPECIALS, *(word for _, words in ORDER for word in words))
Ids = NDArray[np.int16] | NDArray[np.int64]


@dataclass(frozen=True)
class Grammar:
    """The captions of a level: one for each combination of values.

    Attributes:
        level: number of attributes that a caption names, 1..5.
    """

    level: int

    @cached_property
    def places(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The part of :data:`ORDER` that this level uses."""
        return tuple((name, words) for name, words in ORDER if name in ATTRIBUTES[: self.level])

    @cached_property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """Attribute -> its values; a value of two words is written with a space."""
        return {
            name: tuple(" ".join(words) for words in product(*(ws for n, ws in self.places if n == name and ws[1:])))
            for name in ATTRIBUTES[: self.level]
        }

    def write(self, values: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the captions of values [N, level]: word ids [N, T], <eos> after the last word, then padding."""
        ids = np.full((len(values), LENGTH), PAD, np.int16)
        for t, (name, words) in enumerate(self.places):
            ids[:, t] = np.array([VOCABULARY.index(word) for word in words])[self._choice(values, t, name)]
        ids[:, len(self.places)] = EOS
        return ids

    def read(self, ids: Ids) -> NDArray[np.int64]:
        """Return the value of each attribute in captions [N, T]: [N, level]; the number of values if it is unreadable.

        An attribute is readable if exactly one of its words (for positions, one for each direction) occurs before the
        first <eos>, at any place. Other words of the caption do not matter; :meth:`accepts` checks the whole caption.
        """
        said = until_eos(ids)
        out = np.zeros((len(ids), self.level), np.int64)
        readable = np.ones((len(ids), self.level), np.bool_)
        for name, words in self.places:
            if len(words) > 1:
                a = ATTRIBUTES.index(name)
                found = np.stack([(said == VOCABULARY.index(word)).sum(1) for word in words], 1)
                out[:, a] = out[:, a] * len(words) + found.argmax(1)
                readable[:, a] &= found.sum(1) == 1
        return np.where(readable, out, [len(values) for values in self.attributes.values()])

    def accepts(self, ids: Ids) -> NDArray[np.bool_]:
        """Return True for captions [N, T] that equal one of the grammar up to their first <eos>: [N]."""
        values, counts = self.read(ids), [len(values) for values in self.attributes.values()]
        readable = np.all(values < counts, axis=1, keepdims=True)
        written = self.write(np.where(readable, values, 0))  # with an unreadable attribute no caption is equal
        accepted: NDArray[np.bool_] = np.all(written == until_eos(ids), axis=1)
        return accepted

    def _choice(self, values: NDArray[np.int64], t: int, name: str) -> NDArray[np.int64]:
        """Return the word of each row at place t, [N]: a digit of the attribute's value, the last place the units."""
        after = [len(words) for n, words in self.places[t + 1 :] if n == name]
        index = values[:, ATTRIBUTES.index(name)] // int(np.prod(after, dtype=np.int64))
        chosen: NDArray[np.int64] = index % len(self.places[t][1])
        return chosen


def until_eos(ids: Ids) -> Ids:
    """Return captions [N, T] with padding after their first <eos>."""
    over = np.cumsum(ids == EOS, 1) - (ids == EOS) > 0
    return np.where(over, PAD, ids)


class CaptionJudge:
    """A judge that reads captions exactly.

    Attributes:
        grammar: grammar of the level.
        accuracy: 1.
        hash: checksum of the words, their order and the version.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.accuracy: float | None = 1.0
        self.hash = hashlib.sha256(repr((VERSION, VOCABULARY, grammar.places)).encode()).hexdigest()[:16]

    def predict(self, x: "Tensor") -> NDArray[np.int64]:
        """Return the shape that captions [N, T] name: [N]; 3 where none, or more than one, is named."""
        return self.read(x)[:, 0]

    def read(self, x: "Tensor") -> NDArray[np.int64]:
        """:meth:`Grammar.read`."""
        return self.grammar.read(x.numpy())

    def accepts(self, x: "Tensor") -> NDArray[np.bool_]:
        """:meth:`Grammar.accepts`; only such captions are strictly correct."""
        return self.grammar.accepts(x.numpy())
