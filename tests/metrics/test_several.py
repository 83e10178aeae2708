"""Scores of several draws, of generators that copy, that collapse, and whose targets know nothing of one another."""

import numpy as np
import pytest
import torch
from torch import nn

from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.labelled import Symbols
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.several import (
    DRAWS,
    agreeing,
    calibration_and_floor,
    calibration_error,
    counted,
    crossed,
    entropy_of_draws,
    expected_entropy,
    fair_brier,
    mean_distance,
)
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import Modality
from tests.helpers import EVERY, batch, model

VALUES = {"class": ("x", "y"), "open": tuple("01234")}  # a label says the class, two tables say both
COUNTS = (2, 5)


def draws(p, k, seed=0):
    """Classes [k, n] drawn from p [n, C]."""
    rng = np.random.default_rng(seed)
    return (rng.random((k, len(p), 1)) > p.cumsum(1)).sum(-1)


# --- calibration, of arrays ------------------------------------------------------------------------------------------


def test_the_fair_brier_score_has_no_bias_of_few_draws():
    rng = np.random.default_rng(1)
    p = np.tile(rng.dirichlet(np.ones(4), 1), (40_000, 1))
    label = draws(np.tile([[0.4, 0.3, 0.2, 0.1]], (40_000, 1)), 1, 5)[0]
    exact = np.square(p - np.eye(4)[label]).sum(1).mean()
    for k in (2, 10):
        found = fair_brier(counted(draws(p, k), 4), label)
        assert abs(found.mean() - exact) < 5 * found.std() / 200
    assert fair_brier(counted(np.full((10, 3), 2), 4), np.array([2, 2, 0])).tolist() == [0, 0, 2]
    assert fair_brier(counted(np.full((10, 1), 9), 4), np.array([2])).tolist() == [2]  # nothing can be read


def test_the_calibration_error_of_two_levels_is_known():
    """Half of the rows are sure of class 0 and right in 3 of 4; half say it with .6, and it is right in all."""
    counts = np.repeat([[10, 0, 0], [6, 4, 0]], 40, 0)
    label = np.concatenate([np.repeat([0, 1], [30, 10]), np.zeros(40, int)])
    assert calibration_error(counts, label) == pytest.approx(0.5 * 0.25 + 0.5 * 0.4)
    order = np.random.default_rng(0).permutation(80)
    assert calibration_error(counts[order], label[order]) == pytest.approx(0.325)  # ties are not cut by order
    tie = np.array([[5, 5, 0], [5, 5, 0]])
    assert calibration_error(tie, np.array([0, 1])) == 0  # each of the two is right half of the time


@pytest.mark.parametrize("n", [30, 300])
def test_a_calibrated_forecaster_is_at_its_floor_at_any_n(n):
    rng = np.random.default_rng(2)
    gaps, values = [], []
    for seed in range(150):
        p = rng.dirichlet(np.full(5, 0.4), n)
        both = draws(p, DRAWS + 1, seed)
        value, floor = calibration_and_floor(both[1:], both[0], 5)
        gaps.append(value - floor), values.append(value)
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / 150**0.5
    assert np.mean(values) > (0.05 if n == 30 else 0.02)  # the bias at finite n that the floor shows


def test_a_sure_and_wrong_forecaster_is_above_its_floor():
    value, floor = calibration_and_floor(np.zeros((10, 200), int), np.arange(200) % 4, 4)
    assert (value, floor) == (0.75, 0.0)


# --- of arrays: distances, agreement, spread -------------------------------------------------------------------------


