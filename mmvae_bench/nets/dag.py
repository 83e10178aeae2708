"""Message passing over directed acyclic graphs, after D-VAE (Zhang et al., NeurIPS 2019, arXiv 1904.11088)."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmvae_bench.errors import Unsupported
from mmvae_bench.nets.base import Networks, Words
from mmvae_bench.nets.mlp import WIDTH, embedded, mlp_decoder, mlp_encoder
from mmvae_bench.options import Positive
from mmvae_bench.types import Modality


class Messages(nn.Module):
    """h_v = GRU(type of v, sum over u -> v of gate(h_u, u) * map(h_u, u)), u as its one-hot number (Eq. 3 to 5).

    ``learned`` types pass a linear layer first; others are one-hot.
    """

    def __init__(self, m: Modality, hidden: int, learned: bool) -> None:
        super().__init__()
        self.n, width = m.shape[0], m.shape[1] - m.shape[0]
        self.types = nn.Linear(width, hidden, bias=False) if learned else nn.Identity()
        self.cell = nn.GRUCell(hidden if learned else width, hidden)
        self.gate = nn.Linear(hidden + self.n, hidden)
        self.map = nn.Linear(hidden + self.n, hidden, bias=False)

    def message(self, h: Float[Tensor, "B H"], u: int) -> Float[Tensor, "B H"]:
        """Return what vertex u sends."""
        number = h.new_zeros(self.n)
        number[u] = 1
        known = torch.cat([h, number.expand(len(h), -1)], 1)
        out: Tensor = self.gate(known).sigmoid() * self.map(known)
        return out

    def state(self, types: Float[Tensor, "B T"], incoming: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Return h_v."""
        out: Tensor = self.cell(self.types(types), incoming)
        return out


class Encoder(nn.Module):
    """[B, n, T + n] -> [B, 2 L]: vertices in order, then a layer from the state of the last, as in D-VAE."""

    def __init__(self, m: Modality, latent_dim: int, hidden: int, learned: bool) -> None:
        super().__init__()
        self.messages = Messages(m, hidden, learned)
        self.head = nn.Linear(hidden, 2 * latent_dim)
        self.hidden = hidden

    def forward(self, x: Float[Tensor, "B n C"]) -> Float[Tensor, "B two_L"]:
        """Return loc and raw scale."""
        n = self.messages.n
        types, edges = x[..., :-n], x[..., -n:]
        sent: list[Tensor] = []
        h = x.new_zeros(len(x), self.hidden)
        for v in range(n):
            incoming = (edges[:, v, :v, None] * torch.stack(sent, 1)).sum(1) if v else torch.zeros_like(h)
            h = self.messages.state(types[:, v], incoming)
            sent.append(self.messages.message(h, v))
        out: Tensor = self.head(h)
        return out


class Decoder(nn.Module):
    """[B, L] -> logits [B, n, T + n], vertex by vertex: the type of v, then its edges from earlier vertices.

    D-VAE draws each decision and reads it back, which makes p(x | z) autoregressive. Here a vertex reads the
    probabilities of earlier ones, so that types and edges are independent given z, as in all models of a comparison.
    """

    def __init__(self, m: Modality, latent_dim: int, hidden: int, learned: bool) -> None:
        super().__init__()
        self.messages = Messages(m, hidden, learned)
        self.start = nn.Sequential(nn.Linear(latent_dim, hidden), nn.Tanh())
        count = m.shape[1] - m.shape[0]
        self.kind = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, count))
        self.edge = nn.Sequential(nn.Linear(3 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, z: Float[Tensor, "B L"]) -> Float[Tensor, "B n C"]:
        """Return the logits of types and edges; those of edges that no order allows are 0."""
        n, whole = self.messages.n, self.start(z)
        h = whole
        states: list[Tensor] = []
        sent: list[Tensor] = []
        rows: list[Tensor] = []
        for v in range(n):
            logits = self.kind(torch.cat([h, whole], 1))
            types = logits.softmax(-1)
            h = self.messages.state(types, h)  # before its edges are known
            edges = h.new_zeros(len(z), 0)
            if v:
                earlier = torch.stack(states, 1)  # [B, v, H]
                known = torch.stack([h, whole], 1).flatten(1)[:, None].expand(-1, v, -1)
                edges = self.edge(torch.cat([earlier, known], -1))[..., 0]
                h = self.messages.state(types, (edges.sigmoid()[..., None] * torch.stack(sent, 1)).sum(1))
            states.append(h)
            sent.append(self.messages.message(h, v))
            rows.append(torch.cat([logits, edges, logits.new_zeros(len(z), n - v)], 1))
        return torch.stack(rows, 1)


def dag(
    modalities: Sequence[Modality], latent_dim: int, *, hidden: Positive = 64,
    types: Literal["one_hot", "learned"] = "one_hot",
) -> Networks:  # fmt: skip
    """Return message passing for graphs, with states of ``hidden`` numbers, and MLPs with one such layer for the rest.

    ``types`` are read in one-hot form, as in D-VAE, or through a learned embedding, its authors' open question.

    Raises:
        Unsupported: If no modality is a graph.
    """
    if not any(m.kind == "graph" for m in modalities):
        raise Unsupported("the dag nets need a graph; use mlp")
    learned = types == "learned"

    def encoder(m: Modality, size: int) -> nn.Module:
        if m.kind == "graph":
            return Encoder(m, size, hidden, learned)
        return mlp_encoder(embedded(m, WIDTH), size, [hidden])

    def decoder(m: Modality, size: int) -> nn.Module:
        if m.kind == "graph":
            return Decoder(m, size, hidden, learned)
        return mlp_decoder(embedded(m, WIDTH), size, [hidden])

    return Networks(modalities, latent_dim, encoder, decoder, lambda m: Words(len(m.vocabulary), WIDTH))
