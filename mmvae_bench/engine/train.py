"""The loop: one step, many epochs, losses read once an epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.mode import Mode
from mmvae_bench.engine.precision import narrowed
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
    """

    epochs: list[dict[str, float]]
    warm_up: float
    seconds: float
    rows: int
    engine: str = "eager"
    lack: str = ""


def train(
    model: MultimodalVAE, feed: Feed, spec: TrainSpec, report: Callable[[Progress], None] = lambda _: None,
    *, mode: Mode | None = None, turn: Turn | None = None,
) -> History:  # fmt: skip
    """Train in place with Adam for the given number of epochs; the last step is what is scored (protocol 7).

    Args:
        model: On the feed's device, initialised.
        feed: Its batches.
        spec: Budget and learning rate.
        report: Called after each epoch.
        mode: How; plainly in fp32 by default.
        turn: The run's random numbers, where others train in the same process.

    Raises:
        TrainingFailed: If the loss is not finite; says in which epoch.
    """
    mode, turn = mode or Mode(), turn or Turn(feed.device)
    start, records = time.perf_counter(), []
    model.train()
    with narrowed(model.networks, mode.precision, feed.device):
        with turn():
            step, way, lack = _prepare(model, feed, spec, mode)
        ready = time.perf_counter()
        for number in range(spec.epochs):
            steps = way.epoch(number)
            for done in range(0, feed.steps, BURST):
                with turn():
                    for _ in range(min(BURST, feed.steps - done)):
                        next(steps)
            means = step.means(feed.steps)
            records.append({"epoch": number + 1, "seconds": time.perf_counter() - ready, **means})
            if not all(map(math.isfinite, means.values())):
                bad = ", ".join(f"{name} = {value}" for name, value in means.items())
                raise TrainingFailed(
                    f"the loss is not finite in epoch {number + 1}: {bad}; try a smaller learning rate"
                )
            report(Progress(number + 1, spec.epochs, means["loss"]))
    rows = feed.presence.rows * spec.epochs
    return History(records, ready - start, time.perf_counter() - ready, rows, step.mode.label, lack)


def _prepare(model: MultimodalVAE, feed: Feed, spec: TrainSpec, mode: Mode) -> tuple[Step, Plain | Static, str]:
    """The step, how epochs are taken, and why not as fast as asked for: what fails is left out of the mode."""
    lack = ""
    while mode.static:
        step = Step(model, spec.learning_rate, mode)
        try:
            return step, Static(step, feed, spec.epochs), lack
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers and captures fail in many ways; the plain step always works
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            lack = f"the engine '{mode.label}' does not work here ({why}); trained with '{mode.simpler.label}'"
            mode = mode.simpler
    step = Step(model, spec.learning_rate, mode)
    return step, Plain(step, feed), lack
