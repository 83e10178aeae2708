from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy
from sklearn.metrics import balanced_accuracy_score

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics import registry
from mmvae_bench.metrics.base import mean_and_error
from mmvae_bench.metrics.classes import (
    agreement_by_chance,
    joint_agreement,
    macro_accuracy,
    majority,
    normalised_entropy,
)
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.priors import PRIOR_SAMPLES
from mmvae_bench.sweep.execute import _scores

classes = arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 5))


def scores(ev, name):
    return evaluate(ev, [name])


@settings(max_examples=50, deadline=None)
@given(label=classes, data=st.data())
def test_the_macro_accuracy_is_scikit_learns_and_does_not_depend_on_the_order(label, data):
    predicted = data.draw(arrays(np.int64, len(label), elements=st.integers(0, 5)))
    order = data.draw(st.permutations(range(len(label))))
    if np.isin(predicted, label).all() and len(np.unique(label)) > 1:  # of anything else scikit-learn warns
        assert macro_accuracy(predicted, label)[0] == pytest.approx(balanced_accuracy_score(label, predicted))
    assert macro_accuracy(predicted, label) == pytest.approx(macro_accuracy(predicted[order], label[order]))


def test_standard_errors_are_the_spread_of_repeated_test_sets():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [20, 60, 120])
    right = np.where(label == 0, 0.5, np.where(label == 1, 0.3, 0.9))
    draws = [np.where(rng.random(200) < right, label, 3) for _ in range(2000)]
    macro = [macro_accuracy(predicted, label) for predicted in draws]
    assert np.std([value for value, _ in macro]) == pytest.approx(np.mean([se for _, se in macro]), rel=0.1)
    tasks = [mean_and_error(p == label) for p in draws[:200]]
    p = np.mean(right)
    assert np.mean([se for _, se in tasks]) == pytest.approx(np.sqrt(p * (1 - p) / 200), rel=0.1)


def test_majority_is_the_largest_class():
    assert majority(np.array([0, 2, 2, 1])) == 0.5


@settings(max_examples=50, deadline=None)
@given(predicted=classes)
def test_entropy_is_scipys_in_units_of_log_c(predicted):
    value = normalised_entropy(predicted, 6)
    assert value == pytest.approx(entropy(np.bincount(predicted, minlength=6)) / np.log(6), abs=1e-12)
    assert 0 <= value <= 1 + 1e-12


def test_agreement_at_its_ends():
    each = joint_agreement(np.array([[1, 2, 3, 3], [1, 2, 0, 3], [1, 0, 3, 3]]))
    assert each.dtype == bool and each.tolist() == [True, False, False, True]
    assert agreement_by_chance(np.ones((3, 5), np.int64), 2) == 1


def test_agreement_by_chance_is_that_of_shuffled_predictions():
    rng = np.random.default_rng(1)
    predicted = rng.choice(4, size=(2, 300), p=[0.1, 0.2, 0.3, 0.4])
    shuffled = [joint_agreement(np.stack([predicted[0], rng.permutation(predicted[1])])).mean() for _ in range(1000)]
    assert agreement_by_chance(predicted, 4) == pytest.approx(np.mean(shuffled), abs=5 * np.std(shuffled) / 1000**0.5)


def test_true_pictures_of_the_class_are_coherent(world):
    for score in scores(world("copy"), "cross_coherence") + scores(world("copy"), "self_coherence"):
        assert score.value == 1
        assert score.ceiling == 1
        assert score.n == 500
    assert [s.value for s in scores(world("copy"), "oracle_accuracy")] == [1, 1]


def test_pictures_of_other_rows_score_by_chance(world):
    found = scores(world("shuffled", n_test=2000), "cross_coherence")
    assert {(s.given, s.target, s.variant) for s in found} == {
        (*pair, v) for pair in (("a", "b"), ("b", "a")) for v in ("micro", "macro", "agreement")
    }
    for score in found:
        assert score.chance == pytest.approx(0.1, abs=1e-3)
        assert abs(score.value - score.chance) < 5 * score.se


def test_each_subset_is_scored_for_each_target_outside_it(world):
    ev = world(modalities=3)
    found = scores(ev, "cross_coherence")
    micro = [s for s in found if s.variant == "micro"]
    assert {(s.given, s.target) for s in micro} == {
        *[(a, t) for a in "abc" for t in "abc" if a != t], ("a+b", "c"), ("a+c", "b"), ("b+c", "a"),
    }  # fmt: skip
    assert {s.given for s in found if s.variant == "agreement"} == {"a", "b", "c"}
    for size in (1, 2):
        (mean,) = [s for s in found if s.variant == f"micro {size}"]
        of_size = [s.value for s in micro if s.given.count("+") == size - 1]
        assert mean.value == pytest.approx(np.mean(of_size))
    assert len(scores(ev, "self_coherence")) == 2 * (3 + 2 * 3 + 3)


