"""What a step does, counted: rows through every net, floating-point operations, bytes that must move."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmvae_bench.nets.base import Networks


class Unavailable(Exception):
    """A switch that this machine cannot have; says why."""


@dataclass(frozen=True)
class Work:
    """Something to be timed.

    Attributes:
        step: Does it once.
        rows: Samples a step.
        networks: The nets it runs, if any; ``parameters`` of them are trained.
        known: Facts that need no counting.
    """

    step: Callable[[], None]
    rows: int = 1
    networks: Networks | None = None
    known: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Take one step and count.

        ``encodes`` and ``decodes``: rows through the nets of each modality, in batches. ``flops``: of products, forward
        and backward. ``bytes``: a lower bound for the nets: the output of each layer with parameters and its gradient
        written once and read once, the parameters read and their gradients written once, the entries read once.
        """
        if self.networks is None:
            return {"rows": self.rows, **self.known}
        nets, through, moved = self.networks, Counter[str](), Counter[str]()
        with ExitStack() as stack:
            for kind, own in (("encodes", nets.encoders), ("decodes", nets.decoders)):
                for name, net in own.items():
                    hook = net.register_forward_pre_hook(_count_rows(through, f"{kind} {name}"))
                    stack.callback(hook.remove)
                    if kind == "encodes":
                        stack.callback(net.register_forward_pre_hook(_count_bytes(moved, 1)).remove)
            for layer in _layers(nets):
                stack.callback(layer.register_forward_hook(_count_bytes(moved, 4)).remove)
            counter = stack.enter_context(FlopCounterMode(display=False))
            self.step()
        parameters = [p for p in nets.parameters() if p.requires_grad]
        return {
            "rows": self.rows,
            "parameters": sum(p.numel() for p in parameters),
            **{kind: _shares(through, kind, self.rows) for kind in ("encodes", "decodes")},
            "flops": counter.get_total_flops(),
            "bytes": moved["all"] + 2 * sum(p.nbytes for p in parameters),
        }


def _layers(networks: Networks) -> Iterable[nn.Module]:
    return (layer for layer in networks.modules() if list(layer.parameters(recurse=False)))


def _count_rows(through: Counter[str], key: str) -> Callable[..., None]:
    def hook(_net: nn.Module, args: tuple[Any, ...]) -> None:
        through[key] += len(args[0])

    return hook


def _count_bytes(moved: Counter[str], times: int) -> Callable[..., None]:
    """Of the last of what a hook is given: a layer's output, or a net's input."""

    def hook(*given: Any) -> None:
        x = given[-1][0] if isinstance(given[-1], tuple) else given[-1]
        moved["all"] += times * x.nbytes

    return hook


def _shares(through: Counter[str], kind: str, rows: int) -> list[float]:
    return [round(n / rows, 2) for key, n in through.items() if key.startswith(kind)]
