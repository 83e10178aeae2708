"""Baseline: encoders trained by contrast alone, as CLIP's (Radford et al., ICML 2021); it generates nothing."""

from itertools import combinations
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmvae_bench.models.base import OwnConditional
from mmvae_bench.models.regressor import around
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import Loss, MultimodalBatch


class Contrastive(OwnConditional):
    """e_m = mu_m(x_m) / |mu_m(x_m)|, the direction of the encoder's location, and the loss of a batch

        - 1/2 sum over pairs m < n and rows b with both of
            log softmax_c(e_mb . e_nc / t)_b + log softmax_c(e_mc . e_nb / t)_b

    c over the rows of the batch that have both, also where they share an item or a class; t is learned, from .07 and at
    least .01. Rows with one modality do not count. q(z | x_A) is a Normal of sd 1e-4 around the mean of the e_m that
    are given: probes, relatedness and retrieval read it. There are no decoders.
    """

    no_prior = "a contrastive model has no p(z)"
    no_decoder = "a contrastive model generates nothing"
    rows_meet = True

    def __init__(self, networks: Networks) -> None:
        super().__init__(networks)
        networks.decoders = nn.ModuleDict()
        for words in networks.words.values():  # what scores words is a decoder's, too
            for name, parameter in words.named_parameters():
                parameter.requires_grad_(name == "embedding.weight")
        self.log_t = nn.Parameter(torch.tensor(log(0.07)))

    def directions(self, batch: MultimodalBatch) -> Float[Tensor, "M B L"]:
        """Return e_m of all modalities; finite where absent."""
        return F.normalize(self.encode(batch).q.loc, dim=-1, eps=1e-6)

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        """Return N(mean of the present e_m, 1e-4^2)."""
        return around(self.directions(batch), batch.present)

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return the contrast of all pairs of modalities, the mean over rows with something present."""
        e, total = self.directions(batch), torch.zeros_like(batch.present[0], dtype=self.log_t.dtype)
        for m, n in combinations(range(len(self.names)), 2):
            total = total + self.contrast(e[m], e[n], batch.present[m] & batch.present[n])
        return row_mean(total, batch.present, contrast=total)

    def contrast(self, a: Tensor, b: Tensor, both: Bool[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Return half the sum of both log softmaxes at each row's own partner, 0 where not both are present."""
        logits = a @ b.T / self.log_t.exp().clamp(min=0.01)
        outside = torch.where(both[:, None] & both, logits, -torch.inf)
        own = logits.diagonal()
        each = 2 * own - _log_sum(outside, 1) - _log_sum(outside, 0)
        return torch.where(both, each / 2, 0.0)


def _log_sum(logits: Tensor, dim: int) -> Tensor:
    """Log of the sum of exponentials; finite where all are 0, whose gradient would be NaN."""
    none = torch.isinf(logits).all(dim, keepdim=True)
    return torch.where(none, 0.0, logits).logsumexp(dim)
