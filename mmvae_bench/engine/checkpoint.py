"""Checkpoints: a training that goes on from one ends with the same bits as one that was never stopped.

A checkpoint is one safetensors file: weights and buffers, Adam's moments, the sums of the epoch's losses, the state of
every random generator that training draws from, and, as JSON in its header, the number of epochs and steps done. The
order of an epoch's rows and their presence are functions of (data set, seed, epoch), so they are not stored. A
checkpoint is used only under the conditions under which it was written: those that the caller gives, and the engine.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from mmvae_bench.disk import replace_file
from mmvae_bench.engine.share import RandomState
from mmvae_bench.engine.step import Step
from mmvae_bench.errors import Stopped
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.spec import canonical_json


@dataclass
class Position:
    """Position of a training."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done of the current epoch
    records: list[dict[str, float]] = field(default_factory=list)  # of each epoch, as in the history
    seconds: float = 0.0  # in the loop, summed over all processes that trained this run
    resumed: int = 0  # how often training was resumed from a checkpoint


@dataclass(frozen=True)
class Training:
    """All that the next step depends on besides the position."""

    model: MultimodalVAE
    step: Step
    random: RandomState

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return copies of it by name."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, parameter in enumerate(self.step.parameters):
            state = self.step.optimiser.state.get(parameter, {})
            tensors |= {f"adam.{number}.{name}": value for name, value in state.items()}
        if self.step.sums is not None:
            tensors["sums"] = self.step.sums
        tensors |= {f"random.{name}": state for name, state in self.random.states().items()}
        return {name: value.detach().cpu().contiguous().numpy().copy() for name, value in tensors.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> None:
        """Restore it, in place where tensors exist: a captured graph uses their addresses."""
        device = self.step.parameters[0].device
        parts: dict[str, dict[str, torch.Tensor]] = {"adam": {}, "sums": {}}
        for name, array in arrays.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = torch.from_numpy(array)
        self.model.load_state_dict(parts["model"])
        for name, value in parts["adam"].items():
            number, _, key = name.partition(".")
            parameter = self.step.parameters[int(number)]
            state = self.step.optimiser.state[parameter]
            if key not in state:  # in the layout of the parameter: fused Adam reads both in the order of memory
                state[key] = torch.empty_like(value, device=device) if key == "step" else torch.empty_like(parameter)
            state[key].copy_(value)
        for sums in parts["sums"].values():
            if self.step.sums is None:
                self.step.names, self.step.sums = names, sums.to(device)
            else:
                self.step.sums.copy_(sums)
        self.random.restore(parts["random"])


SCHEMA = "1"
UNPROMISED = ("compiled",)  # engines whose code is generated anew: a resumed run may differ in rounding


class Keeper:
    """Writes a run's checkpoints, ``every`` so many seconds, restores the last one, and stops the run on request.

    Without a path it writes none. ``halt`` returns why the run must stop now, or an empty text; it is called after each
    step, so it must be cheap. ``say`` receives a sentence on each event.
    """

    def __init__(
        self, path: Path | None = None, every: float = 60.0, halt: Callable[[], str] = lambda: "",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.path, self.every, self.halt, self.say = path, every, halt, say
        self.conditions: Mapping[str, str] = {}  # name -> value of what must be equal for the same numbers
        self._last = time.monotonic()
        self._at: tuple[int, int] | None = None  # epoch and step of the last checkpoint

    def restore(self, training: Training) -> Position:
        """Load the last checkpoint if there is one under these conditions; return its position, or the start."""
        self._last = time.monotonic()
        if self.path is None or not self.path.exists():
            return Position()
        now = self._conditions(training)
        try:
            with safetensors.safe_open(self.path, framework="np") as file:
                header = file.metadata()
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if header["schema"] != SCHEMA or header["sha256"] != _digest(arrays, header["state"]):
                raise ValueError("wrong checksum or schema")
            state = json.loads(header["state"])
            at, names, conditions = Position(**state["position"]), tuple(state["names"]), dict(state["conditions"])
        except Exception as error:  # readers raise many exceptions on a damaged file
            self.say(f"its checkpoint cannot be read ({type(error).__name__}): started afresh")
            return Position()
        differs = [
            f"{name} was {conditions.get(name, 'not known')}, is {now.get(name, 'not known')}"
            for name in sorted({*conditions, *now})
            if conditions.get(name) != now.get(name)
        ]
        if differs:
            self.say(f"its checkpoint is of other conditions ({'; '.join(differs)}): started afresh")
            return Position()
        training.load(arrays, names)  # outside the try: after an error here, the state would be partly loaded
        self._at = at.epoch, at.step
        at.resumed += 1
        self.say(f"resumed after {at.epoch} epochs and {at.step} steps")
        return at

    def visit(self, training: Training, at: Position) -> None:
        """Write a checkpoint if one is due, or if the run must stop.

        Raises:
            Stopped: If the run must stop. The message says why.
        """
        why = self.halt()
        if why or self.due:
            self.save(training, at)
        if why:
            raise Stopped(why)

    @property
    def due(self) -> bool:
        """True if a checkpoint is due."""
        return self.path is not None and time.monotonic() - self._last >= self.every

    def save(self, training: Training, at: Position) -> None:
        """Write a checkpoint unless the last one is of this step. A failed write is reported, and the run goes on."""
        self._last = time.monotonic()
        if self.path is None or self._at == (at.epoch, at.step):
            return
        state = {"position": vars(at), "names": training.step.names, "conditions": self._conditions(training)}
        arrays = training.arrays()
        header = {"schema": SCHEMA, "state": canonical_json(state), "sha256": _digest(arrays, canonical_json(state))}
        try:
            replace_file(self.path, safetensors.numpy.save(arrays, header))
            self._at = at.epoch, at.step
        except OSError as error:
            self.say(f"a checkpoint cannot be written ({error.strerror})")

    def _conditions(self, training: Training) -> dict[str, str]:
        return {**self.conditions, "engine": training.step.mode.label}


def _digest(arrays: Mapping[str, NDArray[Any]], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
