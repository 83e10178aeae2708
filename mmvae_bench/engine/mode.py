"""How a run is computed: the switches that change its speed, and what of them a machine can do."""

from dataclasses import dataclass, replace

import torch

from mmvae_bench.engine.precision import check


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
