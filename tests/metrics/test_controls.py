"""Where latents never met in training, scores that read several modalities' are controls, and no others."""

import pytest
import torch

from mmvae_bench import models
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.nets.base import Networks
from mmvae_bench.types import Modality
from tests.metrics.captioned_world import Blind, captioned
from tests.metrics.conftest import C, Wide

COHERENCE = {"cross_coherence", "self_coherence", "joint_coherence", "oracle_accuracy", "linear_probe"}
RELATEDNESS = {"relatedness_auroc", "relatedness_contrast", "relatedness_transport"}


@pytest.fixture
def unimodal(world):
    parts = [Modality(name, (C,), "normal", 1.0, dtype="float32") for name in "ab"]
    networks = Networks(parts, C, lambda m, size: Wide(), lambda m, size: torch.nn.Linear(C, C))
    return world(models.registry.get("unimodal")(networks), n_test=60, n_train=80)


def of_several(score):
    """Whether a score reads the latents of more than one modality, by its metric, variant, prior, given and target."""
    if score.metric == "joint_coherence":
        return score.variant != "entropy"  # of one modality's classes
    if score.metric == "log_likelihood":
        return score.given != "" or (score.prior == "aggregate" and "+" in score.target)
    return score.metric in RELATEDNESS or score.metric == "cross_coherence" or (
        score.metric in ("frechet", "reconstruction_gain") and score.given not in ("", score.target)
    )  # fmt: skip


def test_scores_of_several_modalities_latents_are_controls_and_no_others(unimodal):
    found = evaluate(unimodal, sorted({*COHERENCE, *RELATEDNESS, "log_likelihood", "reconstruction_gain", "frechet"}))
    assert {s.metric for s in found if s.control} >= {*RELATEDNESS, "cross_coherence", "joint_coherence"}
    for score in found:
        assert score.value is not None
        assert score.control == of_several(score), score.key


def test_no_score_of_another_model_is_a_control(world):
    assert not any(s.control for s in evaluate(world(n_test=60, n_train=80), ["log_likelihood", *COHERENCE]))


def test_of_captions_retrieval_and_correlations_of_what_is_generated_are_controls():
    names = ["cca", "retrieval_recall", "retrieval_median_rank", "caption_quality"]
    found = evaluate(captioned(Blind()), names)
    assert {s.metric for s in found} == set(names) and all(s.control for s in found)
    assert not any(s.control for s in evaluate(captioned(Blind()), ["cca_ground_truth"]))


def test_unimodals_conditional_is_its_marginal(unimodal):
    every = evaluate(unimodal, ["log_likelihood"])
    found = {(s.given, s.target): s for s in every if (s.variant, s.prior) == ("iw100", "model")}
    alone, conditional = found["", "b"], found["a", "b"]
    assert conditional.value == pytest.approx(alone.value, abs=5 * alone.se)
    assert (alone.control, conditional.control) == (False, True)
