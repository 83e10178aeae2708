"""Training rows on the device, as stored, and batches of them: an epoch is one permutation, dealt out.

The rows of an epoch are sorted by presence pattern (the modalities that they show), in random order within a pattern,
and dealt out: of S steps, step t gets rows t, t + S, t + 2 S, ... So batches differ by at most one row, in all and in
each pattern. Within a batch rows of a pattern are consecutive, so that absent entries cost no computation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.datasets.base import Repeated, Rows
from mmvae_bench.presence import Presence
from mmvae_bench.seeds import seed_for
from mmvae_bench.types import MultimodalBatch, to_values, zero_where_absent

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


@dataclass(frozen=True)
class Epoch:
    """Presence and pairing of an epoch, on the device."""

    present: Tensor  # of each entry, Bool[M, N]
    partner: dict[str, Tensor]  # modality -> row whose entry each row shows, [N]; only modalities that are paired anew


@dataclass(frozen=True)
class Feed:
    """The batches of a run, the same for every model of a seed."""

    x: dict[str, Tensor]  # modality -> all entries, on the device, as stored
    entry: dict[str, Tensor]  # modality -> index of each row's entry, [N]; only if several rows share entries
    label: NDArray[np.int64] | None  # classes of the rows, on the host; used only to pair within a class
    order: Order  # rows of each step
    pairs: int = 1  # number of pairings of the complete rows (dm), one per epoch in turn

    @classmethod
    def load(
        cls, rows: Rows, presence: Presence, batch_size: int, device: torch.device, *,
        pairs: int = 1, pure: bool = False,
    ) -> "Feed":  # fmt: skip
        """Copy the rows to the device once. On a CPU memory-mapped arrays are not copied: processes share them."""
        x, entry = {}, {}
        for name, values in rows.x.items():
            stored = values
            if isinstance(values, Repeated):
                stored, index = values.entries, values.index
                if device.type != "cpu":  # entries of no row are not copied
                    used, index = np.unique(index, return_inverse=True)
                    stored = stored[used]
                entry[name] = torch.from_numpy(index).to(device)
            x[name] = torch.from_numpy(np.ascontiguousarray(stored)).to(device)
        return cls(x, entry, rows.label, Order(presence, batch_size, pure), pairs)

    @property
    def device(self) -> torch.device:
        """The device of the entries."""
        return next(iter(self.x.values())).device

    @property
    def presence(self) -> Presence:
        """The presence of the rows."""
        return self.order.presence

    @property
    def steps(self) -> int:
        """Number of optimiser steps per epoch."""
        return self.order.steps

    def start(self, number: int) -> Epoch:
        """Copy presence and pairing of an epoch to the device."""
        present, partner = torch.from_numpy(self.presence.at(number)).to(self.device), {}
        if self.pairs > 1 and self.label is not None:
            for name in self.presence.names[1:]:
                rows = self.presence.partners(self.label, name, number % self.pairs)
                partner[name] = torch.from_numpy(rows).to(self.device)
        return Epoch(present, partner)

    def batch(self, epoch: Epoch, rows: Tensor) -> MultimodalBatch:
        """Return the batch of ``rows`` [B]; a negative number is an empty slot. Hidden entries are zero."""
        some = rows.clamp(min=0)
        shown = epoch.present[:, some] & (rows >= 0)
        x = {}
        for name, own in zip(self.x, shown, strict=True):
            entries = self._values(name, epoch.partner[name][some] if name in epoch.partner else some)
            x[name] = zero_where_absent(entries, own)
        return MultimodalBatch(x, shown)

    def epoch(self, number: int, done: int = 0) -> Iterator[MultimodalBatch]:
        """Yield the batches of an epoch without the first ``done``."""
        epoch = self.start(number)
        for rows in self.order.epoch(number)[done:]:
            yield self.batch(epoch, torch.from_numpy(rows).to(self.device))

    def draw(self, name: str, n: int) -> Tensor:
        """Return n entries of a modality that are present in training, for initialisation from data."""
        seen = np.flatnonzero(self.presence.ever()[self.presence.names.index(name)])
        generator = np.random.default_rng(seed_for("draw", self.presence.dataset, self.presence.seed, name))
        rows = torch.from_numpy(generator.choice(seen, n, replace=n > len(seen)))
        return self._values(name, rows.to(self.x[name].device))

    def _values(self, name: str, rows: Tensor) -> Tensor:
        """The entries of rows as inputs of nets."""
        return to_values(self.x[name][self.entry[name][rows] if name in self.entry else rows])
