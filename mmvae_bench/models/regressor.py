"""Baseline: a masked regression of every modality from any subset, without a latent prior."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmvae_bench.models.base import MIN_SCALE, OwnConditional
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import Loss, MultimodalBatch


def around(loc: Float[Tensor, "M B L"], kept: Bool[Tensor, "M B"]) -> DiagonalNormal:
    """Return N(f, 1e-4^2), f the mean of the locations that are kept, 0 where none is."""
    some = kept.to(loc)[..., None]
    mean = (some * loc).sum(0) / some.sum(0).clamp(min=1)
    return DiagonalNormal(mean, torch.full_like(mean, MIN_SCALE))


class Regressor(OwnConditional):
    """f(x_A) = (1 / |A|) sum over m in A of f_m(x_m), the locations of the encoders, and the loss, to be minimised,

        - sum over m in P of log p(x_m | f(x_S)),    S a random non-empty subset of P

    Each m of P is drawn into S with probability 1/2; if none is, one is taken at random. There is no KL and no noise.
    For scores of posteriors q(z | x_A) is a Normal of sd 1e-4 around f(x_A). log p(x_t | x_A) is log p(x_t | f(x_A)).
    """

    no_prior = "a regression has no p(z)"

    def __init__(self, networks: Networks) -> None:
        super().__init__(networks)

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return N(f(x_A), 1e-4^2)."""
        experts = self.encode(batch)
        return around(experts.q.loc, experts.present)

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return the loss for one S per row."""
        experts = self.encode(batch)
        u = torch.where(batch.present, torch.rand(batch.present.shape, device=batch.present.device), 2.0)
        kept = batch.present & ((u < 0.5) | (u == u.amin(0)))
        log_px = self.log_px(around(experts.q.loc, kept).loc, batch).sum(0)
        return row_mean(log_px, batch.present, log_px=log_px)
