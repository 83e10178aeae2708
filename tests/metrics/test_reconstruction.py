"""A branch is alive if an entry's own latent explains it better than another entry's, which is known in this world."""

import numpy as np
import pytest
import torch

from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.reconstruction import DEAD
from mmvae_bench.probability.distributions import DiagonalNormal


def gains(ev):
    return {(s.given, s.target): s for s in evaluate(ev, ["reconstruction_gain"])}


def own(ev):
    """The gains of each modality from itself."""
    return {target: score for (given, target), score in gains(ev).items() if given == target}


def alive(score):
    return score.value > DEAD * score.se


@pytest.mark.parametrize("n", [100, 600, 1100])  # in one chunk, in two, and more than are compared
def test_the_gain_of_a_copy_is_half_the_squared_distance_to_the_row_before(world, n):
    ev = world(n_test=n)
    found, rows = own(ev), ev.item_rows(1000)
    order = rows[ev.order("reconstruction", len(rows))]
    assert set(found) == {"a", "b"}
    for name, score in found.items():
        x = ev.test.x[name][order]
        distance = 0.5 * np.square(x - np.roll(x, 1, 0)).sum(1)  # decoders are N(z, 1), and z is the entry
        np.testing.assert_allclose(score.outcomes, distance, atol=0.02)
        assert score.value == pytest.approx(distance.mean(), abs=2e-3)
        assert (score.given, score.n, score.chance, score.control) == (name, min(n, 1000), 0, False)
        assert alive(score)


def test_a_decoder_that_ignores_its_latent_has_no_gain_from_any_encoder(world):
    ev = world()
    theta = ev.model.theta
    ev.model.theta = lambda name, z: torch.zeros_like(z) if name == "b" else theta(name, z)
    found = gains(ev)
    assert {pair for pair, score in found.items() if alive(score)} == {("a", "a"), ("b", "a")}
    assert found["a", "b"].value == found["b", "b"].value == 0


def test_an_encoder_that_ignores_its_entry_is_dead(world):
    ev = world()
    ev.model.posterior = lambda batch: DiagonalNormal(torch.zeros(batch.size, 10), torch.ones(batch.size, 10))
    for score in gains(ev).values():
        assert abs(score.value) < DEAD * score.se
        assert score.se > 0


def test_other_entries_are_of_other_items_and_one_item_has_no_gain(world):
    ev = world(n_test=90)
    ev.test = type(ev.test)(ev.test.x, ev.test.label, np.arange(90) // 3)
    assert {s.n for s in gains(ev).values()} == {30}
    (score,) = evaluate(world(n_test=1), ["reconstruction_gain"])
    assert score.reason.startswith("one test item is too few")
