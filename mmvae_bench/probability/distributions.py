"""Small diagonal distributions for q(z | x) and p(z).

Our own rather than ``torch.distributions`` because a training step must trace as one graph: static shapes, no
argument checks on data, no ``.item()``, draws by ``torch.randn`` and ``torch.rand``. Tested against
``torch.distributions``, which is used everywhere else.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor


@runtime_checkable
class Posterior(Protocol):
    """The interface of q(z | x_A), a Gaussian or a mixture: a distribution over z for each of B rows."""

    @property
    def mean(self) -> Float[Tensor, "*batch D"]:
        """E[z] of each row, [B, D]."""
        ...

    @property
    def stddev(self) -> Float[Tensor, "*batch D"]:
        """Standard deviation of each dimension of z, [B, D]."""
        ...

    def rsample(self, k: int | None = None, generator: Generator | None = None) -> Float[Tensor, "*batch D"]:
        """Return one draw per row, [B, D]; with ``k``, a new leading axis of k draws, [k, B, D]."""
        ...

    def log_prob(self, z: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Return log q(z) of each row, summed over D: [..., B] for z of shape [..., B, D]."""
        ...


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
        """Standard deviation of each dimension."""
        raise NotImplementedError

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

    @property
    def stddev(self) -> Float[Tensor, "*batch D"]:
        """scale."""
        return self.scale

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
