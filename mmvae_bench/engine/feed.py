"""Training rows on the device, as stored, and batches of them: an epoch is one permutation and index slices."""

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
