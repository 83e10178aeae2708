"""What a data set is: declared facts, and arrays of base rows built from files or from a seed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from torch import Tensor

    from mmvae_bench.types import Modality


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


@dataclass(frozen=True)
class Protocol:
    """The common protocol of a data set (protocol 15): the same for every model, overridable from the command line.

    Attributes:
        nets: A nets preset with options, as typed: ``mlp[hidden=256]``.
    """

    nets: str
    latent_dim: int
    epochs: int
    batch_size: int
    learning_rate: float


class Judge(Interface):
    """Says what an entry shows. A trained oracle is one, an exact reader another.

    Attributes:
        accuracy: Share of true test entries judged rightly; None where no test class was seen in training.
        hash: Of what it judges by: scores by different judges are never averaged.
    """

    accuracy: float | None
    hash: str

    def predict(self, x: "Tensor") -> NDArray[np.int64]:
        """The class of entries [N, *shape]: [N]; C, one past the last, where nothing can be read."""
        ...

    def read(self, x: "Tensor") -> NDArray[np.int64]:
        """The value of each attribute: [N, A]; one past its last where it cannot be read."""
        ...


@dataclass(frozen=True)
class Rows:
    """N base rows: one-to-one pairs, complete. Nothing is hidden here.

    Attributes:
        x: For each modality an array [N, *shape]: ``uint8`` pixels, ``float32``, or ``int16`` word ids; perhaps
            memory-mapped, perhaps :class:`Repeated`.
        label: Class of each row in 0..C-1, int64, or None.
        item: What each row shows, int64: rows of one picture and never of two splits. None: each row its own.
        attributes: The value of each of A attributes in each row, int64 [N, A], or None.
    """

    x: Mapping[str, "Stored | Repeated"]
    label: NDArray[np.int64] | None = None
    item: NDArray[np.int64] | None = None
    attributes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    @property
    def items(self) -> NDArray[np.int64]:
        """What each row shows, [N]: its item, or the row itself."""
        return np.arange(len(self)) if self.item is None else self.item

    def take(self, index: NDArray[np.intp]) -> "Rows":
        """The rows of ``index``, copied; entries that are shared or memory-mapped are not."""
        x = {name: _taken(values, index) for name, values in self.x.items()}
        facts = (self.label, self.item, self.attributes)
        return Rows(x, *(None if fact is None else fact[index] for fact in facts))


def _taken(values: "Stored | Repeated", index: NDArray[np.intp]) -> "Stored | Repeated":
    if isinstance(values, np.memmap):
        return Repeated(values, np.asarray(index, np.int64))
    return values.take(index) if isinstance(values, Repeated) else values[index]


@dataclass(frozen=True)
class Built:
    """What :meth:`Dataset.build` returns.

    Attributes:
        subset: Empty for the complete official data, else what it is instead, such as ``svhn 8000+2000``; every row of
            results carries it.
        singles: Where the oracle should train on more or less than the pairs: modality -> (entries, labels). Others
            train on the training rows.
        vocabularies: Modality -> its words by id, where that is computed from the data.
    """

    train: Rows
    test: Rows
    subset: str = ""
    singles: Mapping[str, tuple[Stored, NDArray[np.int64]]] | None = None
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Dataset(ABC):
    """A data set with its options: the keyword-only parameters of the constructor.

    Class attributes:
        version: Bumped by whoever writes "Changes numbers:" about this data set.
        summary: One line for ``list``, with the licence.
        classes: Names of the C classes, or None where there are none.
        related: What makes two rows related: their class, or the item that they show.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    classes: tuple[str, ...] | None = None
    related: ClassVar[Literal["class", "item"]] = "class"
    pairs: int = 1  # dm: how many times each complete row is paired within its class

    @property
    @abstractmethod
    def modalities(self) -> Sequence["Modality"]:
        """The modalities, in the order in which results name them."""

    @property
    @abstractmethod
    def protocol(self) -> Protocol:
        """Nets, latent size, epochs, batch size and learning rate of the common protocol."""

    @abstractmethod
    def build(self, data_dir: Path) -> Built:
        """Make the arrays, deterministically: from ``data_dir`` (read-only), or generated from a fixed seed.

        Raises:
            DataError: If a file is truncated or not what it should be.
        """

    @property
    def may_be_shown(self) -> bool:
        """Whether pictures made from it may be published."""
        return True

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]] | None:
        """Attribute -> its values."""
        return None

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Exact judges of modalities that need no trained oracle."""
        return {}

    def sources(self, data_dir: Path) -> list[Path]:
        """The files that :meth:`build` reads; their content is part of the cache's key. Empty for generated data.

        Raises:
            DataError: If one is not there: the sentence says which command or which file at which place would help.
        """
        return []

    def fetch(self, data_dir: Path, given: Sequence[Path] = ()) -> None:
        """Download the official files into ``data_dir`` and verify them, or take the ``given`` ones instead.

        Raises:
            DataError: If a download fails or a checksum differs, or a given file is not one of this data set's.
        """
        raise BenchError("this data set is generated on first use: nothing to fetch")


ONE_IN = 20  # training items are validation items


def validation_split(rows: Rows, name: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split training rows into training and validation, 5 % (protocol 7), both in ascending order.

    One random item of every twenty consecutive ones is validation with all its rows, whatever the run's seed; a limit
    on the rows moves none from one side to the other.

    Args:
        rows: Training rows; below 20 items there may be no validation row.
        name: Of the data set, the only thing the draw depends on.
    """
    items, item = np.unique(rows.items, return_inverse=True)
    start = np.arange(0, len(items), ONE_IN)
    chosen = start + (np.random.default_rng(seed_for("validation", name)).random(len(start)) * ONE_IN).astype(np.intp)
    validation = np.isin(item, chosen)
    return np.flatnonzero(~validation), np.flatnonzero(validation)


Entries = Stored | Repeated
