"""The types that all parts share: modalities, batches and losses.

Dimension letters: M modalities, E experts, S subsets, K samples, B rows of a batch, L or D latent, N rows of data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Modality:
    """One kind of observation x_m.

    Attributes:
        name: a word such as ``mnist``, never a number.
        shape: shape of one entry, without the batch axis: ``(1, 28, 28)``.
        likelihood: ``laplace``, ``normal``, ``bernoulli``, ``categorical``, or one that is registered (docs/counts.md).
        scale: scale of p(x_m | z), where the likelihood has one.
        weight: factor of log p(x_m | z) in training, the same for every model; scores use 1.
        dtype: type of stored entries. ``uint8`` is for pixels: divided by 255 on the device, decoded through a sigmoid.
            ``int16`` is for word ids of shape ``(T,)``, likelihood ``categorical``; id 0 is padding and counts nothing.
        vocabulary: words by id, where entries are word ids; empty until the data are read if it is computed from them.
            Of a graph: names of the types of vertices.
        kind: name of its :class:`~mmvae_bench.kinds.base.Kind`. If it is not given: ``symbol`` for one word id,
            ``caption`` for several, ``picture`` for one to three channels of at least 8 x 8, else ``table``.
    """

    name: str
    shape: tuple[int, ...]
    likelihood: str = "laplace"
    scale: float = 1.0
    weight: float = 1.0
    dtype: Literal["uint8", "float32", "int16"] = "uint8"
    vocabulary: tuple[str, ...] = ()
    kind: str = ""

    def __post_init__(self) -> None:
        if not self.kind:
            words = "symbol" if self.shape == (1,) else "caption"
            numbers = "picture" if is_picture(self.shape) else "table"
            object.__setattr__(self, "kind", words if self.is_text else numbers)

    @property
    def is_text(self) -> bool:
        """True if entries are ids of words or of symbols."""
        return self.dtype == "int16"


def is_picture(shape: Sequence[int]) -> bool:
    """Return True for the shape of a picture: channels first, grey or colour, at least 8 x 8."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) >= 8


def to_values(stored: Tensor) -> Tensor:
    """Return stored entries as inputs of nets: pixels in [0, 1], word ids as int64, anything else unchanged."""
    if stored.dtype == torch.uint8:
        return stored.float() / 255
    return stored.long() if stored.dtype == torch.int16 else stored


def zero_where_absent(x: Shaped[Tensor, "B ..."], present: Bool[Tensor, " B"]) -> Shaped[Tensor, "B ..."]:
    """Return x with zeros in the rows that are not present."""
    return torch.where(present.reshape(-1, *(1,) * (x.dim() - 1)), x, torch.zeros_like(x))


def indices_where(where: Bool[Tensor, "..."]) -> Int[Tensor, " n"] | None:
    """Return the indices where the flattened mask is True, or None if it is True everywhere.

    If it is True nowhere, the result is index 0, so that no net sees an empty batch. The caller masks what it computes.
    """
    if where.all():
        return None
    found = where.flatten().nonzero()[:, 0]
    return found if len(found) else found.new_zeros(1)


@dataclass(frozen=True)
class MultimodalBatch:
    """B rows. Every modality has a tensor for every row, and ``present`` marks the entries that exist.

    The values of hidden entries are undefined (zeros from our engine): read entries through :meth:`visible`.

    Attributes:
        x: modality, in the data set's order -> values of shape [B, *shape]: floats, or int64 word ids.
        present: presence of each entry, Bool[M, B], modalities in the order of ``x``.
        label: class of each row, or None.
        indices_where: function from a mask derived from ``present`` to the flat indices that must be computed (None:
            all). The engine replaces it where shapes must be fixed; its indices may be more than those where the mask
            is True, never fewer.
        epoch: epochs done before this step, with a fraction, in training; None elsewhere.
        epochs: epochs of the whole training.
        phase: number of the model's phase of training, from 0.
    """

    x: Mapping[str, Shaped[Tensor, "B ..."]]
    present: Bool[Tensor, "M B"]
    label: Int[Tensor, " B"] | None = None
    indices_where: Callable[[Tensor], Tensor | None] = indices_where
    epoch: Float[Tensor, ""] | None = None
    epochs: int = 1
    phase: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.x)

    @property
    def size(self) -> int:
        """B, the number of rows."""
        return self.present.shape[1]

    def where(self, name: str) -> Bool[Tensor, " B"]:
        """Return the mask of the rows that have modality ``name``."""
        return self.present[self.names.index(name)]

    def visible(self, name: str, rows: Int[Tensor, " n"] | None = None) -> Shaped[Tensor, "n ..."]:
        """Return the entries of ``name`` with zeros (padding) where absent, by ``torch.where``: not even NaN passes.

        Args:
            name: name of the modality.
            rows: indices of the rows, in this order; None: all B.
        """
        if rows is None:
            return zero_where_absent(self.x[name], self.where(name))
        return zero_where_absent(self.x[name].index_select(0, rows), self.where(name).index_select(0, rows))

    def ramp(self, epochs: int) -> Tensor | float:
        """Return a factor that grows linearly from 0 to 1 over the first ``epochs``, and is 1 outside of training."""
        return 1.0 if self.epoch is None or epochs == 0 else (self.epoch / epochs).clamp(max=1)

    def given(self, *names: str) -> "MultimodalBatch":
        """Return the same rows with every modality but ``names`` hidden: conditioning on a subset.

        Hidden entries are zeroed, so that a model that ignores ``present`` does not see them.
        """
        keep = torch.tensor([name in names for name in self.names], device=self.present.device)
        x = {name: values if name in names else torch.zeros_like(values) for name, values in self.x.items()}
        return replace(self, x=x, present=self.present & keep[:, None])

    def shown(self, mask: Bool[Tensor, "M B"]) -> "MultimodalBatch":
        """Return the same rows with the entries outside ``mask`` hidden, and zeroed."""
        x = {
            name: torch.where(keep.reshape(-1, *(1,) * (values.dim() - 1)), values, torch.zeros_like(values))
            for keep, (name, values) in zip(mask, self.x.items(), strict=True)
        }
        return replace(self, x=x, present=self.present & mask)


@dataclass(frozen=True)
class Loss:
    """The loss of a batch.

    Attributes:
        total: scalar to minimise, the mean over rows with at least one modality.
        terms: name -> detached mean for the log, such as ``kl``; not used in training.
    """

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, ""]]
