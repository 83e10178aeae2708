"""MVAE, MoPoE, MMVM and unimodal: their bounds written out for each row, and the laws of their papers."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal, kl_divergence

from mmvae_bench.nets.base import Networks
from mmvae_bench.types import MultimodalBatch
from tests.helpers import batch, modalities, model

N01 = Normal(torch.zeros(3, dtype=torch.float64), 1.0)


def log_px(networks: Networks, name: str, z: Tensor, data: MultimodalBatch, b: int) -> Tensor:
    m = next(m for m in networks.modalities if m.name == name)
    return m.weight * Laplace(networks.decoders[name](z[None])[0].sigmoid(), m.scale).log_prob(data.x[name][b]).sum()


def product(members: list[Normal], prior: bool) -> Normal:
    precision = sum(q.scale**-2 for q in members) + float(prior)
    return Normal(sum(q.loc * q.scale**-2 for q in members) / precision, precision**-0.5)


def expert(made, data: MultimodalBatch, m: int, b: int) -> Normal:
    q = made.encode(data).q
    return Normal(q.loc[m, b], q.scale[m, b])


PRESENT = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 1, 0, 0]], dtype=torch.bool)


def test_mvae_is_the_sum_of_elbos_over_distinct_subsets():
    made = model("mvae", beta=1.3)
    data = batch(made, 5, present=PRESENT)
    torch.manual_seed(3)
    total = made.loss(data).total
    torch.manual_seed(3)
    noise = torch.randn(3, 5, 3, dtype=torch.float64)  # subsets {a, b}, {a}, {b}
    expected = 0.0
    for b in range(5):
        here = [m for m in range(2) if PRESENT[m, b]]
        for s, subset in enumerate([[0, 1], [0], [1]]):
            a = [m for m in subset if m in here]
            if (a != subset and s != 0) or not a or (s > 0 and len(here) == 1):
                continue  # a subset that is not there, or P itself a second time
            q = product([expert(made, data, m, b) for m in a], prior=True)
            z = q.loc + q.scale * noise[s, b]
            expected += sum(log_px(made.networks, "ab"[m], z, data, b) for m in a) - 1.3 * kl_divergence(q, N01).sum()
    torch.testing.assert_close(total, -expected / 4)


def test_mvaes_random_subsets_lie_strictly_between_one_and_all():
    made = model("mvae", m=5, k=4)
    present = torch.rand(5, 200, generator=torch.Generator().manual_seed(0)) < 0.6
    keep, possible = made.subsets(present)
    counted = possible.any(1)
    size, total = keep[-4:].sum(1), present.sum(0)
    assert (keep & ~present).sum() == 0
    assert ((size > 1) & (size < total))[counted[-4:]].all()
    assert torch.equal(counted[-4:], (total > 2).expand(4, -1))
    assert set(size[:, total == 5].unique().tolist()) == {2, 3, 4}


@pytest.mark.parametrize("prior_expert", ["full", "always", "never"])
def test_mopoes_components_are_the_products_over_subsets(prior_expert):
    made = model("mopoe", m=3, prior_expert=prior_expert)
    present = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 1, 0]], dtype=torch.bool)
    data = batch(made, 3, present=present)
    q, z = made.posterior(data), torch.randn(3, 3, dtype=torch.float64)
    for b in range(3):
        here = [m for m in range(3) if present[m, b]]
        log_q = []
        for size in range(1, len(here) + 1):
            for a in itertools.combinations(here, size):
                prior = prior_expert == "always" or (prior_expert == "full" and len(a) == 3)
                log_q.append(product([expert(made, data, m, b) for m in a], prior).log_prob(z[b]).sum())
        torch.testing.assert_close(q.log_prob(z)[b], torch.stack(log_q).logsumexp(0) - math.log(len(log_q)))


def test_mopoes_kl_is_the_mean_over_the_components_that_are_there():
    made = model("mopoe")
    data = batch(made, 5, present=PRESENT)
    expected = []
    for b in range(4):
        here = [expert(made, data, m, b) for m in range(2) if PRESENT[m, b]]
        parts = here + ([product(here, prior=True)] if len(here) == 2 else [])
        expected.append(sum(kl_divergence(q, N01).sum() for q in parts) / len(parts))
    torch.testing.assert_close(made.loss(data).terms["kl"], torch.stack(expected).mean())


def test_unimodal_is_a_sum_of_elbos():
    made = model("unimodal", beta=2.0)
    data = batch(made, 5, present=PRESENT)
    torch.manual_seed(3)
    total = made.loss(data).total
    torch.manual_seed(3)
    noise, expected = torch.randn(2, 5, 3, dtype=torch.float64), 0.0
    for m, b in itertools.product(range(2), range(5)):
        if PRESENT[m, b]:
            q = expert(made, data, m, b)
            z = q.loc + q.scale * noise[m, b]
            expected += log_px(made.networks, "ab"[m], z, data, b) - 2 * kl_divergence(q, N01).sum()
    torch.testing.assert_close(total, -expected / 4)


def test_mmvms_kl_is_the_pairwise_bound():
    made = model("mmvm", m=3)
    data = batch(made, 2)
    q = [expert(made, data, m, 0) for m in range(3)]
    expected = [sum(kl_divergence(a, b).sum() for b in q) / 3 for a in q]
    experts = made.encode(data)
    torch.testing.assert_close(made.kl_to_h(experts.q.rsample(), experts)[:, 0], torch.stack(expected))


def test_mmvms_monte_carlo_kl_never_exceeds_log_of_the_number_present_and_is_bounded_by_pairwise():
    made, pairwise = model("mmvm", m=4, bound="monte_carlo"), model("mmvm", m=4)
    present = torch.rand(4, 60, generator=torch.Generator().manual_seed(1)) < 0.7
    data = batch(made, 60, present=present)
    experts = made.encode(data)
    wide = type(experts.q)(experts.q.loc * 20, experts.q.scale)
    experts = type(experts)(wide, present)
    draws = torch.stack([made.kl_to_h(experts.q.rsample(), experts) for _ in range(300)])
    most = present.sum(0).clamp(min=1).to(draws).log()
    assert draws.transpose(1, 2)[:, :, :].le(most[:, None] + 1e-9)[:, present.T].all()
    bound = pairwise.kl_to_h(experts.q.loc, experts)
    assert (draws.mean(0) - 5 * draws.std(0) / 300**0.5 <= bound + 1e-9)[present].all()


def alone(made, data: MultimodalBatch, m: int, b: int, z: Tensor) -> Tensor:
    """The divergence of a row with x_m alone."""
    q = expert(made, data, m, b)
    if made.alone != "pseudo":
        return kl_divergence(q, N01).sum() * (made.alone == "standard")
    others = [(name, u) for name in made.names if name != made.names[m] for u in made.pseudo[name]]
    raw = [made.networks.encoders[name](u[None])[0].chunk(2) for name, u in others]
    each = [Normal(loc, torch.nn.functional.softplus(scale) + 1e-4).log_prob(z).sum() for loc, scale in raw]
    p_u = torch.stack(each).logsumexp(0) - math.log(len(each))
    return (1 - 1 / len(made.names)) * (q.log_prob(z).sum() - p_u)


@pytest.mark.parametrize("option", ["nothing", "standard", "pseudo"])
@pytest.mark.parametrize("kinds", [modalities(2), modalities(2)[::-1], modalities(3)], ids=["ab", "ba", "abc"])
def test_mmvms_lonely_rows_are_what_alone_says(option, kinds):
    made = model("mmvm", kinds=kinds, alone=option, pseudo=4, beta=1.3)
    present = torch.eye(len(kinds), dtype=torch.bool).repeat(1, 2)
    data = batch(made, 2 * len(kinds), present=present)
    torch.manual_seed(3)
    loss = made.loss(data)
    torch.manual_seed(3)
    noise = torch.randn(len(kinds), 2 * len(kinds), 3, dtype=torch.float64)
    reconstructed, divergence = 0.0, 0.0
    for m, b in present.nonzero().tolist():
        q = expert(made, data, m, b)
        z = q.loc + q.scale * noise[m, b]
        reconstructed += log_px(made.networks, made.names[m], z, data, b) / data.size
        divergence += alone(made, data, m, b, z) / data.size
    torch.testing.assert_close(loss.terms["kl"], torch.as_tensor(divergence, dtype=torch.float64))
    torch.testing.assert_close(loss.total, 1.3 * divergence - reconstructed)


def test_mmvms_pseudo_inputs_learn_from_rows_that_lack_their_modality():
    made = model("mmvm", alone="pseudo", pseudo=4)
    data = batch(made)
    for given, learns in (("a", {"b"}), ("b", {"a"}), (("a", "b"), set())):
        made.zero_grad()
        made.loss(data.given(*given)).total.backward()
        assert {name for name, u in made.pseudo.items() if u.grad is not None and u.grad.any()} == learns


def test_mmvms_complete_rows_do_not_depend_on_alone():
    losses = []
    for option in ("nothing", "standard", "pseudo"):
        made = model("mmvm", alone=option, pseudo=4)
        torch.manual_seed(3)
        loss = made.loss(batch(made)).total
        losses.append([loss, *torch.autograd.grad(loss, list(made.networks.parameters()))])
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])


@pytest.mark.parametrize("name", ["mmvm", "unimodal"])
def test_a_given_target_is_decoded_from_its_own_latent(name):
    made = model(name)
    data = batch(made)
    own, other = made.posterior_for("b", data), made.posterior_for("b", data.given("a"))
    torch.testing.assert_close(own.mean, made.encode(data).q.loc[1])
    torch.testing.assert_close(other.mean, made.encode(data).q.loc[0])
    torch.testing.assert_close(made.posterior(data).mean, made.encode(data).q.loc.mean(0))


def test_weights_multiply_the_likelihood_in_training_and_not_in_scores():
    made = model("mvae", kinds=modalities(2, weight=4.0))
    data, z = batch(made), torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(made.log_px(z, data), 4 * made.log_px(z, data, weighted=False))


def test_mvae_without_subsampling_is_the_joint_elbo_alone():
    keep, possible = model("mvae", m=3, subsampling=False).subsets(torch.ones(3, 4, dtype=torch.bool))
    assert len(keep) == 1
    assert possible.all()
