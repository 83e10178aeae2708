"""Precision of the networks while they train: their products in fewer bits; densities, losses and weights in fp32."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mmvae_bench.errors import BenchError
from mmvae_bench.nets.base import Networks

PRECISIONS = ("fp32", "bf16", "tf32")


def check(precision: str, device: torch.device) -> None:
    """Refuse what the device cannot do.

    Raises:
        BenchError: If the precision is unknown, or TF32 is asked of anything but a GPU that has it.
    """
    if precision not in PRECISIONS:
        raise BenchError(f"no precision '{precision}'; write {', '.join(PRECISIONS)}")
    if precision == "tf32" and not (device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8):
        raise BenchError("tf32 needs an NVIDIA GPU of the Ampere generation or newer; write --precision fp32 or bf16")


@contextmanager
def narrowed(networks: Networks, precision: str, device: torch.device) -> Iterator[None]:
    """While this lasts, encoders and decoders compute in ``precision``; what they return is fp32 again."""
    if precision == "bf16":
        networks.encode = _in_bf16(networks.encode, device.type)  # type: ignore[method-assign]
        networks.decode = _in_bf16(networks.decode, device.type)  # type: ignore[method-assign]
    wide = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = wide
        for name in ("encode", "decode"):
            networks.__dict__.pop(name, None)


def _in_bf16(compute: Callable[[str, Tensor], Tensor], device: str) -> Callable[[str, Tensor], Tensor]:
    def inner(name: str, x: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return compute(name, x).float()

    return inner
