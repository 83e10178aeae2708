"""What a metric yields and how it is declared: one number is one row of the results."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from mmvae_bench.metrics.base import Evaluation


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
        reason: Why a row is skipped, or, beside a value, what it must not be taken for (a chance control).
        embedding_hash: Of the word vectors and picture features it is measured by: different ones are never averaged.
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
    embedding_hash: str = ""


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


def join(names: Sequence[str]) -> str:
    """Modality names as the results write them: ``mnist+svhn``."""
    return "+".join(names)
