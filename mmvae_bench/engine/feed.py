"""Training rows on the device: bytes stay bytes until a batch is made, an epoch is one permutation and index slices."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.repeated import Repeated
from mmvae_bench.missing import Presence
from mmvae_bench.seeds import seed_for
from mmvae_bench.types import MultimodalBatch, to_values, zero_where_absent


@dataclass(frozen=True)
class Feed:
    """The batches of a run, the same for every model of a seed.

    Attributes:
        x: For each modality all entries, on the device, as stored.
        entry: Which entry a row has, for modalities whose entries several rows share.
        label: Of the rows, on the host; used to pair within a class only.
        presence: What is hidden.
        batch_size: Rows a step.
        pairs: dm, how many pairings of the complete rows take turns, an epoch each.
        pure: Complete and incomplete rows never share a batch.
    """

    x: dict[str, Tensor]
    entry: dict[str, Tensor]
    label: NDArray[np.int64] | None
    presence: Presence
    batch_size: int
    pairs: int = 1
    pure: bool = False

    @classmethod
    def load(
        cls,
        rows: Rows,
        presence: Presence,
        batch_size: int,
        device: torch.device,
        *,
        pairs: int = 1,
        pure: bool = False,
    ) -> "Feed":
        """Copy the rows to the device once."""
        stored = {name: v.entries if isinstance(v, Repeated) else v for name, v in rows.x.items()}
        x = {name: torch.from_numpy(np.ascontiguousarray(values)).to(device) for name, values in stored.items()}
        shared = {name: v.index for name, v in rows.x.items() if isinstance(v, Repeated)}
        entry = {name: torch.from_numpy(index).to(device) for name, index in shared.items()}
        return cls(x, entry, rows.label, presence, batch_size, pairs, pure)

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch: ceil(N / batch_size), N = all base rows, whatever is dropped."""
        return math.ceil(self.presence.rows / self.batch_size)

    def epoch(self, number: int) -> Iterator[MultimodalBatch]:
        """The batches of an epoch; what is hidden is zero."""
        device = next(iter(self.x.values())).device
        present = torch.from_numpy(self.presence.at(number)).to(device)
        partner = {name: torch.from_numpy(rows).to(device) for name, rows in self._partners(number).items()}
        for part in self._order(number):
            rows = torch.from_numpy(part).to(device)
            shown = present[:, rows]
            x = {
                name: zero_where_absent(self._values(name, partner[name][rows] if name in partner else rows), shown[m])
                for m, name in enumerate(self.x)
            }
            yield MultimodalBatch(x, shown)

    def draw(self, name: str, n: int) -> Tensor:
        """Return n entries of a modality that are present in training: for what is initialised from data."""
        seen = np.flatnonzero(self.presence.ever()[self.presence.names.index(name)])
        generator = np.random.default_rng(seed_for("draw", self.presence.dataset, self.presence.seed, name))
        rows = torch.from_numpy(generator.choice(seen, n, replace=n > len(seen)))
        return self._values(name, rows.to(self.x[name].device))

    def _values(self, name: str, rows: Tensor) -> Tensor:
        """The entries of rows, as nets take them."""
        return to_values(self.x[name][self.entry[name][rows] if name in self.entry else rows])

    def _partners(self, number: int) -> dict[str, NDArray[np.intp]]:
        turn = number % self.pairs
        if turn == 0 or self.label is None:
            return {}
        return {name: self.presence.partners(self.label, name, turn) for name in self.presence.names[1:]}

    def _order(self, number: int) -> list[NDArray[np.intp]]:
        """The rows of each step: a permutation cut into batches; repeated as needed where rows were dropped."""
        generator = np.random.default_rng(seed_for("order", self.presence.dataset, self.presence.seed, number))
        rows, total = self.presence.trained(), self.presence.rows
        complete = self.presence.complete[rows]
        if not self.pure or complete.all() or not complete.any() or self.steps < 2:
            return _batches(generator, rows, total, self.batch_size)
        first = min(max(1, round(self.steps * float(complete.mean()))), self.steps - 1)
        kinds, steps = (rows[complete], rows[~complete]), (first, self.steps - first)
        parts = [
            part
            for kind, count in zip(kinds, steps, strict=True)
            for part in _batches(generator, kind, count * self.batch_size, self.batch_size)
        ]
        return [parts[i] for i in generator.permutation(len(parts))]


def _batches(generator: np.random.Generator, rows: NDArray[np.intp], total: int, size: int) -> list[NDArray[np.intp]]:
    """``total`` rows in random order, each ``total // len(rows)`` times or once more, cut into batches."""
    repeats = math.ceil(total / len(rows))
    order = np.concatenate([generator.permutation(rows) for _ in range(repeats)])[:total]
    return np.split(order, range(size, total, size))
