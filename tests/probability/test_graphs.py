"""The likelihood of graphs against torch.distributions, and its draws against its density."""

import numpy as np
import torch
from torch.distributions import Bernoulli, OneHotCategorical

from mmvae_bench.kinds.graph import is_valid, joined
from mmvae_bench.probability import likelihoods

DAG = likelihoods.get("dag")
N, T = 4, 3


def theta(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, N, T + N, generator=torch.Generator().manual_seed(0))


def test_types_are_categorical_and_edges_from_earlier_vertices_are_bernoulli():
    logits = theta(5, 2)
    x = DAG.draw(theta(2), 1.0, torch.Generator().manual_seed(1))
    found = DAG.log_prob(x, logits, 1.0, 2)
    expected = OneHotCategorical(logits=logits[..., :T]).log_prob(x[..., :T].expand(5, 2, N, T)).sum(-1)
    for v in range(N):
        for u in range(v):
            expected = expected + Bernoulli(logits=logits[..., v, T + u]).log_prob(x[..., v, T + u].expand(5, 2))
    torch.testing.assert_close(found, expected)


def test_all_graphs_of_three_vertices_have_probability_one():
    logits = theta()[:3, : 2 + 3]
    total = torch.zeros(())
    for types in np.ndindex(2, 2, 2):
        for bits in np.ndindex(2, 2, 2):
            edges = np.zeros((1, 3, 3), bool)
            edges[0, [1, 2, 2], [0, 0, 1]] = bits
            x = torch.tensor(joined(np.array([types]), edges, 2))[0]
            total = total + DAG.log_prob(x, logits, 1.0, 2).exp()
    torch.testing.assert_close(total, torch.ones(()))


def test_the_likeliest_graph_has_no_likelier_one_among_draws():
    logits = theta(3)
    best = DAG.log_prob(DAG.mean(logits), logits, 1.0, 2)
    for seed in range(20):
        drawn = DAG.draw(logits, 1.0, torch.Generator().manual_seed(seed))
        assert drawn.shape == logits.shape and set(drawn.unique().tolist()) <= {0.0, 1.0}
        assert (DAG.log_prob(drawn, logits, 1.0, 2) <= best + 1e-5).all()
        assert is_valid(drawn.numpy()).shape == (3,)


def test_draws_have_the_frequencies_of_the_density():
    logits, n = theta(), 20_000
    drawn = DAG.draw(logits.expand(n, -1, -1), 1.0, torch.Generator().manual_seed(0)).mean(0)
    expected = torch.cat([logits[:, :T].softmax(-1), logits[:, T:].sigmoid().tril(-1)], 1)
    error = (expected * (1 - expected) / n).sqrt()
    assert ((drawn - expected).abs() <= 5 * error + 1e-9).all()
