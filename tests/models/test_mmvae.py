"""MMVAE's estimators equal their formulas, sample by sample, and its bounds behave as bounds."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal

from mmvae_bench.models.mmvae import MMVAE
from mmvae_bench.types import MultimodalBatch
from tests.helpers import batch, gradient, model
from tests.models.test_bounds import log_px

K, B = 3, 4


def density(made: MMVAE, data: MultimodalBatch, z: Tensor, b: int, raw: list[Tensor]) -> Tensor:
    """log w(z) of one row and one sample, from torch.distributions; ``raw`` are the experts' (loc, scale)."""
    log_w = Normal(0.0, 1.0).log_prob(z).sum()
    log_w = log_w + sum(log_px(made.networks, name, z, data, b) for name in made.names)
    q = torch.stack([Normal(loc[b], scale[b]).log_prob(z).sum() for loc, scale in raw])
    return log_w - (q.logsumexp(0) - math.log(len(raw)))


def reference(made: MMVAE, data: MultimodalBatch, seed: int) -> Tensor:
    """The gradient of the loss by its formula, one sample at a time, on the noise that the model draws."""
    names, parameters = made.names, list(made.parameters())
    experts = made.encode(data).q
    torch.manual_seed(seed)
    noise = torch.randn(K, len(names), B, 3, dtype=torch.float64)
    total = [torch.zeros_like(p) for p in parameters]
    for b in range(B):
        z = [[experts.loc[r, b] + experts.scale[r, b] * noise[k, r, b] for k in range(K)] for r in range(len(names))]
        live = [(experts.loc[r], experts.scale[r]) for r in range(len(names))]
        stopped = [(loc.detach(), scale.detach()) for loc, scale in live]
        raw = live if made.estimator in ("iwae", "elbo") else stopped
        value = torch.stack([torch.stack([density(made, data, z_rk, b, raw) for z_rk in z_r]) for z_r in z]).detach()
        joint = value.flatten().softmax(0).reshape(value.shape)
        w = value.softmax(1) if made.looser else joint  # normalised over k, or over r and k
        share = 1 / len(names) if made.looser else 1.0
        for r in range(len(names)):
            for k in range(K):
                coefficient = (
                    share * w[r, k]
                    if made.estimator != "elbo"
                    else torch.tensor(1 / (len(names) * K), dtype=torch.float64)
                )
                leaf = z[r][k].detach().requires_grad_()  # d log w / d (decoder, q's own parameters), z held
                direct = torch.autograd.grad(
                    density(made, data, leaf, b, raw), [leaf, *parameters], allow_unused=True, retain_graph=True
                )
                path = coefficient * (w[r, k] if made.estimator == "dreg" else 1.0) * direct[0]
                through = torch.autograd.grad(z[r][k], parameters, path, allow_unused=True, retain_graph=True)
                for total_p, direct_p, through_p in zip(total, direct[1:], through, strict=True):
                    if direct_p is not None:
                        total_p.sub_(coefficient * direct_p / B)
                    if through_p is not None:
                        total_p.sub_(through_p / B)
    return torch.cat([t.flatten() for t in total])


@pytest.mark.parametrize("looser", [True, False])
@pytest.mark.parametrize("estimator", ["iwae", "stl", "dreg", "elbo"])
def test_gradient_equals_its_per_sample_formula(estimator, looser):
    made = model("mmvae", estimator=estimator, looser=looser, k=K)
    data = batch(made, B)
    expected = reference(made, data, seed=5)
    torch.manual_seed(5)
    actual = gradient(made, made.loss(data).total)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)


@pytest.fixture(scope="module")
def gradients():
    """Return draws of three estimators' gradients with one modality, the encoder first, and the encoder's size."""
    rows, draws = 100, {}
    for name in ("iwae", "dreg", "stl"):
        made = model("mmvae", m=1, latent_dim=2, estimator=name, k=K)
        x = batch(made, 1).x["a"].expand(rows, -1, -1, -1)
        data = MultimodalBatch({"a": x}, torch.ones(1, rows, dtype=torch.bool))
        encoder = sum(p.numel() for p in made.networks.encoders.parameters())
        torch.manual_seed(0)
        draws[name] = torch.stack([gradient(made, made.loss(data).total) for _ in range(300)])
    return draws, encoder


