import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.relatedness import partner_ranks
from tests.metrics.captioned_world import Blind, captioned

NAMES = ["retrieval_recall", "retrieval_median_rank"]


def naive_rank(row, partner, rng):
    """The partner's rank in one random breaking of ties."""
    return 1 + sorted(range(len(row)), key=lambda j: (row[j], rng.random())).index(partner)


def test_without_ties_ranks_and_recall_are_those_of_a_sorted_list():
    cost, rng = np.random.default_rng(0).random((12, 12)), np.random.default_rng(1)
    ranks, expected = partner_ranks(cost), [naive_rank(row, i, rng) for i, row in enumerate(cost)]
    assert ranks.mean.tolist() == expected
    for k in (1, 5, 10):
        assert ranks.found(k).tolist() == [float(rank <= k) for rank in expected]


def test_with_ties_they_are_the_expectation_over_random_orders():
    rng = np.random.default_rng(0)
    cost = rng.integers(0, 3, (6, 6)).astype(float)
    drawn = np.array([[naive_rank(row, i, rng) for i, row in enumerate(cost)] for _ in range(4000)])
    ranks = partner_ranks(cost)
    assert ranks.tied.max() > 1
    assert ranks.mean == pytest.approx(drawn.mean(0), abs=0.12)
    for k in (1, 2, 5):
        assert ranks.found(k) == pytest.approx((drawn <= k).mean(0), abs=0.04)


@settings(max_examples=30, deadline=None)
@given(cost=arrays(np.float64, (5, 5), elements=st.floats(0, 9)))
def test_a_deeper_list_finds_no_less_and_the_whole_gallery_finds_all(cost):
    found = [partner_ranks(cost).found(k) for k in range(6)]
    assert np.all(np.diff(found, axis=0) >= 0)
    assert np.all(found[0] == 0) and np.all(found[5] == 1)


def test_a_model_that_knows_finds_every_partner_in_both_directions():
    scores = evaluate(captioned(), NAMES)
    where = [(s.variant, s.given, s.target) for s in scores if s.metric == "retrieval_recall"]
    ways = (("picture", "caption"), ("caption", "picture"))
    assert where == [(k, *way) for way in ways for k in ("1", "5", "10")]
    assert all(s.value == 1 and s.n == 100 and not s.control for s in scores)
    assert [s.chance for s in scores] == [0.01, 0.05, 0.1] * 2 + [50.5] * 2


def test_a_blind_model_scores_by_chance_and_is_marked():
    scores = evaluate(captioned(Blind()), NAMES)
    assert all(s.control for s in scores)
    for s in scores:
        spread = 5 * np.sqrt(s.chance * (1 - s.chance) / 100) if s.metric == "retrieval_recall" else 20
        assert abs(s.value - s.chance) < spread


def test_it_is_undefined_where_partners_are_not_unique(world):
    captions = ({"related": "class"}, {"attributes": {"colour": ("red", "blue")}})
    for ev in (*(captioned(**fields) for fields in captions), world(oracles={}, classes=0)):
        (score, _) = evaluate(ev, NAMES)
        assert score.value is None and "partner" in score.reason and "class" not in score.reason


def test_a_gallery_of_fewer_than_ten():
    ev = captioned()
    ev.test = ev.test.take(np.arange(12))
    scores = evaluate(ev, ["retrieval_recall"])
    assert [s.chance for s in scores[:3]] == [pytest.approx(1 / 3), 1, 1]
    assert all(s.n == 3 and s.value == 1 for s in scores)
