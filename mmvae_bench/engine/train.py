"""The training loop: one step, many epochs, losses read once per epoch."""

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
from mmvae_bench.engine.share import RandomState
from mmvae_bench.engine.step import Plain, Static, Step
from mmvae_bench.errors import TrainingFailed
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.spec import TrainSpec

BURST = 32  # steps that a run takes before another run of the process takes its own: a GPU's queue stays full


@dataclass(frozen=True)
class Progress:
    """Progress of a training, for people."""

    epoch: int  # epochs done
    epochs: int  # of so many
    loss: float  # mean training loss of the last epoch


@dataclass(frozen=True)
class History:
    """Record of a training."""

    epochs: list[dict[str, float]]  # mean loss and terms of each
    warm_up: float  # seconds before the first step, in which a step is compiled or captured
    seconds: float  # in the loop, including those of other runs of the process, summed over resumed processes
    rows: int  # training rows seen
    engine: str = "eager"  # label of the mode in which steps were taken
    lack: str = ""  # sentence on a mode that failed, or an empty text
    resumed: int = 0  # how often training was resumed from a checkpoint


def train(
    model: MultimodalVAE, feed: Feed, spec: TrainSpec, report: Callable[[Progress], None] = lambda _: None,
    *, mode: Mode | None = None, random: RandomState | None = None, keeper: Keeper | None = None,
) -> History:  # fmt: skip
    """Train an initialised model in place with Adam, for the epochs of ``spec``; the last step is scored (protocol 7).

    ``report`` is called after each epoch. By default the mode is plain fp32, no other run of the process draws random
    numbers meanwhile, and no checkpoint is written.

    Raises:
        TrainingFailed: If the loss is not finite.
        Stopped: If the keeper was told to stop.
    """
    mode, random, keeper = mode or Mode(), random or RandomState(feed.device), keeper or Keeper()
    start = time.perf_counter()
    model.train()
    with narrowed(model.networks, mode.precision, feed.device):
        with random():
            step, way, lack = _prepare(model, feed, spec, mode)
        training = Training(model, step, random)
        at = keeper.restore(training)
        begin = time.perf_counter()
        warm_up, zero = begin - start, begin - at.seconds
        while at.epoch < spec.epochs:
            _take_steps(way, training, at, keeper, zero)
            means = step.means(feed.steps)
            at.records.append(_record(at, time.perf_counter() - zero, feed, means))
            at.epoch, at.step = at.epoch + 1, 0
            report(Progress(at.epoch, spec.epochs, means["loss"]))
        at.seconds = time.perf_counter() - zero
        keeper.save(training, at)  # scoring may take long, too
    return History(at.records, warm_up, at.seconds, feed.presence.rows * spec.epochs, step.mode.label, lack, at.resumed)


def _take_steps(way: Plain | Static, training: Training, at: Position, keeper: Keeper, zero: float) -> None:
    """Take the remaining steps of an epoch, :data:`BURST` at a time, and write checkpoints in between.

    ``zero`` is when training would have begun if one process had done all of it.
    """
    steps, total = way.epoch(at.epoch, at.step), way.feed.steps
    while at.step < total:
        with training.random():
            for _ in range(min(BURST, total - at.step)):
                next(steps)
                at.step += 1
                if keeper.halt() or keeper.due:
                    break
        at.seconds = time.perf_counter() - zero
        keeper.visit(training, at)


def _record(at: Position, seconds: float, feed: Feed, means: Mapping[str, float]) -> dict[str, float]:
    """Record of the epoch that has just ended: seconds so far, rows per second, peak memory, finite losses."""
    if not all(map(math.isfinite, means.values())):
        bad = ", ".join(f"{name} = {value}" for name, value in means.items())
        raise TrainingFailed(f"the loss is not finite in epoch {at.epoch + 1}: {bad}; try a smaller learning rate")
    own = seconds - (at.records[-1]["seconds"] if at.records else 0.0)
    rate = feed.presence.rows / own if own > 0 else 0.0
    memory = peak_memory_mb(feed.device)
    return {"epoch": at.epoch + 1, "seconds": seconds, "rate": rate, "peak_memory_mb": memory, **means}


def _prepare(model: MultimodalVAE, feed: Feed, spec: TrainSpec, mode: Mode) -> tuple[Step, Plain | Static, str]:
    """Return the step, its epochs, and a sentence on what of the mode failed and was left out, or an empty text."""
    lack = ""
    make = partial(Step, model, spec.learning_rate, amsgrad=spec.optimiser == "amsgrad")
    while mode.static:
        step = make(mode)
        try:
            return step, Static(step, feed, spec.epochs), lack
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers and captures raise many exceptions; the plain step always works
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            lack = f"the engine '{mode.label}' does not work here ({why}); trained with '{mode.simpler.label}'"
            mode = mode.simpler
    step = make(mode)
    return step, Plain(step, feed, spec.epochs), lack
