"""What was asked for: a grid of runs, from a suite file and from the command line, checked but not resolved."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal

import platformdirs

from mmvae_bench import metrics, priors
from mmvae_bench.disk import given_path
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import SCHEMES, TIERS, Incomplete, Missing, Optimiser, Tier, check_precision

Overwrite = Literal["never", "failed", "changed", "always"]
MOST = 10**9  # of whatever is counted; a larger number is a slip
MOST_RUNS = 20_000  # of one command
SEARCH_SEED = 1000  # of all trials; the seeds of a comparison are others


@dataclass(frozen=True)
class Search:
    """A suite's ``[search]``.

    Raises:
        BenchError: If a value cannot be meant.
    """

    trials: int = 8  # per model and data set: the default settings, then random ones
    metric: str = "cross_coherence"  # the score that the rule maximises: mean over given sets and targets
    variant: str = "micro"
    missing: tuple[float, ...] = (0.0,)  # ratios that are trained, of the suite's first scheme
    learning_rate: tuple[float, ...] = ()  # least and greatest, or empty to leave it as it is

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= 1000:
            raise BenchError(f"A search has from 1 to 1,000 trials, not {self.trials}.")
        metrics.registry.check(self.metric)
        ends = self.learning_rate
        if ends and not (len(ends) == 2 and 0 < ends[0] < ends[1]):
            raise BenchError("The learning rates of a search are its least and its greatest, such as [1e-4, 1e-2].")

    @property
    def rule(self) -> str:
        """The rule by which settings are chosen, for people."""
        score = " ".join(filter(None, (self.metric, self.variant)))
        ratios = ", ".join(f"{ratio:g}" for ratio in self.missing)
        return (
            f"best of {self.trials} trials (default settings and random ones) by mean {score} on validation rows, "
            f"missing {ratios}, seed {SEARCH_SEED}"
        )

    def holes(self, scheme: str, incomplete: Incomplete) -> list[Missing]:
        """Return the missing patterns of each trial."""
        return list(dict.fromkeys(Missing(ratio, scheme, incomplete) for ratio in self.missing))


@dataclass(frozen=True)
class Request:
    """A grid of runs: models x data sets x missing ratios x schemes x seeds.

    Raises:
        BenchError: If a value cannot be meant.
    """

    name: str = "custom"  # name of the plan: a suite's name, or ``custom``
    title: str = ""  # one line for people
    command: str = ""  # command line that was typed
    models: tuple[str, ...] = ("all",)  # names with options as typed, or ``all``
    datasets: tuple[str, ...] = ("mnist_street",)  # names with options as typed
    missing: tuple[float, ...] = (0.0,)
    scheme: tuple[str, ...] = ("split",)
    incomplete: tuple[Incomplete, ...] = ("keep",)  # treatment of incomplete rows; each is a pattern of its own
    seeds: tuple[int, ...] = (0,)
    nets: str | None = None  # preset with options, as typed; None here and below leaves the data set's protocol
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimiser: Optimiser = "adam"
    latent_dim: int | None = None
    # Modality -> scale of p(x_m | z), in place of the data set's
    scales: Mapping[str, float] = field(default_factory=dict)
    # Modality -> weight of p(x_m | z), in place of the data set's
    weights: Mapping[str, float] = field(default_factory=dict)
    limit_train: int | None = None  # number of training rows; None is all of them
    limit_test: int | None = None  # number of test rows; None is all of them
    precision: str = "fp32"  # precision of the networks in training
    metrics: tuple[str, ...] = ()  # names of the metrics that are scored now; empty means all
    priors: tuple[str, ...] = ()  # learned priors that are scored beside the model's own and the aggregate
    tiers: tuple[Tier, ...] = ("default",)  # settings that each model is run with
    search: Search = field(default_factory=Search)  # of the tier ``tuned``

    def __post_init__(self) -> None:
        for name in self.metrics:
            metrics.registry.check(name)
        object.__setattr__(self, "priors", priors.labels(self.priors))
        for tier in self.tiers:
            if tier not in TIERS:
                raise BenchError(f"No tier '{tier}'. Write one of {', '.join(TIERS)}.")
        for key in ("models", "datasets", "missing", "scheme", "incomplete", "tiers"):
            if not getattr(self, key):
                raise BenchError(f"No {key} are asked for. Name at least one.")
        if not self.seeds or min(self.seeds) < 0:
            raise BenchError(
                f"At least one seed is needed, from 0 up, not {list(self.seeds)}. Write --seeds 1 or more."
            )
        check_precision(self.precision)
        for key in ("epochs", "batch_size", "latent_dim", "limit_train", "limit_test"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise BenchError(f"--{key.replace('_', '-')} is at least 1, not {value}.")
            if value is not None and value > MOST:
                raise BenchError(f"--{key.replace('_', '-')} is at most {MOST:,}, not {value}.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise BenchError(f"--learning-rate is a positive number, not {self.learning_rate}.")
        for name, value in {**self.scales, **self.weights}.items():
            if not 0 < value < math.inf:
                raise BenchError(f"A likelihood's scale or weight is a positive number, not {value} for '{name}'.")
        if max(self.seeds) >= 2**63:
            raise BenchError(f"A seed is less than 2^63, not {max(self.seeds)}.")
        if "mask" in self.scheme:  # belongs to a user's own arrays
            raise BenchError(f"No missing scheme 'mask'. Write one of {SCHEMES}.")
        _ = self.holes

    @property
    def holes(self) -> list[Missing]:
        """The missing patterns, each once: ratio 0 is the same under every scheme."""
        patterns = product(self.missing, self.scheme, self.incomplete)
        return list(dict.fromkeys(Missing(*pattern) for pattern in patterns))


@dataclass(frozen=True)
class Settings:
    """Settings of a plan's execution, which change no number."""

    device: str = "auto"  # ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``
    jobs: int | Literal["auto"] = "auto"  # number of runs at a time, or ``auto``
    threads: int = 1  # CPU threads per run
    data_dir: Path = Path("data")
    cache_dir: Path = Path("cache")
    results_dir: Path = Path("results")
    # ``never`` leaves whatever is stored, ``failed`` repeats failed runs, ``changed`` also those that were made by
    # different code, ``always`` repeats all
    overwrite: Overwrite = "failed"
    compiled: bool = False  # True if steps go through ``torch.compile``
    checkpoint_seconds: float = 60.0  # seconds between two checkpoints of a run
    backend: Literal["loky", "dask"] = "loky"  # joblib's ``loky`` processes here, or a ``dask`` cluster
    address: str = ""  # address of the cluster; empty starts one here
    metrics: tuple[str, ...] = ()  # those of the request
    priors: tuple[str, ...] = ()  # those of the request

    def __post_init__(self) -> None:
        if not 0 <= self.checkpoint_seconds < math.inf:
            raise BenchError(f"--checkpoint-seconds is a number from 0 up, not {self.checkpoint_seconds}.")
        if self.address and self.backend == "loky":
            raise BenchError("--address is that of a cluster: add --backend dask.")
        for key in ("jobs", "threads"):
            value = getattr(self, key)
            if value != "auto" and not 1 <= value <= MOST:
                raise BenchError(f"--{key} is at least 1{' and at most a billion' * (value > 1)}, not {value}.")


