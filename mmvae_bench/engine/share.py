"""Several runs in one process: their random numbers, the GPU of each, and whether its memory suffices for another."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from mmvae_bench.engine.device import choose

_ONE_AT_A_TIME = threading.RLock()  # PyTorch's default generators belong to the process


class RandomState:
    """The state of PyTorch's default generators as one run left it, whatever other runs have drawn since."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._state: Mapping[str, torch.Tensor] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Draw from this state; runs in other threads wait."""
        with _ONE_AT_A_TIME:
            if self._state is not None:
                torch.set_rng_state(self._state["cpu"])
                if self._cuda and "cuda" in self._state:
                    torch.cuda.set_rng_state(self._state["cuda"], self._cuda)
            try:
                yield
            finally:
                self._state = {"cpu": torch.get_rng_state()}
                if self._cuda:
                    self._state["cuda"] = torch.cuda.get_rng_state(self._cuda)

    def states(self) -> Mapping[str, torch.Tensor]:
        """Return the states of the generators: ``cpu`` and, on a GPU, ``cuda``."""
        return self._state or {"cpu": torch.get_rng_state()}

    def restore(self, states: Mapping[str, torch.Tensor]) -> None:
        """Draw next what followed the call of :meth:`states`."""
        self._state = dict(states)


class MemoryGate:
    """Admits runs to a device while measured free memory suffices.

    The first run starts alone. Its first steps show how much memory it takes. Another run may start while twice the
    largest such amount is free: twice, because the peak of a run comes later than its first steps.
    """

    def __init__(self, free: Callable[[], int]) -> None:
        self.assigned = 0  # runs on the device or waiting for it
        self.limit = math.inf  # largest number of runs at a time; lowered when memory has run out
        self._free = free  # returns the free bytes of the device
        self._changed = threading.Condition()
        self._starting = False
        self._running = 0
        self._largest = 0

    @contextmanager
    def enter(self) -> Iterator[Callable[[], None]]:
        """Wait until a run may start. The run calls what it gets after its first steps, any number of times."""
        with self._changed:
            self._changed.wait_for(self._may_start)
            before = self._free()
            self._starting, self._running = True, self._running + 1
        taken: list[int] = []

        def started() -> None:
            with self._changed:
                if not taken:
                    taken.append(before - self._free())
                    self._starting, self._largest = False, max(self._largest, *taken)
                    self._changed.notify_all()

        try:
            yield started
        finally:
            started()
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def out_of_memory(self) -> bool:
        """Admit one run fewer from now on; called by a run whose memory ran out. Return False if it was alone."""
        with self._changed:
            others = self._running - 1
            self.limit = max(1, min(self.limit, others))
        return others > 0

    def _may_start(self) -> bool:
        """Runs start one at a time, so that the memory of each can be measured."""
        if self._running >= self.limit:
            return False
        return not self._running or (not self._starting and self._free() >= 2 * self._largest)


@dataclass(frozen=True)
class Place:
    """The device of a run, and what the run calls after its first steps and when memory runs out."""

    device: torch.device
    started: Callable[[], None] = lambda: None
    out_of_memory: Callable[[], bool] = lambda: False  # returns True if memory may suffice with fewer runs beside


@contextmanager
def place(device: str) -> Iterator[Place]:
    """Yield the device of a run, named as in :func:`choose`; ``auto`` and ``cuda`` are all GPUs.

    On GPUs it is the one with the fewest runs, once its memory suffices, with a stream.
    """
    chosen = choose(device)
    if chosen.type != "cuda":
        yield Place(chosen)
        return
    indices = range(torch.cuda.device_count()) if device in ("auto", "cuda") else [chosen.index]
    with _assigned({index: _gate(index) for index in indices}) as (index, gate):
        stream = torch.cuda.Stream(index)  # type: ignore[no-untyped-call]
        with gate.enter() as started, torch.cuda.device(index), torch.cuda.stream(stream):
            yield Place(torch.device("cuda", index), started, gate.out_of_memory)


@contextmanager
def _assigned(gates: Mapping[int, MemoryGate]) -> Iterator[tuple[int, MemoryGate]]:
    """Yield the device to which the fewest runs are assigned, and its gate; the run counts there meanwhile."""
    with _ONE_AT_A_TIME:
        index = min(gates, key=lambda i: gates[i].assigned)
        gates[index].assigned += 1
    try:
        yield index, gates[index]
    finally:
        with _ONE_AT_A_TIME:
            gates[index].assigned -= 1


@cache
def _gate(index: int) -> MemoryGate:
    def free() -> int:  # bytes, including those that PyTorch holds without using them
        cached = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
        return int(torch.cuda.mem_get_info(index)[0]) + cached

    return MemoryGate(free)
