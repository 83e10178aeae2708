"""The loop: one step, many epochs, losses read once an epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


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
        seconds: Spent in the loop, neighbours' turns included; ``rows`` is the number of training rows seen.
    """

    epochs: list[dict[str, float]]
    seconds: float
    rows: int


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
            step = Step(model, spec.learning_rate, mode)
            way = Static(step, feed, spec.epochs, mode.graphed) if mode.static else Plain(step, feed)
        for number in range(spec.epochs):
            steps = way.epoch(number)
            for done in range(0, feed.steps, BURST):
                with turn():
                    for _ in range(min(BURST, feed.steps - done)):
                        next(steps)
            means = step.means(feed.steps)
            records.append({"epoch": number + 1, "seconds": time.perf_counter() - start, **means})
            if not all(map(math.isfinite, means.values())):
                bad = ", ".join(f"{name} = {value}" for name, value in means.items())
                raise TrainingFailed(f"the loss is not finite in epoch {number + 1}: {bad}; try a smaller learning rate")
            report(Progress(number + 1, spec.epochs, means["loss"]))
    return History(records, time.perf_counter() - start, feed.presence.rows * spec.epochs)
