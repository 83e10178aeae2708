"""A training that was stopped anywhere and goes on elsewhere ends with the bits of one that was not."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from mmvae_bench import models, nets
from mmvae_bench.datasets.base import Rows
from mmvae_bench.engine import checkpoint
from mmvae_bench.engine.checkpoint import Keeper
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.layers import speed_up
from mmvae_bench.engine.mode import Mode
from mmvae_bench.engine.share import RandomState
from mmvae_bench.engine.train import History, train
from mmvae_bench.errors import Stopped
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing, TrainSpec
from mmvae_bench.types import Modality
from tests.engine.test_step import feed, made
from tests.helpers import EVERY

CPU = torch.device("cpu")
SPEC = TrainSpec(3, 16, 1e-2)
STEPS = SPEC.epochs * feed(Missing()).steps
QUESTIONS = STEPS + SPEC.epochs  # the keeper is asked after each step, and after each epoch
SPLIT = Missing(0.5)


def trained(
    name: str,
    keeper: Keeper | None = None,
    missing: Missing = SPLIT,
    mode: Mode | None = None,
    other: int = 0,
    spec: TrainSpec = SPEC,
) -> tuple[MultimodalVAE, History]:
    """``other`` starts elsewhere, with other draws: what a restart must not depend on."""
    model, own, random = made(name), feed(missing, pure=name == "meme"), RandomState(CPU)
    with random():
        torch.manual_seed(other)
        model.initialise(own.draw)
        for parameter in model.parameters() if other else ():
            torch.nn.init.normal_(parameter)
    return model, train(model, own, spec, mode=mode, random=random, keeper=keeper)


def asked_at(question: int) -> Callable[[], str]:
    """Asks to stop at this question and ever after."""
    count = itertools.count(1)
    return lambda: "asked to" if next(count) >= question else ""


def stopped(path: Path, name: str, question: int, **how) -> None:
    with pytest.raises(Stopped, match="asked to"):
        trained(name, Keeper(path, halt=asked_at(question)), **how)


def same(one: MultimodalVAE, two: MultimodalVAE) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def losses(history: History) -> list[dict[str, float]]:
    measured = ("seconds", "rate", "peak_memory_mb")
    return [{key: value for key, value in epoch.items() if key not in measured} for epoch in history.epochs]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("missing", [Missing(), SPLIT, Missing(0.5, "independent")], ids=str)
def test_it_goes_on_in_the_middle_of_an_epoch_bit_by_bit(name, missing, tmp_path):
    whole, history = trained(name, missing=missing)
    stopped(tmp_path / "c", name, QUESTIONS // 2, missing=missing)
    again, second = trained(name, Keeper(tmp_path / "c"), missing, other=7)
    assert same(whole, again)
    assert losses(history) == losses(second)
    assert (history.resumed, second.resumed) == (0, 1)
    assert not same(whole, trained(name, missing=missing, other=7)[0])  # else nothing was shown


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("mvae", {"spec": replace(SPEC, optimiser="amsgrad")}),
        ("mopoe", {"mode": Mode("bf16")}),
        ("meme", {"mode": Mode(compiled=True)}),  # buffers, sums and moments of fixed shapes are filled in place
    ],
    ids=["amsgrad", "bf16", "fixed shapes"],
)
def test_other_optimisers_and_modes_go_on_bit_by_bit_too(name, how, tmp_path, monkeypatch):
    monkeypatch.setattr("mmvae_bench.engine.step._compiled", lambda loss: loss)
    whole, history = trained(name, **how)
    stopped(tmp_path / "c", name, QUESTIONS // 2, **how)
    again, second = trained(name, Keeper(tmp_path / "c"), other=7, **how)
    assert same(whole, again)
    assert losses(history) == losses(second)
    assert losses(history) != losses(trained(name)[1])


@settings(max_examples=25, deadline=None)
@given(stops=st.lists(st.integers(1, QUESTIONS), max_size=4), name=st.sampled_from(["mvae", "mmvae"]))
def test_any_number_of_stops_at_any_steps_changes_no_bit(stops, name, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "c"
    for question in stops:
        try:
            trained(name, Keeper(path, halt=asked_at(question)), other=3 if path.exists() else 0)
        except Stopped:
            continue
    again, history = trained(name, Keeper(path), other=5 if path.exists() else 0)
    whole, expected = trained(name)
    assert same(whole, again)
    assert losses(history) == losses(expected)
    assert (history.resumed > 0) == bool(stops)


def test_a_checkpoint_that_is_due_is_written_while_training_goes_on(tmp_path, monkeypatch):
    saved = []
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "replace_file", lambda path, content: saved.append(content))
        whole, _ = trained("mopoe", Keeper(tmp_path / "c", every=0.0))
    assert len(saved) == STEPS + 1  # after each step, and where scoring begins
    for content in saved:
        (tmp_path / "c").write_bytes(content)
        assert same(whole, trained("mopoe", Keeper(tmp_path / "c", every=1e9), other=7)[0])


def test_convolutions_whose_weights_lie_otherwise_in_memory_go_on_bit_by_bit_too(tmp_path):
    """Channels last: moments laid out otherwise than their weights would be another's, for fused Adam."""
    generator = np.random.default_rng(0)
    kinds = [Modality("a", (3, 32, 32), scale=0.5), Modality("b", (1, 32, 32), scale=0.5)]
    x = {m.name: generator.integers(0, 256, (48, *m.shape), dtype=np.uint8) for m in kinds}
    own = Feed.load(Rows(x, np.zeros(48, int)), Presence(SPLIT, ("a", "b"), 48, "d", 0), 16, CPU)

    def fitted(keeper: Keeper | None = None) -> MultimodalVAE:
        random = RandomState(CPU)
        with random():
            torch.manual_seed(0)
            model = models.registry.get("mvae")(nets.registry.get("conv")(kinds, 3))
            speed_up(model.networks, CPU)
        train(model, own, SPEC, random=random, keeper=keeper)
        return model

    whole = fitted()
    assert any(not p.is_contiguous() for p in whole.parameters())
    with pytest.raises(Stopped):
        fitted(Keeper(tmp_path / "c", halt=asked_at(5)))
    assert same(whole, fitted(Keeper(tmp_path / "c")))


