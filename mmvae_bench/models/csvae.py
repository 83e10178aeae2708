"""CSVAE (Klys et al., NeurIPS 2018): a latent subspace for each label, and an adversary that keeps labels out of z."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.func import functional_call

from mmvae_bench.errors import BenchError
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.private import beside
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Positive, Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import Diagonal, DiagonalNormal, kl, standard
from mmvae_bench.probability.fusion import Experts, Mixture, where
from mmvae_bench.spec import Missing
from mmvae_bench.types import Loss, Modality, MultimodalBatch

RADIUS, NARROW = 3.0, 0.1  # of the means of p(w | y), and the sd of the first of two values (the paper's swiss roll)
ENTRIES = 4096  # labels that p(y) is counted from
NEVER = -1e4  # log p(y) of values that never occur, so that nothing becomes infinite
HIDDEN = 128  # units of the adversary's hidden layer


class Subspaces(nn.Module):
    """p(w | y) and p(y) of A labels with V values each: w_i given y_i = v is N(mu_iv, s_iv^2) in P dimensions.

    Of two values the first starts at N(0, .1^2) and the second at N(3, 1), as in the paper; more start on a circle of
    radius 3, at least three sd apart. All learn. p(y_i) is counted from training labels: V includes what never occurs.
    """

    def __init__(self, labels: int, values: int, size: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(labels, values, size))
        self.log_s = nn.Parameter(torch.zeros(labels, values, size))
        self.register_buffer("log_py", torch.full((labels, values), -math.log(max(values - 1, 1))))
        self.log_py: Tensor
        self.log_py[:, 0] = NEVER  # padding
        for i in range(labels):
            self._place(i, list(range(1, values)))

    def _place(self, i: int, values: Sequence[int]) -> None:
        """Set where p(w_i | y_i) of the given values starts."""
        mu, sd = torch.zeros_like(self.mu[i]), torch.ones_like(self.mu[i])
        if len(values) == 2:
            mu[values[1]], sd[values[0]] = RADIUS, NARROW
        else:
            angle = 2 * math.pi / max(len(values), 1) * torch.arange(len(values), device=mu.device)
            plane = torch.stack([angle.cos(), angle.sin()], 1)[:, : mu.shape[1]]
            mu[values, : plane.shape[1]] = RADIUS * plane
            sd[values] = min(1.0, 2 * RADIUS * math.sin(math.pi / max(len(values), 2)) / 3)
        self.mu.data[i], self.log_s.data[i] = mu, sd.log()

    def count(self, ids: Tensor) -> None:
        """Set p(y) to the frequencies of labels [n, A], and place their values."""
        for i, column in enumerate(ids.T):
            share = torch.bincount(column, minlength=self.log_py.shape[1]).to(self.log_py) / len(column)
            self.log_py[i] = torch.where(share > 0, share.log(), NEVER)
            self._place(i, share.nonzero()[:, 0].tolist())

    def given(self, ids: Tensor) -> DiagonalNormal:
        """Return p(w | y) of labels [B, A]: batch shape [B], all subspaces side by side."""
        labels = torch.arange(len(self.mu), device=ids.device)
        return DiagonalNormal(self.mu[labels, ids].flatten(1), self.log_s[labels, ids].exp().flatten(1))

    def joint(self, w: Float[Tensor, "*batch AP"]) -> Float[Tensor, "*batch A V"]:
        """Return log p(w_i, y_i = v) of every label and value."""
        parts = w.reshape(*w.shape[:-1], len(self.mu), 1, -1)
        return DiagonalNormal(self.mu, self.log_s.exp()).log_prob(parts) + self.log_py

    def log_prob(self, w: Float[Tensor, "*batch AP"]) -> Float[Tensor, "*batch"]:
        """Return log p(w) = sum_i log sum_v p(w_i, y_i = v)."""
        return self.joint(w).logsumexp(-1).sum(-1)

    def rsample(self, k: int, generator: Generator | None) -> Float[Tensor, "k AP"]:
        """Return k draws of p(w)."""
        ids = torch.multinomial(self.log_py.exp(), k, replacement=True, generator=generator)
        return self.given(ids.T).rsample(generator=generator)


@dataclass(frozen=True)
class LabelledPrior:
    """p(z, w) = N(z; 0, I) p(w), batch shape [1]."""

    common: Diagonal  # of z, batch shape [1]
    subspaces: Subspaces

    def rsample(self, k: int, generator: Generator | None = None) -> Float[Tensor, "k 1 D"]:
        """Return k draws."""
        z = self.common.rsample(k, generator)
        return torch.cat([z, self.subspaces.rsample(k, generator)[:, None]], -1)

    def log_prob(self, z: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Return log p(z, w)."""
        size = self.common.loc.shape[-1]
        return self.common.log_prob(z[..., :size]) + self.subspaces.log_prob(z[..., size:])


