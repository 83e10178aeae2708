"""Chains: densities of known moments, detailed balance, and what they report."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from mmvae_bench.sampling.chains import HMC, MALA, Chains, Kernel, sample, state_of

KERNELS = [pytest.param(HMC, id="hmc"), pytest.param(MALA, id="mala"), pytest.param(Kernel(5, 0.7), id="five")]
CENTRE = torch.tensor([[1.0, -2.0], [0.0, 30.0]])
COVARIANCE = torch.tensor([[[1.0, 0.8], [0.8, 1.5]], [[0.01, 0.0], [0.0, 4.0]]])


def gaussian(z):
    d = z - CENTRE
    return -0.5 * torch.einsum("cbi,bij,cbj->cb", d, torch.linalg.inv(COVARIANCE), d)


def near(values, truth, errors=5.0):
    """The mean over the first axis is the truth within standard errors, of independent values."""
    error = values.std(0) / math.sqrt(len(values))
    return ((values.mean(0) - truth).abs() <= errors * error).all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shared", [False, True])
def test_gaussians_have_their_mean_and_covariance_each_row_its_own(kernel, shared):
    """The last states of 2,000 chains are independent draws."""
    chains = sample(
        gaussian, torch.zeros(2000, 2, 2), replace(kernel, shared=shared), burn_in=150, draws=1,
        scale=torch.diagonal(COVARIANCE, dim1=-2, dim2=-1).sqrt(), generator=Generator().manual_seed(1),
    )  # fmt: skip
    z = chains.z[0]
    assert near(z, CENTRE)
    assert near(torch.einsum("cbi,cbj->cbij", z - CENTRE, z - CENTRE), COVARIANCE)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_transition_leaves_its_density_invariant_by_geweke_s_test(kernel):
    """z ~ N(0, I), x | z ~ N(z^2, 1): draws of x | z, and transitions of z | x, keep the moments of both."""
    generator, n = Generator().manual_seed(2), 4000
    z = torch.randn(n, 3, 2, generator=generator)
    x = z.square() + torch.randn(z.shape, generator=generator)

    def log_p(x):
        return lambda z: (-z.square() / 2 - (x - z.square()).square() / 2).sum(-1)[None]

    step, scale = torch.tensor([0.2, 0.5, 0.9]), torch.ones(1, 2)
    rates = []
    for _ in range(30):
        at, accepted = kernel.move(log_p(x), [1.0], state_of(log_p(x), z), step, scale, generator)
        z, rates = at.z, [*rates, accepted.mean(0)]
        x = z.square() + torch.randn(z.shape, generator=generator)
    # E z = E z^3 = 0, E z^2 = 1, E z^4 = 3; E x = 1, E x^2 = 3 + 1; E x z^2 = 3
    for moment, truth in ((z, 0), (z**2, 1), (z**3, 0), (z**4, 3), (x, 1), (x**2, 4), (x * z**2, 3)):
        assert near(moment, torch.tensor(float(truth)))
    assert torch.stack(rates).mean(0).min() > 0.02 and torch.stack(rates).mean(0).max() < 0.99  # both branches


def test_an_unadjusted_chain_fails_geweke_s_test(monkeypatch):
    """The test above can fail: proposals that are always accepted do not keep the moments."""
    whole = torch.where
    monkeypatch.setattr(torch, "where", lambda mask, a, b: a if isinstance(b, torch.Tensor) else whole(mask, a, b))
    with pytest.raises(AssertionError):
        test_a_transition_leaves_its_density_invariant_by_geweke_s_test(MALA)


@pytest.fixture(scope="module")
def chains() -> Chains:
    start = 0.1 * torch.randn(8, 2, 2, generator=Generator().manual_seed(1))
    return sample(gaussian, start, HMC, burn_in=300, draws=200, generator=Generator().manual_seed(0))


def test_steps_are_adapted_row_by_row_to_the_target_and_frozen(chains):
    assert (chains.acceptance - 0.9).abs().max() < 0.06
    assert chains.step[0] > 3 * chains.step[1]  # the second row is ten times as narrow
    assert chains.gradients == 1 + 500 * 20


def test_what_is_not_finite_is_never_accepted():
    def half(z):
        return torch.where(z[..., 0] > 0, -z.square().sum(-1) / 2, -torch.inf)

    chains = sample(half, torch.ones(50, 1, 2), MALA, burn_in=50, draws=50, generator=Generator().manual_seed(0))
    assert (chains.z[..., 0] > 0).all() and chains.z.isfinite().all()
    assert abs(float(chains.z[..., 0].mean()) - math.sqrt(2 / math.pi)) < 0.1


def test_effective_sizes_and_r_hat_tell_chains_that_mix_from_chains_that_do_not(chains):
    assert (chains.ess > 100).all() and (chains.r_hat < 1.1).all()

    def two(z):  # modes at -8 and 8
        return torch.logaddexp(-(z - 8).square().sum(-1) / 2, -(z + 8).square().sum(-1) / 2)

    start = torch.tensor([-8.0, 8.0]).reshape(2, 1, 1).expand(2, 1, 2)
    stuck = sample(two, start, HMC, burn_in=100, draws=100, generator=Generator().manual_seed(0))
    assert stuck.r_hat[0] > 1.5 and stuck.ess[0] < 10
    assert chains.ess.shape == chains.r_hat.shape == (2,) and chains.ess.dtype == np.float64


def test_rows_that_share_noise_do_not_depend_on_their_neighbours():
    def run(rows):
        kernel = Kernel(3, shared=True)

        def part(z):
            d = z - CENTRE[rows]
            return -0.5 * torch.einsum("cbi,bij,cbj->cb", d, torch.linalg.inv(COVARIANCE)[rows], d)

        start = torch.zeros(3, len(rows), 2)
        return sample(part, start, kernel, burn_in=10, draws=5, step=0.05, generator=Generator().manual_seed(4))

    torch.testing.assert_close(run([0, 1]).z[:, :, 1:], run([1]).z, rtol=1e-4, atol=1e-4)
