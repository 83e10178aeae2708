"""Networks: an encoder and a decoder per modality, the same for all models of a comparison."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmvae_bench.types import Modality


class Words(nn.Module):
    """The words of a caption: their embedding [V, E], V = ``size`` and E = ``width``, and the layer that scores them.

    Padding (id 0) embeds to exact zeros, also after training: a tied row 0 gets only the gradient of padding's score.
    Tied scores are h . embedding + bias, as in MMVAE's code; others have a layer of their own.
    """

    def __init__(self, size: int, width: int, *, tied: bool = True) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(size, width)
        self.bias = nn.Parameter(torch.zeros(size))
        self.scores = None if tied else nn.Linear(width, size, bias=False)
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(width))  # length 1, so that tied scores start near 0

    def embed(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        """Return the vectors of words."""
        vectors: Tensor = self.embedding(ids)
        return torch.where((ids != 0)[..., None], vectors, 0.0)

    def logits(self, h: Float[Tensor, "*batch T E"]) -> Float[Tensor, "*batch T V"]:
        """Return the score of each word at each place."""
        weight = self.embedding.weight if self.scores is None else self.scores.weight
        return nn.functional.linear(h, weight, self.bias)


class Networks(nn.Module):
    """The nets of a run.

    An encoder maps an embedded entry to [B, 2 L] (loc and raw scale side by side); a decoder maps [B, L] to theta of
    shape [B, *shape]. Captions are embedded as vectors of their words [B, T, E]; their decoder returns [B, T, E], which
    the words score to logits [B, T, V]. Other entries are embedded unchanged. Nets end linearly: the model applies the
    links of scales and pixels. ``encoder`` and ``decoder`` make the nets of a modality for a latent size L, and
    ``words``, of captions, their words. A model may :meth:`add_encoder` beyond one a modality.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent_dim: int,
        encoder: Callable[[Modality, int], nn.Module],
        decoder: Callable[[Modality, int], nn.Module],
        words: Callable[[Modality], Words] | None = None,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.latent_dim = latent_dim
        self._encoder = encoder
        self.encoders = nn.ModuleDict({m.name: encoder(m, latent_dim) for m in modalities})
        self.decoders = nn.ModuleDict({m.name: decoder(m, latent_dim) for m in modalities})
        self.words = nn.ModuleDict({m.name: words(m) for m in modalities if words and m.is_text})

    def add_encoder(self, key: str, name: str, latent_dim: int) -> None:
        """Make another encoder of a modality, with weights of its own: ``encode(key, ...)`` is [B, 2 latent_dim]."""
        m = next(m for m in self.modalities if m.name == name)
        self.encoders[key] = self._encoder(m, latent_dim)

    def input_shape(self, m: Modality) -> tuple[int, ...]:
        """Return the shape of an embedded entry."""
        return (*m.shape, self._words(m.name).width) if m.name in self.words else m.shape

    def embed(self, name: str, x: Tensor) -> Tensor:
        """[B, *shape] -> [B, *input_shape]: words of a caption as vectors, other entries unchanged."""
        return self._words(name).embed(x) if name in self.words else x

    def encode(self, name: str, embedded: Tensor) -> Tensor:
        """[B, *input_shape] -> [B, 2 L]."""
        out: Tensor = self.encoders[name](embedded)
        return out

    def encode_entries(self, name: str, x: Tensor) -> Tensor:
        """[B, *shape] -> [B, 2 L]."""
        return self.encode(name, self.embed(name, x))

    def decode(self, name: str, z: Tensor) -> Tensor:
        """[..., L] -> theta [..., *shape] (captions: [..., T, V]), all leading axes in one call."""
        theta: Tensor = self.decoders[name](z.reshape(-1, z.shape[-1]))
        theta = self._words(name).logits(theta) if name in self.words else theta
        return theta.reshape(*z.shape[:-1], *theta.shape[1:])

    def _words(self, name: str) -> Words:
        return cast(Words, self.words[name])
