"""The specification of a run as frozen dataclasses, and the run's identity.

``run_id`` is the SHA-256 of the canonical JSON of a :class:`RunSpec`, all defaults resolved and types coerced;
``config_id`` is the same without the seed. A spec has no device, paths or number of jobs: they change no number.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from mmvae_bench.errors import BenchError
from mmvae_bench.options import Scalar

PROTOCOL = 3  # version of the rules in protocol.md and of the order of data: a change of either changes every run_id
PRECISIONS = ("fp32", "bf16", "tf32")
Optimiser = Literal["adam", "amsgrad"]
OPTIMISERS: tuple[Optimiser, ...] = ("adam", "amsgrad")
Incomplete = Literal["keep", "drop"]
Split = Literal["test", "validation"]
Tier = Literal["default", "authors", "tuned"]
TIERS: dict[Tier, str] = {
    "default": "the common protocol",
    "authors": "the constants of the model's own paper on the common nets",
    "tuned": "the settings that an equal random search chose on validation rows",
}
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
    """Entries hidden in training (protocol 2-4). Ratio 0 is always stored as scheme ``none`` with ``keep``."""

    # Share of incomplete rows (``split``, ``only``) or drop probability (``independent``), in [0, 1)
    ratio: float = 0.0
    # ``none`` or one of :data:`SCHEMES`; ``mask`` if a user's own data determine which entries exist
    scheme: str = "split"
    # ``keep`` trains on all rows, ``drop`` on the complete ones alone for the same steps
    incomplete: Incomplete = "keep"

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1 and self.scheme != "mask":
            raise BenchError(f"A missing ratio must lie in [0, 1), not {self.ratio}: some complete rows must remain.")
        if not re.fullmatch(r"none|mask|split(:fixed)?|only:\w+|independent(:keep=\w+)?", self.scheme):
            raise BenchError(f"No missing scheme '{self.scheme}'. Write one of {SCHEMES}.")
        if self.incomplete not in ("keep", "drop"):
            raise BenchError(f"Incomplete rows must be 'keep' or 'drop', not '{self.incomplete}'.")
        if self.scheme == "none" and self.ratio > 0:
            raise BenchError(
                f"The scheme 'none' hides nothing, so it cannot have ratio {self.ratio}. Leave the ratio out."
            )
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
        """The modality that the scheme names, which is always present, or None."""
        found = re.fullmatch(r"only:(\w+)|independent:keep=(\w+)", self.scheme)
        return (found[1] or found[2]) if found else None


@dataclass(frozen=True)
class TrainSpec:
    """The budget and the optimiser, the same for every model of a comparison (protocol 15)."""

    epochs: int  # number of epochs of ceil(N / batch_size) optimiser steps, N = all base training rows
    batch_size: int  # rows per step
    learning_rate: float  # learning rate of Adam
    # ``adam``, or ``amsgrad``: Adam with the largest second moment so far (Reddi et al. 2018), as MMVAE's.
    optimiser: Optimiser = "adam"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < math.inf:
            raise BenchError("Epochs and batch size must be at least 1, and the learning rate positive and finite.")
        if self.optimiser not in OPTIMISERS:
            raise BenchError(f"No optimiser '{self.optimiser}'. Write one of {', '.join(OPTIMISERS)}.")
        object.__setattr__(self, "learning_rate", float(self.learning_rate))


def check_precision(precision: str) -> None:
    """Raise unless a precision exists; whether a device has it is checked by :func:`mmvae_bench.engine.mode.check`.

    Raises:
        BenchError: If it is not one of :data:`PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise BenchError(f"No precision '{precision}'. Write one of {', '.join(PRECISIONS)}.")


@dataclass(frozen=True)
class Component:
    """A registered model, data set or nets preset: version, all options resolved, and the label that the user typed."""

    name: str
    version: int
    options: Mapping[str, Scalar]
    label: str = field(default="", compare=False)


@dataclass(frozen=True)
class RunSpec:
    """One training and its evaluation: all that its numbers depend on."""

    dataset: Component
    model: Component
    nets: Component
    latent_dim: int
    likelihoods: Mapping[str, Mapping[str, Scalar]]  # modality -> name, scale and weight of its likelihood
    train: TrainSpec
    missing: Missing
    seed: int
    limit_train: int | None = None  # number of training rows used, or None for all
    limit_test: int | None = None  # number of test rows used, or None for all
    precision: str = "fp32"
    split: Split = "test"  # rows that are scored; a trial of a search is scored on validation rows
    protocol: int = PROTOCOL
    tier: Tier = field(default="default", compare=False)  # why it has these settings; no part of the identity
    rule: str = field(default="", compare=False)  # how they were chosen, if they were

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "RunSpec":
        """Return the spec whose :meth:`to_dict` is ``plain``. Its labels are the bare names.

        Raises:
            BenchError: If it is not the record of a spec.
        """
        try:
            parts = {part: Component(**plain[part], label=plain[part]["name"]) for part in ("dataset", "model", "nets")}
            train, missing = TrainSpec(**plain["train"]), Missing(**plain["missing"])
            return cls(**{**plain, **parts, "train": train, "missing": missing})
        except (KeyError, TypeError, ValueError) as error:
            raise BenchError(f"This is not the spec of a run ({error!r}).") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values, without labels, tier and rule."""
        plain = asdict(self)
        del plain["tier"], plain["rule"]
        for part in ("dataset", "model", "nets"):
            del plain[part]["label"]
        return plain

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits that identify the run."""
        return _digest(self.to_dict())

    @property
    def config_id(self) -> str:
        """The identity without the seed: runs that are averaged over seeds share it."""
        return _digest({key: value for key, value in self.to_dict().items() if key != "seed"})

    @property
    def title(self) -> str:
        """A text for people: ``mopoe on mnist_street, split 0.5, seed 0``."""
        tier = f"trial, rate {self.train.learning_rate:g}" if self.split == "validation" else self.tier
        return f"{self.model.label} on {self.dataset.label}, {self.missing.text}, seed {self.seed}" + (
            f" ({tier})" if tier != "default" else ""
        )


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no spaces; equal values give equal text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
