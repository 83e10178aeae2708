"""Where a training stands, on disk: what is read back goes on as if nothing had happened, bit by bit.

A checkpoint is one safetensors file: weights and buffers, Adam's moments, the sums of the epoch's losses, the state of
every random generator that training draws from, and, as JSON in its header, how many epochs and steps are done. The
order of an epoch's rows and their holes are functions of (data set, seed, epoch), so a number is all that is kept of
them. It is used only under the conditions it was written under: what they are is for the caller to say, and the engine
that took the steps is added.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.disk import replace_file
from mmvae_bench.engine.state import Position, Training
from mmvae_bench.errors import Stopped
from mmvae_bench.spec import canonical_json

SCHEMA = "1"
UNPROMISED = ("compiled",)  # engines whose code is generated anew: what a resumed run then gives may differ in rounding


class Keeper:
    """Writes a run's checkpoints when they are due, reads the last one, and stops the run where it is asked to.

    Args:
        path: Of the checkpoint; None keeps nothing.
        every: Seconds between two.
        halt: Why the run must stop now, or empty; asked at each step, so it must be cheap.
        say: Told what happens, a sentence each.

    Attributes:
        conditions: What must be the same for the same numbers: name -> value.
    """

    def __init__(
        self, path: Path | None = None, every: float = 60.0, halt: Callable[[], str] = lambda: "",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.path, self.every, self.halt, self.say = path, every, halt, say
        self.conditions: Mapping[str, str] = {}
        self._last = time.monotonic()
        self._at: tuple[int, int] | None = None  # of the last checkpoint

    def restore(self, training: Training) -> Position:
        """Load the last checkpoint, if there is one that fits, and return where it stands."""
        self._last = time.monotonic()
        if self.path is None or not self.path.exists():
            return Position()
        try:
            state, arrays = _read(self.path)
            at, names, conditions = Position(**state["position"]), tuple(state["names"]), dict(state["conditions"])
        except Exception as error:  # whatever a damaged file makes a reader raise
            self.say(f"its checkpoint cannot be read ({type(error).__name__}): started afresh")
            return Position()
        if differs := _differences(conditions, self._conditions(training)):
            self.say(f"its checkpoint is of other conditions ({differs}): started afresh")
            return Position()
        training.load(arrays, names)  # what goes wrong here is no reason to start from half of it
        self._at = at.epoch, at.step
        at.resumed += 1
        self.say(f"resumed after {at.epoch} epochs and {at.step} steps")
        return at

    def visit(self, training: Training, at: Position) -> None:
        """Write a checkpoint if one is due, or if the run must stop.

        Raises:
            Stopped: If it must; says why.
        """
        why = self.halt()
        if why or self.due:
            self.save(training, at)
        if why:
            raise Stopped(why)

    @property
    def due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return self.path is not None and time.monotonic() - self._last >= self.every

    def save(self, training: Training, at: Position) -> None:
        """Write a checkpoint, if the last one is of an earlier step.

        One that cannot be written costs a restart some time and this run nothing.
        """
        self._last = time.monotonic()
        if self.path is None or self._at == (at.epoch, at.step):
            return
        state = {
            "position": vars(at), "names": training.step.names,
            "conditions": self._conditions(training),
        }  # fmt: skip
        arrays = training.arrays()
        from safetensors.numpy import save

        header = {"schema": SCHEMA, "state": canonical_json(state), "sha256": _digest(arrays, canonical_json(state))}
        try:
            replace_file(self.path, save(arrays, header))
            self._at = at.epoch, at.step
        except OSError as error:
            self.say(f"a checkpoint cannot be written ({error.strerror})")

    def _conditions(self, training: Training) -> dict[str, str]:
        return {**self.conditions, "engine": training.step.mode.label}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """State and arrays of a checkpoint.

    Raises:
        Exception: If it is not what was written.
    """
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        header = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    if header["schema"] != SCHEMA or header["sha256"] != _digest(arrays, header["state"]):
        raise ValueError("its checksum does not fit")
    return json.loads(header["state"]), arrays


def _digest(arrays: Mapping[str, NDArray[Any]], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which conditions are no longer what they were, in words; empty if none."""
    return "; ".join(
        f"{name} was {before.get(name, 'not known')}, is {now.get(name, 'not known')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )
