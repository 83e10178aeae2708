"""Small diagonal distributions for q(z | x) and p(z), and the likelihoods p(x_m | z) by name.

Our own rather than ``torch.distributions`` because a training step must trace as one graph: static shapes, no
argument checks on data, no ``.item()``, draws by ``torch.randn`` and ``torch.rand``. Tested against
``torch.distributions``, which is used everywhere else.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor


@runtime_checkable
class Prior(Protocol):
    """The interface of a p(z) in place of a model's own: draws and densities, batch shape [1]."""

    def rsample(self, k: int, generator: Generator | None = None) -> Float[Tensor, "k 1 D"]:
        """Return k draws."""

    def log_prob(self, z: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Return log p(z), summed over D."""


@runtime_checkable
class Posterior(Protocol):
    """The interface of q(z | x_A), a Gaussian or a mixture: a distribution over z for each of B rows."""

    @property
    def mean(self) -> Float[Tensor, "*batch D"]:
        """E[z] of each row, [B, D]."""

    @property
    def stddev(self) -> Float[Tensor, "*batch D"]:
        """Standard deviation of each dimension of z, [B, D]."""

    def rsample(self, k: int | None = None, generator: Generator | None = None) -> Float[Tensor, "*batch D"]:
        """Return one draw per row, [B, D]; with ``k``, a new leading axis of k draws, [k, B, D]."""

    def log_prob(self, z: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Return log q(z) of each row, summed over D: [..., B] for z of shape [..., B, D]."""


AnyDiagonal = TypeVar("AnyDiagonal", bound="Diagonal")  # beartype cannot check Self under jaxtyping's import hook


@dataclass(frozen=True)
class Diagonal:
    """A location-scale family, independent over the last axis. The axes before it are batch axes."""

    loc: Float[Tensor, "*batch D"]
    scale: Float[Tensor, "*batch D"]

    def __getitem__(self: AnyDiagonal, index: Any) -> AnyDiagonal:
        return type(self)(self.loc[index], self.scale[index])

    def detach(self: AnyDiagonal) -> AnyDiagonal:
        """Return the distribution without gradient to its parameters (sticking the landing, DReG)."""
        return type(self)(self.loc.detach(), self.scale.detach())

    @property
    def mean(self) -> Float[Tensor, "*batch D"]:
        """E[z] = loc."""
        return self.loc

    @property
    def stddev(self) -> Float[Tensor, "*batch D"]:
        """Standard deviation of each dimension: scale, unless a family differs."""
        return self.scale

    def rsample(self, k: int | None = None, generator: Generator | None = None) -> Float[Tensor, "*sample D"]:
        """Draw z = loc + scale * eps, differentiable; with ``k``, a new leading axis of k draws."""
        shape = self.loc.shape if k is None else (k, *self.loc.shape)
        return self.loc + self.scale * self.noise(shape, self.loc, generator)

    @staticmethod
    def noise(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
        """Draw eps of the family's standard member."""
        raise NotImplementedError

    def log_prob(self, z: Float[Tensor, "*any D"]) -> Float[Tensor, "*all"]:
        """Return log q(z), summed over D; z may have more leading axes than the parameters."""
        raise NotImplementedError


@dataclass(frozen=True)
class DiagonalNormal(Diagonal):
    """q(z) = prod_d N(z_d; loc_d, scale_d^2)."""

    @staticmethod
    def noise(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
        """Draw eps ~ N(0, 1) of this shape, with the device and dtype of ``like``."""
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

    def log_prob(self, z: Float[Tensor, "*any D"]) -> Float[Tensor, "*all"]:
        """-1/2 sum_d [((z - loc) / scale)^2 + 2 log scale + log 2 pi]."""
        u = (z - self.loc) / self.scale
        return -0.5 * (u.square() + 2 * self.scale.log() + math.log(2 * math.pi)).sum(-1)


@dataclass(frozen=True)
class DiagonalLaplace(Diagonal):
    """q(z) = prod_d exp(-|z_d - loc_d| / scale_d) / (2 scale_d). Its standard deviation is sqrt(2) scale."""

    @staticmethod
    def noise(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
        """Draw eps ~ Laplace(0, 1) of this shape from a uniform u, with the device and dtype of ``like``."""
        u = torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype) - 0.5
        return -u.sign() * torch.log1p(-2 * u.abs().clamp(max=0.5 - 1e-7))

    @property
    def stddev(self) -> Float[Tensor, "*batch D"]:
        """sqrt(2) * scale."""
        return math.sqrt(2) * self.scale

    def log_prob(self, z: Float[Tensor, "*any D"]) -> Float[Tensor, "*all"]:
        """-sum_d [|z - loc| / scale + log 2 scale]."""
        return -((z - self.loc).abs() / self.scale + (2 * self.scale).log()).sum(-1)


def kl(q: Diagonal, p: Diagonal | None = None) -> Float[Tensor, "*batch"]:
    """Return KL(q || p) in closed form for two members of one family, summed over D; by default p is the standard one.

    Normal: log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2.
    Laplace, with d = |m_q - m_p|: log(b_p / b_q) + d / b_p + (b_q / b_p) exp(-d / b_q) - 1.

    Raises:
        TypeError: If the families differ.
    """
    if p is None and isinstance(q, DiagonalNormal):  # half the passes over memory of a p of zeros and ones
        square = q.scale.square()
        return 0.5 * (square + q.loc.square() - 1 - square.log()).sum(-1)
    p = standard(type(q), q.loc) if p is None else p
    if isinstance(q, DiagonalNormal) and isinstance(p, DiagonalNormal):
        ratio = (q.scale / p.scale).square()
        shift = ((q.loc - p.loc) / p.scale).square()
        return 0.5 * (ratio + shift - 1 - ratio.log()).sum(-1)
    if isinstance(q, DiagonalLaplace) and isinstance(p, DiagonalLaplace):
        d = (q.loc - p.loc).abs()
        rest = d / p.scale + q.scale / p.scale * torch.exp(-d / q.scale) - 1
        return ((p.scale / q.scale).log() + rest).sum(-1)
    raise TypeError(f"no closed form of KL({type(q).__name__} || {type(p).__name__})")


def standard(family: type[Diagonal], like: Float[Tensor, "*batch D"]) -> Diagonal:
    """Return the family's standard member (loc 0, scale 1) with the shape, device and type of ``like``."""
    return family(torch.zeros_like(like), torch.ones_like(like))


class Likelihood(NamedTuple):
    """A family of p(x | theta): (x, theta, scale, n) -> its log, summed over the n axes of an entry; theta -> E[x].

    A decoder returns theta: the location for ``laplace`` and ``normal``, logits for ``bernoulli``, and for
    ``categorical`` logits with one axis more than an entry of word ids. x is broadcast to theta.
    """

    log_prob: Callable[[Tensor, Tensor, float, int], Tensor]
    mean: Callable[[Tensor], Tensor]  # what is shown and judged; of word ids the most likely one
    draw: Callable[[Tensor, float, Generator | None], Tensor] | None = None  # x ~ p(x | theta), or None if it has none


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


def _drawn(family: type[Diagonal]) -> Callable[[Tensor, float, Generator | None], Tensor]:
    return lambda loc, scale, generator: family(loc, torch.full_like(loc, scale)).rsample(generator=generator)


LAPLACE = Likelihood(_laplace, lambda theta: theta, _drawn(DiagonalLaplace))
NORMAL = Likelihood(_normal, lambda theta: theta, _drawn(DiagonalNormal))
BERNOULLI = Likelihood(
    _bernoulli,
    lambda logits: logits.sigmoid(),
    lambda logits, _, generator: logits.sigmoid().bernoulli(generator=generator),
)
# No draws: how often a place is padding, its density does not say
CATEGORICAL = Likelihood(_categorical, lambda logits: logits.argmax(-1))
