"""MVAE (Wu & Goodman, NeurIPS 2018): one product of all present experts and the prior."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Count, Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl
from mmvae_bench.probability.fusion import product, products
from mmvae_bench.types import Loss, MultimodalBatch


class MVAE(MultimodalVAE):
    """q(z | x_A) proportional to p(z) prod over m in A of q(z | x_m), p(z) = N(0, I) (Eq. 5, the prior counted once).

    The bound is a sum of ELBOs over distinct subsets of the present modalities P (Eq. 7, sub-sampled training):

        sum over A in {P} and {m}, m in P, and k random A with 1 < |A| < |P|, of
            E_{q(z | x_A)}[ sum over m in A of log p(x_m | z) ] - beta KL(q(z | x_A) || p(z))

    The authors' public code warms beta up and leaves unpaired rows out; the paper's rule for them is the sum above.

    Args:
        subsampling: False for the joint ELBO alone (the paper's MVAE-Q baseline is the opposite).
        k: number of random subsets where |P| > 2 (celeba19/train.py: ``approx_m`` = 1).
    """

    def __init__(self, networks: Networks, *, beta: Weight = 1.0, subsampling: bool = True, k: Count = 1) -> None:
        super().__init__(networks, beta=beta)
        self.subsampling = subsampling
        self.k = k if subsampling and len(self.names) > 2 else 0  # two modalities have no subset in between

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return the product of all present experts and the prior."""
        return product(self.encode(batch), prior=True)

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(sum of ELBOs over sub-sampled subsets), Eq. 7."""
        keep, possible = self.subsets(batch.present)
        experts = self.encode(batch)
        q = products(experts, keep, torch.ones(len(keep), dtype=torch.bool, device=keep.device))  # [S, B]
        z = q.rsample()
        each = [self.log_px_of(name, z, batch, where=possible[:, m]) for m, name in enumerate(self.names)]
        log_px = torch.where(keep, torch.stack(each, 1), 0.0).sum(1)
        divergence = kl(q)
        elbo = torch.where(possible.any(1), log_px - self.beta * divergence, 0.0)
        return row_mean(elbo.sum(0), batch.present, log_px=log_px[0], kl=divergence[0])

    def subsets(self, present: Bool[Tensor, "M B"]) -> tuple[Bool[Tensor, "S M B"], Bool[Tensor, "S M B"]]:
        """Return the subsets A of each row, and the m that A may contain; none where A is not used ({m} = P)."""
        size = present.sum(0)
        keep, possible = [present[None]], [present[None]]
        if self.subsampling:
            alone = torch.eye(len(present), dtype=torch.bool, device=present.device)[:, :, None] & present
            keep.append(alone)
            possible.append(alone & (size > 1))
        if self.k:
            order = torch.where(present, torch.rand(self.k, *present.shape, device=present.device), 2.0)
            u = torch.rand(self.k, present.shape[1], device=present.device)
            wanted = 2 + (u * (size - 2).clamp(min=1)).long()  # uniform on 2 .. |P| - 1
            keep.append((order.argsort(1).argsort(1) < wanted[:, None]) & present)
            possible.append((present & (size > 2)).expand(self.k, -1, -1))
        return torch.cat(keep), torch.cat(possible)
