"""Place cells of several animals on a linear track: recordings whose tuning curves and latent factors are known."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Judge, Protocol, Rows
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from torch import Tensor

    from mmvae_bench.types import Modality

Array = NDArray[np.float64]
BINS = 20  # S, of the track
DIRECTIONS = ("right", "left")
NEURONS = 40  # I, of each animal
ROWS = {"train": 4000, "test": 1000}
SHAPE = 4.0  # a: the gain has mean 1 and standard deviation 1 / sqrt a = 0.5
BASELINE = 0.1  # expected count outside a place field, at gain 1
PEAK = 2.0  # mean of the peaks' exponential distribution; few neurons have a high one, as in recordings
WIDTH = (1.0, 3.0)  # bins, standard deviation of a place field
GRID = 2.0**-16  # rates and gains are rounded to it, so that they are the same on machines whose last bits differ


@dataclass(frozen=True)
class Factors:
    """Independent factors of rows: position and direction, which animals share, and a gain of each animal."""

    position: NDArray[np.int64]  # s, bin of the track in 0..19, [N]
    direction: NDArray[np.int64]  # d, index into DIRECTIONS, [N]
    gain: Array  # g_m > 0, [N, M]


@dataclass(frozen=True)
class Population:
    """The neurons of one animal: n_i ~ Poisson(g lambda_i(s, d)) for i = 1..I, with g ~ Gamma(a, a) of mean 1.

    Without g, the counts n of a row have the density (N = sum_i n_i, Lambda = sum_i lambda_i(s, d)):

        p(n | s, d) = prod_i lambda_i(s, d)^n_i / n_i!  a^a Gamma(a + N) / (Gamma(a) (a + Lambda)^(a + N))
    """

    rate: Array  # lambda_i(s, d), expected counts at gain 1, [S, D, I]

    def log_likelihood(self, n: Array) -> Array:
        """Return log p(n | s, d) of counts [N, I] for every position and direction: [N, S, D]."""
        from scipy.special import gammaln

        a, total = SHAPE, n.sum(1)
        constant = a * np.log(a) + gammaln(a + total) - gammaln(a) - gammaln(n + 1).sum(1)
        log_rates: Array = np.einsum("ni,sdi->nsd", n, np.log(self.rate))
        silence = (a + total)[:, None, None] * np.log(a + self.rate.sum(-1))
        return np.asarray(log_rates + constant[:, None, None] - silence)


class Bayes:
    """The judge of an animal's activity: the likeliest position, and direction, given the true tuning curves."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.accuracy: float | None = None  # of the position, on the true test entries
        self.hash = hashlib.sha256(population.rate.tobytes()).hexdigest()[:16]

    def log_likelihood(self, x: "Tensor | NDArray[np.float32]") -> Array:
        """Return log p(x | s, d) of entries [N, I], up to a constant of each row: [N, S, D]."""
        return self.population.log_likelihood(counts(np.asarray(x, np.float64)))

    def read(self, x: "Tensor | NDArray[np.float32]") -> NDArray[np.int64]:
        """Return position and direction of entries [N, I], all pairs being equally likely before: [N, 2]."""
        from scipy.special import logsumexp

        log_p = self.log_likelihood(x)
        return np.stack([logsumexp(log_p, 3 - axis).argmax(1) for axis in (1, 2)], 1)

    def predict(self, x: "Tensor | NDArray[np.float32]") -> NDArray[np.int64]:
        """Return the position of entries [N, I]: [N]."""
        return self.read(x)[:, 0]