def test_it_holds_no_pickle_and_says_what_it_was_made_under(tmp_path):
    keeper = Keeper(tmp_path / "c")
    keeper.conditions = {"torch": "2.15"}
    trained("mvae", keeper)
    with safe_open(tmp_path / "c", framework="np") as file:
        state = file.metadata()["state"]
        assert {"random.cpu", "sums"} < set(file.keys())
    assert '"conditions":{"engine":"eager","torch":"2.15"}' in state
    assert '"epoch":3' in state


@pytest.mark.parametrize(
    ("before", "now", "mode", "sentence"),
    [
        ({"torch": "2.14"}, {"torch": "2.15"}, Mode(), "torch was 2.14, is 2.15"),
        ({}, {"code": "abc"}, Mode(), "code was not known, is abc"),
        ({}, {}, Mode(compiled=True), "engine was eager, is compiled"),
    ],
)
def test_under_other_conditions_it_starts_afresh_and_says_so(before, now, mode, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr("mmvae_bench.engine.step._compiled", lambda loss: loss)
    first = Keeper(tmp_path / "c", halt=asked_at(5))
    first.conditions = before
    with pytest.raises(Stopped):
        trained("mvae", first)
    said: list[str] = []
    second = Keeper(tmp_path / "c", say=said.append)
    second.conditions = now
    again, history = trained("mvae", second, mode=mode)
    assert said[0] == f"its checkpoint is of other conditions ({sentence}): started afresh"
    assert same(again, trained("mvae", mode=mode)[0])
    assert history.resumed == 0


@pytest.mark.parametrize("fault", ["cut", "flipped", "empty", "text"])
def test_one_that_is_damaged_is_not_used(fault, tmp_path):
    path = tmp_path / "c"
    stopped(path, "mvae", 5)
    content = path.read_bytes()
    spoiled = bytearray(content)
    spoiled[len(content) - 100] ^= 4
    path.write_bytes({"cut": content[:-9], "flipped": bytes(spoiled), "empty": b"", "text": b"{}" * 99}[fault])
    said: list[str] = []
    again, _ = trained("mvae", Keeper(path, say=said.append))
    assert "cannot be read" in said[0] and "started afresh" in said[0]
    assert same(again, trained("mvae")[0])


def test_one_that_cannot_be_written_is_said_and_costs_the_run_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    said: list[str] = []
    again, _ = trained("mvae", Keeper(tmp_path / "file" / "c", every=0.0, say=said.append))
    assert "a checkpoint cannot be written (Not a directory)" in said
    assert same(again, trained("mvae")[0])
