"""What a run is: frozen dataclasses, and the identity that follows from them.

``run_id`` is the SHA-256 of the canonical JSON of a :class:`RunSpec`, all defaults resolved and types coerced;
``config_id`` is the same without the seed. Nothing that changes no number (device, jobs, paths) is in a spec.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import product
from typing import Any, Literal

from mmvae_bench.errors import BenchError
from mmvae_bench.options import Scalar

PROTOCOL = 2  # of protocol.md's rules and of the order of data: a change of one changes every run's identity
PRECISIONS = ("fp32", "bf16", "tf32")
Optimiser = Literal["adam", "amsgrad"]
OPTIMISERS: tuple[Optimiser, ...] = ("adam", "amsgrad")
Incomplete = Literal["keep", "drop"]
SCHEMES = "split, split:fixed, only:<modality>, independent, independent:keep=<modality>"


class RunStatus(StrEnum):
    """State of a run: in the store (absent to broken), in a plan (down to other shard), as a worker leaves it (all)."""

    ABSENT = "absent"
    DONE = "done"
    FAILED = "failed"
    NEWER = "newer"  # written by a newer version of this package
    BROKEN = "broken"  # cut off or edited
    TO_RUN = "to run"
    SKIPPED = "skipped"
    OTHER_SHARD = "other shard"
    BUSY = "busy"  # another process has it
    STOPPED = "stopped"  # on request, with a checkpoint
    UNWRITABLE = "unwritable"  # the results folder takes no files


@dataclass(frozen=True)
class Missing:
    """What is hidden in training (protocol 2-4). Ratio 0 is canonically scheme ``none`` with everything kept.

    Attributes:
        ratio: Share of incomplete rows (``split``, ``only``) or drop probability (``independent``), in [0, 1).
        scheme: ``none`` or one of :data:`SCHEMES`; ``mask`` where a user's own data say which entries there are.
        incomplete: ``keep`` trains on all rows, ``drop`` on the complete ones alone for the same steps.
    """

    ratio: float = 0.0
    scheme: str = "split"
    incomplete: Incomplete = "keep"

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1 and self.scheme != "mask":
            raise BenchError(f"a missing ratio lies in [0, 1), not {self.ratio}: some complete rows must remain")
        if not re.fullmatch(r"none|mask|split(:fixed)?|only:\w+|independent(:keep=\w+)?", self.scheme):
            raise BenchError(f"no missing scheme '{self.scheme}'; write one of {SCHEMES}")
        if self.incomplete not in ("keep", "drop"):
            raise BenchError(f"incomplete rows are 'keep' or 'drop', not '{self.incomplete}'")
        if self.scheme == "none" and self.ratio > 0:
            raise BenchError(f"the scheme 'none' hides nothing, so it cannot have ratio {self.ratio}")
        object.__setattr__(self, "ratio", float(self.ratio))
        if self.ratio == 0:
            object.__setattr__(self, "ratio", 0.0)  # -0.0 too
            object.__setattr__(self, "scheme", "none")
            object.__setattr__(self, "incomplete", "keep")

    @property
    def text(self) -> str:
        """``complete``, ``split 0.5`` or ``only:svhn 0.5 (incomplete rows dropped)``."""
        return "complete" if self.ratio == 0 else f"{self.scheme} {self.ratio:g}{self._dropped}"

    @property
    def pattern(self) -> str:
        """:attr:`text` without the ratio: ``none``, ``split`` or ``only:svhn (incomplete rows dropped)``."""
        return self.scheme + self._dropped

    @property
    def _dropped(self) -> str:
        return " (incomplete rows dropped)" if self.incomplete == "drop" else ""

    @property
    def modality(self) -> str | None:
        """The modality that the scheme names (always present), or None."""
        found = re.fullmatch(r"only:(\w+)|independent:keep=(\w+)", self.scheme)
        return (found[1] or found[2]) if found else None


@dataclass(frozen=True)
class TrainSpec:
    """The budget and the optimiser, the same for every model of a comparison (protocol 15).

    Attributes:
        epochs: An epoch is ceil(N / batch_size) optimiser steps, N = all base training rows.
        batch_size: Rows a step.
        learning_rate: Adam's.
        optimiser: ``amsgrad`` is Adam with the largest second moment so far (Reddi et al. 2018), as in MMVAE's code.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimiser: Optimiser = "adam"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < math.inf:
            raise BenchError("epochs and batch size are at least 1 and the learning rate is positive")
        if self.optimiser not in OPTIMISERS:
            raise BenchError(f"no optimiser '{self.optimiser}'; write one of {', '.join(OPTIMISERS)}")
        object.__setattr__(self, "learning_rate", float(self.learning_rate))


def check_precision(precision: str) -> None:
    """Refuse a precision that does not exist, whatever the device.

    Raises:
        BenchError: If it is not one of :data:`PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise BenchError(f"no precision '{precision}'; write one of {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class Component:
    """A registered thing with its version and all its options, resolved. ``label`` is what the user typed."""

    name: str
    version: int
    options: Mapping[str, Scalar]
    label: str = field(default="", compare=False)


@dataclass(frozen=True)
class RunSpec:
    """One training and its evaluation: everything that its numbers depend on.

    Attributes:
        likelihoods: For each modality its likelihood's name, scale and weight.
        limit_train: Number of training rows used, or None for all; ``limit_test`` likewise.
    """

    dataset: Component
    model: Component
    nets: Component
    latent_dim: int
    likelihoods: Mapping[str, Mapping[str, Scalar]]
    train: TrainSpec
    missing: Missing
    seed: int
    limit_train: int | None = None
    limit_test: int | None = None
    precision: str = "fp32"
    protocol: int = PROTOCOL

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "RunSpec":
        """The spec whose :meth:`to_dict` is ``plain``; labels, which it lacks, are the bare names.

        Raises:
            BenchError: If it is no spec's.
        """
        try:
            parts = {part: Component(**plain[part], label=plain[part]["name"]) for part in ("dataset", "model", "nets")}
            train, missing = TrainSpec(**plain["train"]), Missing(**plain["missing"])
            return cls(**{**plain, **parts, "train": train, "missing": missing})
        except (KeyError, TypeError, ValueError) as error:
            raise BenchError(f"this is no run's spec ({error!r})") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values, without labels."""
        plain = asdict(self)
        for part in ("dataset", "model", "nets"):
            del plain[part]["label"]
        return plain

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits that identify the run."""
        return _digest(self.to_dict())

    @property
    def config_id(self) -> str:
        """The identity without the seed: what is averaged over seeds shares it."""
        return _digest({key: value for key, value in self.to_dict().items() if key != "seed"})

    @property
    def title(self) -> str:
        """A short text for people: ``mopoe on mnist_street, split 0.5, seed 0``."""
        return f"{self.model.label} on {self.dataset.label}, {self.missing.text}, seed {self.seed}"


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no spaces; equal values give equal text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def grid(base: Iterable[RunSpec], missing: Iterable[Missing], seeds: Iterable[int]) -> list[RunSpec]:
    """Cross specs with missing patterns and seeds, each run once, in a fixed order.

    Ratio 0 is the same run under every scheme, so it appears once.
    """
    crossed = (
        replace(spec, missing=hole, seed=seed) for spec, hole, seed in product(list(base), list(missing), list(seeds))
    )
    return list({spec.run_id: spec for spec in crossed}.values())
