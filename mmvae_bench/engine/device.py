"""The device of a run and the settings of its process: threads, deterministic algorithms, precision, memory."""

import ctypes
import os
import re
import resource
import sys
from contextlib import suppress

import torch

from mmvae_bench.errors import BenchError


def choose(device: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>`` names on this machine.

    Raises:
        BenchError: If there is no such device.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,6})?", device):
        raise BenchError(f"There is no device '{device}'. Write auto, cpu, cuda or cuda:0.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if count else "cpu")
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= count:
        have = f"{count} CUDA device{'s' if count > 1 else ''}" if count else "no CUDA device"
        raise BenchError(f"--device {device} cannot be used: this machine has {have}. Use --device cpu or auto.")
    return torch.device(device)


def prepare(threads: int, precision: str = "fp32") -> None:
    """Set threads, deterministic algorithms and TF32 for this process, so that the same command gives the same numbers.

    TF32 is a setting of the process: GPUs then multiply matrices in it, in training and in scoring.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    _keep_memory()


def _keep_memory() -> None:
    """Make glibc keep freed memory: by default each large tensor gets new pages, zeroed by the kernel on first touch.

    Each step frees and allocates the same sizes; without this setting a convolutional decoder is half as fast.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
            mallopt(-1, -1)  # M_TRIM_THRESHOLD: never


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory in MiB: of the process on a CPU, of PyTorch's allocator on a GPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, kilobytes elsewhere
