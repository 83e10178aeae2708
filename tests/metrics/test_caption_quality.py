import sys

import numpy as np
import pytest
import torch

from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.words import EOS, UNK
from mmvae_bench.metrics.caption_quality import text_scores
from mmvae_bench.metrics.evaluate import evaluate
from tests.metrics.captioned_world import Blind, Knowing, captioned


def test_bleu_is_the_geometric_mean_of_clipped_precisions_times_the_brevity_penalty():
    # "the red bird sat": 1-grams 3 of 4 (the, red, bird), 2-grams 2 of 3, 3-grams 1 of 2, no 4-gram: smoothed to 1/2
    found = text_scores(["the red bird sat"], [["the red bird is small"]])["bleu"]
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25 * np.exp(1 - 5 / 4)
    assert found == pytest.approx(expected)


def test_the_best_reference_counts_and_tokens_stay_as_they_are():
    caption = "a bird , with a <unk> crown ."
    assert text_scores([caption], [["no such thing at all", caption]]) == pytest.approx({"bleu": 1, "chrf": 1})
    assert text_scores([caption], [["a bird, with a < unk > crown."]])["bleu"] < 0.3  # tokenised anew, they would agree


def test_pictures_may_have_different_numbers_of_references():
    both = text_scores(["a b c d e", "f g h i j"], [["a b c d e"], ["x y z v w", "f g h i j", "q"]])
    assert both == pytest.approx({"bleu": 1, "chrf": 1})


def orderly(ev):
    """The same captions with their words in the order in which the model writes them."""
    ids = np.asarray(ev.test.x["caption"])
    body = np.sort(np.where(ids > 2, ids, 99), 1)[:, :6]
    ev.test = Rows({**ev.test.x, "caption": np.concatenate([body, ids[:, 6:]], 1).astype(np.int16)}, None, ev.test.item)
    return ev


def test_a_model_that_writes_the_true_captions_scores_one_and_reaches_the_ceiling():
    bleu, chrf = evaluate(orderly(captioned()), ["caption_quality"])
    assert (bleu.variant, chrf.variant, bleu.given, bleu.target, bleu.n) == ("bleu", "chrf", "picture", "caption", 100)
    for score in (bleu, chrf):
        assert score.value == pytest.approx(1) and score.ceiling == pytest.approx(1)
        assert 0 < score.chance < 0.7 and score.reason == ""


def test_a_blind_model_scores_as_shuffled_captions_do():
    for score in evaluate(orderly(captioned(Blind())), ["caption_quality"]):
        assert score.value == pytest.approx(score.chance, abs=0.08)
        assert score.control


def test_what_is_not_captioned_is_said_to_be_so_even_if_it_has_attributes(world):
    reasons = {s.reason for s in evaluate(world(attributes={"colour": ("red", "blue")}), ["caption_quality", "cca"])}
    assert reasons == {"the data set is not one of pictures and their captions"}


def test_one_picture_has_no_level_of_chance_and_is_skipped():
    ev = captioned()
    ev.test = ev.test.take(np.arange(4))
    (score,) = evaluate(ev, ["caption_quality"])
    assert score.reason.startswith("one test picture is too few")


def test_the_ceiling_leaves_out_the_caption_itself():
    ev = captioned()  # words in random orders: another person's caption has few 4-grams in common
    assert evaluate(ev, ["caption_quality"])[0].ceiling < 0.8
    ev.test = ev.test.take(np.arange(0, 400, 4))
    assert all(score.ceiling is None for score in evaluate(ev, ["caption_quality"]))


def test_it_is_undefined_without_captions_with_attributes_and_without_sacrebleu(world, monkeypatch):
    assert "captions" in evaluate(world("copy"), ["caption_quality"])[0].reason
    assert "exactly" in evaluate(captioned(attributes={"a": ("b",)}), ["caption_quality"])[0].reason
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    (score,) = evaluate(captioned(), ["caption_quality"])
    assert score.value is None and "pip install 'mmvae-bench[text]'" in score.reason


def test_captions_are_generated_once():
    class Counting(Knowing):
        calls = 0

        def decode(self, z, names=None):
            Counting.calls += 1
            return super().decode(z, names)

    ev = captioned(Counting())
    evaluate(ev, ["caption_quality", "caption_quality"])
    assert Counting.calls == 1


def test_saying_that_a_word_is_unknown_is_no_hit():
    class Ignorant(Knowing):
        def decode(self, z, names=None):
            made = super().decode(z, names)
            return {n: torch.where(x > EOS, UNK, x) if n == "caption" else x for n, x in made.items()}

    ev = captioned(Ignorant())
    ids = np.asarray(ev.test.x["caption"])
    ev.test = Rows({**ev.test.x, "caption": np.where(ids > EOS, UNK, ids)}, None, ev.test.item)
    assert all(score.value == 0 for score in evaluate(ev, ["caption_quality"]))
