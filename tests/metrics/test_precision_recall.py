"""Precision and recall, against loops over points, and of sets of which both are known."""

import numpy as np
import pytest

from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.precision_recall import precision_and_recall
from tests.metrics.conftest import C


def slowly(made, true, k):
    """The paper's definition, a point at a time."""

    def share(points, of):
        inside = 0
        for p in points:
            for i, q in enumerate(of):
                others = sorted(np.linalg.norm(q - r) for j, r in enumerate(of) if j != i)
                if np.linalg.norm(p - q) <= others[k - 1]:
                    inside += 1
                    break
        return inside / len(points)

    return share(made, true), share(true, made)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "f", "k"), [(15, 2, 3), (20, 6, 1), (12, 1, 5)])
def test_it_is_the_papers_definition(n, f, k, seed):
    rng = np.random.default_rng(seed)
    made, true = rng.normal(size=(n, f)) * 1.3 + 0.4, rng.normal(size=(n + 3, f))
    assert precision_and_recall(made, true, k) == pytest.approx(slowly(made, true, k))


def test_a_mode_that_is_left_out_costs_recall_and_a_false_one_precision():
    """Two clusters far apart, 100 points each."""
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) + 1000])
    left = np.concatenate([true[:100], true[:100] + 1e-9])
    precision, recall = precision_and_recall(left, true)
    assert (precision, recall) == (1.0, 0.5)
    precision, recall = precision_and_recall(np.concatenate([true[:150], true[:50] - 1000]), true)
    assert precision == 0.75 and 0.75 < recall <= 1
    assert precision_and_recall(true, true) == (1.0, 1.0)
    assert precision_and_recall(np.tile(true[:1], (200, 1)), true) == (1.0, 1 / 200)  # one true point, over and over


def scores(ev):
    return {(s.variant, s.prior, s.given, s.target): s for s in evaluate(ev, ["precision_recall"])}


def test_copies_of_the_other_modality_are_as_good_as_training_entries(world):
    found = scores(world(n_test=400, n_train=400))
    for variant in ("precision", "recall"):
        score = found[variant, "", "a", "b"]  # the world copies a to b, and both are one-hot with equal noise
        assert abs(score.value - score.ceiling) < 0.1 and score.ceiling > 0.8
        assert score.n == 400 and score.sampled == ""
    assert found["precision", "model", "", "a"].value < 0.05  # N(0, I) is not one-hot


def test_a_generator_of_one_entry_for_each_class_is_precise_and_recalls_nothing(world):
    ev = world(n_test=400, n_train=400)
    whole = ev.model.decode
    ev.model.decode = lambda z, names=None: {
        m: x.argmax(-1, keepdim=True).eq(x.new_tensor(range(C))).float() for m, x in whole(z, names).items()
    }
    found = scores(ev)
    assert found["precision", "", "a", "b"].value == 1.0
    assert found["recall", "", "a", "b"].value == 0.0


def test_without_features_or_with_few_rows_the_reason_is_given(world):
    ev = world(n_test=3)
    (score,) = evaluate(ev, ["precision_recall"])
    assert score.reason == "precision and recall need more than 3 test entries"
    assert evaluate(world(oracles={}), ["precision_recall"])[0].reason.startswith("there is no oracle")