@dataclass(frozen=True, kw_only=True)
class PlaceCells(Dataset):
    """Animals on a linear track, after MM-VAMP's experiment on rats (Sutter et al. 2024).

    All animals of a row are at the same position s (20 bins) and run in the same direction d; each has a gain g_m of
    its own, such as arousal. Every neuron has a place field for each direction:

        lambda_i(s, d) = b + r_id exp(-(s - c_id)^2 / (2 w_id^2)),  r_id exponential, c_id and w_id uniform

    Counts are Poisson, see :class:`Population`. Stored is Anscombe's 2 sqrt(n + 3/8), whose standard deviation is
    about 1 for rates above 2 and less below, so the likelihood is ``normal`` of scale 1. Classes are positions, in
    order. There are 4,000 rows for training and 1,000 for testing, each drawn anew, so no row has neighbours in time.
    Animal m does not depend on M.
    """

    summary: ClassVar[str] = "place cells of several animals on a track, with known tuning curves; generated"
    classes = tuple(str(s + 1) for s in range(BINS))
    ordered: ClassVar[Literal["", "line", "circle"]] = "line"

    m: Literal[2, 3, 4, 5] = 3  # M, number of animals

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``animal0``, ``animal1``, ..., [40] each: neurons in the order of their fields on the way right."""
        from mmvae_bench.types import Modality

        return tuple(Modality(name, (NEURONS,), "normal", 1.0, dtype="float32") for name in self._names)

    @property
    def _names(self) -> list[str]:
        return [f"animal{i}" for i in range(self.m)]

    @property
    def protocol(self) -> Protocol:
        """Small nets for small tables; see benchmarks/protocols.md."""
        return Protocol("mlp[hidden=128,layers=2]", 16, epochs=40, batch_size=64, learning_rate=1e-3, rows=3800)

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """Attributes that all animals of a row share."""
        return {"position": self.classes or (), "direction": DIRECTIONS}

    def population(self, animal: int) -> Population:
        """Return the true tuning curves of an animal, 0..M-1."""
        rng = np.random.default_rng(seed_for("place_cells", "tuning", animal))
        size = len(DIRECTIONS), NEURONS
        centre, width, peak = rng.uniform(0, BINS - 1, size), rng.uniform(*WIDTH, size), rng.exponential(PEAK, size)
        rate = BASELINE + peak * np.exp(-0.5 * ((np.arange(BINS)[:, None, None] - centre) / width) ** 2)
        return Population(np.round(rate[..., np.argsort(centre[0])] / GRID) * GRID)

    def factors(self, split: Literal["train", "test"]) -> Factors:
        """Return what the rows of a split are drawn from; counts of the pairs (s, d) differ by at most one."""
        n = ROWS[split]
        state = np.random.default_rng(seed_for("place_cells", split)).permutation(n) % (BINS * len(DIRECTIONS))
        own = [np.random.default_rng(seed_for("place_cells", split, "gain", i)) for i in range(self.m)]
        gain = np.stack([rng.gamma(SHAPE, 1 / SHAPE, n) for rng in own], 1)
        return Factors(state % BINS, state // BINS, (np.round(gain / GRID) * GRID).clip(GRID))

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Return the exact judge of each animal."""
        test, judges = self._rows("test"), {name: Bayes(self.population(i)) for i, name in enumerate(self._names)}
        for name, judge in judges.items():
            judge.accuracy = float((judge.predict(np.asarray(test.x[name])) == test.label).mean())
        return judges

    def build(self, data_dir: Path) -> Built:
        """Draw both splits."""
        return Built(self._rows("train"), self._rows("test"))

    def _rows(self, split: Literal["train", "test"]) -> Rows:
        f = self.factors(split)
        x = {}
        for i, name in enumerate(self._names):
            mean = f.gain[:, i, None] * self.population(i).rate[f.position, f.direction]
            x[name] = activity(np.random.default_rng(seed_for("place_cells", split, "counts", i)).poisson(mean))
        return Rows(x, f.position, attributes=np.stack([f.position, f.direction], 1))


def activity(n: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return 2 sqrt(n + 3/8) of counts (Anscombe 1948)."""
    return np.asarray(2 * np.sqrt(n + 0.375), np.float32)


def counts(x: Array) -> Array:
    """Return the counts of an activity, the inverse of :func:`activity`; at least 0, not rounded."""
    return np.asarray((x.clip(0) ** 2 / 4 - 0.375).clip(0))
