"""Precision, compiler and graph: what they do, what they refuse, and what happens where they fail."""

import numpy as np
import pytest
import torch

from mmvae_bench.engine import mode as modes
from mmvae_bench.engine.mode import Mode, choose_mode, narrowed
from mmvae_bench.engine.train import train
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import Missing, TrainSpec
from tests.engine.test_step import BATCH, feed, made
from tests.helpers import EVERY, NAMES

CPU = torch.device("cpu")


def trained(mode: Mode, name: str = "mopoe", epochs: int = 4):
    model = made(name)
    torch.manual_seed(3)
    history = train(model, feed(Missing(0.5, "split")), TrainSpec(epochs, BATCH, 1e-2), mode=mode)
    return history, torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", EVERY)
def test_bf16_is_near_fp32_and_not_equal(name):
    (wide, _), (narrow, weights) = trained(Mode(), name), trained(Mode("bf16"), name)
    assert weights.dtype == torch.float32
    a, b = (np.array([epoch["loss"] for epoch in h.epochs]) for h in (wide, narrow))
    assert (a != b).any()
    np.testing.assert_allclose(a, b, rtol=0.02)


def test_only_the_networks_are_narrow_and_only_while_it_lasts():
    model = made("mopoe")
    z = torch.randn(64, 3)
    before = model.networks.decode("a", z)
    with narrowed(model.networks, "bf16", CPU):
        inside = model.networks.decode("a", z)
    assert inside.dtype == torch.float32 and not torch.equal(inside, before)
    assert torch.equal(model.networks.decode("a", z), before)


def test_what_a_device_cannot_do_is_a_sentence():
    with pytest.raises(BenchError, match="tf32 needs an NVIDIA GPU"):
        choose_mode(CPU, "tf32")
    with pytest.raises(BenchError, match="No precision 'fp8'"):
        choose_mode(CPU, "fp8")


def test_without_a_compiler_compile_is_left_out_with_a_line(monkeypatch):
    def broken(_function):
        raise RuntimeError("no C++ compiler\nand a long trace")

    monkeypatch.setattr(modes.torch, "compile", broken)
    mode, lack = choose_mode(CPU, compiled=True)
    assert mode == Mode() and "no C++ compiler" in lack and "trace" not in lack


def test_a_mode_that_fails_leaves_no_trace_in_the_numbers(monkeypatch):
    """Graphs cannot be captured here: the run must be the plain one, bit for bit, and say so."""
    (plain, weights), (fallen, same) = trained(Mode()), trained(Mode(graphed=True))
    if torch.cuda.is_available():
        pytest.skip("a graph can be captured here")
    assert torch.equal(weights, same)
    assert fallen.engine == "eager" and "'graph' does not work here" in fallen.lack and not plain.lack


def test_what_fails_is_left_out_one_by_one():
    both = Mode(compiled=True, graphed=True)
    assert [both.label, both.simpler.label, both.simpler.simpler.label] == ["compiled graph", "graph", "eager"]
    assert Mode(compiled=True).simpler == Mode()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "mmvaeplus"])
def test_compiled_steps_are_those_of_the_plain_engine(name):
    """The same slots, draws and weights: with the fallback for random numbers only rounding differs."""
    from mmvae_bench.engine.step import Static, Step

    losses = []
    for compiled in (False, True):
        model, own = made(name), feed(Missing(0.5, "split"))
        way = Static(Step(model, 1e-3, Mode(compiled=compiled)), own, epochs=2)
        torch.manual_seed(3)
        for number in range(2):
            for _ in way.epoch(number):
                pass
            losses.append(way.step.means(own.steps)["loss"])
    if not modes._cannot_compile(CPU):
        np.testing.assert_allclose(losses[:2], losses[2:], rtol=1e-4)
