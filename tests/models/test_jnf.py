"""JNF: two phases, exact flows, and products of their densities by weighted draws."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.probability.flows import FlowProduct
from mmvae_bench.probability.fusion import Experts
from mmvae_bench.testing.examples import example_batch, example_modalities
from tests.helpers import batch, model
from tests.models.test_bounds import N01, PRESENT, log_px

pytest.importorskip("zuko")
SMALL = {"hidden": 8, "transforms": 2}


class Shift:
    """v = (z - b) / a, the inverse of z = a v + b."""

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = a, b

    def inv(self, v):
        return self.a * v + self.b

    def call_and_ladj(self, z):
        return (z - self.b) / self.a, torch.full(z.shape[:-1], -z.shape[-1] * math.log(self.a), dtype=z.dtype)


def test_a_product_of_gaussian_flows_is_the_gaussian_product_over_the_prior():
    """q_m = N(mu_m, s_m^2): precision sum of 1 / s_m^2 - (n - 1), for all subsets of three, in two dimensions."""
    loc = torch.tensor([[0.5, -1.0], [0.2, 0.4], [-0.3, 0.1]], dtype=torch.float64)
    scale = torch.tensor([[0.6, 0.5], [0.7, 0.9], [0.4, 0.8]], dtype=torch.float64)
    flows = [Shift(2.0, 1.0), Shift(0.5, -1.0), Shift(1.0, 0.0)]
    v = [((loc[m] - f.b) / f.a, scale[m] / f.a) for m, f in enumerate(flows)]
    base = DiagonalNormal(*(torch.stack(part)[:, None].expand(3, 4, 2) for part in zip(*v, strict=True)))
    present = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)
    joint = DiagonalNormal(torch.full((4, 2), 3.0, dtype=torch.float64), torch.ones(4, 2, dtype=torch.float64))
    q = FlowProduct(joint, Experts(base, present), flows)
    z = q.rsample(4000, torch.Generator().manual_seed(1))
    for b, given in enumerate([[0], [1], [0, 1]]):
        precision = (scale[given] ** -2).sum(0) - (len(given) - 1)
        exact = Normal((loc[given] / scale[given] ** 2).sum(0) / precision, precision**-0.5)
        assert (q.mean[b] - exact.loc).abs().max() < 5 / 16 * exact.scale.max()
        assert (z[:, b].mean(0) - exact.loc).abs().max() < 0.05 and (
            z[:, b].std(0) / exact.scale - 1
        ).abs().max() < 0.05
        difference = q.log_prob(z)[:, b] - exact.log_prob(z[:, b]).sum(-1)
        assert difference.abs().max() < (1e-9 if len(given) == 1 else 0.1)
    assert torch.equal(q.mean[3], joint.loc[3]) and (z[:, 3].mean(0) - 3).abs().max() < 0.1


def test_the_first_phase_is_the_joint_elbo_of_complete_rows():
    made = model("jnf", beta=1.3, **SMALL)
    data = batch(made, 5, present=PRESENT)
    torch.manual_seed(3)
    total = made.loss(data).total
    torch.manual_seed(3)
    noise = torch.randn(5, 3, dtype=torch.float64)
    q = made.joint(data)
    z = q.loc[0] + q.scale[0] * noise[0]
    expected = sum(log_px(made.networks, name, z, data, 0) for name in "ab")
    expected -= 1.3 * kl_divergence(Normal(q.loc[0], q.scale[0]), N01).sum()
    torch.testing.assert_close(total, -expected / 4)  # of four rows with something present one is complete


def test_each_phase_trains_its_own_part_and_words_belong_to_the_first():
    kinds = example_modalities("words", 2)
    made = model("jnf", kinds=kinds, **SMALL)
    data = example_batch(kinds, torch.ones(2, 6, dtype=torch.bool))
    trained = []
    for phase in (0, 1):
        made.zero_grad(set_to_none=True)
        made.loss(replace(data, phase=phase)).total.backward()
        trained.append({name for name, p in made.named_parameters() if p.grad is not None and p.grad.any()})
    assert not trained[0] & trained[1]
    assert {name.split(".")[0] for name in trained[1]} == {"networks", "flows"}
    assert all(name.startswith(("networks.encoders.a.", "networks.encoders.b.", "flows.")) for name in trained[1])
    assert "networks.words.a.embedding.weight" in trained[0]


def test_a_flow_is_a_density_whose_draws_have_it():
    """E_q[r / q] = 1 for a narrower r: log_prob and rsample are of one density, given one modality."""
    made = model("jnf", **SMALL)
    for p in made.flows.parameters():
        p.data += 0.3 * torch.randn_like(p)
    q = made.posterior(batch(made).given("a"))
    z = q.rsample(20_000, torch.Generator().manual_seed(0))
    r = Normal(q.mean, 0.7 * q.stddev)
    ratio = (r.log_prob(z).sum(-1) - q.log_prob(z)).exp()
    assert ((ratio.mean(0) - 1).abs() < 5 * ratio.std(0) / 20_000**0.5).all()
