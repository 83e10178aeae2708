"""MEME's loss and gradient equal its formulas, row by row and sample by sample, stop-gradient included."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmvae_bench.datasets.captioned_shapes import VOCABULARY
from mmvae_bench.models.meme import MEME
from mmvae_bench.nets.base import Networks
from mmvae_bench.nets.mlp import mlp
from mmvae_bench.types import Modality, MultimodalBatch
from tests.helpers import batch, gradient, model
from tests.models.test_bounds import log_px

K, LAMBDA, BETA = 2, 3.0, 1.5


def encoder(networks: Networks, name: str, x: Tensor) -> Normal:
    loc, raw = networks.encoders[name](x[None])[0].chunk(2)
    return Normal(loc, torch.nn.functional.softplus(raw) + 1e-4)


def literal(made: MEME, data: MultimodalBatch, seed: int) -> Tensor:
    """-(Eq. 6) or -(Eq. 8) for each row, written out, on the noise that the model draws; the mean over rows."""
    torch.manual_seed(seed)
    noise = torch.randn(K + 1, len(made.names), data.size, 3, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    ours = made.networks  # q(z | s), p(s | z)
    theirs = made.second.networks if made.second else ours  # p(z | t), q(t | z)
    for b in range(data.size):
        here = [n for n in made.names if data.where(n)[b]]
        for name in here:
            m = made.names.index(name)
            q = encoder(ours, name, data.x[name][b])
            z = [q.loc + q.scale * noise[k, m, b] for k in range(K + 1)]
            own = log_px(ours, name, z[0], data, b)
            others = [n for n in here if n != name]
            if others:
                a = [sum(log_px(theirs, n, z_k, data, b) for n in others) for z_k in z]
                c = torch.stack(a).logsumexp(0) - math.log(K + 1)
                w = (a[0] - c).exp()
                w = w.detach() if made.stop_gradient else w
                priors = [encoder(theirs, n, data.x[n][b]) for n in others]
                if len(priors) == 1:
                    divergence = kl_divergence(q, priors[0]).sum()
                else:
                    mixture = torch.stack([p.log_prob(z[0]).sum() for p in priors]).logsumexp(0) - math.log(len(priors))
                    divergence = q.log_prob(z[0]).sum() - mixture
                over = len(here) if made.directions == "mean" else 1
                total = total + (w * (own - a[0] - BETA * divergence) + LAMBDA * c) / over
            else:
                absent = [n for n in made.names if n != name]
                pseudo = [encoder(theirs, n, u).log_prob(z[0]).sum() for n in absent for u in made.pseudo[n]]
                log_pu = torch.stack(pseudo).logsumexp(0) - math.log(len(pseudo))
                total = total + own - BETA * (q.log_prob(z[0]).sum() - log_pu)
    return -total / data.present.any(0).sum()


PRESENT = torch.tensor([[1, 1, 0, 0, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0]], dtype=torch.bool)


@pytest.mark.parametrize("directions", ["mean", "sum"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("stop_gradient", [True, False])
@pytest.mark.parametrize("m", [2, 3])
def test_loss_and_gradient_equal_the_formulas(m, stop_gradient, shared, directions):
    options = {"shared": shared, "stop_gradient": stop_gradient, "directions": directions}
    made = model("meme", m=m, k=K, supervision=LAMBDA, beta=BETA, pseudo=4, **options)
    if made.second:  # they start as copies
        for p in made.second.parameters():
            p.data += 0.1 * torch.randn_like(p)
    data = batch(made, 5, present=PRESENT[:m])
    torch.manual_seed(7)
    loss = made.loss(data).total
    expected = literal(made, data, seed=7)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient(made, loss), gradient(made, expected), rtol=1e-8, atol=1e-10)


def test_networks_of_their_own_start_as_copies_and_condition_what_is_drawn():
    made, same = model("meme", k=K, shared=False), model("meme", k=K)
    data = batch(made)
    loss = []
    for each in (made, same):
        torch.manual_seed(7)
        loss.append(each.loss(data).total)
    torch.testing.assert_close(*loss)
    for p in made.networks.parameters():
        p.data.zero_()
    given = data.given("a")
    assert torch.equal(made.posterior(given).mean, same.posterior(given).mean)


def test_a_product_prior_has_a_closed_kl():
    made = model("meme", m=3, k=K, combine="product", pseudo=4)
    data = batch(made, 5, present=PRESENT)
    experts = made.encode(data)
    b, c = Normal(experts.q.loc[1, 0], experts.q.scale[1, 0]), Normal(experts.q.loc[2, 0], experts.q.scale[2, 0])
    precision = b.scale**-2 + c.scale**-2
    prior = Normal((b.loc / b.scale**2 + c.loc / c.scale**2) / precision, precision.rsqrt())
    expected = kl_divergence(Normal(experts.q.loc[0, 0], experts.q.scale[0, 0]), prior).sum()
    torch.testing.assert_close(made.divergence(0, experts.q[0], experts.q.loc[0], experts)[0], expected)
    assert made.loss(data).total.isfinite()


def test_pseudo_inputs_of_captions_start_as_embedded_captions_and_learn_there():
    torch.manual_seed(0)
    caption = Modality("caption", (8,), "categorical", dtype="int16", vocabulary=VOCABULARY)
    networks = mlp((Modality("image", (1, 4, 4)), caption), 3, hidden=8)
    made = MEME(networks, k=2, pseudo=4)
    ids = torch.tensor([[3, 4, 2, 0, 0, 0, 0, 0], [5, 2, 0, 0, 0, 0, 0, 0]] * 2)
    made.initialise(lambda name, n: ids if name == "caption" else torch.rand(n, 1, 4, 4))
    u = made.pseudo["caption"]
    assert torch.equal(u, networks.embed("caption", ids)) and u[0].any() and not u[0, 3:].any()
    paired = MultimodalBatch({"image": torch.rand(4, 1, 4, 4), "caption": ids}, torch.ones(2, 4, dtype=torch.bool))
    for data, learns in ((paired, False), (paired.given("image"), True), (paired.given("caption"), False)):
        made.zero_grad()
        made.loss(data).total.backward()
        assert (u.grad is not None and bool(u.grad.any())) is learns