def test_the_mean_distance_leaves_out_points_themselves():
    assert mean_distance(np.array([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5)
    assert mean_distance(np.array([[0.0], [0.0], [3.0]])) == pytest.approx(2)


def test_agreement_of_crossed_draws_is_that_of_their_own_shares():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 3000)
    same = draws(p, 10)
    assert agreeing([same, same, same], 3).all()
    for targets in (2, 3):
        gaps = crossed([same] * targets, 3) - (p**targets).sum(1)
        assert abs(gaps.mean()) < 4 * gaps.std() / 3000**0.5
    assert not agreeing([np.full((10, 4), 3)] * 2, 3).any()  # unreadable is no agreement


@pytest.mark.parametrize("k", [2, 10])
def test_the_expected_entropy_is_that_of_draws(k):
    p = np.array([0.5, 0.3, 0.2, 0.0])
    found = entropy_of_draws(draws(np.tile(p, (20_000, 1)), k), 4)
    assert abs(found.mean() - expected_entropy(p, k)) < 4 * found.std() / 20_000**0.5
    assert expected_entropy(p, 10_000) == pytest.approx(-(p[:3] * np.log(p[:3])).sum(), abs=1e-3)


# --- of models -------------------------------------------------------------------------------------------------------


def table(values):
    """One-hot class beside one-hot attribute, [N, 7]."""
    return np.concatenate([np.eye(2)[values[:, 0]], np.eye(5)[values[:, 1]]], 1).astype(np.float32)


class Reader:
    accuracy, hash = 1.0, "reader"

    def read(self, x):
        return np.stack([x[:, :2].argmax(1).numpy(), x[:, 2:].argmax(1).numpy()], 1)

    def predict(self, x):
        return self.read(x)[:, 0]

    def features(self, x):
        return x.numpy()


class Part(nn.Module):
    """The class of z, and the largest of its five numbers that belong to the modality."""

    def __init__(self, start):
        super().__init__()
        self.start = start

    def forward(self, z):
        which = z[..., self.start : self.start + 5].argmax(-1)
        return torch.cat([z[..., :2], nn.functional.one_hot(which, 5).float()], -1)


class Completing(MultimodalVAE):
    """z: the class in one-hot form, and ten numbers. Both tables read the first five, or each its own.

    If collapsed, these do not vary; if hashed, they depend on the row alone.
    """

    def __init__(self, kind="faithful"):
        self.kind = kind
        starts = {"a": 2, "b": 7 if kind == "independent" else 2}
        parts = [Modality(name, (7,), "normal", dtype="float32") for name in "ab"]
        label = Modality("label", (1,), "categorical", dtype="int16", vocabulary=("-", "x", "y"), kind="symbol")
        nets = Networks(parts, 12, lambda m, _: nn.Identity(), lambda m, _: Part(starts[m.name]))
        super().__init__(nets)
        self.modalities, self.names = (*parts, label), ("a", "b", "label")
        self.dummy = nn.Parameter(torch.zeros(1))

    def posterior(self, batch):
        label = batch.where("label")[:, None] * torch.eye(3)[batch.visible("label")[:, 0].long()][:, 1:]
        shown = torch.where(batch.where("label")[:, None], label, batch.visible("a")[:, :2] + batch.visible("b")[:, :2])
        mean, scale = torch.zeros(batch.size, 10), torch.ones(batch.size, 10)
        if self.kind in ("collapsed", "hashed"):
            scale = 1e-6 * scale
        if self.kind == "hashed":
            mean = torch.randn(batch.size, 10, generator=torch.Generator().manual_seed(3))
        mean = mean + (0.0 if self.kind != "collapsed" else 1.0) * torch.arange(10)
        return DiagonalNormal(torch.cat([shown, mean], 1), torch.cat([torch.full_like(shown, 1e-6), scale], 1))

    def decode(self, z, names=None):
        names = names or self.names
        said = {"label": (1 + z[..., 1:2].round()).long()}
        return {n: said[n] if n in said else self.networks.decode(n, z) for n in names}

    def loss(self, batch):
        raise NotImplementedError


def completing(kind="faithful", n=240, said=1):
    rng = np.random.default_rng(0)
    values = np.stack([rng.permutation(np.arange(n) % 2), rng.permutation(np.arange(n) % 5)], 1)
    judge = Symbols(COUNTS, said)
    x = {"a": table(values), "b": table(values), "label": judge.write(values)}
    rows = Rows(x, values[:, 0], attributes=values)
    judges = {"a": Reader(), "b": Reader(), "label": judge}
    return Evaluation(Completing(kind).eval(), rows, rows, judges, "world", 0, 2, attributes=VALUES)


def completion(kind):
    found = {(s.variant, s.target): s for s in evaluate(completing(kind), ["joint_completion"])}
    gain = found.pop(("gain open", "a+b"))
    assert set(found) == {("agreement open", "a+b"), ("spread open", "a"), ("spread open", "b")}
    assert {(s.given, s.n, s.ceiling) for s in found.values()} == {("label", 240, 1.0)}
    assert gain.ceiling == pytest.approx(0.8) and gain.chance == 0 and gain.sampled == "rows"
    agreement = found["agreement open", "a+b"]
    assert gain.value == pytest.approx(agreement.value - agreement.chance)
    return found["agreement open", "a+b"], [found["spread open", t] for t in "ab"]


def test_a_faithful_model_agrees_and_its_draws_vary_as_the_data_do():
    agreement, spreads = completion("faithful")
    assert agreement.value == 1.0 and abs(agreement.chance - 0.2) < 0.03
    assert all(abs(spread.value - 1) < 4 * spread.se for spread in spreads)


def test_independent_targets_vary_and_agree_by_chance():
    agreement, spreads = completion("independent")
    assert abs(agreement.value - agreement.chance) < 0.04 and abs(agreement.chance - 0.2) < 0.03
    assert all(abs(spread.value - 1) < 4 * spread.se for spread in spreads)


@pytest.mark.parametrize("kind", ["collapsed", "hashed"])
def test_a_model_that_always_generates_one_value_has_its_own_chance_and_no_spread(kind):
    agreement, spreads = completion(kind)
    assert agreement.value == agreement.chance == 1.0  # no more than targets of other draws
    assert all(spread.value == 0.0 for spread in spreads)


def test_what_every_modality_says_is_not_completed(world):
    (score,) = evaluate(completing(said=2), ["joint_completion"])
    assert score.value is None and score.reason.startswith("no modality leaves open an attribute")
    (score,) = evaluate(world(), ["joint_completion"])  # the class, which both modalities show
    assert score.reason.startswith("no modality leaves open an attribute")


def test_attributes_that_a_label_leaves_open_are_not_scored_in_it():
    found = evaluate(completing(), ["attributes_strict"])
    assert {s.target for s in found if s.reason} == {"label"}
    assert {s.target for s in found if s.prior and s.value is not None} == {"a+b"}


@pytest.mark.parametrize("name", EVERY)
def test_targets_that_are_not_given_have_the_same_z(name):
    if name == "csvae":
        pytest.skip("csvae needs a label; its z is one for all targets")
    made = model(name, 3)
    rows = batch(made).given("a")
    b, c = (made.posterior_for(t, rows).rsample(2, torch.Generator().manual_seed(0)) for t in "bc")
    assert torch.equal(b, c)


def found(ev, metric):
    return {(s.variant, s.given, s.target): s for s in evaluate(ev, [metric])}


def test_copies_of_one_entry_have_no_diversity_and_draws_that_ignore_it_that_of_all(world):
    ev = world()
    (score,) = [s for key, s in found(ev, "diversity").items() if key[1:] == ("a", "b")]
    assert score.value < 0.01 and score.chance > 2  # one-hot classes are further apart than the noise within them
    ev = world()
    everything = torch.from_numpy(ev.test.x["b"])
    ev.model.decode = lambda z, names=None: {
        name: everything[torch.randint(500, z.shape[:-1], generator=torch.Generator().manual_seed(0))] for name in names
    }
    score = found(ev, "diversity")["", "a", "b"]
    assert abs(score.value - score.chance) < 5 * score.se


def test_draws_of_true_entries_of_the_class_are_as_diverse_as_it_and_calibrated(world):
    ev = world()
    label, everything = ev.test.label, torch.from_numpy(ev.test.x["b"])

    def decode(z, names=None):
        rng = np.random.default_rng(0)
        of_class = [np.flatnonzero(label == c) for c in range(10)]
        return {name: everything[np.vectorize(lambda c: rng.choice(of_class[c]))(z.argmax(-1))] for name in names}

    ev.model.decode = decode
    score = found(ev, "diversity")["", "a", "b"]
    # 2 % of the pairs of draws are one entry twice
    assert abs(score.value - 49 / 50) < 5 * score.se
    calibrated = found(ev, "calibration")
    assert calibrated["brier", "a", "b"].value == calibrated["ece", "a", "b"].value == 0


def test_classes_of_other_rows_are_sure_and_wrong(world):
    scores = found(world("shuffled"), "calibration")
    brier, ece = scores["brier", "a", "b"], scores["ece", "a", "b"]
    assert brier.value == pytest.approx(2 * 0.9, abs=0.1) and brier.chance == pytest.approx(0.9, abs=0.01)
    assert brier.sampled == "rows" and brier.n == 250 and brier.ceiling == 0
    assert ece.value == pytest.approx(0.9, abs=0.05) and ece.ceiling == 0


@pytest.mark.parametrize("name", ["diversity", "calibration", "joint_completion"])
def test_a_model_without_decoders_or_data_without_judges_say_why(world, name):
    ev = world()
    ev.model.no_decoder = "nothing is generated"
    assert [s.reason for s in evaluate(ev, [name])] == ["nothing is generated"]
    assert [s.reason for s in evaluate(world(oracles={}), [name])] == ["there is no oracle to judge classes"]


def test_a_judge_without_features_has_no_diversity(world):
    ev = world()
    ev.oracles = {"a": ev.oracles["a"], "b": reading_alone()}
    skipped = [s for s in evaluate(ev, ["diversity"]) if s.value is None]
    assert [(s.given, s.target) for s in skipped] == [("", "b")]
    assert skipped[0].reason == "b is judged without features that could be compared"


def reading_alone():
    class Exact:
        accuracy, hash = 1.0, "exact"

        def predict(self, x):
            return x.argmax(-1).numpy()

    return Exact()
