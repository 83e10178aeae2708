"""p(x_m | z) by name: what a decoder's output means.

Each likelihood is summed over a modality's elements. A decoder gives ``theta``; for ``laplace`` and ``normal`` it
is the location, for ``bernoulli`` logits, for ``categorical`` logits over one more axis than an entry of word ids has.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from mmvae_bench.registry import Registry


@dataclass(frozen=True)
class Likelihood:
    """A family of p(x | theta).

    Attributes:
        log_prob: (x, theta, scale) -> elementwise log density, not summed.
        mean: theta -> E[x | theta], what is shown and judged; of word ids the likeliest one.
    """

    log_prob: Callable[[Tensor, Tensor, float], Tensor]
    mean: Callable[[Tensor], Tensor]

    def __call__(
        self, x: Shaped[Tensor, "*any"], theta: Float[Tensor, "*more"], scale: float, event_dims: int
    ) -> Float[Tensor, "*batch"]:
        """Return log p(x | theta) summed over the last ``event_dims`` axes; x is broadcast to theta."""
        return self.log_prob(x, theta, scale).flatten(-event_dims).sum(-1)


def _identity(theta: Tensor) -> Tensor:
    return theta


def _categorical(ids: Tensor, logits: Tensor, _: float) -> Tensor:
    """log softmax(logits)[id] for each position of ids [*batch, T], 0 where the id is 0 (padding).

    MMVAE's code leaves out the unknown word and counts the padding; the padding is what says nothing of a sentence.
    """
    targets = ids.expand(logits.shape[:-1])
    loss = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=0, reduction="none")
    return -loss.view(targets.shape)


LAPLACE = Likelihood(lambda x, loc, b: -(x - loc).abs() / b - math.log(2 * b), _identity)
NORMAL = Likelihood(
    lambda x, loc, s: -0.5 * ((x - loc) / s).square() - math.log(s) - 0.5 * math.log(2 * math.pi), _identity
)
BERNOULLI = Likelihood(
    lambda x, logits, _: x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits), lambda t: t.sigmoid()
)
CATEGORICAL = Likelihood(_categorical, lambda logits: logits.argmax(-1))

registry: Registry[Likelihood] = Registry(
    "likelihood",
    {name: f"mmvae_bench.likelihoods:{name.upper()}" for name in ("laplace", "normal", "bernoulli", "categorical")},
)
