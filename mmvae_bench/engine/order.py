"""The rows of each step: an epoch is one permutation, dealt out so that all batches are alike.

The rows of an epoch are sorted by presence pattern (the modalities that they show), in random order within a pattern,
and dealt out: of S steps, step t gets rows t, t + S, t + 2 S, ... So batches differ by at most one row, in all and in
each pattern. Within a batch rows of a pattern are consecutive, so that absent entries cost no computation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.presence import Presence
from mmvae_bench.seeds import seed_for

EMPTY = -1  # number of no row: a slot that fills a static shape and shows nothing


@dataclass(frozen=True)
class Order:
    """The rows of each step of a run, the same for every model of a seed."""

    presence: Presence  # of the base rows
    batch_size: int  # largest number of rows per step
    pure: bool = False  # True if complete and incomplete rows never share a batch

    @property
    def steps(self) -> int:
        """Number of optimiser steps per epoch: ceil(N / batch_size), N = all base rows, dropped ones included."""
        return math.ceil(self.presence.rows / self.batch_size)

    def epoch(self, number: int) -> list[NDArray[np.intp]]:
        """The rows of each step, sorted by pattern."""
        pattern = self._patterns(number)
        generator = np.random.default_rng(seed_for("order", self.presence.dataset, self.presence.seed, number))
        parts = []
        for rows, steps, total in self._kinds:
            turns = math.ceil(total / len(rows))  # each row is shown ``total // len(rows)`` times or once more
            order = np.concatenate([generator.permutation(rows) for _ in range(turns)])[:total]
            order = order[np.argsort(pattern[order], kind="stable")]
            parts += [order[t::steps] for t in range(steps)]
        return parts if len(self._kinds) == 1 else [parts[t] for t in generator.permutation(len(parts))]

    def static(self, number: int, slots: list[NDArray[np.int64]]) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Yield (kind of batch, rows [slots]) of each step: the rows of :meth:`epoch`, else :data:`EMPTY`."""
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
        """Return for each kind of batch the pattern of every slot, sorted; enough slots for the largest batch of a run.

        Bit m of a pattern is 1 if modality m is present.
        """
        most: list[dict[int, int]] = [{} for _ in self._kinds]
        changes = self.presence.missing.scheme == "split"  # a row's pattern differs between epochs
        for number in range(epochs if changes else 1):
            pattern = self._patterns(number)
            for need, (rows, steps, total) in zip(most, self._kinds, strict=True):
                seen, counts = np.unique(pattern[rows], return_counts=True)
                often, twice = divmod(total, len(rows))  # each row is shown ``often`` times, ``twice`` rows once more
                for p, count in zip(seen.tolist(), counts.tolist(), strict=True):
                    need[p] = max(need.get(p, 0), math.ceil((often * count + min(count, twice)) / steps))
        return [np.repeat(*np.array(sorted(need.items())).T) for need in most]

    def _patterns(self, number: int) -> NDArray[np.int64]:
        shown = self.presence.at(number)
        return np.asarray((1 << np.arange(len(shown))) @ shown)

    @cached_property
    def _kinds(self) -> list[tuple[NDArray[np.intp], int, int]]:
        """(Rows, number of steps, number of rows shown in them) of each kind of batch; dropped rows are replaced."""
        rows, total = self.presence.trained(), self.presence.rows
        complete = self.presence.complete[rows]
        if not self.pure or complete.all() or not complete.any() or self.steps < 2:
            return [(rows, self.steps, total)]
        first = min(max(1, round(self.steps * float(complete.mean()))), self.steps - 1)
        kinds = ((rows[complete], first), (rows[~complete], self.steps - first))
        return [(own, steps, steps * self.batch_size) for own, steps in kinds]