def test_dreg_has_the_mean_of_iwae_for_one_modality(gradients):
    """E[DReG] = E[IWAE gradient] for i.i.d. samples of one q (Tucker et al. 2019)."""
    draws, encoder = gradients
    iwae, dreg = draws["iwae"], draws["dreg"]
    difference = iwae.mean(0) - dreg.mean(0)
    assert difference.abs().le(5 * ((iwae.var(0) + dreg.var(0)) / len(iwae)).sqrt() + 1e-12).all()
    assert difference[:encoder].norm() < 0.05 * iwae.mean(0)[:encoder].norm()
    signal = (iwae.mean(0).abs() > 10 * (iwae.var(0) / len(iwae)).sqrt())[:encoder]
    assert signal.any(), "the encoder's gradient must stand out of the noise, or the test shows nothing"


def test_stl_is_biased_for_several_samples_even_with_one_modality(gradients):
    draws, encoder = gradients
    iwae, stl = (draws[name][:, :encoder] for name in ("iwae", "stl"))
    bias = (stl.mean(0) - iwae.mean(0)).norm() / iwae.mean(0).norm()
    error = ((stl.var(0) + iwae.var(0)) / len(iwae)).sum().sqrt() / iwae.mean(0).norm()
    assert error < 0.02
    assert bias == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("looser", [True, False])
@pytest.mark.parametrize("estimator", ["iwae", "stl", "dreg", "elbo"])
def test_the_loss_is_the_log_mean_of_the_weights_and_of_elbo_the_mean_of_their_logs(estimator, looser):
    made = model("mmvae", k=K, looser=looser, estimator=estimator)
    data = batch(made, B, present=torch.tensor([[True, True, True, False], [True, False, True, False]]))
    torch.manual_seed(2)
    bound = -made.loss(data).total
    torch.manual_seed(2)
    experts = made.encode(data)
    log_w = made.log_weights(experts.q.rsample(K), experts, data)
    rows = []
    for b in range(3):
        own = log_w[:, data.present[:, b], b]
        each = own.mean(0) if estimator == "elbo" else own.logsumexp(0) - math.log(K)  # one sample has no looser bound
        whole = looser or estimator == "elbo"
        rows.append(each.mean() if whole else own.flatten().logsumexp(0) - math.log(own.numel()))
    torch.testing.assert_close(bound, torch.stack(rows).mean())


@pytest.mark.parametrize("looser", [True, False])
def test_estimators_differ_in_their_gradient_and_in_nothing_else(looser):
    losses, found = [], []
    for estimator in ("iwae", "stl", "dreg"):
        made = model("mmvae", k=K, estimator=estimator, looser=looser)
        torch.manual_seed(2)
        losses.append(made.loss(batch(made, B)).total)
        found.append(gradient(made, losses[-1]))
    torch.testing.assert_close(losses[1:], losses[:1] * 2)
    assert all((a - b).norm() > 0.01 * a.norm() for a, b in itertools.combinations(found, 2))


def test_beta_multiplies_the_kl_part_alone():
    data, losses = None, []
    for beta in (0.0, 1.0, 3.0):
        made = model("mmvae", k=1, beta=beta)  # of one sample the bound is linear in beta
        data = data or batch(made, B)
        torch.manual_seed(2)
        losses.append(made.loss(data).total)
    torch.testing.assert_close(losses[2] - losses[0], 3 * (losses[1] - losses[0]))


def test_laplace_posteriors_use_a_laplace_prior():
    made = model("mmvae", family="laplace")
    z = torch.tensor([[[0.5, -1.0, 2.0]]], dtype=torch.float64)
    torch.testing.assert_close(made.prior().log_prob(z), Laplace(0.0, 1.0).log_prob(z).sum(-1))
