"""What a bug report needs: versions, cores, memory, devices. Only the devices need torch."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from re import match

from mmvae_bench import __version__
from mmvae_bench.errors import BenchError


def import_torch() -> None:
    """Import torch, so that what is broken about it is said in one sentence.

    Raises:
        BenchError: If it is absent or cannot be loaded.
    """
    try:
        import torch  # noqa: F401 - only whether it loads
    except Exception as error:  # a broken shared library may raise anything
        raise BenchError(
            f"PyTorch cannot be imported ({type(error).__name__}: {error}); install it again, say with "
            "'pip install --force-reinstall torch torchvision'. The commands list and report work without it"
        ) from error


def check_device(device: str, precision: str = "fp32") -> None:
    """Refuse a device that is not here (``auto`` and ``cpu`` always are), or that cannot have the precision.

    Raises:
        BenchError: If torch is broken, if ``device`` is unknown or absent, or if it has no such precision.
    """
    if not match(r"(auto|cpu|cuda(:\d{1,6})?)\Z", device):
        raise BenchError(f"no device '{device}'; write auto, cpu, cuda or cuda:0")
    import_torch()
    import torch

    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if index >= count:
            have = f"only {count} CUDA device{'s' if count > 1 else ''}" if count else "no CUDA device"
            raise BenchError(f"there is {have} here, so --device {device} cannot be used; use --device cpu or auto")
    if precision != "fp32":
        from mmvae_bench.engine.device import choose
        from mmvae_bench.engine.mode import check

        check(precision, choose(device))


def describe() -> Iterator[str]:
    """One line a fact; torch is imported last, and a broken one is a line."""
    yield f"mmvae-bench    {__version__}"
    yield f"python         {platform.python_version()} ({platform.python_implementation()})"
    yield f"platform       {platform.platform()}"
    yield f"processor      {processor()}"
    yield f"cores          {cores()} of {os.cpu_count()}"
    yield f"memory         {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    yield f"threads        OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}"
    for name in _packages():
        yield f"{name:<14} {_version(name)}"
    yield from _devices()


def processor() -> str:
    """The processor's model, as the system names it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _packages() -> list[str]:
    """What this package requires; a fixed list where its metadata is not installed."""
    try:
        stated = [line for line in requires("mmvae-bench") or () if "extra ==" not in line]
    except PackageNotFoundError:
        return ["torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "POT", "click", "joblib"]
    found = (match(r"[\w.-]+", line) for line in stated)
    return [name[0] for name in found if name]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> Iterator[str]:
    """The CUDA devices, or why there are none."""
    try:
        import_torch()
        import torch

        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            memory = device.total_memory / 2**30
            yield f"{f'cuda:{index}':<14} {device.name}, {memory:.1f} GiB, CUDA {torch.version.cuda}"
        if not torch.cuda.is_available():
            yield "cuda           no device"
    except BenchError as error:
        yield f"cuda           unknown: {error}"
