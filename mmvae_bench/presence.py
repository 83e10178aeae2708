"""Presence of entries in training, drawn from a :class:`~mmvae_bench.spec.Missing`. Entries are hidden only here.

Presence is drawn on base rows and depends on (data set, seed), never on the model; entries hidden at a ratio are also
hidden at any higher one (protocol 1-4). Multiplied pairs (``dm``) are formed afterwards, among complete rows only. Rows
that show the same picture are complete together: no picture of an incomplete row is in a complete one.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.seeds import seed_for
from mmvae_bench.spec import Missing


@dataclass(frozen=True)
class Presence:
    """Presence of the entries of one run: N base rows of M modalities."""

    missing: Missing  # ratio, scheme and treatment of incomplete rows
    names: tuple[str, ...]  # names of the modalities, in order
    rows: int  # N
    dataset: str  # registered name; with ``seed`` it seeds every draw
    seed: int  # seed of the run
    # Item that each row shows, [N], where several rows may show the same; ratios are then shares of items
    item: NDArray[np.int64] | None = None
    # Presence of each entry, Bool[M, N], under the scheme ``mask``, which draws nothing; else None
    given: NDArray[np.bool_] | None = None

    @classmethod
    def of_mask(cls, given: NDArray[np.bool_], names: tuple[str, ...], dataset: str, seed: int) -> "Presence":
        """The holes of a user's own data: Bool[M, N] says which entries there are."""
        share = 1 - float(given.all(0).mean())
        return cls(Missing(share, "mask"), names, given.shape[1], dataset, seed, given=given)

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """Mask of the rows that have all modalities in every epoch, [N]."""
        if self.given is not None:
            return np.asarray(self.given.all(0))
        if self.missing.scheme.startswith("independent"):
            return np.asarray(self._independent.all(0))
        items, of = self._items
        kept = np.zeros(items, dtype=bool)
        f_n = round((1 - self.missing.ratio) * items, 6)  # .9 of 10 leaves 1, whatever 1 - .9 is in binary
        kept[_generator("mask", self.dataset, self.seed).permutation(items)[: int(f_n)]] = True
        return kept[of]

    def at(self, epoch: int) -> NDArray[np.bool_]:
        """Return the presence in an epoch, Bool[M, N]. Only ``split`` changes with the epoch."""
        if self.given is not None:
            return self.given
        kind, _, argument = self.missing.scheme.partition(":")
        if kind == "independent":
            return self._independent
        if kind == "only":
            side = np.full(self.rows, self.names.index(argument))
        else:
            generator = _generator("side", self.dataset, self.seed, 0 if argument == "fixed" else epoch)
            side = generator.integers(len(self.names), size=self.rows)  # uniform: the one that an incomplete row shows
        shown: NDArray[np.bool_] = self.complete | (np.arange(len(self.names))[:, None] == side)
        return shown

    def ever(self) -> NDArray[np.bool_]:
        """Return the entries shown in any epoch, Bool[M, N]; under ``split`` all those of the rows trained on."""
        shown = np.ones((len(self.names), self.rows), dtype=bool) if self.missing.scheme == "split" else self.at(0)
        return shown & (self.complete | (self.missing.incomplete == "keep"))

    def trained(self) -> NDArray[np.intp]:
        """Return the rows trained on: all, or with ``drop`` the complete ones."""
        return np.arange(self.rows) if self.missing.incomplete == "keep" else np.flatnonzero(self.complete)

    def partners(self, label: NDArray[np.int64], name: str, pairing: int) -> NDArray[np.intp]:
        """Return the row whose entry of modality ``name`` each row shows in pairing 0, 1, ... of ``dm``, [N].

        Pairing 0 is the base pairing. In others the complete rows of a class are permuted, by a key that depends on the
        data set alone, so that no entry of an incomplete row occurs in a complete one.
        """
        partner = np.arange(self.rows)
        if pairing:
            key = _generator("pairs", self.dataset, name, pairing).random(self.rows)
            for c in np.unique(label):
                own = np.flatnonzero(self.complete & (label == c))
                partner[own] = own[np.argsort(key[own])]
        return partner

    @cached_property
    def _items(self) -> tuple[int, NDArray[np.intp]]:
        """The number of items, and the item of each row, [N]; without repetition each row is its own item."""
        if self.item is None:
            return self.rows, np.arange(self.rows)
        found, of = np.unique(self.item, return_inverse=True)
        return len(found), of

    @cached_property
    def _independent(self) -> NDArray[np.bool_]:
        """Presence under ``independent``: m is absent where u[m, item] < ratio; where all are, the largest u stays."""
        items, of = self._items
        u = _generator("mask", self.dataset, self.seed).random((len(self.names), items))
        kept = np.array([[name == self.missing.modality] for name in self.names])
        u = np.where(kept, 1.0, u)  # never dropped, and always the largest
        last = np.arange(len(self.names))[:, None] == u.argmax(0)
        shown: NDArray[np.bool_] = (u >= self.missing.ratio) | last
        return shown[:, of]


def _generator(*parts: str | int) -> np.random.Generator:
    return np.random.default_rng(seed_for(*parts))
