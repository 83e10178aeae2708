import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics import cca as cca_space
from mmvae_bench.metrics.cca import measured, most_components, picture_side, spaces
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.oracle import Oracle
from mmvae_bench.types import Modality
from tests.metrics.captioned_world import Blind, Knowing, captioned

NAMES = ["cca", "cca_ground_truth", "cca_ratio"]
VARIANTS = ("mean features", "unit mean features", "sif features", "unit sif features")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_a_model_that_knows_agrees_as_true_pairs_do(cache_dir):
    ev = captioned(cache_dir=cache_dir)
    scores = {name: evaluate(ev, [name]) for name in NAMES}
    for truth, variant in zip(scores["cca_ground_truth"], VARIANTS, strict=True):
        assert truth.variant == variant and truth.target == "picture+caption" and truth.given == "" and truth.n == 100
        assert truth.value > 0.5 and abs(truth.chance) < 0.2 and 0 < truth.se < 0.05
    ways = [("", "picture", "caption"), ("", "caption", "picture")]
    ways += [(prior, "", "picture+caption") for prior in ("model", "aggregate")]
    expected = [(variant, *way) for variant in VARIANTS for way in ways]
    for name in ("cca", "cca_ratio"):
        assert [(s.variant, s.prior, s.given, s.target) for s in scores[name]] == expected
        assert [s.n for s in scores[name]] == [100, 100, 1000, 1000] * len(VARIANTS)
    truths = {truth.variant: truth for truth in scores["cca_ground_truth"]}
    for score, part in zip(scores["cca"], scores["cca_ratio"], strict=True):
        truth = truths[score.variant]
        assert part.value == pytest.approx((score.value - score.chance) / (truth.value - truth.chance))
        assert (part.chance, part.ceiling) == (0, 1) and (part.se > 0 or score.given == "picture")
        if score.given == "picture":
            assert part.value == pytest.approx(1, abs=1e-6)  # the same words: their order is not in the vectors
        assert part.value > 0.7  # generated pictures have no noise, so they may exceed true ones
    assert len({s.embedding_hash for name in NAMES for s in scores[name]}) == 1
    assert len(scores["cca"][0].embedding_hash) == 16


def test_a_blind_model_agrees_as_shuffled_pairs_do_and_says_so(cache_dir):
    for score in evaluate(captioned(Blind(), cache_dir), ["cca", "cca_ratio"]):
        if score.prior == "model":
            assert score.value is None and score.reason == "no prior here"
        elif not score.prior:
            assert abs(score.value - score.chance) < 5 * score.se
            assert score.control


def test_the_value_is_the_cosine_of_the_projections(cache_dir):
    ev = captioned(cache_dir=cache_dir)
    side = picture_side(ev, *ev.model.modalities[:1])
    space = spaces(ev, side, *ev.model.modalities)[2]
    row, p = measured(ev)[2].space, space.projection
    assert row.variant == space.variant == "sif features"
    x, e = np.asarray(ev.pairs.x["picture"])[:5], space.embed(np.asarray(ev.pairs.x["caption"], np.int64)[:5])
    a, b = (x - p.mean_x) @ p.wx, (e - p.mean_y) @ p.wy
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (p.left(x) * p.right(e)).sum(1) == pytest.approx(expected)


def test_the_space_is_fitted_once_a_data_set_and_shared_by_runs(tmp_path, monkeypatch):
    calls = []
    real = cca_space.fit_cca
    monkeypatch.setattr(cca_space, "fit_cca", lambda *args, **options: calls.append(1) or real(*args, **options))
    first = evaluate(captioned(cache_dir=tmp_path), ["cca_ground_truth"])
    again = evaluate(captioned(Blind(), tmp_path, seed=3), NAMES)
    assert len(calls) == 2  # one an embedding
    assert [s for s in again if s.metric == "cca_ground_truth"] == first  # the same rows for every run
    assert evaluate(captioned(), ["cca_ground_truth"]) == first  # without a cache too
    shorter = captioned(cache_dir=tmp_path)
    shorter.pairs = shorter.pairs.take(np.arange(900))
    evaluate(shorter, ["cca_ground_truth"])
    assert len(calls) == 6


def test_few_pictures_are_reduced_first_and_the_row_says_so(cache_dir):
    reasons = {s.reason for s in evaluate(captioned(cache_dir=cache_dir), ["cca_ground_truth"])}
    (reason,) = reasons
    assert "12 and 20 dimensions" in reason and "400 pictures" in reason
    assert most_components(8855, 2348) == 442 and 10 * (442 + 300) < 8855  # all of CUB by ResNet-101
    assert most_components(8855, 556) is None  # and by the oracle
    assert most_components(40, 556) == 2
    few = captioned()
    few.pairs = few.pairs.take(np.arange(30))
    assert "too few" in evaluate(few, ["cca"])[0].reason


def test_a_ratio_to_chance_is_none(cache_dir):
    ev = captioned(cache_dir=cache_dir)
    shuffled = np.random.default_rng(0).permutation(len(ev.test))
    ev.test = replace(ev.test, x={**ev.test.x, "caption": np.asarray(ev.test.x["caption"])[shuffled]})
    scores = evaluate(ev, ["cca_ratio"])
    assert all(s.value is None and "5 standard errors" in s.reason for s in scores) and len(scores) == 16
    assert all(s.value is not None for s in evaluate(ev, ["cca_ground_truth"]))


def test_it_is_undefined_without_captions_pairs_features_and_gensim(world, monkeypatch):
    assert "captions" in evaluate(world("copy"), ["cca"])[0].reason
    assert "exactly" in evaluate(captioned(attributes={"a": ("b",)}), ["cca"])[0].reason
    assert "pairs" in evaluate(captioned(pairs=None), ["cca"])[0].reason
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    for name in NAMES:
        (score,) = evaluate(captioned(), [name])
        assert score.value is None and "mmvae-bench[text]" in score.reason


PIXELS = Modality("picture", (3, 8, 8))


def test_pixels_are_seen_by_resnet_if_the_user_has_it_and_else_by_the_oracle(tmp_path, monkeypatch):
    oracle = Oracle((3, 8, 8), (5,))
    oracle.hash = "of weights"
    ev = captioned(Knowing(), data_dir=tmp_path)
    with pytest.raises(Undefined, match="neither"):
        picture_side(ev, PIXELS)
    ev.oracles = {"picture": oracle}
    side = picture_side(ev, PIXELS)
    assert (side.name, side.hash) == ("oracle", "of weights")
    x = torch.rand(4, 3, 8, 8)
    assert np.array_equal(side.features(x), oracle.features(x))
    (tmp_path / "weights").write_bytes(b"weights")
    monkeypatch.setattr(cca_space.resnet, "weights_file", lambda data_dir: data_dir / "weights")
    monkeypatch.setattr(cca_space.resnet, "features", lambda x, weights: torch.ones(len(x), 2048))
    side = picture_side(ev, PIXELS)
    assert side.name == "resnet101" and len(side.hash) == 16 and side.features(x).shape == (4, 2048)
