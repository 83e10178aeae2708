"""Products against densities multiplied on a grid, mixtures against torch's, and the laws that hold for all inputs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mmvae_bench.probability.distributions import DiagonalLaplace, DiagonalNormal
from mmvae_bench.probability.fusion import Experts, Mixture, powerset, products, stratify


def experts(e: int = 3, b: int = 4, d: int = 2, seed: int = 0, present=None) -> Experts:
    g = torch.Generator().manual_seed(seed)
    q = DiagonalNormal(
        torch.randn(e, b, d, generator=g, dtype=torch.float64),
        0.3 + torch.rand(e, b, d, generator=g, dtype=torch.float64),
    )
    return Experts(q, torch.ones(e, b, dtype=torch.bool) if present is None else present)


@pytest.mark.parametrize("prior", [True, False])
def test_product_is_the_normalised_product_of_densities(prior):
    x = experts(e=3, b=1, d=1)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None, None, None]
    log_p = sum(x.q[e].log_prob(grid[:, 0]) for e in (0, 2)) + prior * Normal(0.0, 1.0).log_prob(grid[:, 0, 0])
    p = log_p[:, 0].exp()
    p, z = p / p.sum(), grid[:, 0, 0, 0]
    mean = (p * z).sum()
    q = products(x, torch.tensor([[True, False, True]]), torch.tensor([prior]))
    assert math.isclose(q.loc.item(), mean, abs_tol=1e-6)
    assert math.isclose(q.scale.item(), ((p * (z - mean).square()).sum()).sqrt(), rel_tol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_a_product_does_not_depend_on_the_order_of_its_experts(e, seed):
    x = experts(e=e, seed=seed)
    order = torch.randperm(e, generator=torch.Generator().manual_seed(seed))
    keep = torch.rand(3, e, generator=torch.Generator().manual_seed(seed)) < 0.6
    prior = torch.tensor([True, False, True])
    a = products(x, keep, prior)
    b = products(Experts(x.q[order], x.present[order]), keep[:, order], prior)
    torch.testing.assert_close(a.loc, b.loc)
    torch.testing.assert_close(a.scale, b.scale)


def test_an_absent_expert_is_left_out_and_an_empty_product_is_the_prior():
    present = torch.tensor([[True, False], [False, False], [True, False]])
    x = experts(b=2, present=present)
    q = products(x, torch.ones(1, 3, dtype=torch.bool), torch.tensor([False]))
    alone = products(Experts(x.q[[0, 2]], present[[0, 2]]), torch.ones(1, 2, dtype=torch.bool), torch.tensor([False]))
    torch.testing.assert_close(q.loc[:, 0], alone.loc[:, 0])
    assert q.loc[0, 1].eq(0).all() and q.scale[0, 1].eq(1).all()


def test_products_refuse_another_family():
    x = Experts(DiagonalLaplace(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)), torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(TypeError, match="Normal"):
        products(x, torch.ones(1, 1, dtype=torch.bool), torch.tensor([True]))


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_powerset_has_every_non_empty_subset_once(m):
    rows = {tuple(row.tolist()) for row in powerset(m)}
    assert len(rows) == len(powerset(m)) == 2**m - 1 and (False,) * m not in rows


def test_mixture_is_torchs_mixture_of_the_present():
    present = torch.tensor([[True, True, False, True], [True, False, True, True], [False, True, True, True]])
    x = experts(present=present)
    mixture, z = Mixture(x), torch.randn(6, 4, 2, dtype=torch.float64)
    for b in range(4):
        own = present[:, b]
        q = x.q[own, b]
        reference = MixtureSameFamily(
            Categorical(torch.ones(len(q.loc), dtype=torch.float64)), Independent(Normal(q.loc, q.scale), 1)
        )
        torch.testing.assert_close(mixture.log_prob(z)[:, b], reference.log_prob(z[:, b]))
        torch.testing.assert_close(mixture.mean[b], reference.mean)
        torch.testing.assert_close(mixture.stddev[b], reference.stddev)


def test_mixture_draws_each_present_component_equally_often_and_absent_ones_never():
    n = 30_000
    present = torch.tensor([[True, False], [False, True], [True, True], [True, True]])
    x = Experts(
        DiagonalNormal(10.0 * torch.arange(4).reshape(4, 1, 1).expand(4, 2, 1), torch.full((4, 2, 1), 0.1)), present
    )
    chosen = (Mixture(x).rsample(n, torch.Generator().manual_seed(0))[..., 0] / 10).round().long()
    for b in range(2):
        share = torch.bincount(chosen[:, b], minlength=4) / n
        expected = present[:, b] / 3
        assert (share - expected).abs().lt(5 * (expected * (1 - expected) / n).sqrt() + 1e-9).all()


def test_a_row_with_nothing_present_is_finite():
    mixture = Mixture(experts(present=torch.zeros(3, 4, dtype=torch.bool)))
    assert mixture.log_prob(mixture.rsample()).isfinite().all() and mixture.stddev.isfinite().all()


def test_stratified_uniforms_fill_every_stratum_and_are_uniform_row_by_row():
    like = torch.zeros(1, dtype=torch.float64)
    torch.manual_seed(0)
    draws = torch.stack([stratify(8, like) for _ in range(4000)])
    assert torch.equal((draws * 8).long().sort(1).values, torch.arange(8).expand(4000, 8))
    assert (draws.mean(0) - 0.5).abs().lt(5 / (12 * 4000) ** 0.5).all()
