"""The training steps that are compared: one module per side, each with ``build(name) -> Work``."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmvae_bench.nets.base import Networks


class Unavailable(Exception):
    """A switch that does not work on this machine; the message says why."""


@dataclass(frozen=True)
class Work:
    """A step to be timed.

    Attributes:
        step: Takes one step.
        rows: Samples per step.
        networks: Nets that the step runs; None where counting would disturb the step.
    """

    step: Callable[[], None]
    rows: int
    networks: Networks | None

    def facts(self) -> dict[str, Any]:
        """Take one step and count.

        ``parameters``: trained numbers. ``encodes`` and ``decodes``: rows through the nets of each modality, in
        batches. ``flops``: floating-point operations of matrix products and convolutions, forward and backward.
        """
        if self.networks is None:
            return {"rows": self.rows}
        nets, through = self.networks, Counter[str]()
        with ExitStack() as stack:
            for kind, own in (("encodes", nets.encoders), ("decodes", nets.decoders)):
                for name, net in own.items():
                    hook = net.register_forward_pre_hook(_count_rows(through, f"{kind} {name}"))
                    stack.callback(hook.remove)
            counter = stack.enter_context(FlopCounterMode(display=False))
            self.step()
        counted = {
            kind: [round(n / self.rows, 2) for key, n in through.items() if key.startswith(kind)]
            for kind in ("encodes", "decodes")
        }
        parameters = sum(p.numel() for p in nets.parameters() if p.requires_grad)
        return {"rows": self.rows, "parameters": parameters, **counted, "flops": counter.get_total_flops()}


def _count_rows(through: Counter[str], key: str) -> Callable[..., None]:
    def hook(_net: nn.Module, args: tuple[Any, ...]) -> None:
        through[key] += len(args[0])

    return hook
