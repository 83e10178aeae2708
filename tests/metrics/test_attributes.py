"""Attributes of generated entries, in worlds where it is known how many are right."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmvae_bench.datasets.captioned_shapes import Grammar
from mmvae_bench.datasets.words import EOS
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics import registry
from mmvae_bench.metrics.attributes import Read, agreement, chance_of_draws, chance_of_rows, right
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.priors import DRAW, PRIOR_SAMPLES

COUNTS = (2, 5)  # attributes of the ten classes of the world: k // 5 and k % 5
NAMES = {"half": ("low", "high"), "rest": tuple("01234")}
CHANCE = {"attributes_strict": 0.1, "attributes_features": (1 / 2 + 1 / 5) / 2}
BOTH = tuple(CHANCE)


def split(label):
    return np.stack([label // 5, label % 5], 1)


class Exact:
    """Reads every entry rightly; of some it says that they are no sentence, of some it can read nothing."""

    accuracy, hash = 1.0, "exact"

    def __init__(self, broken=0, unreadable=0):
        self.broken, self.unreadable = broken, unreadable

    def predict(self, x):
        return self.read(x)[:, 0]

    def read(self, x):
        values = split(x.argmax(-1).numpy())
        values[: self.unreadable] = COUNTS
        return values

    def accepts(self, x):
        return np.arange(len(x)) >= self.broken

    def features(self, x):
        return x.numpy()


@pytest.fixture
def attributed(world):
    def make(model="copy", judges=(), **fields):
        ev = world(model, **fields)
        ev.train, ev.test = (replace(rows, attributes=split(rows.label)) for rows in (ev.train, ev.test))
        ev.attributes = NAMES
        ev.oracles = dict(zip(ev.names, judges or [Exact() for _ in ev.names], strict=True))
        return ev

    return make


def read(values, whole=True):
    values = np.array(values)
    return Read(values, np.broadcast_to(whole, len(values)))


# --- of arrays -------------------------------------------------------------------------------------------------------


def test_right_counts_whole_rows_and_shares():
    truth = np.array([[0, 1], [0, 1], [1, 4], [1, 4]])
    seen = read([[0, 1], [0, 2], [0, 0], [1, 4]], [True, True, True, False])
    assert right(seen, truth).tolist() == [[1, 1], [0, 0.5], [0, 0], [0, 1]]


def test_agreement_counts_what_both_read():
    a = read([[0, 1], [0, 1], [2, 5], [1, 5], [1, 1]])
    b = read([[0, 1], [1, 1], [2, 5], [1, 5], [1, 1]], [True, True, True, True, False])
    assert agreement([a, b], COUNTS).tolist() == [[1, 1], [0, 0.5], [0, 0], [0, 0.5], [0, 1]]
    assert np.array_equal(agreement([a, b], COUNTS), agreement([b, a], COUNTS))


def test_chance_of_rows_is_that_of_the_best_constant_answer():
    truth = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [1, 1], [1, 1], [1, 2]])
    strict, features = chance_of_rows(truth, COUNTS)
    constant = [right(read(np.tile([a, b], (7, 1))), truth).mean(0) for a in range(2) for b in range(5)]
    assert strict == pytest.approx(np.max(constant, 0)[0])
    assert features == pytest.approx(np.max(constant, 0)[1]) == pytest.approx((4 / 7 + 4 / 7) / 2)


def test_chance_of_draws_is_that_of_shuffled_readings():
    """One of the two is not always whole, and both have unreadable values."""
    rng = np.random.default_rng(0)
    n = 400
    a, b = (np.stack([rng.choice(3, n, p=[0.2, 0.7, 0.1]), rng.choice(6, n)], 1) for _ in range(2))
    whole = rng.random(n) < 0.6
    chance = chance_of_draws([read(a), read(b, whole)], COUNTS)
    shuffled = []
    for _ in range(1000):
        order = rng.permutation(n)
        shuffled.append(agreement([read(a), read(b[order], whole[order])], COUNTS).mean(0))
    assert np.abs(np.mean(shuffled, 0) - chance).max() < 5 * np.std(shuffled) / 1000**0.5
    assert chance_of_draws([read(a), read(b, False)], COUNTS)[0] == 0


# --- of a model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOTH)
def test_true_attributes_score_one_in_each_direction_reconstruction_and_prior(attributed, name):
    found = evaluate(attributed(), [name])
    assert sorted((s.variant, s.prior, s.given, s.target) for s in found) == [
        ("", "", "a", "b"), ("", "", "b", "a"), ("", "aggregate", "", "a+b"), ("", "model", "", "a+b"),
        ("self", "", "a", "a"), ("self", "", "a+b", "a"), ("self", "", "a+b", "b"), ("self", "", "b", "b"),
    ]  # fmt: skip
    for score in found:
        assert score.value == 1
        assert score.ceiling == 1
        assert score.n == (PRIOR_SAMPLES if score.prior else 500)
        assert score.chance == pytest.approx(CHANCE[name], abs=0.01)


def test_entries_of_other_rows_score_by_chance(attributed):
    for score in evaluate(attributed("shuffled", n_test=2000), BOTH):
        if not score.prior:
            assert score.chance == pytest.approx(CHANCE[score.metric])
            assert abs(score.value - score.chance) < 5 * score.se


def test_a_caption_that_is_no_sentence_has_attributes_but_is_not_strictly_right(attributed):
    ev = attributed(judges=(Exact(), Exact(broken=100)))
    values = {(s.metric, s.given, s.target): s.value for s in evaluate(ev, BOTH) if s.variant != "self"}
    assert values["attributes_strict", "a", "b"] == pytest.approx(0.8)
    assert values["attributes_features", "a", "b"] == 1
    assert values["attributes_strict", "b", "a"] == 1
    draws = PRIOR_SAMPLES
    assert values["attributes_strict", "", "a+b"] == pytest.approx(1 - 100 * draws / DRAW / draws)
    assert values["attributes_features", "", "a+b"] == 1


def test_what_cannot_be_read_is_wrong_also_where_both_cannot(attributed):
    nothing = Exact(unreadable=10**6)
    for score in evaluate(attributed(judges=(nothing, nothing)), BOTH):
        assert score.value == score.ceiling == 0
        assert score.chance == (0 if score.prior else pytest.approx(CHANCE[score.metric]))


def test_the_ceiling_is_the_judges_own_score(attributed):
    ev = attributed(judges=(Exact(unreadable=50), Exact()))
    found = {(s.metric, s.given, s.target): s.ceiling for s in evaluate(ev, BOTH)}
    for name in BOTH:
        assert found[name, "b", "a"] == pytest.approx(0.9)
        assert found[name, "a", "b"] == 1
        assert found[name, "", "a+b"] == pytest.approx(0.9)


def test_standard_errors_are_those_of_an_accuracy_and_of_rows(attributed):
    strict, features = (
        next(s for s in evaluate(attributed("shuffled"), [name]) if (s.given, s.target) == ("a", "b")) for name in BOTH
    )
    assert strict.se == pytest.approx(np.sqrt(strict.value * (1 - strict.value) / 499))
    assert strict.sampled == features.sampled == "rows" and np.isin(strict.outcomes, (0, 1)).all()
    assert 0 < features.se < np.sqrt(features.value * (1 - features.value) / 500)  # two attributes vary less than one


def test_a_caption_of_generated_ids_is_judged_word_for_word(attributed, monkeypatch):
    """Modality b is a caption: the true one, one with swapped words, one with a wrong word, in turn."""
    ev, grammar = attributed(n_test=300), Grammar(2)
    truth = np.stack([np.arange(300) % 3, np.arange(300) // 3 % 2], 1)
    captions = torch.from_numpy(grammar.write(truth)).long()
    ev.test = replace(ev.test, x={**ev.test.x, "b": captions.numpy().astype(np.int16)}, attributes=truth)
    ev.attributes = grammar.attributes
    ev.oracles = {"a": ev.oracles["a"], "b": grammar}
    said = captions.clone()
    said[1::3, :2] = said[1::3, [1, 0]]
    said[2::3, 1] = EOS
    ev.generate = lambda rows, given, target: said if target == "b" else torch.zeros(300, 10)
    monkeypatch.setattr(ev.model, "decode", lambda *_: {"a": torch.zeros(300, 10), "b": said})
    found = {(s.metric, s.given, s.target): s for s in evaluate(ev, BOTH)}
    assert found["attributes_strict", "a", "b"].value == pytest.approx(1 / 3)
    assert found["attributes_features", "a", "b"].value == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found["attributes_strict", "a", "b"].ceiling == 1
    assert found["attributes_strict", "", "a+b"].value == pytest.approx(1 / 6)  # a is always read as (0, 0)


@pytest.mark.parametrize("name", [*BOTH, "cross_coherence", "self_coherence", "frechet"])
def test_cross_scores_of_unimodal_models_keep_their_value_and_are_marked(attributed, name):
    ev = attributed()
    ev.model.cross_is_chance = True
    for score in evaluate(ev, [name]):
        assert score.value is not None
        joint = score.target == "a+b"  # of draws from a prior, decoded in all modalities
        assert score.control == (joint or (score.given != "" and score.target not in score.given))


def test_a_model_without_a_prior_is_skipped_there_and_scored_under_the_aggregate(attributed):
    ev = attributed()
    ev.model.no_prior = "no p(z) here"
    for name in (*BOTH, "joint_coherence"):
        skipped, scored = [s for s in evaluate(ev, [name]) if s.prior and s.variant != "entropy"]
        assert (skipped.value, skipped.prior, skipped.target, skipped.reason) == (None, "model", "a+b", "no p(z) here")
        assert (scored.value, scored.prior) == (1, "aggregate")


@pytest.mark.parametrize("name", BOTH)
def test_without_attributes_or_judges_there_is_a_reason(attributed, world, name):
    with pytest.raises(Undefined, match="no attributes"):
        list(registry.get(name).compute(world("copy")))
    ev = attributed()
    ev.oracles = {"a": Exact()}
    with pytest.raises(Undefined, match="oracle"):
        list(registry.get(name).compute(ev))
