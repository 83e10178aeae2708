from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mmvae_bench import models
from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.place_cells import PlaceCells
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.decoding import best_error, constant_error, distance
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.nets.base import Networks
from mmvae_bench.types import Modality


class Precise(nn.Module):
    """loc = x, with a scale near 0."""

    def forward(self, x):
        return torch.cat([x, torch.full_like(x, -10.0)], -1)


BOTH = ["decoding_error", "decoding_error_generated"]


def test_distances_on_a_line_and_the_shorter_way_round_a_circle():
    predicted, label = np.array([0, 9, 3, 5, 0, 10]), np.array([0, 0, 5, 0, 9, 4])
    assert distance(predicted, label, 10).tolist() == [0, 9, 2, 5, 9, 9]
    assert distance(predicted, label, 10, circle=True).tolist() == [0, 1, 2, 5, 1, 5]
    assert distance(np.array([7]), np.array([2]), 7).tolist() == [6]  # unreadable
    assert distance(np.array([7]), np.array([2]), 7, circle=True).tolist() == [3]


def test_the_best_constant_guess_is_the_median_of_a_line_and_anything_on_a_circle():
    label = np.arange(20)
    assert constant_error(label, 20) == pytest.approx(5.0)  # (9 + .. + 1 + 0 + 1 + .. + 10) / 20
    assert constant_error(label, 20, circle=True) == pytest.approx(5.0)
    skewed = np.array([0, 0, 0, 9])
    assert constant_error(skewed, 10) == pytest.approx(9 / 4)
    assert constant_error(skewed, 10, circle=True) == pytest.approx(1 / 4)


def test_perfect_latents_and_generations_have_no_error(world):
    found = evaluate(world("copy", modalities=3, ordered="line"), BOTH)
    assert all(s.value == 0 and s.ceiling in (0, None) and s.chance == pytest.approx(2.5) for s in found)
    latents = [s.given for s in found if s.metric == "decoding_error"]
    assert latents == ["a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"]
    generated = [(s.given, s.target) for s in found if s.metric == "decoding_error_generated"]
    assert len(generated) == 9 and ("a+b", "c") in generated and ("a", "a") not in generated


@pytest.mark.parametrize("k", [1, 3])
def test_a_shift_of_k_bins_is_an_error_of_k(world, k):
    ev = world("copy", ordered="circle")
    ev.train = replace(ev.train, label=(ev.train.label + k) % 10)
    assert {s.value for s in evaluate(ev, ["decoding_error"])} == {float(k)}

    class Shifted:
        accuracy, hash = 0.0, "shifted"

        def predict(self, x):
            return (x.argmax(-1).numpy() + k) % 10

    ev = world("copy", ordered="line", oracles={name: Shifted() for name in "ab"})
    label = ev.test.label
    want = np.abs((label + k) % 10 - label).mean()
    assert [s.value for s in evaluate(ev, ["decoding_error_generated"])] == pytest.approx([want] * 2)
    assert all(s.ceiling == pytest.approx(want) for s in evaluate(ev, BOTH) if "+" not in s.given)


@pytest.mark.parametrize(("ordered", "want"), [("line", 99 / 30), ("circle", 2.5)])
def test_latents_of_other_rows_have_the_error_of_independent_guesses(world, ordered, want):
    """Two independent uniform bins of C are (C^2 - 1) / (3 C) apart on a line, and C / 4 on a circle."""
    ev = world("shuffled", n_test=2000, ordered=ordered)
    for score in evaluate(ev, BOTH):
        assert score.value == pytest.approx(want, abs=5 * score.se)
        assert len(score.outcomes) == 2000


def test_shared_and_private_parts_are_read_apart():
    rng = np.random.default_rng(0)

    def rows(n):
        label = rng.permutation(n) % 10
        x = {m: np.hstack([np.eye(10)[label], rng.normal(size=(n, 10))]).astype(np.float32) for m in "ab"}
        return Rows(x, label)

    parts = [Modality(m, (20,), "normal", 1.0, dtype="float32") for m in "ab"]
    model = models.registry.get("dmvae")(
        Networks(parts, 20, lambda m, size: Precise(), lambda m, size: nn.Identity()), private=0.5
    )
    ev = Evaluation(model.eval(), rows(600), rows(500), {}, "parts", 0, 10, torch.device("cpu"), ordered="line")
    found = {(s.given, s.variant): s for s in evaluate(ev, ["decoding_error"])}
    for m in "ab":
        assert found[m, "shared"].value == 0
        assert found[m, "private"].value == pytest.approx(3.3, abs=0.6)
    assert ("a+b", "latents") in found and ("a+b", "shared") not in found


def test_without_an_order_there_is_one_skipped_row(world):
    assert [(s.value, s.reason) for s in evaluate(world("copy"), BOTH)] == [
        (None, "the data set has no classes in an order, such as bins of a track")
    ] * 2


def test_the_ceiling_of_several_animals_is_the_bayes_decoders(world):
    """All animals together are read better than each alone, and as a sum over positions and directions says."""
    data = PlaceCells(m=2)
    test = data.build(None).test
    ev = world("copy", ordered="line", classes=20)
    ev.test, ev.oracles = (
        Rows({"a": test.x["animal0"], "b": test.x["animal1"]}, test.label),
        dict(zip("ab", data.judges({}).values(), strict=True)),
    )
    together = np.ones((len(test), 20, 2))
    for judge, x in zip(ev.oracles.values(), ev.test.x.values(), strict=True):
        log_p = judge.log_likelihood(x)
        together *= np.exp(log_p - log_p.max((1, 2), keepdims=True))
    want = np.abs(together.sum(2).argmax(1) - test.label).mean()
    assert best_error(ev, ("a", "b")) == pytest.approx(want)
    assert want < min(best_error(ev, ("a",)), best_error(ev, ("b",)))
