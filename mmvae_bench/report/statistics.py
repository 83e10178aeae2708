"""Statistics of a few seeds: a mean with its t-interval, and the paired difference of two models with its tests.

``scipy.stats`` takes half a second to import, so it is imported where it is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # its t distribution is that of scipy.stats

MIN_SEEDS = 3  # for an interval
LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean over seeds; ``sd`` from 2 seeds on, ``half_width`` of the 95 % t-interval from 3 on."""

    mean: float
    sd: float | None
    half_width: float | None
    n: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over shared seeds.

    Attributes:
        half_width: Half width of the 95 % paired t-interval. None for fewer than 3 shared seeds, and where all seeds
            differ by the same amount other than 0, since a few seeds without spread do not show that there is none.
        p: Two-sided p of the paired t-test, None where ``half_width`` is None.
        smallest_p: Smallest p that n pairs can reach without assuming a normal distribution: 2 / 2^n, all signs equal.
        n: Number of shared seeds.
    """

    mean: float
    half_width: float | None
    p: float | None
    smallest_p: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """True if there is an interval and 0 lies outside it."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def summarise(values: Sequence[float]) -> Summary:
    """Return mean, sd and t-interval of one value per seed.

    Raises:
        ValueError: If there is no value.
    """
    if not len(values):
        raise ValueError("A summary needs at least one value.")
    x = np.asarray(values, dtype=float)
    sd = float(x.std(ddof=1)) if len(x) > 1 else None
    half = None
    if sd is not None and len(x) >= MIN_SEEDS:
        half = float(special.stdtrit(len(x) - 1, (1 + LEVEL) / 2)) * sd / float(np.sqrt(len(x)))
    return Summary(float(x.mean()), sd, half, len(x))


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> PairedDifference | None:
    """Compare two models, given as seed -> score; None if they share no seed."""
    shared = sorted(set(a) & set(b))
    if not shared:
        return None
    rounding = 1e-12 * max(abs(score[seed]) for score in (a, b) for seed in shared)
    s = summarise([d if abs(d := a[seed] - b[seed]) > rounding else 0.0 for seed in shared])
    flat = s.sd is not None and s.sd <= rounding < abs(s.mean)
    half, p = None if flat else s.half_width, None
    if half is not None and s.sd is not None:  # without a spread, all differences are 0
        p = float(2 * special.stdtr(s.n - 1, -abs(s.mean) / (s.sd / np.sqrt(s.n)))) if s.sd else 1.0
    return PairedDifference(s.mean, half, p, smallest_attainable_p(s.n), s.n)


def smallest_attainable_p(n: int) -> float:
    """Return the smallest two-sided p of a sign-flip test on n pairs."""
    return min(1.0, 2.0 ** (1 - n))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust the p of one family by Holm's (1979) step-down method.

    The smallest of m is multiplied by m, the next by m - 1, ...; none is left below the one before it or above 1.

    Args:
        ps: Values in [0, 1]; None where nothing could be tested, which does not count.
    """
    tested = np.array([p for p in ps if p is not None])
    order = np.argsort(tested, kind="stable")
    steps = np.maximum.accumulate(tested[order] * np.arange(len(tested), 0, -1))
    adjusted = iter(np.minimum(steps, 1)[np.argsort(order)])
    return [None if p is None else float(next(adjusted)) for p in ps]
