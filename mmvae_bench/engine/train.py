"""The loop: one step, many epochs, losses read once an epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmvae_bench.engine.feed import Feed
from mmvae_bench.errors import TrainingFailed
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.spec import TrainSpec


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
        seconds: Spent in the loop; ``rows`` is the number of training rows seen.
    """

    epochs: list[dict[str, float]]
    seconds: float
    rows: int


def train(
    model: MultimodalVAE, feed: Feed, spec: TrainSpec, report: Callable[[Progress], None] = lambda _: None
) -> History:
    """Train in place with Adam for the given number of epochs; the last step is what is scored (protocol 7).

    Args:
        model: On the feed's device, initialised.
        feed: Its batches.
        spec: Budget and learning rate.
        report: Called after each epoch.

    Raises:
        TrainingFailed: If the loss is not finite; says in which epoch.
    """
    on_cpu_or_cuda = next(model.parameters()).device.type in ("cpu", "cuda")
    optimiser = torch.optim.Adam(model.parameters(), lr=spec.learning_rate, fused=on_cpu_or_cuda)
    start, records, rows = time.perf_counter(), [], 0
    model.train()
    for epoch in range(spec.epochs):
        sums: dict[str, Tensor] = {}
        for batch in feed.epoch(epoch):
            loss = model.loss(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.total.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rows += batch.size
            for name, value in (("loss", loss.total.detach()), *loss.terms.items()):
                sums[name] = sums[name] + value if name in sums else value
        means = {
            name: float(value) / feed.steps for name, value in sums.items()
        }  # the epoch's only wait for the device
        records.append({"epoch": epoch + 1, "seconds": time.perf_counter() - start, **means})
        if not all(torch.isfinite(torch.tensor(list(means.values())))):
            bad = ", ".join(f"{name} = {value}" for name, value in means.items())
            raise TrainingFailed(f"the loss is not finite in epoch {epoch + 1}: {bad}; try a smaller learning rate")
        report(Progress(epoch + 1, spec.epochs, means["loss"]))
    return History(records, time.perf_counter() - start, rows)
