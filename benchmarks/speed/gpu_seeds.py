"""Seeds of one model as one batched model: ``vmap`` over stacked weights, one Adam for all (see ``gpu.py``)."""

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from unittest import mock

import numpy as np
import torch
from gpu_bench import MODELS, Bench
from tasks import LEARNING_RATE
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from turns import say

from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.step import captured
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.types import MultimodalBatch, to_values


class Total(nn.Module):
    """A model's loss as a module's forward; every entry is there, so that no position need be looked up."""

    def __init__(self, model: MultimodalVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: dict[str, Tensor], present: Tensor) -> Tensor:
        """The scalar to minimise."""
        return self.model.loss(MultimodalBatch(x, present, indices_where=lambda _where: None)).total


class Seeds:
    """S models of one kind, whose step is one call.

    Args:
        models: On their device, initialised. The first one's layers do the computing.
    """

    def __init__(self, models: list[MultimodalVAE]) -> None:
        own = [Total(model) for model in models]
        params, self.buffers = stack_module_state(own)
        self.params = {name: value.detach() for name, value in params.items()}  # else a second graph is recorded
        each = grad_and_value(lambda *state: functional_call(own[0], state[:2], state[2:]))
        self.gradients: Callable[..., Any] = vmap(each, randomness="different")
        cuda = next(iter(self.params.values())).is_cuda
        self.optimiser = torch.optim.Adam(self.params.values(), lr=LEARNING_RATE, fused=True, capturable=cuda)
        self.losses = torch.zeros(len(models))

    def step(self, x: dict[str, Tensor], present: Tensor) -> None:
        """Entries [S, B, ...], presence [S, M, B]."""
        gradients, self.losses = self.gradients(self.params, self.buffers, x, present)
        for name, value in self.params.items():
            value.grad = gradients[name]
        self.optimiser.step()


def steps(models: list[MultimodalVAE], feeds: list[Feed], graphed: bool) -> Iterator[None]:
    """Steps without end, of whole batches alone: shapes must be equal; captured once if so asked."""
    seeds, x, batch = Seeds(models), feeds[0].x, feeds[0].order.batch_size
    device = feeds[0].device
    rows = torch.zeros(len(models), batch, dtype=torch.long, device=device)
    present = torch.ones(len(models), len(x), batch, dtype=torch.bool, device=device)

    def take() -> None:
        seeds.step({name: to_values(values[rows]) for name, values in x.items()}, present)

    run: Callable[[], None] = captured(take, device) if graphed else take
    for number in count():
        orders = [torch.from_numpy(_whole(feed, number)).to(device) for feed in feeds]
        for own in torch.stack(orders, 1):
            rows.copy_(own)
            run()
            yield


def _whole(feed: Feed, number: int) -> Any:
    """The rows of an epoch, [steps, batch]: a batch that lacks a row begins again."""
    return np.stack([np.resize(rows, feed.order.batch_size) for rows in feed.order.epoch(number)])


def pace(bench: Bench, name: str, seeds: int) -> tuple[float, float]:
    """(Samples a second of all seeds, peak MiB)."""
    bench.ready("fp32")
    built = [bench.build(name, seed, n=bench.part) for seed in range(seeds)]
    endless = steps([model for model, _ in built], [feed for _, feed in built], bench.cuda)
    return seeds * bench.batch * bench.timed(endless), bench.memory()


def check_all(bench: Bench) -> None:
    """:func:`check` of every model."""
    for name in MODELS:
        built = [bench.build(name, seed, n=bench.batch) for seed in range(3)]
        far = check([model for model, _ in built], [next(feed.epoch(0)) for _, feed in built])
        say(f"{name}: gradients of 3 seeds differ from the plain models' by at most {far:.1e} of their length")


def check(models: list[MultimodalVAE], batches: list[MultimodalBatch]) -> float:
    """Assert that losses and gradients of all seeds are the plain models' on the same noise; return how far off."""
    x = {name: torch.stack([batch.x[name] for batch in batches]) for name in batches[0].names}
    seeds, far = Seeds(models), 0.0
    with mock.patch("torch.rand", _fixed), mock.patch("torch.randn", _fixed):
        found, losses = seeds.gradients(seeds.params, seeds.buffers, x, torch.stack([b.present for b in batches]))
        for s, (model, batch) in enumerate(zip(models, batches, strict=True)):
            loss = model.loss(batch).total
            torch.testing.assert_close(losses[s], loss, rtol=1e-5, atol=1e-4)
            loss.backward()
            for name, parameter in model.named_parameters():
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                distance = (found[f"model.{name}"][s] - own).norm() / own.norm().clamp(min=1e-6)
                far = max(far, float(distance))
    assert far < 1e-4, f"gradients of batched seeds differ by {far:.1e} of their length"
    return far


def _fixed(*shape: Any, **how: Any) -> Tensor:
    """Numbers in [0, 1) that look random, the same in each call."""
    sizes = shape[0] if shape and not isinstance(shape[0], int) else shape
    values = torch.arange(1, math.prod(sizes) + 1, device=how.get("device")) * 0.6180339887
    return (values % 1).reshape(sizes)
