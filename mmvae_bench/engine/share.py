"""Many runs in one process: whose random numbers are drawn, which GPU a run gets, and whether there is room on it."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import torch

from mmvae_bench.engine.device import choose

_ONE_AT_A_TIME = threading.RLock()  # PyTorch's default generators belong to the process


class Turn:
    """A run's turn at the process's random numbers: it finds them as it left them, whatever its neighbours drew.

    Args:
        device: Whose generator is kept beside the CPU's.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._state: tuple[torch.Tensor, torch.Tensor | None] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Draw alone."""
        with _ONE_AT_A_TIME:
            if self._state is not None:
                torch.set_rng_state(self._state[0])
                if self._cuda and self._state[1] is not None:
                    torch.cuda.set_rng_state(self._state[1], self._cuda)
            try:
                yield
            finally:
                self._state = torch.get_rng_state(), torch.cuda.get_rng_state(self._cuda) if self._cuda else None

    def states(self) -> dict[str, torch.Tensor]:
        """What its next draws depend on: the states of the generators, ``cpu`` and perhaps ``cuda``."""
        cpu, cuda = self._state or (torch.get_rng_state(), None)
        return {"cpu": cpu} if cuda is None else {"cpu": cpu, "cuda": cuda}

    def restore(self, states: Mapping[str, torch.Tensor]) -> None:
        """Draw next what would have followed when :meth:`states` was asked."""
        self._state = states["cpu"], states.get("cuda")


class Room:
    """Lets runs onto a device while there is memory for them: measured, not guessed.

    The first run starts alone. Once it is at work, what it took is known, and others follow while the device has twice
    the room that the hungriest so far took (a run's own peak comes later than its first steps).

    Args:
        free: Bytes that the device has left now.

    Attributes:
        sent: Runs inside and those that wait.
        limit: The most runs at a time, once memory has run out.
    """

    def __init__(self, free: Callable[[], int]) -> None:
        self.sent = 0
        self.limit = math.inf
        self._free = free
        self._changed = threading.Condition()
        self._starting = 0
        self._running = 0
        self._most = 0

    @contextmanager
    def enter(self) -> Iterator[Callable[[], None]]:
        """Wait for room; the run calls what it gets when its first steps are taken, so that the next may come."""
        with self._changed:
            self._changed.wait_for(self._has_room)
            before = self._free()
            self._starting, self._running = self._starting + 1, self._running + 1
        started = False

        def settled() -> None:
            nonlocal started
            with self._changed:
                if not started:
                    started = True
                    self._starting -= 1
                    self._most = max(self._most, before - self._free())
                    self._changed.notify_all()

        try:
            yield settled
        finally:
            settled()
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def crowded(self) -> bool:
        """Say, from inside, that memory ran out: one run fewer is let in from now on. False if the run was alone."""
        with self._changed:
            neighbours = self._running - 1
            self.limit = max(1, min(self.limit, neighbours))
        return neighbours > 0

    def _has_room(self) -> bool:
        """One run is at the door at a time, or its appetite could not be told from another's."""
        if self._running >= self.limit:
            return False
        return not self._running or (not self._starting and self._free() >= 2 * self._most)


@dataclass(frozen=True)
class Place:
    """Where a run is computed.

    Attributes:
        settled: To be called when the first steps are taken.
        crowded: To be called when memory runs out; whether it may fit with fewer neighbours.
    """

    device: torch.device
    settled: Callable[[], None] = lambda: None
    crowded: Callable[[], bool] = lambda: False


@contextmanager
def place(device: str) -> Iterator[Place]:
    """A place for a run. On GPUs this waits for room on the one with the fewest runs, and the run gets a stream.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` (all GPUs) or ``cuda:<i>``.
    """
    chosen = choose(device)
    if chosen.type != "cuda":
        yield Place(chosen)
        return
    indices = range(torch.cuda.device_count()) if device in ("auto", "cuda") else [chosen.index]
    with _sent({index: _room(index) for index in indices}) as (index, room):
        stream = torch.cuda.Stream(index)  # type: ignore[no-untyped-call]
        with room.enter() as settled, torch.cuda.device(index), torch.cuda.stream(stream):
            yield Place(torch.device("cuda", index), settled, room.crowded)


@contextmanager
def _sent(rooms: Mapping[int, Room]) -> Iterator[tuple[int, Room]]:
    """The room to which the fewest runs were sent."""
    with _ONE_AT_A_TIME:
        index = min(rooms, key=lambda i: rooms[i].sent)
        rooms[index].sent += 1
    try:
        yield index, rooms[index]
    finally:
        with _ONE_AT_A_TIME:
            rooms[index].sent -= 1


@cache
def _room(index: int) -> Room:
    return Room(partial(_free, index))


def _free(index: int) -> int:
    """Bytes that the driver has left, and those that PyTorch holds without using them."""
    cached = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
    return int(torch.cuda.mem_get_info(index)[0]) + cached
