"""Likelihoods against torch.distributions."""

import pytest
import torch
from torch.distributions import Bernoulli, Laplace, Normal, OneHotCategorical

from mmvae_bench.likelihoods import registry


@pytest.mark.parametrize(("name", "family"), [("laplace", Laplace), ("normal", Normal)])
def test_location_scale(name, family):
    x, loc = torch.rand(4, 2, 3), torch.randn(6, 4, 2, 3)
    torch.testing.assert_close(registry.get(name)(x, loc, 0.7, 2), family(loc, 0.7).log_prob(x).sum((-1, -2)))
    assert registry.get(name).mean(loc) is loc


def test_bernoulli_takes_logits():
    x, logits = torch.randint(2, (4, 5)).float(), torch.randn(4, 5)
    expected = Bernoulli(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(registry.get("bernoulli")(x, logits, 1.0, 1), expected)
    torch.testing.assert_close(registry.get("bernoulli").mean(logits), logits.sigmoid())


def test_categorical_takes_one_hot_and_logits():
    logits = torch.randn(4, 6, 9)
    x = torch.nn.functional.one_hot(torch.randint(9, (4, 6)), 9).float()
    expected = OneHotCategorical(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(registry.get("categorical")(x, logits, 1.0, 2), expected)
    assert registry.get("categorical").mean(logits).sum(-1).allclose(torch.ones(4, 6))
