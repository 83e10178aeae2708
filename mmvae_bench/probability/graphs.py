"""The likelihood of directed acyclic graphs whose vertices have types and stand in a topological order."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mmvae_bench.probability.distributions import Likelihood


def _earlier(theta: Tensor) -> Tensor:
    """Return the mask [n, n] of edges u -> v that an order allows: u < v, row v and column u."""
    n = theta.shape[-2]
    return torch.ones(n, n, dtype=torch.bool, device=theta.device).tril(-1)


def _log_prob(x: Tensor, theta: Tensor, _: float, axes: int) -> Tensor:
    """sum_v log softmax(l_v)[type of v] + sum_{u < v} [ e_uv log sigma(a_uv) + (1 - e_uv) log sigma(-a_uv) ].

    An entry [n, T + n] has in row v the type of vertex v in one-hot form, then e_uv = 1 where u -> v; theta has the
    logits l_v and a_uv at the same places.
    """
    n = theta.shape[-2]
    x = x.expand(theta.shape)
    types, edges = x[..., :-n], x[..., -n:]
    log_types = (types * theta[..., :-n].log_softmax(-1)).sum((-2, -1))
    each = edges * F.logsigmoid(theta[..., -n:]) + (1 - edges) * F.logsigmoid(-theta[..., -n:])
    return log_types + torch.where(_earlier(theta), each, 0.0).sum((-2, -1))


def _likeliest(theta: Tensor) -> Tensor:
    """Return the likeliest type of each vertex, and the edges that are likelier than not."""
    n = theta.shape[-2]
    types = F.one_hot(theta[..., :-n].argmax(-1), theta.shape[-1] - n)
    return torch.cat([types.to(theta), ((theta[..., -n:] > 0) & _earlier(theta)).to(theta)], -1)


def _draw(theta: Tensor, _: float, generator: Generator | None) -> Tensor:
    n = theta.shape[-2]
    share = theta[..., :-n].softmax(-1)
    chosen = torch.multinomial(share.flatten(0, -2), 1, generator=generator).reshape(share.shape[:-1])
    edges = theta[..., -n:].sigmoid().bernoulli(generator=generator) * _earlier(theta)
    return torch.cat([F.one_hot(chosen, share.shape[-1]).to(theta), edges], -1)


DAG = Likelihood(_log_prob, _likeliest, _draw)
