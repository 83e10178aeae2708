"""Versions, cores, memory and devices of this machine. Only the devices need torch."""

import contextlib
import os
import platform
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmvae_bench import __version__
from mmvae_bench.errors import BenchError, BenchWarning

# Packages whose versions numbers may depend on: recorded with every run.
NUMERIC = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "POT", "gensim", "sacrebleu")


def import_torch() -> None:
    """Import torch; a broken installation is reported in one sentence.

    Raises:
        BenchError: If it is absent or cannot be loaded.
    """
    try:
        import torch  # noqa: F401 - only to see that it loads
    except Exception as error:  # a broken shared library may raise anything
        raise BenchError(
            f"PyTorch cannot be imported ({type(error).__name__}: {error}). Reinstall it, for example with "
            "'pip install --force-reinstall torch torchvision'. The commands list and report work without it."
        ) from error


def check_device(device: str, precision: str = "fp32") -> None:
    """Refuse a device that this machine lacks, or one that lacks the precision; warn of a slow precision.

    Raises:
        BenchError: If torch cannot be imported, or the device or its precision is not available.
    """
    import_torch()
    from mmvae_bench.engine.device import choose
    from mmvae_bench.engine.mode import check

    chosen = choose(device)
    check(precision, chosen)
    if precision == "bf16" and chosen.type == "cpu" and not has_bf16():
        warnings.warn(
            "This processor has no bf16 arithmetic, so --precision bf16 is about ten times slower than fp32.",
            BenchWarning,
            stacklevel=2,
        )


def has_bf16() -> bool:
    """Return whether the processor multiplies in bf16 (AVX512, AMX, or Arm's extension); True where nothing tells."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return True
    return not flags.isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))


def describe() -> Iterator[str]:
    """Yield one line per fact. torch comes last: if it is broken, that is one more line."""
    yield f"mmvae-bench    {__version__}"
    yield f"python         {platform.python_version()} ({platform.python_implementation()})"
    yield f"platform       {platform.platform()}"
    yield f"processor      {processor()}"
    yield f"cores          {cores()} of {os.cpu_count()}"
    yield f"memory         {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    yield f"threads        OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}"
    found = versions(NUMERIC)
    yield from (f"{name:<14} {found.get(name, 'not installed')}" for name in NUMERIC)
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


def processor() -> str:
    """Model of the processor, as the system names it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of packages; those that are absent are left out."""
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
