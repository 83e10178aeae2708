"""Encodings of training rows, to which learned priors are fitted."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Generator, Tensor

from mmvae_bench.probability.distributions import Diagonal


@dataclass(frozen=True, eq=False)
class Encodings:
    """Draws of the aggregate posterior q(z) = (1 / N) sum_n q(z | x_n) over training rows, and a p(z) to start from.

    x_n is what the run saw of a row: of models without a posterior of several modalities, one of them at random.
    """

    fitted: Float[Tensor, "K N L"]  # K draws of each row to fit by
    chosen: Float[Tensor, "K S L"]  # of other rows, by which a fit may be stopped
    held: Float[Tensor, "K H L"]  # of still others, on which fits are judged
    base: Diagonal  # p(z), batch shape [1]; of models without one, the Normal with the moments of q(z)
    generator: Callable[[str], Generator]  # returns a generator for a purpose
    shared: dict[Hashable, Any] = field(default_factory=dict)  # what priors with other options need too
