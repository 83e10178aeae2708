"""Where tasks are computed: joblib's backends, for processes of this machine or a dask cluster."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import joblib

from mmvae_bench import datasets, metrics, models, nets, priors
from mmvae_bench.errors import BenchError
from mmvae_bench.probability import likelihoods
from mmvae_bench.registry import Registry
from mmvae_bench.sweep.request import Settings
from mmvae_bench.sweep.signals import unheard
from mmvae_bench.sweep.streams import unread

T = TypeVar("T")
PACKAGES = (models, datasets, nets, metrics, priors)
REGISTRIES: tuple[Registry[Any], ...] = (*(package.registry for package in PACKAGES), likelihoods)
IDLE = 30  # seconds after which an idle worker ends, also one whose command was killed
TIMEOUT = 20  # seconds that a scheduler may take to answer
WORKERS = 600  # seconds to wait for the first worker, which may be in a queue


class WorkerDied(Exception):
    """A process of the pool died (was killed, ran out of memory) and took its task along, perhaps others' too."""


@contextmanager
def cluster(settings: Settings) -> Iterator[int]:
    """Connect to the backend, as a context; gives the runs it takes at a time, 0 for processes of this machine.

    Raises:
        BenchError: If dask is not installed, or neither a scheduler nor a worker answers at the address.
    """
    if settings.backend == "loky":
        yield 0
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise BenchError(f"--backend dask needs {error.name}. Run: pip install 'mmvae-bench[dask]'") from error
    address = settings.address
    try:
        with unheard():  # without an address its workers are started here
            client = Client(address or None, timeout=TIMEOUT)
    except (OSError, ValueError, TypeError) as error:
        raise BenchError(f"No dask scheduler answers at '{address}' ({error}). Start one: dask scheduler") from error
    with client, joblib.parallel_config(backend="dask"):
        try:
            client.wait_for_workers(1, timeout=WORKERS)
        except TimeoutError as error:
            raise BenchError(f"The dask scheduler at '{address}' has no worker. Start one: dask worker") from error
        yield sum(client.ncores().values())


def results(calls: Iterable[Callable[[], T]], jobs: int, settings: Settings, *, processes: bool = False) -> Iterator[T]:
    """Yield what calls return, as they end; except with dask, a call is only taken when there is room for it.

    On a CPU they are computed in processes; where they share GPUs, in threads: a process has a CUDA context of its
    own, and contexts take turns at a GPU, while the streams of one context share it.

    Args:
        calls: functions that can be sent to another process.
        jobs: number of calls at a time; with 1 they are computed in this process.
        settings: backend and device.
        processes: True if threads will not do, even where runs share GPUs.

    Raises:
        WorkerDied: If a process died.
        BenchError: If the cluster did.
    """
    from mmvae_bench.engine.device import choose

    how: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": jobs}
    if settings.backend == "dask":
        how["pre_dispatch"] = "all"  # a cluster that grows with its queue must see it
        backend: Any = joblib.parallel.get_active_backend()[0]  # with one worker, it would compute in this process
        cores = type(backend).effective_n_jobs
        backend.effective_n_jobs = lambda n_jobs: max(2, cores(backend, n_jobs))
    elif processes or choose(settings.device).type == "cpu":
        how |= {"backend": "loky", "idle_worker_timeout": IDLE}
    else:
        how["backend"] = "threading"
    own = tuple(registry.own() for registry in REGISTRIES)
    dask = [sys.modules["distributed"].scheduler.KilledWorker] if "distributed" in sys.modules else []
    crashes: tuple[type[BaseException], ...] = (BrokenProcessPool, *dask)
    try:
        with unheard() if settings.backend == "loky" else nullcontext():
            ended = joblib.Parallel(n_jobs=jobs, **how)(joblib.delayed(_told)(os.getpid(), own, call) for call in calls)
        yield from ended
    except CancelledError as error:
        raise BenchError("The cluster is gone. Run the same command again: it goes on.") from error
    except crashes as error:
        raise WorkerDied(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _told(command: int, own: tuple[dict[str, Any], ...], call: Callable[[], T]) -> T:
    """Do a call where what the user's script or notebook registered is known; ``command`` is the command's process."""
    for registry, entries in zip(REGISTRIES, own, strict=True):
        registry.adopt(entries)
    with nullcontext() if os.getpid() == command else unread():  # a plug-in may print
        return call()
