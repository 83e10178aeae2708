"""MEME's loss and gradient equal its formulas, row by row and sample by sample, stop-gradient included."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from mmvae_bench import nets
from mmvae_bench.datasets.captioned_shapes import VOCABULARY
from mmvae_bench.models.base import MIN_SCALE
from mmvae_bench.models.meme import MEME
from mmvae_bench.nets.base import Networks
from mmvae_bench.nets.mlp import mlp
from mmvae_bench.types import Modality, MultimodalBatch
from tests.helpers import batch, gradient, modalities, model
from tests.models.test_bounds import log_px, product
from tests.models.test_exact import inverse_softplus

K, LAMBDA, BETA, PSEUDO = 2, 3.0, 1.5, 4


def encoder(networks: Networks, name: str, x: Tensor) -> Normal:
    loc, raw = networks.encoders[name](x[None])[0].chunk(2)
    return Normal(loc, torch.nn.functional.softplus(raw) + 1e-4)


def re(made: MEME, experts: list[Normal], z: Tensor) -> Tensor:
    """log R_e(z): of the product of the experts, or of their mixture."""
    if made.combine == "product":
        return product(experts, prior=False).log_prob(z).sum()
    return torch.stack([p.log_prob(z).sum() for p in experts]).logsumexp(0) - math.log(len(experts))


def divergence(made: MEME, q: Normal, priors: list[Normal], z_0: Tensor) -> Tensor:
    """D: log q(z_0 | s) - log p(z_0 | t), or the closed KL, of a mixture the mean over its components."""
    if made.sampled:
        return q.log_prob(z_0).sum() - re(made, priors, z_0)
    if made.combine == "product":
        priors = [product(priors, prior=False)]
    return torch.stack([kl_divergence(q, p).sum() for p in priors]).mean()


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
                over = len(here) if made.directions == "mean" else 1
                term = own - a[0] - BETA * divergence(made, q, priors, z[0])
                total = total + (w * term + LAMBDA * c) / over
            else:
                absent = [n for n in made.names if n != name]
                pseudo = [[encoder(theirs, n, made.pseudo[n][i]) for n in absent] for i in range(PSEUDO)]
                log_pu = torch.stack([re(made, each, z[0]) for each in pseudo]).logsumexp(0) - math.log(PSEUDO)
                total = total + own - BETA * (q.log_prob(z[0]).sum() - log_pu)
    return -total / data.present.any(0).sum()


PRESENT = torch.tensor([[1, 1, 0, 0, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0]], dtype=torch.bool)


def check_formulas(m: int, **options: object) -> None:
    """The loss and its gradient are those of :func:`literal`."""
    made = model("meme", m=m, k=K, supervision=LAMBDA, beta=BETA, pseudo=PSEUDO, **options)
    if made.second:  # they start as copies
        for p in made.second.parameters():
            p.data += 0.1 * torch.randn_like(p)
    data = batch(made, 5, present=PRESENT[:m])
    torch.manual_seed(7)
    loss = made.loss(data).total
    expected = literal(made, data, seed=7)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient(made, loss), gradient(made, expected), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("directions", ["mean", "sum"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("stop_gradient", [True, False])
@pytest.mark.parametrize("m", [2, 3])
def test_loss_and_gradient_equal_the_formulas(m, stop_gradient, shared, directions):
    check_formulas(m, stop_gradient=stop_gradient, shared=shared, directions=directions)


@pytest.mark.parametrize("combine", ["mixture", "product"])
@pytest.mark.parametrize("divergence", ["sampled", "closed"])
@pytest.mark.parametrize("m", [2, 3])
def test_each_divergence_is_one_formula_for_all_rows(m, divergence, combine):
    check_formulas(m, divergence=divergence, combine=combine)


def test_names_need_no_alphabetical_order():
    check_formulas(2, kinds=modalities(2)[::-1])


def test_the_default_weight_is_the_papers_and_the_authors_code_is_declared():
    made = model("meme")
    assert (made.supervision, made.sampled, made.k) == (1.0, False, 10)
    assert MEME.authors["supervision"] == "10"


# --- one dimension, where quadrature gives Eq. 6 ---------------------------------------------------------------------

S, T, SIGMA = 1.2, 0.4, 0.7
GRID = np.linspace(-15, 15, 6001)


def integral(f: np.ndarray) -> float:
    return float(f.sum() * (GRID[1] - GRID[0]))


class Case(NamedTuple):
    """A direction s, t: Normals q(z | s) and p(z | t), log p(s | z) and log q(t | z) on the grid."""

    q: Any
    p: Any
    own: np.ndarray
    a: np.ndarray

    def eq6(self, *, closed: bool) -> float:
        """Return Eq. 6 with lambda = beta = 1 and q(t | s) exact."""
        q = self.q.pdf(GRID)
        q_ts = integral(q * np.exp(self.a))
        d = self.q.logpdf(GRID) - self.p.logpdf(GRID)
        d = integral(q * d) if closed else d
        return integral(q * np.exp(self.a) / q_ts * (self.own - self.a - d)) + math.log(q_ts)

    def log_p(self) -> float:
        """Return log p(s | t), the log of the integral of p(s | z) p(z | t)."""
        return math.log(integral(self.p.pdf(GRID) * np.exp(self.own)))


def exact(s: float, t: float) -> Case:
    """z ~ N(0, 1), x_m = z + .7 eps, with exact posteriors."""
    q, p = (norm(x / (1 + SIGMA**2), SIGMA / (1 + SIGMA**2) ** 0.5) for x in (s, t))
    return Case(q, p, norm(GRID, SIGMA).logpdf(s), norm(GRID, SIGMA).logpdf(t))


BOTH = (exact(S, T), exact(T, S))


def test_at_exact_posteriors_eq_6_is_log_p_of_s_given_t_and_the_closed_divergence_misses_it():
    each = [norm(t / (1 + SIGMA**2), (1 + SIGMA**2 - 1 / (1 + SIGMA**2)) ** 0.5).logpdf(s) for s, t in ((S, T), (T, S))]
    assert [case.log_p() for case in BOTH] == pytest.approx(each, abs=1e-9)
    assert [case.eq6(closed=False) for case in BOTH] == pytest.approx(each, abs=1e-9)
    assert np.mean(each) == pytest.approx(-1.134, abs=5e-4)
    assert np.mean([case.eq6(closed=True) for case in BOTH]) == pytest.approx(-1.572, abs=5e-4)


@torch.no_grad()
@pytest.mark.parametrize("divergence", ["sampled", "closed"])
def test_the_loss_agrees_with_quadrature(divergence):
    parts = [Modality(n, (1,), "normal", SIGMA, dtype="float32") for n in "st"]
    networks = nets.registry.get("linear")(parts, 1)
    raw = inverse_softplus(torch.tensor(SIGMA / (1 + SIGMA**2) ** 0.5 - MIN_SCALE))
    layers = [layer for layer in networks.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        into = layer.out_features == 2  # an encoder's loc and raw scale
        layer.weight.copy_(torch.tensor([[1 / (1 + SIGMA**2)], [0.0]]) if into else torch.ones(1, 1))
        layer.bias.copy_(torch.tensor([0.0, raw]) if into else torch.zeros(1))
    assert len(layers) == 4
    made = MEME(networks, k=300, divergence=divergence)
    x = {"s": torch.full((500, 1), S), "t": torch.full((500, 1), T)}
    torch.manual_seed(0)
    data = MultimodalBatch(x, torch.ones(2, 500, dtype=torch.bool))
    draws = torch.stack([-made.loss(data).total for _ in range(20)])
    expected = np.mean([case.eq6(closed=divergence == "closed") for case in BOTH])
    assert draws.std() / 20**0.5 < 0.02, "the two divergences must be told apart"
    assert abs(draws.mean() - expected) < 5 * draws.std() / 20**0.5


def test_the_sampled_divergence_never_exceeds_log_p_of_s_given_t_and_the_closed_one_does():
    rng = np.random.default_rng(0)
    excess = []
    for _ in range(300):
        loc, (s, t), scale = rng.normal(size=2), rng.normal(size=2), np.exp(rng.normal(size=4) / 2)
        own, a = norm(GRID, scale[2]).logpdf(s), norm(GRID, scale[3]).logpdf(t)
        case = Case(norm(loc[0], scale[0]), norm(loc[1], scale[1]), own, a)
        excess.append([case.eq6(closed=closed) - case.log_p() for closed in (False, True)])
    sampled, closed = np.max(excess, 0)
    assert sampled <= 1e-6
    assert closed > 0.01


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
