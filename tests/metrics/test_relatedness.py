import numpy as np
import ot
import pytest
from scipy import integrate, stats
from scipy.optimize import linear_sum_assignment
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from mmvae_bench.datasets.base import Rows
from mmvae_bench.metrics.base import one_each
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.relatedness import (
    ROWS,
    auroc,
    balanced,
    class_means,
    contrast,
    pairs,
    relatedness_artifacts,
    transport_match,
    w2_squared,
)

RELATEDNESS = ["relatedness_auroc", "relatedness_contrast", "relatedness_transport"]


def normals(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.uniform(0.1, 2, size=(n, d))


def test_w2_is_pots_closed_form_for_gaussians():
    (m, s), (n, t) = normals(4, 3), normals(5, 3, 1)
    expected = [
        [ot.gaussian.bures_wasserstein_distance(a, b, np.diag(u**2), np.diag(v**2)) for b, v in zip(n, t, strict=True)]
        for a, u in zip(m, s, strict=True)
    ]
    assert np.sqrt(w2_squared(m, s, n, t)) == pytest.approx(np.array(expected), rel=1e-6)


@pytest.mark.parametrize("family", [stats.norm, stats.laplace])
def test_w2_is_the_integral_over_quantiles_in_both_families(family):
    (m, s), (n, t) = normals(1, 2), normals(1, 2, 1)
    to_sd = family.std()  # of scale 1: 1, and sqrt 2 for Laplace

    def integral(d):
        def gap(u):
            return (family.ppf(u, m[0, d], s[0, d]) - family.ppf(u, n[0, d], t[0, d])) ** 2

        return integrate.quad(gap, 0, 1, limit=200)[0]

    value = w2_squared(m, to_sd * s, n, to_sd * t)[0, 0]
    assert value == pytest.approx(integral(0) + integral(1), rel=1e-6)


def test_the_mean_of_auroc_is_scikit_learns_and_mann_whitneys_u_with_ties():
    rng = np.random.default_rng(0)
    for values in (3, 5, 10**9):
        cost, related = rng.integers(0, values, size=(8, 8)).astype(float), rng.random((8, 8)) < 0.3
        u = mannwhitneyu(cost[~related], cost[related]).statistic
        found = auroc(cost, related)
        assert found.shape == (8,)
        assert found.mean() == pytest.approx(u / (related.sum() * (~related).sum()))
        assert found.mean() == pytest.approx(roc_auc_score(related.ravel(), -cost.ravel()))


@pytest.mark.parametrize("classes", [5, 0])
def test_the_variance_of_aurocs_values_is_the_spread_over_test_sets(classes):
    """Items are drawn anew for each test set, of random classes or (0) of none: then the own pair alone is related."""
    rng, n, drawn = np.random.default_rng(0), 60, []
    for _ in range(600):
        label = rng.integers(0, classes, n) if classes else np.arange(n)
        centre = np.eye(classes)[label] if classes else rng.normal(size=(n, 3))
        a, b = (centre + rng.normal(0, 0.6, centre.shape) for _ in "ab")
        values = auroc(w2_squared(a, 0 * a, b, 0 * b), label[:, None] == label[None, :])
        drawn.append((values.mean(), values.var(ddof=1) / n))
    value, variance = np.array(drawn).T
    assert 0.6 < value.mean() < 0.95
    assert variance.mean() == pytest.approx(value.var(ddof=1), rel=0.2)


def test_contrast_reads_as_its_formula():
    related = np.eye(2, dtype=bool)
    assert contrast(np.array([[1.0, 9.0], [9.0, 1.0]]), related) == pytest.approx((3 - 1) / (3 + 1))
    assert contrast(np.zeros((2, 2)), related) == 0


def test_transport_between_equally_many_rows_is_the_optimal_assignment():
    rng = np.random.default_rng(0)
    cost, label_a, label_b = rng.random((40, 40)), rng.integers(0, 4, 40), rng.integers(0, 4, 40)
    i, j = linear_sum_assignment(cost)
    value, chance = transport_match(cost, label_a, label_b)
    assert value == pytest.approx(np.mean(label_a[i] == label_b[j]))
    share = [np.mean(label_a == c) * np.mean(label_b == c) for c in range(4)]
    assert chance == pytest.approx(sum(share))


def test_posteriors_alike_within_a_class_and_apart_between_classes_are_fully_related(world):
    ev = world("copy")
    eye = np.eye(10, dtype=np.float32)[ev.test.label]
    ev.test = Rows({"a": eye, "b": eye}, ev.test.label)
    values = {s.metric: s for s in evaluate(ev, RELATEDNESS)}
    assert values["relatedness_auroc"].value == pytest.approx(1)
    assert [values[name].se for name in RELATEDNESS] == [pytest.approx(0), None, None]  # one plan matches all rows
    assert values["relatedness_contrast"].value == pytest.approx(1, abs=1e-3)
    assert values["relatedness_transport"].value == pytest.approx(1)
    assert values["relatedness_transport"].chance == pytest.approx(0.1)
    assert all((s.given, s.target, s.n) == ("a", "b", 500) for s in values.values())


def test_random_posteriors_score_by_chance():
    label = np.arange(100) % 10
    related = label[:, None] == label
    found = []
    for seed in range(40):
        cost = w2_squared(*normals(100, 4, seed), *normals(100, 4, 1000 + seed))
        found.append((auroc(cost, related).mean(), contrast(cost, related), transport_match(cost, label, label)[0]))
    mean, se = np.mean(found, 0), np.std(found, 0, ddof=1) / np.sqrt(len(found))
    assert np.all(np.abs(mean - [0.5, 0, 0.1]) < 5 * se)


def test_one_set_of_rows_class_balanced_and_the_same_for_every_seed(world):
    label = np.array([0] * 50 + [1] * 7 + [2] * 30)
    chosen = balanced(label, 60, np.random.default_rng(0).permutation(87))
    assert np.bincount(label[chosen]).tolist() == [7, 7, 7]
    assert np.bincount(label[balanced(label, 6, np.arange(87))]).tolist() == [2, 2, 2]
    first, second = pairs(world("copy"), "a", "b"), pairs(world("copy", seed=5), "a", "b")
    assert np.array_equal(first.cost, second.cost)


def test_without_classes_only_the_own_pair_is_related(world):
    for ev in (world("copy", related="item"), world("copy")):
        if ev.related == "class":
            ev.test = Rows(ev.test.x)
        assert np.array_equal(pairs(ev, "a", "b").related, np.eye(500, dtype=bool))


def test_rows_of_one_item_are_compared_once_and_are_related(world):
    item = np.array([7, 7, 3, 3, 3, 9])
    for order in (np.arange(6), np.array([5, 1, 4, 0, 2, 3])):
        chosen = one_each(item, 10, order)
        assert sorted(item[chosen]) == [3, 7, 9] and list(chosen) == sorted(chosen)
    assert one_each(item, 2, np.array([5, 1, 4, 0, 2, 3])).tolist() == [1, 5]
    assert one_each(item, 9, np.array([5, 1, 4, 0, 2, 3])).tolist() == [1, 4, 5]

    ev = world("copy", n_test=90, related="item")
    ev.test = Rows(ev.test.x, ev.test.label, np.arange(90) // 3)
    found = pairs(ev, "a", "b")
    assert found.label.tolist() == list(range(30))
    assert np.array_equal(found.related, np.eye(30, dtype=bool))
    other = world("copy", n_test=90, related="item", seed=4)
    other.test = ev.test
    assert np.array_equal(ev.item_rows(ROWS), other.item_rows(ROWS))


def test_at_most_a_thousand_items_are_compared(world):
    ev = world("copy", n_test=1300, related="item")
    assert len(ev.item_rows(ROWS)) == len(set(ev.item_rows(ROWS))) == 1000


def test_the_distances_are_computed_once(world):
    ev = world("copy")
    assert pairs(ev, "a", "b") is pairs(ev, "a", "b")


def test_unordered_pairs_of_three_modalities(world):
    found = evaluate(world(modalities=3), ["relatedness_auroc"])
    assert [(s.given, s.target) for s in found] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_artifacts_hold_all_pairs_and_the_means_between_classes(world):
    ev = world("copy", n_test=200)
    out = relatedness_artifacts(ev)
    assert set(out) == {"w2class/a+b", *(f"w2hist/a+b/{part}" for part in ("edges", "related", "unrelated"))}
    assert len(out["w2hist/a+b/edges"]) == 61
    assert out["w2hist/a+b/related"].sum() + out["w2hist/a+b/unrelated"].sum() == 200**2
    values, label = np.random.default_rng(0).random((6, 6)), np.array([0, 1, 1, 0, 3, 3])
    assert class_means(values, label)[0, 2] == pytest.approx(values[[0, 0, 3, 3], [4, 5, 4, 5]].mean())
    diagonal = np.diag(out["w2class/a+b"])
    assert out["w2class/a+b"].shape == (10, 10)
    assert diagonal.max() < out["w2class/a+b"].min(initial=9, where=~np.eye(10, dtype=bool))


def test_class_matrices_are_drawn_only_of_few_classes_and_of_one_nothing(world):
    ev = world("copy", n_test=210)
    for classes, pictures in ((1, 0), (20, 4), (21, 3)):
        ev.test = Rows(ev.test.x, np.arange(210) % classes)
        ev.cache.clear()
        out = relatedness_artifacts(ev)
        assert len(out) == pictures and ("w2class/a+b" in out) == (classes == 20)
