"""The values that flow through the house: modalities, batches of them, losses.

Dimension letters, everywhere: M modalities, E experts, S subsets, K samples, B batch, D latent, N data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Modality:
    """One kind of observation x_m.

    Attributes:
        name: A field's word such as ``mnist``; never a number.
        shape: Of one entry, without the batch axis: ``(1, 28, 28)``.
        likelihood: ``laplace``, ``normal``, ``bernoulli`` or ``categorical`` (see ``likelihoods.py``).
        scale: Of p(x_m | z), where the likelihood has one.
        weight: Multiplies log p(x_m | z) in training, the same for every model; scores use 1.
        dtype: How entries are stored. ``uint8`` means pixels: divided by 255 on the device, decoded through a sigmoid.
            ``int16`` means word ids of shape ``(T,)``, likelihood ``categorical``; id 0 is padding and counts nothing.
        vocabulary: The words by id, where entries are word ids; empty until the data are read if it is computed.
    """

    name: str
    shape: tuple[int, ...]
    likelihood: str = "laplace"
    scale: float = 1.0
    weight: float = 1.0
    dtype: Literal["uint8", "float32", "int16"] = "uint8"
    vocabulary: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether entries are word ids."""
        return self.dtype == "int16"


def to_values(stored: Tensor) -> Tensor:
    """Stored entries as nets take them: pixels in [0, 1], word ids as int64, anything else as it is."""
    if stored.dtype == torch.uint8:
        return stored.float() / 255
    return stored.long() if stored.dtype == torch.int16 else stored


def zero_where_absent(x: Shaped[Tensor, "B ..."], present: Bool[Tensor, " B"]) -> Shaped[Tensor, "B ..."]:
    """x, with zeros in the rows that are not present."""
    return torch.where(present.reshape(-1, *(1,) * (x.dim() - 1)), x, torch.zeros_like(x))


def positions(where: Bool[Tensor, "..."]) -> Int[Tensor, " n"] | None:
    """Return the flat positions where a mask holds, or None where it holds everywhere: what is worth computing.

    Where it holds nowhere, position 0 stands in, so that no net sees an empty batch: whoever computes masks after.
    """
    if where.all():
        return None
    found = where.flatten().nonzero()[:, 0]
    return found if len(found) else found.new_zeros(1)


@dataclass(frozen=True)
class MultimodalBatch:
    """B rows, dense: every modality has a tensor for every row, and ``present`` says which entries exist.

    What lies behind a hidden entry is undefined (zeros from our engine): read entries through :meth:`visible`.

    Attributes:
        x: For each modality, in the data set's order, values of shape [B, *shape]: floats, or int64 word ids.
        present: Bool[M, B], rows of the matrix in the order of ``x``.
        label: Class of each row, or None.
        positions: Of a mask that follows from ``present``, the flat positions where it may hold (None: all of them).
            The engine puts its own here where shapes must be known beforehand: those may be too many, never too few.
    """

    x: Mapping[str, Shaped[Tensor, "B ..."]]
    present: Bool[Tensor, "M B"]
    label: Int[Tensor, " B"] | None = None
    positions: Callable[[Tensor], Tensor | None] = positions

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities' names, in order."""
        return tuple(self.x)

    @property
    def size(self) -> int:
        """B, the number of rows."""
        return self.present.shape[1]

    def where(self, name: str) -> Bool[Tensor, " B"]:
        """Which rows have modality ``name``."""
        return self.present[self.names.index(name)]

    def visible(self, name: str, rows: Int[Tensor, " n"] | None = None) -> Shaped[Tensor, "n ..."]:
        """The entries of ``name`` with zeros (padding) where absent, by ``torch.where``: not even NaN passes.

        Args:
            name: The modality.
            rows: Those of which rows, in this order; None: all B.
        """
        if rows is None:
            return zero_where_absent(self.x[name], self.where(name))
        return zero_where_absent(self.x[name].index_select(0, rows), self.where(name).index_select(0, rows))

    def given(self, *names: str) -> "MultimodalBatch":
        """The same rows with every modality but ``names`` hidden: conditioning on a subset.

        What is hidden is not there: a model that forgets to ask what is present finds zeros, not the answer.
        """
        keep = torch.tensor([name in names for name in self.names], device=self.present.device)
        x = {name: values if name in names else torch.zeros_like(values) for name, values in self.x.items()}
        return replace(self, x=x, present=self.present & keep[:, None])


@dataclass(frozen=True)
class Loss:
    """What a model returns for a batch.

    Attributes:
        total: The scalar to minimise: the mean over rows with at least one modality.
        terms: Detached means for the log, such as ``kl``; none of them is used in training.
    """

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]
