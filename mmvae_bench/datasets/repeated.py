"""Arrays of entries that several rows share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stored = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Repeated:
    """The array ``entries[index]``, stored once where rows share entries: ten captions, one picture.

    Attributes:
        entries: [n, *shape], perhaps memory-mapped.
        index: Which entry each row has, [N], int64.
    """

    entries: Stored
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> Stored:
        values: Stored = self.entries[self.index[rows]]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Stored:
        values: Stored = np.asarray(self.entries[self.index], dtype)
        return values

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, *shape]."""
        return (len(self.index), *self.entries.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the entries."""
        return self.entries.dtype

    def take(self, rows: NDArray[np.intp]) -> "Repeated":
        """The rows of ``rows``, sharing the entries."""
        return Repeated(self.entries, self.index[rows])
