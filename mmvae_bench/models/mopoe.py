"""MoPoE-VAE (Sutter et al., ICLR 2021): a mixture of the products over all subsets."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import Diagonal, kl
from mmvae_bench.probability.fusion import Experts, Mixture, powerset, products, within
from mmvae_bench.types import Loss, MultimodalBatch


class SubsetMixture(MultimodalVAE):
    """Models whose posterior is a uniform mixture over all n = 2^|P| - 1 subsets A of P, of a fusion of their experts:

        q(z | x_P) = (1 / n) sum_A q_A

    The bound (Eq. 8; the mixture's KL is replaced by its convex bound):

        E_{q(z | x_P)}[ sum over m in P of log p(x_m | z) ] - beta (1 / n) sum_A KL(q_A || p(z))

    One subset is drawn for each row, spread evenly over the batch by a random permutation; the authors' code cuts the
    batch into consecutive blocks instead.
    """

    def __init__(self, networks: Networks, *, beta: Weight = 1.0) -> None:
        super().__init__(networks, beta=beta)
        self.register_buffer("subsets", powerset(len(self.names)), persistent=False)
        self.subsets: Tensor

    @abstractmethod
    def fuse(self, experts: Experts) -> Diagonal:
        """Return q_A of all subsets A, batch shape [S, B]; finite also where A is not a subset of P."""

    def posterior(self, batch: MultimodalBatch) -> Mixture:
        """Return the uniform mixture over all subsets of the present modalities."""
        experts = self.encode(batch)
        return Mixture(Experts(self.fuse(experts), within(self.subsets, experts.present)))

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(Eq. 8), with one subset per row."""
        mixture = self.posterior(batch)
        log_px = self.log_px(mixture.rsample_stratified(), batch).sum(0)
        divergence = (mixture.weight * kl(mixture.experts.q)).sum(0)
        return row_mean(log_px - self.beta * divergence, batch.present, log_px=log_px, kl=divergence)


class MoPoE(SubsetMixture):
    """The posterior is a uniform mixture over all n = 2^|P| - 1 subsets A of P, of the products of their experts:

        q(z | x_P) = (1 / n) sum_A q_A,    q_A proportional to prod over m in A of q(z | x_m)

    The bound is that of :class:`SubsetMixture`. The authors' beta is 2.5, the common protocol's is 1.

    Args:
        prior_expert: products that have N(0, I) as an expert: ``full`` (only that of all M, as in the authors' code),
            ``always`` or ``never``.
    """

    authors: ClassVar[Mapping[str, str]] = {"beta": "2.5"}  # all of the released job scripts

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, prior_expert: Literal["full", "always", "never"] = "full"
    ) -> None:
        super().__init__(networks, beta=beta)
        some, every = self.subsets.any(1), self.subsets.all(1)
        prior = {"full": every, "always": some, "never": ~some}[prior_expert]
        self.register_buffer("prior_in", prior, persistent=False)
        self.prior_in: Tensor

    def fuse(self, experts: Experts) -> Diagonal:
        """Return the products over all subsets."""
        return products(experts, self.subsets, self.prior_in)