def data_folder(given: str | Path | None) -> Path:
    """The folder of data sets' files: the one given, that of ``MMVAE_BENCH_DATA``, or ``data``."""
    return given_path(given or os.environ.get("MMVAE_BENCH_DATA") or "data")


def cache_folder(given: str | Path | None) -> Path:
    """The folder of what is derived: the one given, that of ``MMVAE_BENCH_CACHE``, or the user's cache.

    Raises:
        BenchError: If none is given and the user has no home folder.
    """
    if folder := given or os.environ.get("MMVAE_BENCH_CACHE"):
        return given_path(folder)
    try:
        return Path(platformdirs.user_cache_dir("mmvae-bench")).expanduser()
    except RuntimeError as error:  # a user without HOME and without an entry of passwd, as in a container
        raise BenchError(
            "There is no place for the cache: this user has no home folder. Name one with --cache-dir or "
            "MMVAE_BENCH_CACHE."
        ) from error


def numbers_by_name(texts: Sequence[str]) -> dict[str, float]:
    """Read ``mnist=0.75`` and its like.

    Raises:
        BenchError: If one is not a name and a number, or a name comes twice.
    """
    pairs = [text.partition("=")[::2] for text in texts]
    try:
        found = {name: float(number) for name, number in pairs}
    except ValueError:
        raise BenchError(f"Write MODALITY=NUMBER, such as mnist=0.75, not '{', '.join(texts)}'.") from None
    if len(found) < len(pairs):
        raise BenchError(f"A modality is named twice in '{', '.join(texts)}'. Keep one.")
    return found


def seed_numbers(count: int | None, listed: Sequence[int]) -> tuple[int, ...]:
    """Return seeds 0..count-1, or those listed; none where neither is given.

    Raises:
        BenchError: If both are given, or the number of seeds is out of bounds.
    """
    if count is None:
        return tuple(listed)
    if listed:
        raise BenchError("--seeds N means the seeds 0 to N-1 and --seed-list names them. Give one of the two.")
    if not 1 <= count <= MOST_RUNS:
        raise BenchError(f"The number of seeds is from 1 to {MOST_RUNS:,}, not {count}.")
    return tuple(range(count))


def shard_numbers(text: str) -> tuple[int, int]:
    """Read ``3/8``: the third of eight parts.

    Raises:
        BenchError: If there is no such part.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise BenchError(f"--shard is I/N with I from 1 to N, such as 1/8, not '{text}'.")
    return int(found[1]), int(found[2])
