"""One optimiser step, taken plainly, fused by a compiler, or replayed as a CUDA graph."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain, islice

import numpy as np
import torch
from torch import Tensor

from mmvae_bench.engine.feed import Epoch, Feed
from mmvae_bench.engine.mode import Mode
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.types import Loss, MultimodalBatch, indices_where

WARM_UP = 3  # steps before a capture: compilers compile, libraries choose kernels and allocate workspaces


class Step:
    """Forward, backward and Adam's update of an initialised model. Loss and terms are summed on the device."""

    def __init__(self, model: MultimodalVAE, learning_rate: float, mode: Mode, *, amsgrad: bool = False) -> None:
        self.plain_loss, self.mode, self.phases = model.loss, mode, model.phases
        self.parameters = list(model.parameters())
        on_cpu_or_cuda = self.parameters[0].device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.Adam(
            self.parameters, lr=learning_rate, amsgrad=amsgrad, fused=on_cpu_or_cuda, capturable=mode.graphed
        )
        self.loss: Callable[[MultimodalBatch], Loss] = _compiled(model.loss) if mode.compiled else model.loss
        self.names: tuple[str, ...] = ()
        self.sums: Tensor | None = None

    def __call__(self, batch: MultimodalBatch) -> None:
        """Take the step and add its loss and terms to the sums."""
        loss = self.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        values = torch.stack([loss.total.detach(), *loss.terms.values()])
        if self.sums is None:
            self.names, self.sums = ("loss", *loss.terms), torch.zeros_like(values)
        self.sums += values

    def means(self, steps: int) -> dict[str, float]:
        """Return mean loss and terms of the last ``steps`` steps and reset the sums. Only this waits for the device."""
        sums = torch.zeros(0) if self.sums is None else self.sums
        values = (sums / steps).tolist()
        sums.zero_()
        return dict(zip(self.names, values, strict=True))


def _compiled(loss: Callable[[MultimodalBatch], Loss]) -> Callable[[MultimodalBatch], Loss]:
    """Return the loss fused, with the random draws of the plain engine. Rounding differs."""
    import torch._inductor.config as inductor

    inductor.fallback_random = True
    fused: Callable[[MultimodalBatch], Loss] = torch.compile(loss, dynamic=False)
    return fused


def phase_of(shares: Sequence[float], epoch: int, epochs: int) -> int:
    """Return the phase of an epoch, each phase having its share of the epochs, rounded up."""
    ends = [math.ceil(round(epochs * end, 6)) for end in accumulate(shares)]
    return sum(epoch >= end for end in ends[:-1])


class Plain:
    """Epochs of batches whose shapes differ."""

    def __init__(self, step: Step, feed: Feed, epochs: int) -> None:
        self.step, self.feed, self.epochs = step, feed, epochs

    def epoch(self, number: int, done: int = 0) -> Iterator[None]:
        """Take the steps of an epoch after the first ``done``, one per iteration."""
        phase = phase_of(self.step.phases, number, self.epochs)
        for at, batch in enumerate(self.feed.epoch(number, done), done):
            epoch = torch.full((), number + at / self.feed.steps, device=self.feed.device)
            self.step(replace(batch, epoch=epoch, epochs=self.epochs, phase=phase))
            yield


class Static:
    """Epochs of batches in buffers of fixed shape, with fixed indices, as compilers and CUDA graphs need them.

    Each kind of batch (one, or complete and incomplete ones) has its own buffer of rows and, in each phase of training,
    its own indices and, in a graphed mode, its own CUDA graph. Slots suffice for all epochs of the run.

    Raises:
        Exception: Any error of a compiler or a capture; the weights are then unchanged.
    """

    def __init__(self, step: Step, feed: Feed, epochs: int) -> None:
        self.step, self.feed, self.epochs = step, feed, epochs
        self.done = torch.zeros((), device=feed.device)  # epochs before the step
        self.slots = feed.order.slots(epochs)
        first = feed.start(0)
        self.now = Epoch(first.present.clone(), {name: rows.clone() for name, rows in first.partner.items()})
        self.rows = [torch.zeros(len(own), dtype=torch.long, device=feed.device) for own in self.slots]
        self.indices: list[list[FixedIndices]] = []  # of each kind and phase
        phases = range(len(step.phases))
        bits = np.arange(len(feed.presence.names))[:, None]
        for own, rows in zip(self.slots, self.rows, strict=True):
            # In a full batch every slot shows all that it may show: its indices suffice for all batches
            present = torch.from_numpy((own >> bits & 1).astype(bool)).to(feed.device)
            full = replace(feed.batch(self.now, rows), present=present)
            self.indices.append([FixedIndices(replace(full, phase=phase), step.plain_loss) for phase in phases])
        kinds = range(len(self.slots))
        self.run: list[list[Callable[[], None]]] = [[partial(self._take, k, p) for p in phases] for k in kinds]
        with self._undone():
            if step.mode.graphed:
                self.run = [[captured(take, feed.device) for take in each] for each in self.run]
            elif step.mode.compiled:
                for take in chain.from_iterable(self.run):
                    take()

    def epoch(self, number: int, done: int = 0) -> Iterator[None]:
        """Take the steps of an epoch after the first ``done``, one per iteration."""
        upload = self.feed.start(number)
        self.now.present.copy_(upload.present)
        for name, rows in upload.partner.items():
            self.now.partner[name].copy_(rows)
        steps = islice(self.feed.order.static(number, self.slots), done, None)
        phase = phase_of(self.step.phases, number, self.epochs)
        uploads = [(kind, torch.from_numpy(own).to(self.feed.device)) for kind, own in steps]
        for at, (kind, own) in enumerate(uploads, done):
            self.done.fill_(number + at / self.feed.steps)
            self.rows[kind].copy_(own)
            self.run[kind][phase]()
            yield

    def _take(self, kind: int, phase: int) -> None:
        batch = self.feed.batch(self.now, self.rows[kind])
        indices = self.indices[kind][phase].again()
        self.step(replace(batch, indices_where=indices, epoch=self.done, epochs=self.epochs, phase=phase))

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Reset weights, optimiser, sums and random numbers afterwards, in place, as before any step."""
        parameters = self.step.parameters
        before = [p.detach().clone() for p in parameters]
        with torch.random.fork_rng([self.feed.device] if self.feed.device.type == "cuda" else []):
            try:
                yield
            finally:
                with torch.no_grad():
                    for p, value in zip(parameters, before, strict=True):
                        p.copy_(value)
        for state in self.step.optimiser.state.values():
            for value in state.values():
                value.zero_()
        if self.step.sums is not None:
            self.step.sums.zero_()


def captured(take: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Take a few steps, capture one as a CUDA graph, and return the function that replays it."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            take()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):  # other threads may allocate
        take()
    return graph.replay


class FixedIndices:
    """The indices that a loss asks for, found once on a full batch and repeated in the same order in each step."""

    def __init__(self, full: MultimodalBatch, loss: Callable[[MultimodalBatch], Loss]) -> None:
        self.found: list[Tensor | None] = []
        self.next = 0
        devices = [full.present.device] if full.present.is_cuda else []
        with torch.no_grad(), torch.random.fork_rng(devices):
            loss(replace(full, indices_where=self._find))

    def again(self) -> Callable[[Tensor], Tensor | None]:
        """Return the ``indices_where`` of the next step."""
        self.next = 0
        return self._known

    def _find(self, where: Tensor) -> Tensor | None:
        self.found.append(indices_where(where))
        return self.found[-1]

    def _known(self, _where: Tensor) -> Tensor | None:
        self.next += 1
        return self.found[self.next - 1]
