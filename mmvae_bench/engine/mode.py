"""How a run is computed: the switches that change its speed, and what of them a machine can do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmvae_bench.errors import BenchError
from mmvae_bench.nets.base import Networks
from mmvae_bench.spec import check_precision


def check(precision: str, device: torch.device) -> None:
    """Refuse what the device cannot do.

    Raises:
        BenchError: If the precision is unknown, or TF32 is asked of anything but a GPU that has it.
    """
    check_precision(precision)
    if precision == "tf32" and not (device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8):
        raise BenchError("tf32 needs an NVIDIA GPU of the Ampere generation or newer; write --precision fp32 or bf16")


@contextmanager
def narrowed(networks: Networks, precision: str, device: torch.device) -> Iterator[None]:
    """While this lasts, encoders and decoders compute in bf16 if so asked; what they return is fp32 again.

    (TF32 is a setting of the process: :func:`mmvae_bench.engine.device.prepare`.)
    """
    if precision != "bf16":
        yield
        return
    wide = {"encode": networks.encode, "decode": networks.decode}
    vars(networks).update({name: _in_bf16(compute, device.type) for name, compute in wide.items()})
    try:
        yield
    finally:
        for name in wide:
            del vars(networks)[name]


def _in_bf16(compute: Callable[[str, Tensor], Tensor], device: str) -> Callable[[str, Tensor], Tensor]:
    def inner(name: str, x: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return compute(name, x).float()

    return inner


@dataclass(frozen=True)
class Mode:
    """What an engine does to a step.

    Attributes:
        precision: Of the networks' products in training: ``fp32``, ``bf16`` or ``tf32``; part of a run's identity.
        compiled: ``torch.compile`` fuses the loss; random draws stay those of the plain engine.
        graphed: The whole step (batch, draws, forward, backward, update) is replayed as one CUDA graph.
    """

    precision: str = "fp32"
    compiled: bool = False
    graphed: bool = False

    @property
    def static(self) -> bool:
        """Whether all batches must have the same shapes."""
        return self.compiled or self.graphed

    @property
    def simpler(self) -> "Mode":
        """What to try where this mode fails: without the compiler, then without the graph."""
        return replace(self, compiled=False, graphed=self.graphed and self.compiled)

    @property
    def label(self) -> str:
        """For the record: ``eager``, ``compiled``, ``graph`` or ``compiled graph``."""
        return " ".join(["compiled"] * self.compiled + ["graph"] * self.graphed) or "eager"


def choose_mode(device: torch.device, precision: str = "fp32", compiled: bool = False) -> tuple[Mode, str]:
    """Return the fastest mode that keeps the numbers asked for, and a line on what could not be had, or nothing.

    Raises:
        BenchError: If the device cannot have the precision.
    """
    check(precision, device)
    mode = Mode(precision, graphed=device.type == "cuda")
    if not compiled:
        return mode, ""
    obstacle = _cannot_compile(device)
    if obstacle:
        return mode, f"--compile has no effect here ({obstacle}); install a C++ compiler, or leave it out"
    return replace(mode, compiled=True), ""


def _cannot_compile(device: torch.device) -> str:
    """Why torch.compile does not work on this machine, or empty: it is tried on one addition."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as error:  # a missing compiler, headers or Triton: each has an exception of its own
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""
