"""Linear-Gaussian modalities: all posteriors and likelihoods are known exactly (protocol 19)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.errors import BenchError
from mmvae_bench.options import Positive
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

Array = NDArray[np.float64]
# Values are rounded to this grid, so that they have the same bytes and hash on machines whose last bits differ.
GRID = 2.0**-16


@dataclass(frozen=True)
class LinearGaussianModel:
    """z ~ N(0, I_L) and x_m = W_m z + b_m + sigma_m eps, with its exact posteriors and densities, in float64."""

    weight: Mapping[str, Array]  # W_m, [D_m, L], of full column rank
    bias: Mapping[str, Array]  # b_m, [D_m]
    scale: Mapping[str, float]  # sigma_m > 0

    def sample(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw n rows: modality -> x_m, [n, D_m]."""
        z = rng.standard_normal((n, next(iter(self.weight.values())).shape[1]))
        return {
            name: z @ w.T + self.bias[name] + self.scale[name] * rng.standard_normal((n, len(w)))
            for name, w in self.weight.items()
        }

    def posterior(self, x: Mapping[str, NDArray[np.floating]]) -> tuple[Array, Array]:
        """Return mean [N, L] and covariance [L, L] of p(z | x_A), A = the keys of ``x`` (at least one), x_m [N, D_m].

        The covariance is the same for every row.
        """
        size = next(iter(self.weight.values())).shape[1]
        precision: Array = np.eye(size)
        evidence: Array = np.zeros(size)
        for name, value in x.items():
            w = self.weight[name] / self.scale[name]
            precision = precision + w.T @ w
            evidence = evidence + (value - self.bias[name]) / self.scale[name] @ w
        covariance = np.asarray(np.linalg.inv(precision), np.float64)
        return evidence @ covariance, covariance

    def log_likelihood(self, x: Mapping[str, NDArray[np.floating]]) -> Array:
        """Return log p(x_A) of every row, [N]: Bayes' rule at the posterior's mean."""
        mean, covariance = self.posterior(x)
        log_p: Array = _log_normal(mean, 1.0) + 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
        for name, value in x.items():
            log_p += _log_normal(value - mean @ self.weight[name].T - self.bias[name], self.scale[name])
        return log_p


def _log_normal(difference: Array, scale: float) -> Array:
    """Return the log density of N(0, scale^2 I) at [N, D]: [N]."""
    log_p: Array = -0.5 * np.square(difference / scale) - np.log(scale * np.sqrt(2 * np.pi))
    return np.asarray(log_p.sum(-1))


@dataclass(frozen=True, kw_only=True)
class LinearGaussian(Dataset):
    """Data for tests: modalities ``x0``, ``x1``, ... that are linear in one latent, so that all densities are exact."""

    summary = "linear-Gaussian modalities with exact posteriors and likelihoods; generated"

    m: Literal[2, 3, 4, 5] = 2  # number of modalities
    dim: int = 8  # size of each, at least ``latent``
    latent: int = 4  # L
    rotated: bool = False  # True if W_m^T W_m is not diagonal; then no diagonal Normal encoder is exact
    noise: Annotated[float, Gt(0.0)] = 0.5  # sigma_m of every modality
    rows: Positive = 2000  # number of training rows

    def __post_init__(self) -> None:
        if not 1 + self.rotated <= self.latent <= self.dim:
            raise BenchError(
                f"linear_gaussian needs latent >= 1 (2 if rotated) and dim >= latent, not {self.latent} and {self.dim}."
            )
        if self.dim > 10_000 or self.rows * self.dim > 10**8:
            raise BenchError(
                "linear_gaussian draws all rows in memory: dim must be at most 10,000 and rows x dim 100,000,000, "
                f"not {self.dim} and {self.rows} x {self.dim}."
            )

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``x0``, ``x1``, ..., [dim] each."""
        from mmvae_bench.types import Modality

        return tuple(Modality(f"x{i}", (self.dim,), "normal", self.noise, dtype="float32") for i in range(self.m))

    @property
    def protocol(self) -> Protocol:
        """Linear nets, which can represent the true model."""
        return Protocol(nets="linear", latent_dim=self.latent, epochs=50, batch_size=128, learning_rate=1e-2)

    @cached_property
    def model(self) -> LinearGaussianModel:
        """The true model. Modality i does not depend on ``m``, ``noise`` and ``rows``."""
        weight, bias = {}, {}
        for i in range(self.m):
            rng = np.random.default_rng(seed_for("linear_gaussian", "model", self.dim, self.latent, i))
            # Orthogonal columns of lengths .5 to 1.5, mixed by a rotation if ``rotated``
            w = _orthonormal(rng, self.dim, self.latent) * rng.permutation(np.linspace(0.5, 1.5, self.latent))
            bias[f"x{i}"] = rng.standard_normal(self.dim)
            weight[f"x{i}"] = w @ _orthonormal(rng, self.latent, self.latent) if self.rotated else w
        return LinearGaussianModel(weight, bias, dict.fromkeys(weight, self.noise))

    def build(self, data_dir: Path) -> Built:
        """Draw training rows and 1,000 test rows."""
        return Built(self._rows("train", self.rows), self._rows("test", 1000))

    def _rows(self, split: str, n: int) -> Rows:
        drawn = self.model.sample(n, np.random.default_rng(seed_for("linear_gaussian", split)))
        return Rows({name: (np.round(x / GRID) * GRID).astype(np.float32) for name, x in drawn.items()})


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Draw orthonormal columns, [rows, columns], with signs that do not depend on LAPACK."""
    q, r = np.linalg.qr(rng.standard_normal((rows, columns)))
    return q * np.sign(np.diag(r))
