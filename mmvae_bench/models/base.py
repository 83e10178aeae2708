"""What all models share. A model adds its paper's two formulas: its posterior and its bound."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from mmvae_bench import likelihoods
from mmvae_bench.distributions import Diagonal, DiagonalNormal, Posterior, standard
from mmvae_bench.errors import Undefined
from mmvae_bench.fusion import Experts
from mmvae_bench.models.importance import Estimate, importance_sample
from mmvae_bench.nets.base import Networks
from mmvae_bench.spec import Missing
from mmvae_bench.types import Loss, Modality, MultimodalBatch

MIN_SCALE = 1e-4  # of a posterior; MEME's code clamps at 1e-3 or 1e-4, MMVAE's adds 1e-6


class MultimodalVAE(nn.Module, ABC):
    """A multimodal VAE over M named modalities.

    Subclasses define :meth:`posterior` and :meth:`loss`; their keyword-only constructor parameters are the options
    that a user may set. All of them train and answer on rows with any subset of modalities present.

    Args:
        networks: Encoders and decoders, the same for every model of a comparison.
        beta: Multiplies every KL term, and nothing else; 1 is the bound on log p(x).
    """

    version: ClassVar[int] = 1  # bumped by whoever writes "Changes numbers:" about this model
    no_prior: ClassVar[str | None] = None  # why there is no p(z) of the model's own, if there is none
    cross_is_chance: ClassVar[bool] = False  # cross scores are a chance control and marked so
    joint_posterior: ClassVar[bool] = True  # whether the paper defines q(z | all modalities)
    family: type[Diagonal] = DiagonalNormal
    batches: str = "mixed"  # "pure": complete and incomplete rows never share a batch

    def __init__(self, networks: Networks, *, beta: float = 1.0) -> None:
        super().__init__()
        self.networks = networks
        self.beta = beta
        self.modalities = networks.modalities
        self.names = tuple(m.name for m in networks.modalities)
        self._likelihoods = {m.name: likelihoods.registry.get(m.likelihood) for m in self.modalities}

    @abstractmethod
    def posterior(self, batch: MultimodalBatch) -> Posterior:
        """q(z | x_A), A = what is present in each row: batch shape [B]."""

    @abstractmethod
    def loss(self, batch: MultimodalBatch) -> Loss:
        """The paper's bound, negated and averaged over rows; an absent entry contributes nothing."""

    def initialise(self, draw: Callable[[str, int], Tensor]) -> None:
        """Set what is initialised from data, once, before the first step.

        Args:
            draw: ``draw(name, n)`` gives n seeded training entries of a modality, [n, *shape], all of them present.
        """

    @classmethod
    def unsupported(cls, modalities: Sequence[Modality], missing: Missing) -> str | None:
        """Return why the model cannot take this data or scheme (the run is then skipped), or None."""
        return None

    def posterior_for(self, target: str, batch: MultimodalBatch) -> Posterior:
        """q(z | x_A) from which modality ``target`` is decoded: the same for all targets unless a paper differs."""
        return self.posterior(batch)

    # --- densities ---------------------------------------------------------------------------------------------

    def encode(self, batch: MultimodalBatch) -> Experts:
        """q(z | x_m) for every modality, batch shape [M, B]; an encoder sees zeros where an entry is absent."""
        raw = torch.stack([self.networks.encode(name, batch.visible(name)) for name in self.names])
        return Experts(self.expert(raw), batch.present)

    def expert(self, raw: Float[Tensor, "*batch two_L"]) -> Diagonal:
        """Split an encoder's output: loc, and scale = softplus(raw) + 1e-4."""
        loc, scale = raw.chunk(2, -1)
        return self.family(loc, F.softplus(scale) + MIN_SCALE)

    def theta(self, name: str, z: Float[Tensor, "*batch L"]) -> Tensor:
        """The parameters of p(x_m | z), [*batch, *shape]; pixels pass a sigmoid unless the likelihood takes logits."""
        m = self.modalities[self.names.index(name)]
        theta = self.networks.decode(name, z)
        return theta.sigmoid() if m.dtype == "uint8" and m.likelihood in ("laplace", "normal") else theta

    def log_px_of(self, name: str, z: Tensor, batch: MultimodalBatch, *, weighted: bool = True) -> Tensor:
        """log p(x_m | z) for z of shape [..., B, L]: [..., B], zero where x_m is absent.

        ``weighted`` multiplies by the modality's weight, as in training; scores use the density itself.
        """
        m = self.modalities[self.names.index(name)]
        log_p = self._likelihoods[name](batch.visible(name), self.theta(name, z), m.scale, len(m.shape))
        return torch.where(batch.where(name), (m.weight if weighted else 1.0) * log_p, torch.zeros_like(log_p))

    def log_px(self, z: Tensor, batch: MultimodalBatch, *, weighted: bool = True) -> Float[Tensor, "M *batch"]:
        """log p(x_m | z) of every modality from the same z, stacked over modalities."""
        return torch.stack([self.log_px_of(name, z, batch, weighted=weighted) for name in self.names])

    def decode(self, z: Float[Tensor, "*batch L"], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """E[x_m | z] of every modality, or of ``names``."""
        return {name: self._likelihoods[name].mean(self.theta(name, z)) for name in names or self.names}

    # --- what a model may define ---------------------------------------------------------------------------------

    def prior(self) -> Diagonal:
        """p(z), the family's standard member, batch shape [1].

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
        """log of the integral of p(z) prod over m in A of p(x_m | z), by importance sampling (protocol 18).

        Args:
            batch: A is what is present.
            k: Importance samples a row.
            generator: Of the draws.
            prior: p(z) in place of the model's own (protocol 17, ``aggregate``).

        Raises:
            Undefined: If there is no prior.
        """
        p = prior or self.prior()
        here = [name for name in self.names if batch.where(name).any()]  # what is absent everywhere adds exactly 0

        def log_px(z: Tensor) -> Tensor:
            return torch.stack([self.log_px_of(name, z, batch, weighted=False) for name in here]).sum(0)

        return importance_sample(self.posterior(batch), p, log_px, k, generator)

    def log_conditional(
        self, batch: MultimodalBatch, given: Sequence[str], target: str, k: int,
        generator: Generator | None = None, prior: Posterior | None = None,
    ) -> Estimate:  # fmt: skip
        """log p(x_t | x_A) = log p(x_t, x_A) - log p(x_A); the effective sample size is the smaller of the two."""
        joint = self.log_likelihood(batch.given(*given, target), k, generator, prior)
        marginal = self.log_likelihood(batch.given(*given), k, generator, prior)
        return Estimate(joint.log_p - marginal.log_p, torch.minimum(joint.ess, marginal.ess))
