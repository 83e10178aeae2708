"""Choosing and preparing the device: fp32, one thread a run, deterministic algorithms, memory that is kept."""

import ctypes
import os
import resource
import sys

import torch

from mmvae_bench.errors import BenchError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def choose(device: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:<i>`` means here.

    Raises:
        BenchError: If it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise BenchError(f"no device '{device}'; write auto, cpu, cuda or cuda:<index>") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise BenchError(f"'{device}' is not here: {torch.cuda.device_count()} CUDA devices are; write --device cpu")
    if chosen.type not in ("cpu", "cuda"):
        raise BenchError(f"the device '{device}' is not supported; write auto, cpu, cuda or cuda:<index>")
    return chosen


def prepare(threads: int, precision: str = "fp32") -> None:
    """Make the same command give the same numbers: set threads and deterministic algorithms for this process.

    With ``tf32`` GPUs multiply matrices in it, in training and scoring alike: it is a setting of the process.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    _keep_memory()


def _keep_memory() -> None:
    """Have glibc keep freed memory: by default each large tensor is fresh pages, zeroed by the kernel on first touch.

    A step frees and asks for the same sizes again and again; without this a convolution decoder runs at half its pace.
    """
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):  # another C library: nothing to set
            return
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, -1)  # never


def peak_memory_mb(device: torch.device) -> float:
    """The most memory that was in use: of the process on a CPU, of the device's allocator on a GPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, kilobytes elsewhere
