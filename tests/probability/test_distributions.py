"""Our small distributions against torch.distributions, an independent implementation."""

import pytest
import torch
from torch.distributions import Independent, Laplace, Normal, kl_divergence

from mmvae_bench.probability.distributions import DiagonalLaplace, DiagonalNormal, kl, standard

FAMILIES = [(DiagonalNormal, Normal), (DiagonalLaplace, Laplace)]


def parameters(seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(5, 4, 3, generator=g, dtype=torch.float64), 0.2 + torch.rand(
        5, 4, 3, generator=g, dtype=torch.float64
    )


@pytest.mark.parametrize(("ours", "theirs"), FAMILIES)
def test_log_prob_and_moments_are_torchs(ours, theirs):
    loc, scale = parameters()
    q, reference = ours(loc, scale), Independent(theirs(loc, scale), 1)
    z = torch.randn(7, 5, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), reference.log_prob(z))
    torch.testing.assert_close(q.mean, reference.mean)
    torch.testing.assert_close(q.stddev, reference.stddev)


@pytest.mark.parametrize(("ours", "theirs"), FAMILIES)
def test_kl_is_torchs(ours, theirs):
    (a, b), (c, d) = parameters(0), parameters(1)
    expected = kl_divergence(Independent(theirs(a, b), 1), Independent(theirs(c, d), 1))
    torch.testing.assert_close(kl(ours(a, b), ours(c, d)), expected)


@pytest.mark.parametrize(("ours", "theirs"), FAMILIES)
def test_kl_to_the_standard_member_is_the_default(ours, theirs):
    q = ours(torch.randn(3, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64) + 0.1)
    expected = kl_divergence(theirs(q.loc, q.scale), theirs(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(kl(q), expected)
    torch.testing.assert_close(kl(q, standard(ours, q.loc)), expected)


def test_kl_of_two_families_has_no_closed_form():
    loc, scale = parameters()
    with pytest.raises(TypeError, match="no closed form"):
        kl(DiagonalNormal(loc, scale), DiagonalLaplace(loc, scale))


@pytest.mark.parametrize("family", [DiagonalNormal, DiagonalLaplace])
def test_samples_have_the_moments_within_5_standard_errors(family):
    n, loc, scale = 40_000, torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]])
    q = family(loc, scale)
    z = q.rsample(n, torch.Generator().manual_seed(0))[:, 0]
    sd = q.stddev[0]
    assert (z.mean(0) - loc[0]).abs().lt(5 * sd / n**0.5).all()
    kurtosis = 3 if family is DiagonalNormal else 6
    error = sd.square() * ((kurtosis - 1) / n) ** 0.5
    assert (z.var(0) - sd.square()).abs().lt(5 * error).all()


@pytest.mark.parametrize("family", [DiagonalNormal, DiagonalLaplace])
def test_samples_are_differentiable_and_repeatable(family):
    loc, scale = (p.requires_grad_() for p in parameters())
    draws = [family(loc, scale).rsample(generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    draws[0].sum().backward()
    torch.testing.assert_close(loc.grad, torch.ones_like(loc))
    assert family(loc, scale).detach().rsample().requires_grad is False
