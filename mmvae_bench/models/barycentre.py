"""MWB-VAE (Qiu et al., AAAI 2025): a mixture of the Wasserstein barycentres over all subsets."""

import torch

from mmvae_bench.models.mopoe import SubsetMixture
from mmvae_bench.probability.distributions import Diagonal
from mmvae_bench.probability.fusion import Experts


class Barycentre(SubsetMixture):
    """A uniform mixture over all subsets A of P, of the Wasserstein-2 barycentres of their experts:

        q_A = argmin_q (1 / |A|) sum over m in A of W_2(q, q(z | x_m))^2
            = N( mean over A of mu_m, (mean over A of s_m)^2 )

    in each dimension: for one location-scale family the barycentre averages the quantiles. The bound is that of
    :class:`SubsetMixture`; no prior expert, equal weights. The abstract was read, the formula is derived; no official
    code is known. Training on incomplete rows, with the subsets of P, is ours.
    """

    def fuse(self, experts: Experts) -> Diagonal:
        """Return the barycentres of all subsets."""
        weight = self.subsets.to(experts.q.loc)
        weight = weight / weight.sum(1, keepdim=True)
        loc, scale = (torch.einsum("sm,mbd->sbd", weight, part) for part in (experts.q.loc, experts.q.scale))
        return type(experts.q)(loc, scale)
