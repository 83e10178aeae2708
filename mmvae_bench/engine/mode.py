"""Modes of computation: precision, compiler and CUDA graph, and which of them a machine supports."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmvae_bench.errors import BenchError
from mmvae_bench.nets.base import Networks
from mmvae_bench.spec import check_precision


def check(precision: str, device: torch.device) -> None:
    """Raise BenchError if the precision is unknown, or TF32 on a device without it."""
    check_precision(precision)
    if precision == "tf32" and not (device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8):
        raise BenchError("tf32 needs an NVIDIA GPU of the Ampere generation or newer. Write --precision fp32 or bf16.")


@contextmanager
def narrowed(networks: Networks, precision: str, device: torch.device) -> Iterator[None]:
    """Within this context encoders and decoders compute in bf16 if ``precision`` is bf16; they return fp32."""
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
    """Mode of computation of the steps."""

    precision: str = "fp32"  # of the networks in training: ``fp32``, ``bf16`` or ``tf32``; part of a run's identity
    compiled: bool = False  # the loss is fused by ``torch.compile``; random draws are those of the plain engine
    graphed: bool = False  # the whole step (batch, draws, forward, backward, update) is replayed as one CUDA graph

    @property
    def static(self) -> bool:
        """True if all batches must have the same shapes."""
        return self.compiled or self.graphed

    @property
    def simpler(self) -> "Mode":
        """The mode to try where this one fails: without the compiler, then without the graph."""
        return replace(self, compiled=False, graphed=self.graphed and self.compiled)

    @property
    def label(self) -> str:
        """Text for the record: ``eager``, ``compiled``, ``graph`` or ``compiled graph``."""
        return " ".join(["compiled"] * self.compiled + ["graph"] * self.graphed) or "eager"


def choose_mode(device: torch.device, precision: str = "fp32", compiled: bool = False) -> tuple[Mode, str]:
    """Return the fastest mode of a precision, and a sentence on what is not available, or an empty text.

    Raises:
        BenchError: If the device does not support the precision.
    """
    check(precision, device)
    mode = Mode(precision, graphed=device.type == "cuda")
    if not compiled:
        return mode, ""
    obstacle = _cannot_compile(device)
    if obstacle:
        return mode, f"--compile has no effect here ({obstacle}); install what torch.compile needs, or leave it out"
    return replace(mode, compiled=True), ""


def _cannot_compile(device: torch.device) -> str:
    """Try torch.compile on one addition; return why it does not work here, or an empty text."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as error:  # a missing compiler, header or Triton: each raises a different exception
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""
