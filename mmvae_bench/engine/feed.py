"""Training rows on the device: bytes stay bytes until a batch is made, an epoch is one permutation and index slices."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.datasets.base import Repeated, Rows
from mmvae_bench.engine.order import Order
from mmvae_bench.presence import Presence
from mmvae_bench.seeds import seed_for
from mmvae_bench.types import MultimodalBatch, to_values, zero_where_absent


@dataclass(frozen=True)
class Epoch:
    """What an epoch's batches are cut from, on the device.

    Attributes:
        present: Bool[M, N]: which entries are shown.
        partner: For each modality whose entries other rows lend in this epoch, whose entry each row shows, [N].
    """

    present: Tensor
    partner: dict[str, Tensor]


@dataclass(frozen=True)
class Feed:
    """The batches of a run, the same for every model of a seed.

    Attributes:
        x: For each modality all entries, on the device, as stored.
        entry: Which entry a row has, for modalities whose entries several rows share.
        label: Of the rows, on the host; used to pair within a class only.
        order: Which rows each step sees.
        pairs: dm, how many pairings of the complete rows take turns, an epoch each.
    """

    x: dict[str, Tensor]
    entry: dict[str, Tensor]
    label: NDArray[np.int64] | None
    order: Order
    pairs: int = 1

    @classmethod
    def load(
        cls, rows: Rows, presence: Presence, batch_size: int, device: torch.device, *,
        pairs: int = 1, pure: bool = False,
    ) -> "Feed":  # fmt: skip
        """Copy the rows to the device once; on a CPU what is memory-mapped stays where it is, for all processes."""
        x, entry = {}, {}
        for name, values in rows.x.items():
            stored = values
            if isinstance(values, Repeated):
                stored, index = values.entries, values.index
                if device.type != "cpu":  # what no row shows need not travel
                    used, index = np.unique(index, return_inverse=True)
                    stored = stored[used]
                entry[name] = torch.from_numpy(index).to(device)
            x[name] = torch.from_numpy(np.ascontiguousarray(stored)).to(device)
        return cls(x, entry, rows.label, Order(presence, batch_size, pure), pairs)

    @property
    def device(self) -> torch.device:
        """Where the entries are."""
        return next(iter(self.x.values())).device

    @property
    def presence(self) -> Presence:
        """What is hidden."""
        return self.order.presence

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch."""
        return self.order.steps

    def start(self, number: int) -> Epoch:
        """Upload what the batches of an epoch need beside their rows."""
        partner = {name: torch.from_numpy(rows).to(self.device) for name, rows in self._partners(number).items()}
        return Epoch(torch.from_numpy(self.presence.at(number)).to(self.device), partner)

    def batch(self, epoch: Epoch, rows: Tensor) -> MultimodalBatch:
        """The batch of some rows, [B]; a negative one is an empty slot. What is hidden is zero."""
        some = rows.clamp(min=0)
        shown = epoch.present[:, some] & (rows >= 0)
        x = {
            name: zero_where_absent(
                self._values(name, epoch.partner[name][some] if name in epoch.partner else some), own
            )
            for name, own in zip(self.x, shown, strict=True)
        }
        return MultimodalBatch(x, shown)

    def epoch(self, number: int, done: int = 0) -> Iterator[MultimodalBatch]:
        """The batches of an epoch, one after the other, less the first ``done``."""
        epoch = self.start(number)
        for rows in self.order.epoch(number)[done:]:
            yield self.batch(epoch, torch.from_numpy(rows).to(self.device))

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
        if self.pairs == 1 or self.label is None:
            return {}
        turn = number % self.pairs
        return {name: self.presence.partners(self.label, name, turn) for name in self.presence.names[1:]}
