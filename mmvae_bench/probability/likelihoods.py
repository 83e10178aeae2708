"""Likelihoods p(x_m | z) by name.

Each is summed over a modality's elements. A decoder returns ``theta``: the location for ``laplace`` and ``normal``,
logits for ``bernoulli``, and for ``categorical`` logits with one axis more than an entry of word ids.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from mmvae_bench.registry import Registry


@dataclass(frozen=True)
class Likelihood:
    """A family of p(x | theta).

    Attributes:
        log_prob: (x, theta, scale, n) -> log density, summed over the last n axes of theta, those of an entry.
        mean: theta -> E[x | theta], which is shown and judged; of word ids the most likely one.
    """

    log_prob: Callable[[Tensor, Tensor, float, int], Tensor]
    mean: Callable[[Tensor], Tensor]

    def __call__(
        self, x: Shaped[Tensor, "*any"], theta: Float[Tensor, "*more"], scale: float, event_dims: int
    ) -> Float[Tensor, "*batch"]:
        """Return log p(x | theta) summed over an entry's ``event_dims`` axes; x is broadcast to theta."""
        return self.log_prob(x, theta, scale, event_dims)


def _identity(theta: Tensor) -> Tensor:
    return theta


def _laplace(x: Tensor, loc: Tensor, b: float, axes: int) -> Tensor:
    """-(1 / b) sum_d |x_d - loc_d| - D log 2b: one pass for the sum, the constants after it."""
    distance: Tensor = torch.linalg.vector_norm((loc - x).flatten(-axes), 1, -1)
    return -distance / b - _size(loc, axes) * math.log(2 * b)


def _normal(x: Tensor, loc: Tensor, s: float, axes: int) -> Tensor:
    """-(1 / 2 s^2) sum_d (x_d - loc_d)^2 - D log s - (D / 2) log 2 pi."""
    distance = (loc - x).flatten(-axes).square().sum(-1)
    return -0.5 / s**2 * distance - _size(loc, axes) * (math.log(s) + 0.5 * math.log(2 * math.pi))


def _bernoulli(x: Tensor, logits: Tensor, _: float, axes: int) -> Tensor:
    """sum_d x_d log sigma(l_d) + (1 - x_d) log sigma(-l_d), for logits l and any x in [0, 1]."""
    return (x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).flatten(-axes).sum(-1)


def _categorical(ids: Tensor, logits: Tensor, _: float, axes: int) -> Tensor:
    """Sum of log softmax(logits)[id] over the places of ids [*batch, T] whose id is not 0 (padding).

    MMVAE's code leaves out the unknown word and counts the padding; but padding is not part of a sentence.
    """
    targets = ids.expand(logits.shape[:-1])
    loss = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=0, reduction="none")
    return -loss.view(targets.shape).flatten(-axes).sum(-1)


def _size(theta: Tensor, axes: int) -> int:
    return math.prod(theta.shape[-axes:])


LAPLACE = Likelihood(_laplace, _identity)
NORMAL = Likelihood(_normal, _identity)
BERNOULLI = Likelihood(_bernoulli, lambda logits: logits.sigmoid())
CATEGORICAL = Likelihood(_categorical, lambda logits: logits.argmax(-1))
registry: Registry[Likelihood] = Registry(
    "likelihood",
    {
        name: f"mmvae_bench.probability.likelihoods:{name.upper()}"
        for name in ("laplace", "normal", "bernoulli", "categorical")
    },
)
