"""The conformance suite under each switch: what is hidden stays hidden, and rows with nothing add nothing."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from mmvae_bench import models
from mmvae_bench.engine.mode import _cannot_compile, narrowed
from mmvae_bench.engine.step import FixedIndices, _compiled
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.testing import model_checks
from mmvae_bench.types import Loss, MultimodalBatch
from tests.helpers import EVERY

CPU = torch.device("cpu")
RULES = {"loss", "hidden values", "empty rows", "mean over rows"}  # all that a switch could break


def check(factory: Callable[[Networks], MultimodalVAE], kind: str, m: int, but: str = "") -> None:
    rules = {rule.name: rule for rule in model_checks(factory, kinds=(kind,), m=(m,))}
    for name in RULES - {but}:
        rules[name].run()


def with_loss(name: str, change: Callable[[MultimodalVAE], Callable[[MultimodalBatch], Loss]]):
    """A factory of the model whose loss is taken another way."""

    def factory(networks: Networks) -> MultimodalVAE:
        model = models.registry.get(name)(networks)
        model.loss = change(model)
        return model

    factory.unsupported = models.registry.get(name).unsupported
    return factory


@pytest.mark.parametrize("name", EVERY)
def test_bf16(name):
    with ExitStack() as stack:

        def factory(networks: Networks) -> MultimodalVAE:
            stack.enter_context(narrowed(networks, "bf16", CPU))
            return models.registry.get(name)(networks)

        check(factory, "mixed", 3)


@pytest.mark.parametrize("name", EVERY)
def test_indices_found_beforehand(name):
    """On a batch that is complete: then every entry is computed, and masked."""

    def change(model: MultimodalVAE) -> Callable[[MultimodalBatch], Loss]:
        plain = model.loss

        def loss(batch: MultimodalBatch) -> Loss:
            empty = {name: torch.zeros_like(x) for name, x in batch.x.items()}
            full = MultimodalBatch(empty, torch.ones_like(batch.present))
            return plain(replace(batch, indices_where=FixedIndices(full, plain).again()))

        return loss

    check(with_loss(name, change), "mixed", 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mopoe", "mvae"])  # of all families, compiled steps are compared in test_switches
def test_compiled(name):
    if why := _cannot_compile(CPU):
        pytest.skip(why)

    def change(model: MultimodalVAE) -> Callable[[MultimodalBatch], Loss]:
        fused = _compiled(model.loss)
        return lambda batch: fused(replace(batch, indices_where=nothing_left_out))

    # A compiled mean over rows is compared with the plain one in test_switches; each size of it is compiled anew
    check(with_loss(name, change), "pixels", 2, but="mean over rows")


def nothing_left_out(_where: torch.Tensor) -> None:
    """Every entry is computed: the shapes of a batch are then always the same."""
