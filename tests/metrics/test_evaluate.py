import numpy as np
import pytest
import torch

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import BenchError, TrainingFailed, Undefined
from mmvae_bench.metrics import registry
from mmvae_bench.metrics.artifacts import GRID_ROWS, TSNE_POINTS, artifacts, grid_rows, to_pixels
from mmvae_bench.metrics.base import Score, metric
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.nets.mlp import mlp
from mmvae_bench.types import Modality


def with_metric(monkeypatch, *made, in_tree=True):
    def compute(ev):
        for score in made:
            if isinstance(score, Exception):
                raise score
            yield score

    monkeypatch.setattr(registry, "get", lambda name: metric()(compute))
    monkeypatch.setattr(registry, "names", lambda: ["probe"])
    monkeypatch.setattr(registry, "in_tree", lambda name: in_tree)


OF_CAPTIONS = {  # defined in other worlds, whose tests are their own
    "attributes_features", "attributes_strict", "caption_quality", "cca", "cca_ground_truth", "cca_ratio",
    "retrieval_median_rank", "retrieval_recall",
}  # fmt: skip


def test_every_registered_metric_scores_within_its_bounds_and_twice_the_same(world):
    found = evaluate(world(n_test=100))
    assert {s.metric for s in found} == set(registry.names())
    assert {s.metric for s in found if s.value is None} == OF_CAPTIONS
    for score in found:
        low, high = registry.get(score.metric).about.bounds
        if score.value is not None and score.variant != "ess100":
            assert (low is None or low <= score.value) and (high is None or score.value <= high + 1e-9)
    assert evaluate(world(n_test=100)) == found


def test_the_noise_depends_on_the_seed_and_not_on_the_order_of_metrics(world):
    names = ["log_likelihood", "linear_probe"]
    one, other, reseeded = (
        evaluate(world(n_test=30, seed=seed), order) for seed, order in ((0, names), (0, names[::-1]), (1, names))
    )
    assert sorted(map(repr, one)) == sorted(map(repr, other))
    assert reseeded != one


def test_what_is_undefined_becomes_one_skipped_row_after_what_was_scored(world, monkeypatch):
    with_metric(monkeypatch, Score(1.0), Undefined("no such thing"))
    assert evaluate(world()) == [Score(1.0, metric="probe"), Score(None, reason="no such thing", metric="probe")]


@pytest.mark.parametrize("bad", [{"value": float("nan")}, {"value": float("inf")}, {"value": 1.0, "se": float("nan")}])
def test_a_value_that_is_not_finite_fails_the_run(world, monkeypatch, bad):
    with_metric(monkeypatch, Score(**bad))
    with pytest.raises(TrainingFailed, match="metric probe gave a value that is not finite"):
        evaluate(world())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Score(float("nan")), "TrainingFailed: metric probe gave a value that is not finite (nan) for ->"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugins_metric_that_fails_costs_its_own_row_and_ours_the_run(world, monkeypatch, fault, reason):
    with_metric(monkeypatch, Score(1.0), fault, in_tree=False)
    assert evaluate(world()) == [Score(1.0, metric="probe"), Score(None, reason=reason, metric="probe")]
    with_metric(monkeypatch, Score(1.0), fault)
    with pytest.raises((TrainingFailed, ZeroDivisionError)):
        evaluate(world())


def test_a_lack_of_memory_is_never_a_metrics_fault(world, monkeypatch):
    with_metric(monkeypatch, torch.OutOfMemoryError("full"), in_tree=False)
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(world())


def test_a_posterior_that_is_not_finite_fails_the_run_with_a_sentence(world):
    ev = world()
    ev.test.x["a"][3] = np.nan
    with pytest.raises(TrainingFailed, match="the posterior given a has values that are not finite"):
        evaluate(ev, ["linear_probe"])


def test_an_unknown_metric_is_named(world):
    with pytest.raises(BenchError, match="linear_probe"):
        evaluate(world(), ["linear_prob"])


def test_artifacts_are_small_seeded_arrays(world):
    ev = world()
    shape = (1, 8, 8)
    modalities = [Modality("a", shape), Modality("b", (64,), dtype="float32")]
    torch.manual_seed(0)
    networks = mlp(modalities, 3, hidden=8, layers=1)
    model = type(ev.model)()
    model.__init__(2, 3)
    model.networks, model.modalities = networks, tuple(modalities)
    ev.model = model.eval()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(200, *shape)).astype(np.uint8)
    ev.test = ev.train = Rows({"a": x, "b": rng.normal(size=(200, 64)).astype(np.float32)}, np.arange(200) % 10)
    out = artifacts(ev)
    pictures = {name: value for name, value in out.items() if name.startswith("grid/")}
    assert set(pictures) == {"grid/a/a", "grid/b/a", "grid/a+b/a", "grid/source/a"}
    assert all(value.shape == (GRID_ROWS, *shape) and value.dtype == np.uint8 for value in pictures.values())
    rows = grid_rows(ev.test.label, ev.order("grid", 200))
    assert np.array_equal(ev.test.label[rows], np.arange(10))
    assert np.array_equal(out["grid/source/a"], x[rows])
    assert out["tsne/xy"].shape == (2 * (TSNE_POINTS // 2), 2)
    assert out["tsne/xy"].dtype == np.float32
    assert np.bincount(out["tsne/label"]).tolist() == [TSNE_POINTS // 10] * 10
    assert np.bincount(out["tsne/modality"]).tolist() == [TSNE_POINTS // 2] * 2
    assert sum(value.nbytes for value in out.values()) < 100_000
    ev.cache.clear()
    assert all(np.array_equal(value, out[name]) for name, value in artifacts(ev).items())


def test_without_classes_the_first_ten_rows_are_drawn():
    assert grid_rows(None, np.arange(99)[::-1]).tolist() == list(range(89, 99))


def test_pixels_are_rounded_and_clipped():
    assert to_pixels(torch.tensor([-1.0, 0.0, 0.5 / 255 + 1e-6, 1.0, 7.0])).tolist() == [0, 0, 1, 255, 255]


def test_classes_are_judged_on_one_row_of_each_item(world):
    ev = world("copy", n_test=90)
    ev.test = Rows(ev.test.x, ev.test.label, np.arange(90) // 3)
    for score in evaluate(ev, ["cross_coherence", "linear_probe", "oracle_accuracy"]):
        assert score.n == 30
    assert np.array_equal(ev.judged.item, np.arange(30))
    assert ev.generated(("a",), "b").shape[0] == 30
