"""The interface of kinds: what modalities of a kind have in common, beyond shape and likelihood."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmvae_bench.types import Modality

Values = NDArray[Any]
Show = Callable[["Modality", Values, Values], Values]
Make = Callable[["Modality", int], "nn.Module"]
Augment = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class Kind:
    """A kind of modality.

    Attributes:
        show: (modality, entries [n, *shape], true entries [N, *shape] that fix a common scale) -> what figures draw:
            texts [n], or pictures, uint8 [n, C, height, width] with 1 or 3 channels.
        likelihoods: names of the likelihoods that fit; empty if any does.
        nets: (modality, L) -> encoder and decoder in the preset ``conv``; None for fully connected ones.
        augment: random variation [B, *shape] of entries while a classifier learns to judge them, or None.
        heard: True if a report plays entries: ``show`` then returns :func:`~mmvae_bench.kinds.spectrogram.pictures`.
    """

    show: Show
    likelihoods: tuple[str, ...] = ()
    nets: tuple[Make, Make] | None = None
    augment: Augment | None = None
    heard: bool = False