class Guessing:
    """A judge of noise."""

    accuracy, hash = 0.1, "guessing"

    def predict(self, x):
        return np.random.default_rng(0).integers(0, 10, len(x))


def test_a_judge_at_chance_is_named_and_in_no_mean_over_directions(world):
    ev, remark = world(modalities=3), "the judge of b is at chance (accuracy 0.100, chance 0.100)"
    ev.oracles = {**ev.oracles, "b": Guessing()}
    found = scores(ev, "cross_coherence")
    assert [(s.value, s.reason) for s in found if s.variant.startswith("micro ")] == [(1, remark), (1, remark)]
    of_b = [s for s in found if "b" in (s.target, *(s.given if s.variant == "agreement" else ()))]
    assert of_b and {s.reason for s in of_b} == {remark}
    assert {s.reason for s in found if s not in of_b and "micro " not in s.variant} == {""}
    assert {s.target: s.reason for s in scores(ev, "oracle_accuracy")} == {"a": "", "b": remark, "c": ""}
    ev = world(modalities=3, oracles=dict.fromkeys("abc", Guessing()))
    mean = next(s for s in scores(ev, "cross_coherence") if s.variant == "micro 1")
    assert mean.value is None and mean.reason.count("is at chance") == 3


def test_a_judge_at_chance_is_named_in_the_log(world):
    log = []
    ev = world(oracles={**world().oracles, "b": Guessing()})
    _scores(ev, ["oracle_accuracy"], SimpleNamespace(halt=lambda: "", say=log.append))
    assert log[0].startswith("the judge of b is at chance (accuracy 0.100, chance 0.100)")


def test_one_test_row_says_nothing_of_a_judge(world):
    assert {s.reason for s in scores(world(n_test=1), "oracle_accuracy")} == {""}


def test_agreement_compares_with_what_the_oracle_sees_in_the_source(world):
    class Wrong:  # sees every class as the next one
        accuracy, hash = 0.0, "wrong"

        def predict(self, x):
            return (x.argmax(-1).numpy() + 1) % 10

    ev = world("copy")
    ev.oracles = {"a": Wrong(), "b": Wrong()}
    assert {s.variant: s.value for s in scores(ev, "cross_coherence")} == {"micro": 0, "macro": 0, "agreement": 1}


def test_joint_coherence_of_a_shared_latent_is_one_under_both_priors(world):
    found = scores(world("copy"), "joint_coherence")
    rows = (("", "a+b"), ("entropy", "a"), ("entropy", "b"))
    assert [(s.prior, s.variant, s.target) for s in found] == [(p, *r) for p in ("model", "aggregate") for r in rows]
    for agreement, *spread in (found[:3], found[3:]):
        assert agreement.value == 1
        assert agreement.n == PRIOR_SAMPLES
        assert agreement.chance == pytest.approx(0.1, abs=0.01)
        assert agreement.ceiling == 1
        assert agreement.sampled == "draws" and agreement.outcomes is None
        assert all(s.value > 0.99 for s in spread)


def test_each_modality_has_the_entropy_of_its_own_classes(world):
    class Blind:  # sees one class in everything
        accuracy, hash = 0.1, "blind"

        def predict(self, x):
            return np.zeros(len(x), np.int64)

    ev = world("copy", modalities=3)
    ev.oracles = {**ev.oracles, "b": Blind()}
    spread = {s.target: s.value for s in scores(ev, "joint_coherence") if (s.variant, s.prior) == ("entropy", "model")}
    assert spread["a"] > 0.99 and spread["b"] == 0 and spread["c"] > 0.99


@pytest.mark.parametrize("name", ["joint_coherence", "attributes_strict", "attributes_features", "cca", "cca_ratio"])
def test_draws_that_are_encodings_are_never_ranked(name):
    about = registry.get(name).about
    assert about.is_ranked("", "model") and not about.is_ranked("", "aggregate")
    assert "not ranked" in about.definition_of("", "aggregate")


@pytest.mark.parametrize("name", ["cross_coherence", "self_coherence", "joint_coherence", "oracle_accuracy"])
def test_without_classes_or_oracles_there_is_one_skipped_row_with_the_reason(world, name):
    ev = world("copy")
    ev.oracles = {}
    (score,) = scores(ev, name)
    assert score.value is None
    assert "oracle" in score.reason
    ev = world("copy")
    ev.test = Rows(ev.test.x, ev.test.label + 100)
    (score,) = scores(ev, name)
    assert "no class is both among the training rows" in score.reason
    ev.test = Rows(ev.test.x)
    with pytest.raises(Undefined, match="no classes"):
        list(registry.get(name).compute(ev))
