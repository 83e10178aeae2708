"""Models beyond the first six: their fusions and bounds written out for each row, and the laws of their papers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.probability.fusion import Experts
from mmvae_bench.types import MultimodalBatch
from tests.helpers import batch, gradient, model
from tests.models.test_bounds import N01, PRESENT, expert, log_px, product

D = 3


def drawn(made, data: MultimodalBatch, *shapes: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """The loss on seeded noise, and that noise, drawn again in these shapes."""
    torch.manual_seed(3)
    total = made.loss(data).total
    torch.manual_seed(3)
    return total, [torch.randn(*shape, dtype=torch.float64) for shape in shapes]


def here(made, data: MultimodalBatch, b: int) -> dict[int, Normal]:
    """The experts that are present in a row."""
    return {m: expert(made, data, m, b) for m in range(len(made.names)) if data.present[m, b]}


def reconstructed(made, data: MultimodalBatch, z: Tensor, b: int) -> Tensor:
    """Sum over what is present of log p(x_m | z)."""
    return sum(log_px(made.networks, made.names[m], z, data, b) for m in here(made, data, b))


def experts_of(*pairs: tuple[float, float]) -> Experts:
    """Experts N(mu, s^2) of one dimension and one row."""
    loc, scale = torch.tensor(pairs, dtype=torch.float64).T
    return Experts(
        DiagonalNormal(loc[:, None, None], scale[:, None, None]), torch.ones(len(pairs), 1, dtype=torch.bool)
    )


@pytest.mark.parametrize("alpha", [0.0, 5 / 6])
def test_mvtcae_weighs_the_joint_and_the_conditional_bottlenecks(alpha):
    """With alpha 0 it is the joint ELBO of a product without a prior expert."""
    made = model("mvtcae", beta=1.3, alpha=alpha)
    data = batch(made, 5, present=PRESENT)
    total, (noise,) = drawn(made, data, (5, D))
    expected = 0.0
    for b in range(4):
        present = here(made, data, b)
        q, n = product([*present.values()], prior=False), len(present)
        kls = (1 - alpha) * kl_divergence(q, N01).sum()
        kls += alpha / n * sum(kl_divergence(q, p).sum() for p in present.values())
        expected += (n - alpha) / n * reconstructed(made, data, q.loc + q.scale * noise[b], b) - 1.3 * kls
    torch.testing.assert_close(total, -expected / 4)


def test_crmvae_reconstructs_from_the_product_and_from_each_expert():
    made = model("crmvae", beta=1.3)
    data = batch(made, 5, present=PRESENT)
    total, (joint, own) = drawn(made, data, (5, D), (2, 5, D))
    expected = 0.0
    for b in range(4):
        present = here(made, data, b)
        q = product([*present.values()], prior=False)
        rec = reconstructed(made, data, q.loc + q.scale * joint[b], b)
        rec += sum(log_px(made.networks, "ab"[m], p.loc + p.scale * own[m, b], data, b) for m, p in present.items())
        kls = kl_divergence(q, N01).sum() + sum(kl_divergence(q, p).sum() for p in present.values())
        expected += (rec / 2 - 1.3 * kls) / (len(present) + 1)
    torch.testing.assert_close(total, -expected / 4)


def test_jmvae_has_a_joint_encoder_in_complete_rows_and_the_elbo_of_a_product_in_others():
    made = model("jmvae", beta=1.3, alpha=0.4)
    data = batch(made, 5, present=PRESENT)
    total, (noise,) = drawn(made, data, (5, D))
    h = torch.cat([made.networks.encoders[f"{name} jointly"](data.x[name]) for name in "ab"], -1).relu()
    loc, raw = made.head(h).chunk(2, -1)
    expected = 0.0
    for b in range(4):
        present = here(made, data, b)
        q = product([*present.values()], prior=False)
        if len(present) == 2:
            q = Normal(loc[b], torch.nn.functional.softplus(raw[b]) + 1e-4)
        kls = kl_divergence(q, N01).sum()
        kls += (len(present) == 2) * 0.4 * sum(kl_divergence(q, p).sum() for p in present.values())
        expected += reconstructed(made, data, q.loc + q.scale * noise[b], b) - 1.3 * kls
    torch.testing.assert_close(total, -expected / 4)


def test_jmvaes_beta_grows_over_the_warm_up():
    made, whole = model("jmvae", beta=2.0, warm_up=4), model("jmvae", beta=2.0)
    data = batch(made)
    at = [MultimodalBatch(data.x, data.present, epoch=torch.tensor(e), epochs=9) for e in (0.0, 1.0, 4.0, 8.5)]
    kl = whole.loss(data).terms["kl"]
    totals = [drawn(made, b, (4, D))[0] for b in at]
    whole_total = drawn(whole, data, (4, D))[0]
    for total, share in zip(totals, (0.0, 0.25, 1.0, 1.0), strict=True):
        torch.testing.assert_close(whole_total - total, 2 * (1 - share) * kl)


def test_mmjsds_divergence_is_jensen_and_shannons_with_the_geometric_mean():
    made = model("mmjsd")
    data = batch(made, 5, present=PRESENT)
    found = made.jensen_shannon(made.encode(data))
    for b in range(4):
        members = [*here(made, data, b).values(), N01]
        n = len(members)
        mean = product(members, prior=False)
        f = Normal(mean.loc, mean.scale * math.sqrt(n))
        torch.testing.assert_close(found[b], sum(kl_divergence(q, f).sum() for q in members) / n)
    prior = Experts(DiagonalNormal(torch.zeros(2, 1, D), torch.ones(2, 1, D)), torch.ones(2, 1, dtype=torch.bool))
    assert made.jensen_shannon(prior).abs() < 1e-6


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.9])
def test_codevaes_consensus_is_generalised_least_squares(rho):
    made = model("codevae", m=3, rho=rho)
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    data = batch(made, 4, present=present)
    q = made.posterior(data)
    for b in range(4):
        members = [*here(made, data, b).values()]
        if rho == 0:
            torch.testing.assert_close(q.loc[b], product(members, prior=False).loc)
        for d in range(D):
            s, mu = (
                np.array([float(p[d]) for p in each]) for each in ([m.scale for m in members], [m.loc for m in members])
            )
            c = rho * np.outer(s, s) + (1 - rho) * np.diag(s**2)
            inverse = np.linalg.inv(c)
            assert float(q.scale[b, d]) ** -2 == pytest.approx(inverse.sum())
            assert float(q.loc[b, d]) == pytest.approx(inverse.sum(0) @ mu / inverse.sum())


def test_codevaes_mean_leaves_the_interval_of_its_experts_where_a_weight_is_negative():
    """Of two experts, one weight is negative as soon as rho > s_min / s_max: 1 and 3 at rho .4, not 2 and 3."""
    made, keep = model("codevae", rho=0.4), torch.ones(1, 2, 1, dtype=torch.bool)
    near, none = made.consensus(experts_of((0.0, 2.0), (1.0, 3.0)), keep)
    far, negative = made.consensus(experts_of((0.0, 1.0), (1.0, 3.0)), keep)
    assert (none.any(), negative.flatten().tolist()) == (False, [False, True])
    assert 0 < near.loc < 1 and far.loc < 0


def test_codevae_weighs_subsets_by_pi_and_counts_its_entropy():
    made = model("codevae", beta=1.3, entropy=2.0)
    torch.nn.init.normal_(made.logits)
    data = batch(made, 5, present=PRESENT)
    total, (noise,) = drawn(made, data, (3, 5, D))
    expected = 0.0
    for b in range(4):
        subsets = [s for s, a in enumerate(made.subsets) if not (a & ~PRESENT[:, b]).any()]
        pi = made.logits[subsets].softmax(0)
        for s, share in zip(subsets, pi, strict=True):
            only = MultimodalBatch(data.x, PRESENT & made.subsets[s][:, None])
            q = made.posterior(only)
            z = q.loc[b] + q.scale[b] * noise[s, b]
            elbo = reconstructed(made, data, z, b) - 1.3 * kl_divergence(Normal(q.loc[b], q.scale[b]), N01).sum()
            expected += share * elbo - 2.0 * share * share.log()
    torch.testing.assert_close(total, -expected / 4)


def test_hellingers_gaussian_has_the_moments_of_the_squared_sum_of_roots():
    """By quadrature in one dimension, for three experts."""
    made, pairs = model("hellinger"), [(-1.0, 0.5), (0.4, 1.2), (2.0, 0.8)]
    q = made.fuse(experts_of(*pairs))
    z = torch.linspace(-12, 12, 40_001, dtype=torch.float64)
    density = sum((Normal(mu, s).log_prob(z) / 2).exp() for mu, s in pairs) ** 2
    density = density / density.sum()
    mean = (density * z).sum()
    torch.testing.assert_close(q.loc.squeeze(), mean)
    torch.testing.assert_close(q.scale.squeeze(), (density * (z - mean) ** 2).sum().sqrt())


@pytest.mark.parametrize("name", ["hellinger", "barycentre"])
def test_one_expert_or_equal_ones_give_the_expert(name):
    made = model(name)
    for pairs in ([(0.3, 0.7)] * 2,):
        q = made.fuse(experts_of(*pairs))
        torch.testing.assert_close(q.loc.flatten(), torch.full((q.loc.numel(),), 0.3, dtype=torch.float64))
        torch.testing.assert_close(q.scale.flatten(), torch.full((q.loc.numel(),), 0.7, dtype=torch.float64))
    data = batch(made).given("b")
    torch.testing.assert_close(made.posterior(data).mean, made.encode(data).q.loc[1])
    torch.testing.assert_close(made.posterior(data).stddev, made.encode(data).q.scale[1])


def test_a_barycentre_averages_quantiles():
    made, pairs = model("barycentre"), [(-1.0, 0.5), (2.0, 1.5)]
    q = made.fuse(experts_of(*pairs))
    level = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    mean = sum(Normal(mu, s).icdf(level) for mu, s in pairs) / 2
    torch.testing.assert_close(Normal(q.loc[-1, 0, 0], q.scale[-1, 0, 0]).icdf(level), mean)


def private_log_px(made, name: str, u: Tensor, w: Tensor, data: MultimodalBatch, b: int) -> Tensor:
    return log_px(made.networks, name, torch.cat([u, w]), data, b)


def split(made, data: MultimodalBatch, m: int, b: int) -> tuple[Normal, Normal]:
    """q(u | x_m) and q(w_m | x_m)."""
    q, s = expert(made, data, m, b), made.common
    return Normal(q.loc[:s], q.scale[:s]), Normal(q.loc[s:], q.scale[s:])


def test_dmvae_counts_each_private_kl_once_for_every_elbo():
    made = model("dmvae", latent_dim=5, beta=1.3, private=0.4)
    data = batch(made, 5, present=PRESENT)
    s, p = made.common, made.own
    assert (s, p, made.latent_dim) == (3, 2, 7)
    total, (noise,) = drawn(made, data, (3, 5, 7))
    standard = Normal(torch.zeros(1, dtype=torch.float64), 1.0)
    expected = 0.0
    for b in range(4):
        own = {m: split(made, data, m, b) for m in here(made, data, b)}
        posteriors = {0: product([u for u, _ in own.values()], prior=True)} | {1 + m: u for m, (u, _) in own.items()}
        for i, q in posteriors.items():
            u, rest = q.loc + q.scale * noise[i, b, :s], noise[i, b, s:].reshape(2, p)
            expected -= 1.3 * kl_divergence(q, standard).sum()
            for m, (_, w) in own.items():
                expected += private_log_px(made, "ab"[m], u, w.loc + w.scale * rest[m], data, b)
                expected -= 1.3 * kl_divergence(w, standard).sum()
    torch.testing.assert_close(total, -expected / 4)


@pytest.mark.parametrize("estimator", ["iwae", "stl"])
def test_mmvaeplus_draws_what_another_decoder_reads_from_the_auxiliary_prior(estimator):
    made = model("mmvaeplus", latent_dim=5, beta=1.3, private=0.4, k=2, estimator=estimator)
    torch.nn.init.normal_(made.log_r)
    data = batch(made, 5, present=PRESENT)
    s, p = made.common, made.own
    total, (noise,) = drawn(made, data, (2, 2, 5, 7))
    unit, expected = Normal(0.0, 1.0), 0.0
    for b in range(4):
        own = {m: split(made, data, m, b) for m in here(made, data, b)}
        for m, (qu, qw) in own.items():
            log_w = []
            for k in range(2):
                eps, rest = noise[k, m, b, :s], noise[k, m, b, s:].reshape(2, p)
                u, w = qu.loc + qu.scale * eps, qw.loc + qw.scale * rest[m]
                each = [w if n == m else made.log_r[n].exp() * rest[n] for n in range(2)]
                rec = sum(private_log_px(made, "ab"[n], u, each[n], data, b) for n in own)
                mixture = torch.stack([q.log_prob(u).sum() for q, _ in own.values()]).logsumexp(0) - math.log(len(own))
                ratio = unit.log_prob(u).sum() + unit.log_prob(w).sum() - mixture - qw.log_prob(w).sum()
                log_w.append(rec + 1.3 * ratio)
            expected += (torch.stack(log_w).logsumexp(0) - math.log(2)) / len(own)
    torch.testing.assert_close(total, -expected / 4)


def test_mmvaeplus_without_private_latents_is_mmvae():
    plus, plain = model("mmvaeplus", private=0.0), model("mmvae", k=1)
    data = batch(plus, 5, present=PRESENT)
    losses = []
    for made in (plus, plain):
        torch.manual_seed(3)
        loss = made.loss(data).total
        losses.append((loss, torch.autograd.grad(loss, list(made.networks.parameters()))))
    torch.testing.assert_close(losses[0], losses[1])


def test_stl_stops_the_parameters_of_log_q_in_mmvaeplus():
    """E_q[d log q / d parameters] is 0: on many draws the two gradients agree, on one they do not."""
    made = {name: model("mmvaeplus", latent_dim=4, estimator=name) for name in ("iwae", "stl")}
    data = batch(made["stl"])
    gradients = {name: [] for name in made}
    for seed in range(400):
        for name, each in made.items():
            torch.manual_seed(seed)
            gradients[name].append(gradient(each, each.loss(data).total))
    difference = torch.stack(gradients["iwae"]) - torch.stack(gradients["stl"])
    assert difference[0].abs().max() > 1e-3
    assert (difference.mean(0).abs() <= 5 * difference.std(0) / 400**0.5 + 1e-9).all()


@pytest.mark.parametrize("name", ["dmvae", "mmvaeplus"])
def test_what_is_not_given_has_the_prior_of_its_private_latent_and_only_its_decoder_reads_it(name):
    made = model(name, latent_dim=5, private=0.4)
    q = made.posterior(batch(made).given("a"))
    parts = made.latent_parts
    assert [*parts] == ["shared", "a", "b"]
    assert not q.mean[:, parts["b"]].any() and (q.stddev[:, parts["b"]] - 1).abs().max() < 1e-6
    assert q.mean[:, parts["a"]].all()
    z = torch.randn(4, made.latent_dim, dtype=torch.float64)
    moved = z.clone()
    moved[:, parts["b"]] += 1
    assert torch.equal(made.theta("a", z), made.theta("a", moved))
    assert not torch.equal(made.theta("b", z), made.theta("b", moved))


def test_dmvae_may_leave_out_the_reconstructions_from_the_product():
    """As the released code does: the difference of the two losses is what they are worth."""
    both, without = (model("dmvae", latent_dim=5, private=0.4, joint=joint) for joint in (True, False))
    data = batch(both, 5, present=PRESENT)
    torch.manual_seed(3)
    whole = both.loss(data)
    torch.manual_seed(3)
    torch.testing.assert_close(without.loss(data).total - whole.total, whole.terms["log_px"])


@pytest.mark.parametrize("name", ["hellinger", "mmjsd"])
def test_a_posterior_of_one_draw_reconstructs_and_is_regularised_once(name, monkeypatch):
    """ELBO of what is present; of mmJSD with the Jensen-Shannon divergence, and draws at given uniform numbers."""
    made = model(name, beta=1.3)
    data = batch(made, 5, present=PRESENT)
    even = (torch.arange(5, dtype=torch.float64) + 0.5) / 5
    monkeypatch.setattr("mmvae_bench.probability.fusion.stratify", lambda rows, like: even)
    total, (noise,) = drawn(made, data, (5, D))
    q, expected = made.posterior(data), 0.0
    for b in range(4):
        if name == "hellinger":
            chosen = Normal(q.loc[b], q.scale[b])
            divergence = kl_divergence(chosen, N01).sum()
        else:
            members = [*here(made, data, b).values()]
            chosen = members[int(even[b] * len(members))]
            divergence = made.jensen_shannon(made.encode(data))[b]
        expected += reconstructed(made, data, chosen.loc + chosen.scale * noise[b], b) - 1.3 * divergence
    torch.testing.assert_close(total, -expected / 4)


def test_codevaes_log_is_of_what_is_present():
    made = model("codevae", rho=0.0)
    data = batch(made).given("a")
    terms = made.loss(data).terms
    alone = model("mvtcae", alpha=0.0).loss(data).terms
    torch.testing.assert_close(terms["kl"], alone["kl"])
    assert terms["log_px"] != 0 and terms["negative"] == 0


def test_a_regressors_inputs_are_a_random_part_of_what_is_present():
    """Each with probability 1/2, and one at random if none is: 5/8 for two modalities, and never none."""
    made = model("regressor")
    kept = []
    made.log_px = lambda z, data: kept.append(z) or torch.zeros(2, len(z), dtype=z.dtype)
    data = batch(made, 1)
    own = made.encode(data).q.loc[:, 0]
    data = MultimodalBatch(
        {k: v.expand(4000, *v.shape[1:]) for k, v in data.x.items()}, torch.ones(2, 4000, dtype=torch.bool)
    )
    made.loss(data)
    sums = {name: torch.isclose(kept[0], value).all(1) for name, value in zip("ab", own, strict=True)}
    both = torch.isclose(kept[0], own.mean(0)).all(1)
    assert (sums["a"].int() + sums["b"].int() + both.int() == 1).all()
    for alone in sums.values():
        assert abs(alone.double().mean() - 3 / 8) < 5 * math.sqrt(15 / 64 / 4000)


def test_a_contrast_is_the_symmetric_cross_entropy_of_pairs_within_the_batch():
    made = model("contrastive", m=3)
    present = torch.tensor([[1, 1, 0, 1, 1], [1, 1, 1, 0, 1], [0, 1, 1, 0, 1]], dtype=torch.bool)
    data = batch(made, 5, present=present)
    loc, t = made.encode(data).q.loc, 0.07
    e = loc / loc.norm(dim=-1, keepdim=True)
    total = 0.0
    for m, n in ((0, 1), (0, 2), (1, 2)):
        rows = (present[m] & present[n]).nonzero()[:, 0]
        logits = e[m, rows] @ e[n, rows].T / t
        target = torch.arange(len(rows))
        total += sum(torch.nn.functional.cross_entropy(x, target, reduction="sum") for x in (logits, logits.T)) / 2
    torch.testing.assert_close(made.loss(data).total, total / 5)
    assert made.posterior(data).mean.norm(dim=-1).max() <= 1 + 1e-9
