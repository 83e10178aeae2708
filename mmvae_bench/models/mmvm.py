"""MM-VAMP / MMVM VAE (Sutter et al., NeurIPS 2024): the prior is the mixture of all modalities' posteriors."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmvae_bench.models.base import PseudoInputs
from mmvae_bench.models.unimodal import PrivateLatents
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Positive, Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import kl
from mmvae_bench.probability.fusion import Experts, Mixture
from mmvae_bench.types import Loss, MultimodalBatch


class MMVM(PrivateLatents):
    """Each modality has its own latent; a soft constraint makes the posteriors similar (Eqs. 5, 6):

        sum over m in P of E_{q(z | x_m)}[ log p(x_m | z) ] - beta KL(q(z | x_m) || h)
        h = (1 / |P|) sum over n in P of q(z | x_n)

    ``pairwise`` bounds KL(q_m || h) <= (1 / |P|) sum_n KL(q_m || q_n) in closed form (the authors' code);
    ``monte_carlo`` takes log q_m(z_m) - log h(z_m), which never exceeds log |P|. No gradient is stopped on the prior's
    side. The paper has no rows with one modality: h would be q_m itself. Extensions for them (``alone``):

        nothing:   no KL at all: the row trains an auto-encoder
        standard:  KL(q_m || N(0, I)), an anchor that the mixture prior does not have
        pseudo:    (1 - 1 / M) [ log q_m(z_m) - log p_u(z_m) ], p_u the uniform mixture of the absent modalities'
                   encoders at learned pseudo-inputs u, as MEME's Eq. 8; 1 - 1 / M is the share of others in h

    Args:
        bound: ``pairwise`` or ``monte_carlo``.
        alone: prior of a row with one modality: ``nothing``, ``standard`` or ``pseudo``.
        pseudo: number of pseudo-inputs per modality, for ``alone=pseudo``.
    """

    no_prior = "MMVM's prior is the mixture of a row's own posteriors: there is no p(z) to sample without a row"

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, bound: Literal["pairwise", "monte_carlo"] = "pairwise",
        alone: Literal["nothing", "standard", "pseudo"] = "nothing", pseudo: Positive = 128,
    ) -> None:  # fmt: skip
        super().__init__(networks, beta=beta)
        self.bound, self.alone = bound, alone
        self.pseudo = PseudoInputs(networks, pseudo) if alone == "pseudo" else None

    def initialise(self, draw: Callable[[str, int], Tensor]) -> None:
        """Set the pseudo-inputs to training entries that are present."""
        if self.pseudo is not None:
            self.pseudo.initialise(self.networks, draw)

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(Eq. 5), the sum over present modalities."""
        experts = self.encode(batch)
        z = experts.q.rsample()
        log_px = self.own_log_px(z, batch).sum(0)
        each = torch.where(experts.present.sum(0) == 1, self.kl_alone(z, experts), self.kl_to_h(z, experts))
        divergence = torch.where(experts.present, each, 0.0).sum(0)
        return row_mean(log_px - self.beta * divergence, batch.present, log_px=log_px, kl=divergence)

    def kl_to_h(self, z: Float[Tensor, "M B L"], experts: Experts) -> Float[Tensor, "M B"]:
        """Return KL(q_m || h) for each m: its pairwise bound or its one-sample estimate."""
        q = experts.q
        if self.bound == "pairwise":
            return (Mixture(experts).weight * kl(q[:, None], q[None, :])).sum(1)
        return q.log_prob(z) - Mixture(experts).log_prob(z)

    def kl_alone(self, z: Float[Tensor, "M B L"], experts: Experts) -> Float[Tensor, "M B"]:
        """Return the divergence of each q_m from the prior of a row with x_m alone."""
        q = experts.q
        if self.pseudo is None:
            return kl(q) * (self.alone == "standard")
        u = self.pseudo.encoded(self)
        p_u = torch.stack([self.pseudo.others(u, m).log_prob(z_m) for m, z_m in enumerate(z)])
        return (1 - 1 / len(self.names)) * (q.log_prob(z) - p_u)
