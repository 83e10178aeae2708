"""Steps of fixed shape: the same numbers as plain ones, nothing asked of the host, nothing spent on empty slots."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmvae_bench import models, nets
from mmvae_bench.datasets.base import Rows
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.mode import Mode
from mmvae_bench.engine.step import FixedIndices, Plain, Static, Step, phase_of
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.mvae import MVAE
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing
from mmvae_bench.testing import KINDS
from mmvae_bench.types import Loss, Modality, MultimodalBatch
from tests.helpers import EVERY

N, BATCH = 60, 16
HOLES = [Missing(), Missing(0.5, "split"), Missing(0.7, "independent"), Missing(0.5, "only:a")]


def made(name: str) -> MultimodalVAE:
    torch.manual_seed(0)
    kinds = [Modality(name, (1, 2, 2), scale=0.5) for name in "ab"] + [replace(KINDS["symbol"], name="c")]
    return models.registry.get(name)(nets.registry.get("mlp")(kinds, 3, hidden=5, layers=1))


def feed(missing: Missing, pure: bool = False) -> Feed:
    generator = np.random.default_rng(0)
    x = {name: generator.integers(0, 256, (N, 1, 2, 2), dtype=np.uint8) for name in "ab"}
    x["c"] = generator.integers(1, 4, (N, 1), dtype=np.int16)
    rows = Rows(x, np.zeros(N, int))
    presence = Presence(missing, tuple("abc"), N, "d", 0)
    return Feed.load(rows, presence, BATCH, torch.device("cpu"), pure=pure)


def static_batches(own: Feed, model: MultimodalVAE) -> Iterator[tuple[MultimodalBatch, FixedIndices]]:
    way = Static(Step(model, 1e-3, Mode()), own, epochs=2)
    for kind, rows in own.order.static(1, way.slots):
        yield own.batch(own.start(1), torch.from_numpy(rows)), way.indices[kind][0]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("missing", HOLES, ids=str)
def test_positions_found_beforehand_give_the_loss_of_those_found_in_each_step(name, missing):
    model = made(name)
    for batch, known in static_batches(feed(missing), model):
        torch.manual_seed(1)
        plain = model.loss(batch).total
        torch.manual_seed(1)
        static = model.loss(replace(batch, indices_where=known.again())).total
        torch.testing.assert_close(static, plain)


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("missing", HOLES, ids=str)
def test_static_batches_have_the_rows_of_plain_ones_in_fixed_slots(missing, pure):
    own = feed(missing, pure=pure)
    slots = own.order.slots(5)
    for number in range(5):
        static = list(own.order.static(number, slots))
        for (kind, filled), rows in zip(static, own.order.epoch(number), strict=True):
            assert len(filled) == len(slots[kind])
            assert sorted(filled[filled >= 0]) == sorted(rows)
            shown = own.presence.at(number)[:, filled]
            fits = (slots[kind] >> np.arange(3)[:, None] & 1) == shown
            assert fits[:, filled >= 0].all()
    waste = sum(map(len, slots)) / (BATCH * len(slots))
    assert waste < 1.5


def devices_of(values: object) -> set[str]:
    return {t.device.type for t in torch.utils._pytree.tree_leaves(values) if isinstance(t, torch.Tensor)}


class NothingFromTheHost(TorchDispatchMode):
    """Fails where a step would wait for the device or copy from the host: neither can be captured in a graph."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "item")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in self.WAITS, f"{name} waits for the device"
        out = func(*args, **(kwargs or {}))
        devices, on = devices_of((args, kwargs)), devices_of(out)
        scalars = name in ("add", "mul", "div", "sub", "where", "fill_")  # a wrapped Python number is a CPU tensor
        assert "cpu" not in devices or "cuda" not in devices | on or scalars, f"{name} copies from the host"
        return out


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("missing", HOLES[1:3], ids=str)
def test_a_step_asks_nothing_of_the_host(name, missing):
    model = made(name)
    batch, known = next(static_batches(feed(missing), model))
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_gpu = model.to("cuda")  # shapes and devices without values
        there = MultimodalBatch({n: x.to("cuda") for n, x in batch.x.items()}, batch.present.to("cuda"))
        found = [None if at is None else at.to("cuda") for at in known.found]
        answers = iter(found)
        with NothingFromTheHost():
            loss = on_gpu.loss(replace(there, indices_where=lambda _: next(answers)))
    assert next(answers, "done") == "done"
    assert loss.total.device.type == "cuda"


def test_plain_and_static_training_end_alike():
    ends = []
    for way in (Plain, Static):
        model, own = made("mopoe"), feed(Missing(0.5, "only:a"))
        step = Step(model, 1e-2, Mode())
        runner = way(step, own, 30)
        for number in range(30):
            for _ in runner.epoch(number):
                pass
            loss = step.means(own.steps)["loss"]
        ends.append(loss)
    assert abs(ends[0] - ends[1]) < 0.05 * abs(ends[0])


class Twofold(MVAE):
    """Trains decoders of the first modality in a first phase, and encoders of the second in the other one."""

    phases = (0.5, 0.5)

    def loss(self, batch):
        own = self.networks.decoders["a"] if batch.phase == 0 else self.networks.encoders["b"]
        size = sum(p.square().sum() for p in own.parameters())
        return Loss(size, {"size": size.detach()})


@pytest.mark.parametrize("way", [Plain, Static])
def test_each_phase_has_its_share_of_the_epochs_and_moves_only_what_its_loss_depends_on(way):
    assert [phase_of((0.5, 0.5), e, 5) for e in range(5)] == [0, 0, 0, 1, 1]
    assert [phase_of((0.1, 0.2, 0.7), e, 10) for e in range(10)] == [0, 1, 1, *[2] * 7]
    model = Twofold(made("mvae").networks)
    runner = way(Step(model, 1e-2, Mode()), feed(Missing()), 2)
    for number, (moved, kept) in enumerate((("decoders.a", "encoders.b"), ("encoders.b", "decoders.a"))):
        before = {name: p.clone() for name, p in model.named_parameters()}
        for _ in runner.epoch(number):
            pass
        changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert changed and all(name.startswith(f"networks.{moved}") for name in changed), (number, changed)
        assert not any(name.startswith(f"networks.{kept}") for name in changed)


class Clock(MVAE):
    """Notes the progress that a batch tells."""

    def loss(self, batch):
        if batch.epoch is not None:
            self.told.append((float(batch.epoch), batch.epochs))
        return super().loss(batch)


@pytest.mark.parametrize("way", [Plain, Static])
@pytest.mark.parametrize("done", [0, 2])
def test_a_batch_tells_the_epochs_done_also_when_an_epoch_is_resumed(way, done):
    model, own = Clock(made("mvae").networks), feed(Missing())
    model.told = []
    runner = way(Step(model, 1e-2, Mode()), own, 7)
    for _ in runner.epoch(3, done):
        pass
    assert own.steps == 4
    assert model.told == [(3 + at / 4, 7) for at in range(done, 4)]
