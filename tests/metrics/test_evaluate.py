import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import TrainingFailed, Undefined
from mmvae_bench.metrics import registry, usual
from mmvae_bench.metrics.artifacts import artifacts
from mmvae_bench.metrics.base import Score, metric
from mmvae_bench.metrics.evaluate import evaluate
from tests.metrics.conftest import Copy


def with_metric(monkeypatch, *made, in_tree=True):
    def compute(ev):
        for score in made:
            if isinstance(score, Exception):
                raise score
            yield score

    monkeypatch.setattr(registry, "get", lambda name: metric()(compute))
    monkeypatch.setattr(registry, "names", lambda: ["probe"])
    monkeypatch.setattr(registry, "in_tree", lambda name: in_tree)


ELSEWHERE = {  # defined in other worlds, whose tests are their own
    "attributes_features", "attributes_strict", "caption_quality", "cca", "cca_ground_truth", "cca_ratio",
    "retrieval_median_rank", "retrieval_recall", "decoding_error", "decoding_error_generated", "graph_quality",
    "number_error",
}  # fmt: skip


def test_every_registered_metric_scores_within_its_bounds_and_twice_the_same(world):
    found = evaluate(world(n_test=100))
    assert {s.metric for s in found} == set(usual())
    assert {s.metric for s in found if s.value is None} == ELSEWHERE
    for score in found:
        low, high = registry.get(score.metric).about.bounds
        if score.value is not None and score.variant != "ess100":
            assert (low is None or low <= score.value) and (high is None or score.value <= high + 1e-9)
    assert evaluate(world(n_test=100)) == found


@pytest.mark.parametrize("modalities", [1, 2])
@pytest.mark.parametrize(("n_test", "n_train"), [(1, 1), (1, 20), (20, 1), (2, 2)])
def test_too_few_rows_or_classes_cost_a_metric_and_never_the_run(world, modalities, n_test, n_train):
    ev = world(modalities=modalities, n_test=n_test, n_train=n_train)
    found = {s.metric: s for s in evaluate(ev)}
    assert ("linear_probe" in found and found["linear_probe"].value is None) == (n_train == 1)
    for name in ("frechet", "reconstruction_gain"):
        assert (found[name].value is None) == (n_test == 1)
    assert all(s.reason for s in found.values() if s.value is None)
    assert ("tsne/xy" in artifacts(ev)) == (n_test * modalities > 1)


def test_a_probe_of_one_class_is_skipped_with_the_reason(world):
    (score,) = evaluate(world(n_train=1), ["linear_probe"])
    assert score.reason == "a probe needs two classes, and its training rows (1) have one"


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


def test_every_library_computes_with_the_threads_of_pytorch(world, monkeypatch):
    """The last bits of a sum depend on the number of threads, so it must not depend on the process."""
    seen = []
    monkeypatch.setattr(
        registry, "get", lambda name: metric()(lambda ev: seen.extend(threadpool_info()) or [Score(1.0)])
    )
    with threadpool_limits(torch.get_num_threads() + 1, "blas"):
        evaluate(world(), ["linear_probe"])
    assert "blas" in {pool["user_api"] for pool in seen}
    assert {pool["num_threads"] for pool in seen} == {torch.get_num_threads()}


def test_a_lack_of_memory_is_never_a_metrics_fault(world, monkeypatch):
    with_metric(monkeypatch, torch.OutOfMemoryError("full"), in_tree=False)
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(world())


def test_a_posterior_that_is_not_finite_fails_the_run_with_a_sentence(world):
    ev = world()
    ev.test.x["a"][3] = np.nan
    with pytest.raises(TrainingFailed, match="the posterior given a has values that are not finite"):
        evaluate(ev, ["linear_probe"])


def test_classes_are_judged_on_one_row_of_each_item(world):
    ev = world("copy", n_test=90)
    ev.test = Rows(ev.test.x, ev.test.label, np.arange(90) // 3)
    for score in evaluate(ev, ["cross_coherence", "linear_probe", "oracle_accuracy"]):
        assert score.n == 30
    assert np.array_equal(ev.judged.item, np.arange(30))
    assert len(ev.predicted(("a",), "b")) == 30


def test_a_mean_over_rows_keeps_its_outcomes_and_a_mean_of_draws_does_not():
    outcomes = np.array([True, False, True, True])
    rows = Score(None, "micro", given="a", target="b", chance=0.5).mean(outcomes)
    draws = Score(None, prior="model", target="a+b").mean_of_draws(outcomes)
    for score in (rows, draws):
        assert (score.value, score.n) == (0.75, 4)
        assert score.se == pytest.approx(np.sqrt(0.75 * 0.25 / 3))
    assert (rows.sampled, draws.sampled, rows.variant, rows.chance) == ("rows", "draws", "micro", 0.5)
    assert rows.outcomes is outcomes and draws.outcomes is None
    assert Score(1.0, "micro", "model", "a", "b", metric="probe").key == "probe/micro/model/a/b"
    assert Score(None).mean(np.array([2.0])).se is None


def test_each_outcome_of_a_registered_metric_is_of_one_row_and_their_mean_is_the_score(world):
    found = [s for s in evaluate(world(n_test=60)) if s.value is not None]
    assert len({s.key for s in found}) == len(found)
    assert {s.metric for s in found if s.sampled == "rows"} >= {
        "cross_coherence", "self_coherence", "oracle_accuracy", "linear_probe", "relatedness_auroc", "log_likelihood",
        "reconstruction_gain",
    }  # fmt: skip
    for score in found:
        assert (score.outcomes is not None) == (score.sampled == "rows"), score.key
        if score.outcomes is not None:
            assert score.outcomes.shape == (score.n,)
            assert score.value == pytest.approx(score.outcomes.astype(np.float64).mean())


class PairsUndefined(Copy):
    """Its paper defines q(z | x_m), and no posterior of two modalities."""

    def posterior(self, batch):
        if (batch.present.any(1).sum() == 2).item():
            raise Undefined("no posterior of two modalities")
        return super().posterior(batch)


SKIPPED = {  # metric -> (given, target, variant) of what needs a posterior of two
    "cross_coherence": {(g, t, v) for g, t in (("a+b", "c"), ("a+c", "b"), ("b+c", "a")) for v in ("micro", "macro")}
    | {("", "", "micro 2")},
    "frechet": {("a+b", "c", ""), ("a+c", "b", ""), ("b+c", "a", "")},
    "linear_probe": set(),
    "reconstruction_gain": set(),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_a_subset_that_is_not_defined_is_a_skipped_row_of_its_own(world, name):
    scores = evaluate(world(PairsUndefined(3)), [name])
    skipped = {(s.given, s.target, s.variant) for s in scores if s.reason == "no posterior of two modalities"}
    assert skipped == SKIPPED[name]
    assert all((s.value is None) == ((s.given, s.target, s.variant) in skipped) for s in scores)
    assert len({s.key for s in scores}) == len(scores) > len(skipped)


def test_what_is_nowhere_defined_is_one_skipped_row(world):
    class Nothing(Copy):
        no_decoder = "nothing is generated"

    scores = evaluate(world(Nothing()), ["cross_coherence", "self_coherence", "reconstruction_gain"])
    assert [(s.value, s.given, s.reason) for s in scores] == [(None, "", "nothing is generated")] * 3
