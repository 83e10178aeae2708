"""The base class of models. A model adds the two formulas of its paper: its posterior and its bound."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from mmvae_bench.errors import Undefined
from mmvae_bench.models.densities import Densities
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Weight
from mmvae_bench.probability.bounds import Estimate, importance_sample
from mmvae_bench.probability.distributions import Diagonal, Posterior, standard
from mmvae_bench.spec import Missing
from mmvae_bench.types import Loss, Modality, MultimodalBatch

Batches = Literal["mixed", "pure"]


class MultimodalVAE(Densities, ABC):
    """A multimodal VAE over M named modalities.

    Subclasses define :meth:`posterior` and :meth:`loss`; their keyword-only constructor parameters are the options
    that a user may set. Every model accepts rows with any subset of modalities present.

    Args:
        networks: encoders and decoders, the same for every model of a comparison.
        beta: factor of every KL term, and of nothing else; 1 is the bound on log p(x).
    """

    version: ClassVar[int] = 1  # increased by every change of this model's numbers
    no_prior: ClassVar[str | None] = None  # why the model has no p(z) of its own, or None
    cross_is_chance: ClassVar[bool] = False  # True if its cross-modal scores are a chance control
    joint_posterior: ClassVar[bool] = True  # True if the paper defines q(z | all modalities)
    remark_if_complete: ClassVar[str] = ""  # remark in ``run.json`` of a run in which no row is incomplete
    cost: ClassVar[float] = 1.0  # time per row relative to mvae, only for estimates of time
    batches: Batches = "mixed"  # "pure" if complete and incomplete rows never share a batch

    def __init__(self, networks: Networks, *, beta: Weight = 1.0) -> None:
        super().__init__(networks)
        self.beta = beta

    @abstractmethod
    def posterior(self, batch: MultimodalBatch) -> Posterior:
        """Return q(z | x_A), A = modalities present in each row: batch shape [B]."""

    @abstractmethod
    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return the paper's bound, negated and averaged over rows; an absent entry contributes nothing."""

    def initialise(self, draw: Callable[[str, int], Tensor]) -> None:
        """Initialise parameters from data, once, before the first step.

        Args:
            draw: ``draw(name, n)`` returns n seeded training entries of a modality that are present, [n, *shape].
        """

    @classmethod
    def unsupported(cls, modalities: Sequence[Modality], missing: Missing) -> str | None:
        """Return why the model does not support these modalities or this scheme (the run is skipped), or None."""
        return None

    def posterior_for(self, target: str, batch: MultimodalBatch) -> Posterior:
        """Return q(z | x_A) for decoding modality ``target``: the same for all targets unless a paper differs."""
        return self.posterior(batch)

    # --- what a model may define ---------------------------------------------------------------------------------

    def prior(self) -> Diagonal:
        """Return p(z), the family's standard member, batch shape [1].

        Raises:
            Undefined: If the model has no prior of its own.
        """
        if self.no_prior:
            raise Undefined(self.no_prior)
        like = next(self.parameters())
        return standard(self.family, like.new_zeros(1, self.networks.latent_dim))

    def sample_prior(self, n: int, generator: Generator | None = None) -> Mapping[str, Tensor]:
        """Decode n draws of the prior: the mean of every modality, [n, *shape].

        Raises:
            Undefined: If the model has no prior of its own.
        """
        return self.decode(self.prior().rsample(n, generator)[:, 0])

    def log_likelihood(
        self, batch: MultimodalBatch, k: int, generator: Generator | None = None, prior: Posterior | None = None
    ) -> Estimate:
        """Estimate log of the integral of p(z) prod over m in A of p(x_m | z), by importance sampling (protocol 18).

        Args:
            batch: rows; A = modalities present in each.
            k: number of importance samples per row.
            generator: random generator of the draws.
            prior: p(z) in place of the model's own (protocol 17, ``aggregate``).

        Raises:
            Undefined: If there is no prior.
        """
        p = prior or self.prior()
        here = [name for name in self.names if batch.where(name).any()]  # a modality absent in all rows adds exactly 0

        def log_px(z: Tensor) -> Tensor:
            return torch.stack([self.log_px_of(name, z, batch, weighted=False) for name in here]).sum(0)

        return importance_sample(self.posterior(batch), p, log_px, k, generator)

    def log_conditional(
        self, batch: MultimodalBatch, given: Sequence[str], target: str, k: int,
        generator: Generator | None = None, prior: Posterior | None = None,
    ) -> Estimate:  # fmt: skip
        """Estimate log p(x_t | x_A) = log p(x_t, x_A) - log p(x_A); the effective sample size is the smaller one."""
        joint = self.log_likelihood(batch.given(*given, target), k, generator, prior)
        marginal = self.log_likelihood(batch.given(*given), k, generator, prior)
        return Estimate(joint.log_p - marginal.log_p, torch.minimum(joint.ess, marginal.ess))
