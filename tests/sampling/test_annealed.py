"""Annealed importance sampling: integrals that are known, from both sides."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from mmvae_bench.sampling.annealed import Annealing, leg
from mmvae_bench.sampling.chains import MALA

LOC, SD = torch.tensor([[0.8, -0.5], [0.0, 1.0]]), torch.tensor([[0.6, 0.7], [1.0, 0.5]])


def terms(z):
    """N(0, I), normalised, and exp(-|z - m|^2 / 2 s^2), whose integral is 2 pi s_1 s_2."""
    start = -z.square().sum(-1) / 2 - math.log(2 * math.pi)
    return torch.stack([start, -((z - LOC) / SD).square().sum(-1) / 2])


TRUE = math.log(2 * math.pi) + SD.log().sum(-1)


def annealing(number):
    return Annealing(terms, [[1.0, 0.0], *leg([1, 0], [0, 1], number)], torch.minimum(SD, torch.ones(())), MALA)


@settings(max_examples=8, deadline=None)
@given(number=st.sampled_from([2, 5, 30]), seed=st.integers(0, 1000))
def test_weights_are_unbiased_whatever_the_number_of_densities(number, seed):
    g = Generator().manual_seed(seed)
    made = annealing(number)
    _, steps = made.tuned(torch.randn(8, 2, 2, generator=g), generator=g)
    _, log_w = made.run(torch.randn(4000, 2, 2, generator=g), steps, g)
    w = (log_w[-1] - TRUE).exp()
    assert ((w.mean(0) - 1).abs() <= 5.5 * w.std(0) / 4000**0.5).all()
    assert (w.std(0) < 1).all() or number < 30


def test_from_exact_draws_in_reverse_the_weights_have_the_inverse_as_mean():
    """The means of the logs bracket the truth: from below forwards, from above in reverse."""
    g, made = Generator().manual_seed(0), annealing(30)
    _, steps = made.tuned(torch.randn(8, 2, 2, generator=g), generator=g)
    up = made.backwards(LOC + SD * torch.randn(4000, 2, 2, generator=g), steps, g)
    w = (up + TRUE).exp()
    assert ((w.mean(0) - 1).abs() <= 5 * w.std(0) / 4000**0.5).all()
    _, down = made.run(torch.randn(4000, 2, 2, generator=g), steps, g)
    assert (down[-1].mean(0) < TRUE).all() and (-up.mean(0) > TRUE).all()


def test_weighted_draws_are_of_the_last_density_and_of_those_between():
    g, made = Generator().manual_seed(3), annealing(30)
    _, steps = made.tuned(torch.randn(8, 2, 2, generator=g), generator=g)
    z, log_w = made.run(torch.randn(4000, 2, 2, generator=g), steps, g)
    w = log_w[-1].softmax(0)[..., None]
    mean = (w * z).sum(0)
    assert ((mean - LOC) / SD).abs().max() < 0.15
    assert (((w * (z - LOC).square()).sum(0)).sqrt() / SD - 1).abs().max() < 0.15
    assert log_w.shape == (31, 4000, 2) and not log_w[0].any()


def test_a_leg_ends_at_its_last_powers():
    assert leg([1, 0, 0], [0, 1, 0], 2) == [[0.5, 0.5, 0], [0, 1, 0]]
