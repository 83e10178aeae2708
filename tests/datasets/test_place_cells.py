from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma, nbinom, poisson

from mmvae_bench.datasets.place_cells import BINS, NEURONS, SHAPE, Bayes, PlaceCells, Population, activity, counts

NOWHERE = Path("/nowhere")


@pytest.fixture(scope="module")
def built():
    return PlaceCells().build(NOWHERE)


def test_the_likelihood_of_one_neuron_is_the_negative_binomials():
    rate = np.array([0.2, 1.0, 7.0]).reshape(3, 1, 1)
    n = np.arange(6.0)[:, None]
    want = nbinom.logpmf(n, SHAPE, SHAPE / (SHAPE + rate[:, 0, 0]))
    np.testing.assert_allclose(Population(rate).log_likelihood(n)[..., 0], want, rtol=1e-10)


def test_the_likelihood_of_several_is_the_integral_over_the_gain():
    prior = gamma(SHAPE, scale=1 / SHAPE)
    rate = np.array([[[0.5, 2.0, 4.0], [1.0, 0.1, 0.3]]])
    for n in ([0, 0, 0], [1, 0, 5], [3, 7, 2]):
        got = Population(rate).log_likelihood(np.array([n], float))[0, 0]
        for d, own in enumerate(rate[0]):
            p, _ = quad(lambda g, n=n, own=own: poisson.pmf(n, g * own).prod() * prior.pdf(g), 0, 20)
            assert got[d] == pytest.approx(np.log(p), abs=1e-6)


def test_the_judges_confidence_is_its_accuracy_and_direction_is_read_too(built):
    """A Bayes decoder is calibrated: its mean probability of its own guess is the share of right guesses."""
    for i, (name, judge) in enumerate(PlaceCells().judges({}).items()):
        x, truth = built.test.x[name], built.test.attributes
        log_p = judge.log_likelihood(x)
        p = np.exp(log_p - log_p.max((1, 2), keepdims=True))
        confidence = (p.sum(2) / p.sum((1, 2))[:, None]).max(1)
        right = judge.predict(x) == built.test.label
        assert judge.accuracy == right.mean()
        assert abs(confidence.mean() - right.mean()) < 4 * (confidence - right).std() / np.sqrt(len(right))
        assert (judge.read(x)[:, 1] == truth[:, 1]).mean() > 0.95
        assert np.array_equal(judge.population.rate, PlaceCells().population(i).rate)


def test_a_true_tuning_curve_is_read_as_its_own_position():
    population = PlaceCells().population(0)
    x = 2 * np.sqrt(population.rate + 0.375)
    values = Bayes(population).read(x.reshape(-1, NEURONS))
    assert values.tolist() == [[s, d] for s in range(BINS) for d in range(2)]


def test_shared_and_own_factors_are_independent():
    f = PlaceCells(m=5).factors("train")
    columns = [f.position, f.direction, *np.log(f.gain).T]
    for a, b in combinations(columns, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))
    np.testing.assert_allclose(f.gain.mean(0), 1, atol=4 * 0.5 / np.sqrt(len(f.gain)))
    np.testing.assert_allclose(f.gain.var(0), 1 / SHAPE, rtol=0.15)
    assert set(np.bincount(f.position + BINS * f.direction)) == {100}


def test_counts_have_the_mean_that_the_factors_say(built):
    dataset, f = PlaceCells(), PlaceCells().factors("train")
    for i, name in enumerate(built.train.x):
        mean = f.gain[:, i, None] * dataset.population(i).rate[f.position, f.direction]
        n = counts(built.train.x[name].astype(np.float64))
        np.testing.assert_allclose(n, n.round(), atol=1e-4)
        z = (n - mean).sum(0) / np.sqrt(mean.sum(0))  # of each neuron, standard normal
        assert np.abs(z).max() < 4.5 and 0.6 < z.std() < 1.5


def test_an_animal_and_what_is_shared_do_not_depend_on_how_many_there_are(built):
    five = PlaceCells(m=5).build(NOWHERE)
    assert list(five.train.x) == [f"animal{i}" for i in range(5)]
    for split in ("train", "test"):
        few, many = getattr(built, split), getattr(five, split)
        assert all(np.array_equal(x, many.x[name]) for name, x in few.x.items())
        assert np.array_equal(few.label, many.label)
    assert not np.array_equal(five.train.x["animal0"], five.train.x["animal1"])


def test_activity_is_anscombes_and_has_the_scale_that_is_declared():
    n = np.random.default_rng(0).poisson(5.0, 20_000)
    assert activity(n).std() == pytest.approx(PlaceCells().modalities[0].scale, abs=0.03)
    np.testing.assert_allclose(counts(activity(n).astype(np.float64)), n, atol=1e-4)
    assert counts(np.array([-1.0, 0.0])).tolist() == [0, 0]
