"""Precision of the networks while they train: products in fewer bits; densities, losses, weights and scores in fp32."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
