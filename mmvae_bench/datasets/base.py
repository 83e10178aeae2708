"""What a data set is: declared facts, and arrays of base rows built from files or from a seed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError

if TYPE_CHECKING:
    from mmvae_bench.types import Modality


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


@dataclass(frozen=True)
class Rows:
    """N base rows: one-to-one pairs, complete. Nothing is hidden here.

    Attributes:
        x: For each modality an array [N, *shape], ``uint8`` pixels or ``float32``; perhaps memory-mapped.
        label: Class of each row in 0..C-1, int64, or None.
    """

    x: Mapping[str, NDArray[np.uint8] | NDArray[np.float32]]
    label: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    def take(self, index: NDArray[np.intp]) -> "Rows":
        """The rows of ``index``, copied."""
        return Rows({name: x[index] for name, x in self.x.items()}, None if self.label is None else self.label[index])


@dataclass(frozen=True)
class Built:
    """What :meth:`Dataset.build` returns.

    Attributes:
        subset: Empty for the complete official data, else what it is instead, such as ``svhn 8000+2000``; every row of
            results carries it.
        singles: Where the oracle should train on more than the pairs: modality -> (entries, labels). Others train on
            the training rows.
    """

    train: Rows
    test: Rows
    subset: str = ""
    singles: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.int64]]] | None = None


class Dataset(ABC):
    """A data set with its options: the keyword-only parameters of the constructor.

    Class attributes:
        version: Bumped by whoever writes "Changes numbers:" about this data set.
        summary: One line for ``list``, with the licence.
        classes: Names of the C classes, or None where there are none.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    classes: tuple[str, ...] | None = None
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

    def sources(self, data_dir: Path) -> list[Path]:
        """The files that :meth:`build` reads; their content is part of the cache's key. Empty for generated data.

        Raises:
            DataError: If one is not there: the sentence says which command or which file at which place would help.
        """
        return []

    def fetch(self, data_dir: Path) -> None:
        """Download the official files into ``data_dir`` and verify them.

        Raises:
            DataError: If a download fails or a checksum differs.
        """
        raise BenchError("this data set is generated on first use: nothing to fetch")
