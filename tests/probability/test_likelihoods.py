"""Likelihoods against torch.distributions."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Laplace, Normal

from mmvae_bench.probability import likelihoods


@pytest.mark.parametrize(("name", "family"), [("laplace", Laplace), ("normal", Normal)])
def test_location_scale(name, family):
    x, loc = torch.rand(4, 2, 3), torch.randn(6, 4, 2, 3)
    torch.testing.assert_close(
        likelihoods.get(name).log_prob(x, loc, 0.7, 2), family(loc, 0.7).log_prob(x).sum((-1, -2))
    )
    assert likelihoods.get(name).mean(loc) is loc


def test_bernoulli_takes_logits():
    x, logits = torch.randint(2, (4, 5)).float(), torch.randn(4, 5)
    expected = Bernoulli(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihoods.get("bernoulli").log_prob(x, logits, 1.0, 1), expected)
    torch.testing.assert_close(likelihoods.get("bernoulli").mean(logits), logits.sigmoid())


def test_categorical_takes_word_ids_and_logits_and_padding_counts_nothing():
    ids, logits = torch.randint(1, 9, (4, 6)), torch.randn(3, 4, 6, 9)  # three draws of theta for each caption
    ids[:, 4:] = 0
    expected = Categorical(logits=logits).log_prob(ids.expand(3, 4, 6))[..., :4].sum(-1)
    torch.testing.assert_close(likelihoods.get("categorical").log_prob(ids, logits, 1.0, 1), expected)
    torch.testing.assert_close(likelihoods.get("categorical").mean(logits), logits.argmax(-1))


def test_what_is_said_of_padding_changes_no_likelihood_and_no_gradient():
    ids, logits = torch.tensor([[3, 2, 0, 0]]), torch.randn(1, 4, 5)
    spoiled = logits.clone()
    spoiled[:, 2:] = 100 * torch.randn(1, 2, 5)
    value, gradient = [], []
    for theta in (logits.requires_grad_(), spoiled.requires_grad_()):
        log_p = likelihoods.get("categorical").log_prob(ids, theta, 1.0, 1)
        log_p.sum().backward()
        value.append(log_p.detach())
        gradient.append(theta.grad)
    assert torch.equal(*value)
    assert torch.equal(*gradient) and gradient[0][:, :2].any() and not gradient[0][:, 2:].any()
