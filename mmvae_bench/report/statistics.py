"""Statistics of a few seeds that share their test rows: means with intervals, paired differences, Holm's correction.

Every run of a comparison is scored on the same test rows. A mean over seeds and rows thus has two errors that more
seeds, or more rows, reduce alone: y_si = mu + S_s + R_i + E_si for seed s and row i. Its variance is V_S + V_R,

    V_S = var_s(y_s.) / n            what differs between seeds, and what is left of E
    V_R = mean over s != s' of cov_i(y_si, y_s'i) / N, at least 0      what the rows share over seeds

both unbiased (but for the 0). Error is referred to the mixture of t with n - 1 degrees of freedom and N(0, 1) in the
proportion V_S : V_R. In simulations it covers 95 to 96 % with 3 or 5 seeds (tests/report/test_statistics.py), where a
t-interval over seeds alone covers down to 50 %. Without outcomes of rows V_R is unknown: then it is of seeds alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special  # its distributions are those of scipy.stats, which takes half a second to import

MIN_SEEDS = 3  # for an interval
LEVEL = 0.95
DIGITS = 12  # significant ones: values that agree in them are equal


@dataclass(frozen=True)
class Scores:
    """A score of a model, one value per seed."""

    by_seed: Mapping[int, float] = field(default_factory=dict)
    # Its outcome on each test row, per seed: arrays of one length, whose means are the scores. Empty where unknown
    rows: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    draws: bool = False  # True for a mean of draws, new ones for each seed: its error is in what differs between seeds

    def minus(self, other: "Scores") -> "Scores":
        """Return the difference on shared seeds and, where both have outcomes of the same number of rows, on rows."""
        seeds = sorted(self.by_seed.keys() & other.by_seed.keys())
        size = max((abs(own.by_seed[seed]) for own in (self, other) for seed in seeds), default=0.0)
        digits = DIGITS - math.floor(math.log10(size)) if size else 0  # so that equal differences are equal, and 0 is 0
        by_seed = {seed: round(self.by_seed[seed] - other.by_seed[seed], digits) for seed in seeds}
        rows = {}
        sizes = {len(own.rows.get(seed, ())) for own in (self, other) for seed in seeds}
        if len(sizes) == 1 and 0 not in sizes:
            rows = {seed: self.rows[seed] - other.rows[seed] for seed in seeds}
        return Scores(by_seed, rows, self.draws and other.draws)


@dataclass(frozen=True)
class Summary:
    """Mean over seeds with its interval."""

    mean: float
    sd: float | None  # over seeds, from 2 on
    half_width: float | None  # of the 95 % interval, from 3 seeds on; None where all seeds agree to the last digit
    n: int  # number of seeds
    p: float | None = None  # two-sided, of a mean of 0; None without an interval
    rows: int = 0  # number of test rows in the interval; 0 if it is of seeds alone
    covers: bool = False  # True if the interval covers seeds and test rows (or draws)

    @property
    def excludes_zero(self) -> bool:
        """True if there is an interval and 0 lies outside it."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    @property
    def smallest_p(self) -> float:
        """Smallest p that n seeds can reach without assuming a distribution: 2 / 2^n, all signs equal."""
        return min(1.0, 2.0 ** (1 - self.n))


def summarise(scores: Scores) -> Summary:
    """Return mean, sd and interval of one value per seed.

    Raises:
        ValueError: If there is no value.
    """
    x = np.array(list(scores.by_seed.values()), dtype=float)
    if not len(x):
        raise ValueError("A summary needs at least one value.")
    n, sd = len(x), float(x.std(ddof=1)) if len(x) > 1 else None
    # A few seeds without spread do not show that there is none. The mean of equal values may differ in its last digit.
    flat = x.any() and np.ptp(x) <= 10.0**-DIGITS * np.abs(x).max()
    if sd is None or n < MIN_SEEDS or flat:
        return Summary(float(x.mean()), sd, None, n)
    rows = np.stack([scores.rows[seed] for seed in scores.by_seed]) if scores.rows else np.zeros((n, 0))
    v_seeds, v_rows = sd**2 / n, shared_variance(rows)
    half, p = half_width(v_seeds, v_rows, n), p_value(float(x.mean()), v_seeds, v_rows, n)
    return Summary(float(x.mean()), sd, half, n, p, rows.shape[1], bool(rows.size) or scores.draws)


def shared_variance(rows: NDArray[np.floating]) -> float:
    """Return V_R: the mean covariance of two seeds over rows [seeds, N], divided by N; 0 without rows."""
    n, total = rows.shape
    if total < 2:
        return 0.0
    centred = rows - rows.mean(1, keepdims=True, dtype=np.float64)
    # sum over all pairs of seeds of their covariances, less those of each with itself
    both = np.square(centred.sum(0)).sum() - np.square(centred).sum()
    return float(max(both / (total - 1) / (n * (n - 1)) / total, 0.0))


def p_value(mean: float, v_seeds: float, v_rows: float, n: int) -> float:
    """Return the two-sided p of a mean of 0."""
    total = v_seeds + v_rows
    if not total:
        return float(mean == 0)
    d, share = abs(mean) / np.sqrt(total), v_seeds / total
    return float(2 * (share * special.stdtr(n - 1, -d) + (1 - share) * special.ndtr(-d)))


def half_width(v_seeds: float, v_rows: float, n: int) -> float:
    """Return the half width of the 95 % interval: the mean whose p is 5 %, by bisection."""
    low, high = 0.0, float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * float(np.sqrt(v_seeds + v_rows))
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle, v_seeds, v_rows, n) > 1 - LEVEL else (low, middle)
    return high


def paired_difference(a: Scores, b: Scores) -> Summary | None:
    """Return the mean of a - b with its interval; None if they share no seed."""
    difference = a.minus(b)
    return summarise(difference) if difference.by_seed else None


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
