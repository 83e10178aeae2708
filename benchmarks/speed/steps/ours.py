"""The engine's own step, from stored bytes to updated weights, with any of its switches."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from tasks import LEARNING_RATE, TASKS, rows
from torch import Tensor

from mmvae_bench import models
from mmvae_bench.engine.feed import Epoch, Feed
from mmvae_bench.engine.layers import speed_up
from mmvae_bench.engine.mode import Mode, choose_mode, narrowed
from mmvae_bench.engine.step import Plain, Static, Step
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing
from mmvae_bench.types import MultimodalBatch
from steps import Unavailable, Work

CPU = torch.device("cpu")
ROWS = 64  # batches per epoch
SWITCHES = ("bf16", "torch-layers", "compiled", "half", "dense")
_entered: list[Any] = []  # contexts that last as long as the process


class Dense(Feed):
    """Batches in which absent entries are computed like present ones."""

    def batch(self, epoch: Epoch, rows: Tensor) -> MultimodalBatch:
        """Return the batch of some rows."""
        return replace(super().batch(epoch, rows), indices_where=lambda _where: None)


def build(name: str) -> Work:
    """Return the step of a task with switches, joined by ``+``: ``mopoe+bf16``.

    ``torch-layers``: without the engine's own layers. ``compiled``: fused by torch.compile. ``half``: half of the rows
    have one modality only. ``dense``: absent entries are computed like present ones.
    """
    key, *switches = name.split("+")
    assert set(switches) <= set(SWITCHES), switches
    task, has = TASKS[key], set(switches).__contains__
    torch.manual_seed(0)
    networks = task.networks()
    model = models.registry.get(task.model)(networks, **task.options).train()
    if not has("torch-layers"):
        speed_up(networks, CPU)
    missing = Missing(0.5, "split") if has("half") else Missing()
    names = tuple(m.name for m in networks.modalities)
    presence = Presence(missing, names, ROWS * task.batch, "speed", 0)
    feed = (Dense if has("dense") else Feed).load(rows(networks.modalities, presence.rows), presence, task.batch, CPU)
    model.initialise(feed.draw)
    mode = _mode("bf16" if has("bf16") else "fp32", has("compiled"))
    context = narrowed(networks, mode.precision, CPU)
    context.__enter__()
    _entered.append(context)
    step = Step(model, LEARNING_RATE, mode)
    way = (Static if mode.static else Plain)(step, feed, 1)
    steps = _endless(way)
    counted = None if mode.compiled else networks  # hooks and counters would trigger another compilation
    return Work(lambda: next(steps), task.batch, counted)


def _endless(way: Plain | Static) -> Iterator[None]:
    for number in count():
        yield from way.epoch(number)


def _mode(precision: str, compiled: bool) -> Mode:
    mode, obstacle = choose_mode(CPU, precision, compiled)
    if obstacle:
        raise Unavailable(obstacle)
    return mode
