"""The loop: one step, many epochs, losses read once an epoch."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from mmvae_bench.engine.checkpoint import Keeper, Position, Training
from mmvae_bench.engine.device import peak_memory_mb
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.mode import Mode, narrowed
from mmvae_bench.engine.share import Turn
from mmvae_bench.engine.step import Plain, Static, Step
from mmvae_bench.errors import TrainingFailed
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.spec import TrainSpec

BURST = 32  # steps of a turn: a GPU's queue is fed by several runs in turn


@dataclass(frozen=True)
class Progress:
    """Where a training stands, for people.

    Attributes:
        epoch: Epochs done, of ``epochs``.
        loss: Mean training loss of the last one.
    """

    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True)
class History:
    """What training leaves beside the weights.

    Attributes:
        epochs: For each epoch its mean loss and terms.
        warm_up: Seconds before the first step, in which a step is compiled or captured.
        seconds: Spent in the loop, neighbours' turns included; ``rows`` is the number of training rows seen.
        engine: How steps were taken: the label of a :class:`Mode`; ``lack`` says what could not be had, or nothing.
        resumed: How often it went on from a checkpoint; ``seconds`` are those of all processes.
    """

    epochs: list[dict[str, float]]
    warm_up: float
    seconds: float
    rows: int
    engine: str = "eager"
    lack: str = ""
    resumed: int = 0


def train(
    model: MultimodalVAE, feed: Feed, spec: TrainSpec, report: Callable[[Progress], None] = lambda _: None,
    *, mode: Mode | None = None, turn: Turn | None = None, keeper: Keeper | None = None,
) -> History:  # fmt: skip
    """Train in place with Adam for the given number of epochs; the last step is what is scored (protocol 7).

    Args:
        model: On the feed's device, initialised.
        feed: Its batches.
        spec: Budget and learning rate.
        report: Called after each epoch.
        mode: How; plainly in fp32 by default.
        turn: The run's random numbers, where others train in the same process.
        keeper: Of its checkpoints; by default none are kept.

    Raises:
        TrainingFailed: If the loss is not finite; says in which epoch.
        Stopped: If the keeper was told to stop.
    """
    mode, turn, keeper = mode or Mode(), turn or Turn(feed.device), keeper or Keeper()
    start = time.perf_counter()
    model.train()
    with narrowed(model.networks, mode.precision, feed.device):
        with turn():
            step, way, lack = _prepare(model, feed, spec, mode)
        training = Training(model, step, turn)
        at = keeper.restore(training)
        ready = time.perf_counter()
        clock = Clock(at.seconds)
        while at.epoch < spec.epochs:
            steps = way.epoch(at.epoch, at.step)
            while at.step < feed.steps:
                with turn():
                    for _ in range(min(BURST, feed.steps - at.step)):
                        next(steps)
                        at.step += 1
                        if keeper.halt() or keeper.due:
                            break
                at.seconds = clock()
                keeper.visit(training, at)
            means = step.means(feed.steps)
            at.records.append(_record(at, clock(), feed, means))
            if not all(map(math.isfinite, means.values())):
                bad = ", ".join(f"{name} = {value}" for name, value in means.items())
                raise TrainingFailed(
                    f"the loss is not finite in epoch {at.epoch + 1}: {bad}; try a smaller learning rate"
                )
            at.epoch, at.step = at.epoch + 1, 0
            report(Progress(at.epoch, spec.epochs, means["loss"]))
        at.seconds = clock()
        keeper.save(training, at)  # scoring may be long, too
    rows = feed.presence.rows * spec.epochs
    return History(at.records, ready - start, at.seconds, rows, step.mode.label, lack, at.resumed)


class Clock:
    """Seconds since it was made, added to those of before."""

    def __init__(self, before: float) -> None:
        self._zero = time.perf_counter() - before

    def __call__(self) -> float:
        """Read it."""
        return time.perf_counter() - self._zero


def _record(at: Position, seconds: float, feed: Feed, means: Mapping[str, float]) -> dict[str, float]:
    """What the history keeps of the epoch that has just ended: seconds so far, rows a second, memory, losses."""
    own = seconds - (at.records[-1]["seconds"] if at.records else 0.0)
    rate = feed.presence.rows / own if own > 0 else 0.0
    memory = peak_memory_mb(feed.device)
    return {"epoch": at.epoch + 1, "seconds": seconds, "rate": rate, "peak_memory_mb": memory, **means}


def _prepare(model: MultimodalVAE, feed: Feed, spec: TrainSpec, mode: Mode) -> tuple[Step, Plain | Static, str]:
    """The step, how epochs are taken, and why not as fast as asked for: what fails is left out of the mode."""
    lack = ""
    make = partial(Step, model, spec.learning_rate, amsgrad=spec.optimiser == "amsgrad")
    while mode.static:
        step = make(mode)
        try:
            return step, Static(step, feed, spec.epochs), lack
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers and captures fail in many ways; the plain step always works
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            lack = f"the engine '{mode.label}' does not work here ({why}); trained with '{mode.simpler.label}'"
            mode = mode.simpler
    step = make(mode)
    return step, Plain(step, feed), lack
