"""A metric is a function of an :class:`Evaluation` that yields scores; the mathematics is a function of arrays."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.datasets.base import Rows
from mmvae_bench.metrics.oracle import Oracle
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.seeds import seed_for
from mmvae_bench.types import MultimodalBatch

CHUNK = 512  # rows encoded or decoded at a time; changes no number


@dataclass(frozen=True)
class Score:
    """One number: a row of the results.

    Attributes:
        metric: Registered name.
        value: None for a skipped row.
        variant: Which form of the metric, such as ``micro``.
        prior: ``model`` or ``aggregate`` where the score samples p(z) (protocol 17), else empty.
        given: Modalities conditioned on, joined by ``+`` in the data set's order; ``target`` likewise.
        se: Standard error of the value over test rows, where it is a mean.
        n: Test rows it is made of.
        chance: What a model without any skill scores.
        ceiling: The best that can be scored, such as the oracle's accuracy.
        reason: Why a row is skipped.
    """

    metric: str
    value: float | None
    variant: str = ""
    prior: Literal["", "model", "aggregate"] = ""
    given: str = ""
    target: str = ""
    se: float | None = None
    n: int | None = None
    chance: float | None = None
    ceiling: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Metric:
    """A registered metric.

    Attributes:
        compute: Yields the scores of a run.
        higher_is_better: Declared once, here.
        bounds: Least and greatest possible value.
    """

    name: str
    compute: Callable[["Evaluation"], Iterable[Score]]
    higher_is_better: bool = True
    bounds: tuple[float, float] = (-np.inf, np.inf)
    version: int = 1


def metric(
    name: str, *, higher_is_better: bool = True, bounds: tuple[float, float] = (-np.inf, np.inf), version: int = 1
) -> Callable[[Callable[["Evaluation"], Iterable[Score]]], Metric]:
    """Turn a generator function of an :class:`Evaluation` into a :class:`Metric`."""
    return lambda compute: Metric(name, compute, higher_is_better, bounds, version)


@dataclass(frozen=True)
class Latents:
    """Of q(z | x_A) on N rows: mean, standard deviation and one sample, each [N, L] float32 on the CPU."""

    mean: NDArray[np.float32]
    stddev: NDArray[np.float32]
    sample: NDArray[np.float32]


@dataclass(eq=False)
class Evaluation:
    """One trained model on its test split: what the metrics read, each piece computed once.

    Evaluation noise comes from ``seed_for("eval", dataset, seed)``: the same for every model of a seed.

    Attributes:
        model: In eval mode, on ``device``.
        train: Complete training rows (for fitting probes), whatever the run's mask.
        test: Complete test rows.
        oracles: Modality -> the classifier that judges it; empty where there are no classes.
        dataset: Registered name; ``seed`` is the run's.
        classes: C, or 0.
        same_class_is_positive: Relatedness counts rows of one class as related (digits), else only the row itself.
    """

    model: MultimodalVAE
    train: Rows
    test: Rows
    oracles: dict[str, Oracle]
    dataset: str
    seed: int
    classes: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    same_class_is_positive: bool = True

    def __post_init__(self) -> None:
        self.latents = lru_cache(maxsize=None)(self._latents)
        self.generated = lru_cache(maxsize=None)(self._generated)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The modalities, in order."""
        return self.model.names

    @cached_property
    def subsets(self) -> list[tuple[str, ...]]:
        """All non-empty subsets of the modalities, small ones first, each in the data set's order."""
        return [a for k in range(1, len(self.names) + 1) for a in combinations(self.names, k)]

    def generator(self, *parts: str) -> torch.Generator:
        """A generator on the device, seeded by what it is for, the same for every model of a seed."""
        return torch.Generator(self.device).manual_seed(seed_for("eval", self.dataset, self.seed, *parts))

    def batch(self, rows: Rows, start: int = 0, stop: int | None = None) -> MultimodalBatch:
        """Rows start..stop as a complete batch on the device, pixels scaled to [0, 1]."""
        x = {name: to_float(values[start:stop], self.device) for name, values in rows.x.items()}
        size = len(next(iter(x.values())))
        return MultimodalBatch(x, torch.ones(len(x), size, dtype=torch.bool, device=self.device))

    def chunks(self, rows: Rows) -> Iterable[MultimodalBatch]:
        """All rows in batches of :data:`CHUNK`."""
        for start in range(0, len(rows), CHUNK):
            yield self.batch(rows, start, start + CHUNK)

    @torch.no_grad()
    def _latents(self, given: tuple[str, ...], split: Literal["train", "test"] = "test") -> Latents:
        """q(z | x_A) of a split's rows. Called as ``latents(given, split)``, cached."""
        generator = self.generator("latents", "+".join(given), split)
        parts = []
        for batch in self.chunks(self.train if split == "train" else self.test):
            q = self.model.posterior(batch.given(*given))
            parts.append((q.mean, q.stddev, q.rsample(generator=generator)))
        return Latents(*(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)))

    @torch.no_grad()
    def _generated(self, given: tuple[str, ...], target: str) -> Tensor:
        """E[x_t | z], one z a test row from q(z | x_A): [N, *shape] on the CPU. Called as ``generated(given, target)``."""
        generator = self.generator("latents", "+".join(given), "test")  # the noise of the latents' samples
        parts = []
        for batch in self.chunks(self.test):
            z = self.model.posterior_for(target, batch.given(*given)).rsample(generator=generator)
            parts.append(self.model.decode(z)[target].cpu())
        return torch.cat(parts)

    @lru_cache(maxsize=None)  # noqa: B019 - an Evaluation lives as long as its run
    def predicted(self, given: tuple[str, ...], target: str) -> NDArray[np.int64]:
        """The oracle's classes of :meth:`generated`, [N]."""
        return self.oracles[target].predict(self.generated(given, target))


def to_float(values: NDArray[np.uint8] | NDArray[np.float32], device: torch.device) -> Tensor:
    """Move stored entries to the device as float32, pixels divided by 255 there."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(device)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor


def join(names: Sequence[str]) -> str:
    """Modality names as the results write them: ``mnist+svhn``."""
    return "+".join(names)


