"""All that the next step of a training depends on, to be written down and put back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from mmvae_bench.engine.share import Turn
from mmvae_bench.engine.step import Step
from mmvae_bench.models.base import MultimodalVAE


@dataclass
class Position:
    """How far a training is.

    Attributes:
        epoch: Epochs done; ``step`` counts those of the one under way.
        records: What the history has of each epoch.
        seconds: Spent in the loop, by all processes that worked on it.
        resumed: How often it went on from a checkpoint.
    """

    epoch: int = 0
    step: int = 0
    records: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    resumed: int = 0


@dataclass(frozen=True)
class Training:
    """All that the next step depends on, beside the position."""

    model: MultimodalVAE
    step: Step
    turn: Turn

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of it by name."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, parameter in enumerate(self.step.parameters):
            state = self.step.optimiser.state.get(parameter, {})
            tensors |= {f"adam.{number}.{name}": value for name, value in state.items()}
        if self.step.sums is not None:
            tensors["sums"] = self.step.sums
        tensors |= {f"random.{name}": state for name, state in self.turn.states().items()}
        return {name: value.detach().cpu().contiguous().numpy().copy() for name, value in tensors.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> None:
        """Put it back, in place where it is there: a captured graph knows its addresses."""
        device = self.step.parameters[0].device
        tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            parts.setdefault(kind, {})[rest] = value
        self.model.load_state_dict(parts["model"])
        for name, value in parts.get("adam", {}).items():
            number, _, key = name.partition(".")
            parameter = self.step.parameters[int(number)]
            state = self.step.optimiser.state[parameter]
            if key not in state:  # laid out as the parameter: fused Adam walks through their memory side by side
                state[key] = torch.empty_like(value, device=device) if key == "step" else torch.empty_like(parameter)
            state[key].copy_(value)
        if "sums" in tensors and self.step.sums is not None:
            self.step.sums.copy_(tensors["sums"])
        elif "sums" in tensors:
            self.step.names, self.step.sums = names, tensors["sums"].to(device)
        self.turn.restore(parts["random"])
