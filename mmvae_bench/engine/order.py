"""Which rows each step sees: an epoch is one permutation, dealt out so that all batches are alike.

The rows of an epoch are sorted by presence pattern (which modalities they show), in random order within a pattern, and
dealt out like cards: step t gets rows t, t + S, t + 2 S, ... of S steps. So no two batches differ by more than one row,
in all or of a pattern, and within a batch the patterns stand together: what is absent is no work, not scattered zeros.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.presence import Presence
from mmvae_bench.seeds import seed_for

EMPTY = -1  # in place of a row's number: a slot that fills a static shape and shows nothing


@dataclass(frozen=True)
class Order:
    """The rows of each step of a run, the same for every model of a seed.

    Attributes:
        presence: What is hidden; its rows are the base rows.
        batch_size: The most rows a step has.
        pure: Complete and incomplete rows never share a batch.
    """

    presence: Presence
    batch_size: int
    pure: bool = False

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch: ceil(N / batch_size), N = all base rows, whatever is dropped."""
        return math.ceil(self.presence.rows / self.batch_size)

    def epoch(self, number: int) -> list[NDArray[np.intp]]:
        """The rows of each step, sorted by pattern."""
        pattern = self._patterns(number)
        generator = np.random.default_rng(seed_for("order", self.presence.dataset, self.presence.seed, number))
        parts = []
        for rows, steps, total in self._kinds:
            order = _repeated(generator, rows, total)
            order = order[np.argsort(pattern[order], kind="stable")]
            parts += [order[t::steps] for t in range(steps)]
        return parts if len(self._kinds) == 1 else [parts[t] for t in generator.permutation(len(parts))]

    def static(self, number: int, slots: list[NDArray[np.int64]]) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """The same rows in the slots of :meth:`slots`, else :data:`EMPTY`: (which layout, rows [slots])."""
        pattern = self._patterns(number)
        for rows in self.epoch(number):
            which = int(len(slots) > 1 and not self.presence.complete[rows[0]])
            layout = slots[which]
            own = pattern[rows]  # sorted, as the layout is
            nth = np.arange(len(rows)) - np.searchsorted(own, own)  # of its pattern
            filled = np.full(len(layout), EMPTY)
            filled[np.searchsorted(layout, own) + nth] = rows
            yield which, filled

    def slots(self, epochs: int) -> list[NDArray[np.int64]]:
        """For each kind of batch the pattern of every slot, sorted: as many slots as the fullest batch of a run needs.

        A pattern is a number whose bit m says whether modality m is there.
        """
        most: list[dict[int, int]] = [{} for _ in self._kinds]
        for number in range(epochs if self._changes else 1):
            pattern = self._patterns(number)
            for need, (rows, steps, total) in zip(most, self._kinds, strict=True):
                seen, counts = np.unique(pattern[rows], return_counts=True)
                often, twice = divmod(total, len(rows))  # how often each row is shown, and how many once more
                for p, count in zip(seen.tolist(), counts.tolist(), strict=True):
                    need[p] = max(need.get(p, 0), math.ceil((often * count + min(count, twice)) / steps))
        return [np.repeat(*np.array(sorted(need.items())).T) for need in most]

    @property
    def _changes(self) -> bool:
        """Whether a row's pattern differs between epochs."""
        return self.presence.missing.scheme == "split"

    def _patterns(self, number: int) -> NDArray[np.int64]:
        shown = self.presence.at(number)
        return np.asarray((1 << np.arange(len(shown))) @ shown)

    @cached_property
    def _kinds(self) -> list[tuple[NDArray[np.intp], int, int]]:
        """For each kind of batch: its rows, its steps, and how many rows those show (more, where some are dropped)."""
        rows, total = self.presence.trained(), self.presence.rows
        complete = self.presence.complete[rows]
        if not self.pure or complete.all() or not complete.any() or self.steps < 2:
            return [(rows, self.steps, total)]
        first = min(max(1, round(self.steps * float(complete.mean()))), self.steps - 1)
        kinds = ((rows[complete], first), (rows[~complete], self.steps - first))
        return [(own, steps, steps * self.batch_size) for own, steps in kinds]


def _repeated(generator: np.random.Generator, rows: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """``total`` rows in random order, each ``total // len(rows)`` times or once more."""
    return np.concatenate([generator.permutation(rows) for _ in range(math.ceil(total / len(rows)))])[:total]
