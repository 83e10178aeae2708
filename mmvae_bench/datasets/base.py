"""The interface of data sets: declared facts, and arrays of base rows built from files or from a seed."""

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
    """The array ``entries[index]``, stored once where rows share entries: ten captions, one picture."""

    entries: Stored  # distinct ones, [n, *shape], perhaps memory-mapped
    index: NDArray[np.int64]  # of each row's entry, [N]

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
        """Type of the entries."""
        return self.entries.dtype

    def take(self, rows: NDArray[np.intp]) -> "Repeated":
        """Return the rows with these indices; they share the entries."""
        return Repeated(self.entries, self.index[rows])


Entries = Stored | Repeated
FACTS = ("label", "item", "attributes")  # arrays of rows besides their entries


@dataclass(frozen=True)
class Protocol:
    """The common protocol of a data set (protocol 15): the same for every model, overridable from the command line.

    ``rows`` and ``cost`` are only for estimates of time.
    """

    nets: str  # preset with options, as typed: mlp[hidden=256]
    latent_dim: int
    epochs: int
    batch_size: int
    learning_rate: float  # of Adam
    rows: int = 10_000  # number of training rows
    cost: float = 1.0  # time per row relative to mnist_street with the same nets and model


class Judge(Interface):
    """A classifier of entries: a trained oracle or an exact reader."""

    accuracy: float | None  # share of true test entries judged correctly; None: no test class was seen in training
    hash: str  # of its weights or rules; scores by different judges are never averaged

    def predict(self, x: "Tensor") -> NDArray[np.int64]:
        """Return the classes [N] of entries [N, *shape]; C, one past the last, where none can be read."""
        ...

    def read(self, x: "Tensor") -> NDArray[np.int64]:
        """Return the values of all attributes, [N, A]; one past the last value where it cannot be read."""
        ...


@dataclass(frozen=True)
class Rows:
    """N base rows: one-to-one pairs, complete. Nothing is hidden here."""

    x: Mapping[str, Entries]  # modality -> [N, *shape]: pixels, float32 or word ids; perhaps memory-mapped
    label: NDArray[np.int64] | None = None  # class of each row in 0..C-1
    # Item that each row shows, such as a picture. No item is in two splits. None: each row is its own
    item: NDArray[np.int64] | None = None
    attributes: NDArray[np.int64] | None = None  # value of each of A attributes in each row, [N, A]

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    @property
    def values(self) -> NDArray[np.int64] | None:
        """Values of all attributes, else the class, [N, A]; None if rows have neither."""
        if self.attributes is not None or self.label is None:
            return self.attributes
        return self.label[:, None]

    @property
    def items(self) -> NDArray[np.int64]:
        """Item of each row, [N]: ``item``, or the row itself."""
        return np.arange(len(self)) if self.item is None else self.item

    def take(self, index: NDArray[np.intp]) -> "Rows":
        """Return the rows with these indices, copied, except shared or memory-mapped entries."""
        x: dict[str, Entries] = {}
        for name, values in self.x.items():
            if isinstance(values, np.memmap):
                x[name] = Repeated(values, np.asarray(index, np.int64))
            else:
                x[name] = values.take(index) if isinstance(values, Repeated) else values[index]
        facts = (self.label, self.item, self.attributes)
        return Rows(x, *(None if fact is None else fact[index] for fact in facts))


@dataclass(frozen=True)
class Built:
    """The arrays that :meth:`Dataset.build` returns."""

    train: Rows
    test: Rows
    subset: str = ""  # empty for the complete official data, else such as "svhn 8000+2000"; every score carries it
    # Modality -> (entries, labels) that its oracle is trained on; other oracles use the training rows
    singles: Mapping[str, tuple[Stored, NDArray[np.int64]]] | None = None
    # Modality -> words by id, where they are computed from the data
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Dataset(ABC):
    """A data set with its options: the keyword-only parameters of the constructor."""

    version: ClassVar[int] = 1  # increased by every change of this data set's numbers
    summary: ClassVar[str] = ""  # one line for ``list``, with the licence
    classes: tuple[str, ...] | None = None  # names of the C classes, or None where there are none
    related: ClassVar[Literal["class", "item"]] = "class"  # what makes two rows related
    ordered: ClassVar[Literal["", "line", "circle"]] = ""  # the classes are bins of a line or a circle, in their order
    pairs: int = 1  # number of pairings of each complete row within its class (dm)

    @property
    @abstractmethod
    def modalities(self) -> Sequence["Modality"]:
        """The modalities, in the order of results."""

    @property
    @abstractmethod
    def protocol(self) -> Protocol:
        """The common protocol."""

    @abstractmethod
    def build(self, data_dir: Path) -> Built:
        """Make the arrays, deterministically: from ``data_dir`` (read-only), or generated from a fixed seed.

        Raises:
            DataError: If a file is truncated or different from what is expected.
        """

    @property
    def may_be_shown(self) -> bool:
        """True if pictures made from it may be published."""
        return True

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]] | None:
        """Attribute -> its values, or None."""
        return None

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Return exact judges of modalities that need no trained oracle."""
        return {}

    def sources(self, data_dir: Path) -> list[Path]:
        """Return the files that :meth:`build` reads; the cache's key depends on them. Empty for generated data.

        Raises:
            DataError: If one is absent. The message names the command, or the file and its place.
        """
        return []

    def fetch(self, data_dir: Path) -> None:
        """Download the official files into ``data_dir`` and verify them.

        Raises:
            DataError: If a download fails or a checksum differs.
        """
        raise BenchError("This data set is generated on first use: there is nothing to fetch.")

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy files that the user has into ``data_dir``, under the names by which they are read.

        Raises:
            DataError: If a file is not one of this data set's.
        """
        raise BenchError("This data set takes no --from. 'mmvae-bench data check' says where files belong.")


def validation_split(rows: Rows, name: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split training rows into training and validation, 5 % (protocol 7), both in ascending order.

    One random item of every twenty consecutive ones is validation with all its rows; below 20 items there may be none.
    The draw depends on the data set's name, not on the seed of the run; a limit on the rows moves no row to the other
    side.
    """
    items, item = np.unique(rows.items, return_inverse=True)
    start = np.arange(0, len(items), 20)
    chosen = start + (np.random.default_rng(seed_for("validation", name)).random(len(start)) * 20).astype(np.intp)
    validation = np.isin(item, chosen)
    return np.flatnonzero(~validation), np.flatnonzero(validation)