class CSVAE(MultimodalVAE):
    """p(z, w, y, x) = N(z; 0, I) prod_i p(y_i) p(w_i | y_i) prod_m p(x_m | z, w), one subspace w_i per label y_i, and

        E_q[ sum_m log p(x_m | z, w) + log p(y | w) ] - beta { KL(q(z | x) || p(z)) + E_q[ log q(w | x) / p(w) ] }
            - gamma E_q[ sum_i sum_v d_iv(z) log d_iv(z) ],    d(z) = the adversary's p(y | z)

    for a row with labels y. As log p(y | w) + log p(w) = log p(w | y) + log p(y), the first line is the paper's bound
    where all weights are 1. A row without y has the ELBO of x; one of y alone trains nothing. The adversary, a net with
    one hidden layer, learns log d(y | z) with z held constant, and is held constant in the last line.

    The paper has q(w | x, y). Here q(w | x) does not read y: labels are then generated from x, as p(y | w), and a probe
    of w measures what x says. Given y, w is drawn from p(w | y), which is how the paper swaps an attribute. Several x_m
    have a mixture of their q(z, w | x_m), each with its own bound (ours; the paper has one).

    Args:
        own: P, dimensions of each subspace; the L latents of the nets are z and all w_i.
        adversary: gamma, times the weight of the labels' modality; 0 for none.
    """

    def __init__(self, networks: Networks, *, beta: Weight = 1.0, own: Positive = 2, adversary: Weight = 1.0) -> None:
        super().__init__(networks, beta=beta)
        (self.label,) = (m for m in self.modalities if m.kind == "symbol")
        self.sources = [m.name for m in self.modalities if m is not self.label]
        labels, values = self.label.shape[0], len(self.label.vocabulary)
        self.common = networks.latent_dim - labels * own  # S, the size of z
        if self.common < 1:
            least = labels * own + 1
            raise BenchError(f"The subspaces of {labels} labels need more latents. Give --latent-dim {least} or more.")
        for nets in (networks.encoders, networks.decoders, networks.words):
            del nets[self.label.name]
        self.sizes = [self.common, labels * own]
        self.subspaces = Subspaces(labels, values, own)
        self.gamma = adversary * self.label.weight
        out = nn.Linear(HIDDEN, labels * values), nn.Unflatten(-1, (labels, values))
        self.adversary = nn.Sequential(nn.Linear(self.common, HIDDEN), nn.ReLU(), *out)

    @classmethod
    def unsupported(cls, modalities: Sequence[Modality], missing: Missing) -> str | None:
        """Say that it needs labels, and something that is labelled."""
        if [m.kind for m in modalities].count("symbol") != 1:
            return "csvae needs one modality of labels: 'DATASET[labels=true]'"
        return None

    @property
    def label_latents(self) -> slice:
        """Dimensions of w."""
        return slice(self.common, self.latent_dim)

    def initialise(self, draw: Callable[[str, int], Tensor]) -> None:
        """Count p(y)."""
        self.subspaces.count(draw(self.label.name, ENTRIES))

    def prior(self) -> LabelledPrior:
        """Return p(z) p(w)."""
        like = self.subspaces.mu
        return LabelledPrior(standard(DiagonalNormal, like.new_zeros(1, self.common)), self.subspaces)

    def theta(self, name: str, z: Float[Tensor, "*batch L"]) -> Tensor:
        """Return the parameters of p(x_m | z, w); of the labels log p(w_i, y_i = v) as logits."""
        return self.subspaces.joint(z[..., self.common :]) if name == self.label.name else super().theta(name, z)

    def encode_sources(self, batch: MultimodalBatch) -> Experts:
        """Return q(z, w | x_m) of all modalities but the labels, batch shape [M - 1, B]."""
        x = {name: batch.x[name] for name in self.sources}
        present = torch.stack([batch.where(name) for name in self.sources])
        return self.encode(MultimodalBatch(x, present, indices_where=batch.indices_where))

    def parts(self, q: Diagonal) -> tuple[DiagonalNormal, DiagonalNormal]:
        """Return the densities of z and of w."""
        z, w = (
            DiagonalNormal(*p) for p in zip(*(torch.split(t, self.sizes, -1) for t in (q.loc, q.scale)), strict=True)
        )
        return z, w

    def posterior(self, batch: MultimodalBatch) -> Mixture:
        """Return the mixture of the present q(z, w | x_m); w of p(w | y) where y is given, z of p(z) where no x is."""
        experts, labelled = self.encode_sources(batch), batch.where(self.label.name)
        none = standard(DiagonalNormal, experts.q.loc[:1])
        loc, scale = torch.cat([experts.q.loc, none.loc]), torch.cat([experts.q.scale, none.scale])
        z, w = self.parts(DiagonalNormal(loc, scale))
        w = where(labelled, self.subspaces.given(batch.visible(self.label.name)), w)
        present = torch.cat([experts.present, ~experts.present.any(0)[None]])
        return Mixture(Experts(beside(z, w), present))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the objective), with one z and w of each q(z, w | x_m), the mean over them."""
        experts = self.encode_sources(batch)
        q, share = experts.q, experts.present / experts.present.sum(0).clamp(min=1)  # [M - 1, B]
        zw = q.rsample()
        z, w = torch.split(zw, self.sizes, -1)
        log_px = self.log_px(zw, batch, where=experts.present).sum(0)
        of_z, of_w = self.parts(q)
        divergence = kl(of_z) + of_w.log_prob(w) - self.subspaces.log_prob(w)
        labelled = batch.where(self.label.name)
        said = torch.where(labelled, self.gamma * self.negative_entropy(z), 0.0)
        learned = torch.where(labelled, self.log_adversary(z.detach(), batch), 0.0)
        means = {"log_px": log_px, "kl": divergence, "negative_entropy": said, "log_adversary": learned}
        log_px, divergence, said, learned = (torch.where(share > 0, share * v, 0.0).sum(0) for v in means.values())
        terms = dict(zip(means, (log_px, divergence, said, learned), strict=True))
        return row_mean(log_px - self.beta * divergence - said + learned, batch.present, **terms)

    def negative_entropy(self, z: Float[Tensor, "*batch S"]) -> Float[Tensor, "*batch"]:
        """Return sum_i sum_v d_iv log d_iv of the adversary, whose weights get no gradient."""
        frozen = {name: value.detach() for name, value in self.adversary.named_parameters()}
        log_d: Tensor = functional_call(self.adversary, frozen, z).log_softmax(-1)
        return (log_d.exp() * log_d).sum((-2, -1))

    def log_adversary(self, z: Float[Tensor, "*batch S"], batch: MultimodalBatch) -> Float[Tensor, "*batch"]:
        """Return sum_i log d_i(y_i | z)."""
        logits = self.adversary(z)
        ids = batch.visible(self.label.name).expand(logits.shape[:-1])
        return -F.cross_entropy(logits.flatten(0, -2), ids.flatten(), reduction="none").view(ids.shape).sum(-1)
