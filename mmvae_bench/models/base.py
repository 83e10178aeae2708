"""The base class of models. A model adds the two formulas of its paper: its posterior and its bound."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from mmvae_bench.errors import Undefined
from mmvae_bench.models.draws import Draws, Proposals
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Weight
from mmvae_bench.probability import likelihoods
from mmvae_bench.probability.bounds import Estimate
from mmvae_bench.probability.distributions import Diagonal, DiagonalNormal, Posterior, Prior, standard
from mmvae_bench.probability.fusion import Experts, Mixture, everywhere, without
from mmvae_bench.spec import Missing
from mmvae_bench.types import Loss, Modality, MultimodalBatch

Batches = Literal["mixed", "pure"]
MIN_SCALE = 1e-4  # smallest scale of a posterior; MEME's code clamps at 1e-3 or 1e-4, MMVAE's adds 1e-6


def in_rows(raw: Float[Tensor, "n D"], rows: Tensor | None, size: int) -> Float[Tensor, "B D"]:
    """Return outputs in the rows of a batch of this size from which they were computed (None: all), zeros elsewhere."""
    return raw if rows is None else raw.new_zeros(size, raw.shape[-1]).index_copy(0, rows, raw)


class Densities(nn.Module):
    """Encoder and decoder densities q(z | x_m) and p(x_m | z); absent entries are skipped."""

    family: type[Diagonal] = DiagonalNormal
    no_decoder: ClassVar[str | None] = None  # why nothing is generated from z, or None

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks = networks
        self.modalities = networks.modalities
        self.names = tuple(m.name for m in networks.modalities)
        self._likelihoods = {m.name: likelihoods.get(m.likelihood) for m in self.modalities}

    def encode(self, batch: MultimodalBatch) -> Experts:
        """Return q(z | x_m) of every modality, batch shape [M, B]; finite for absent entries, which are not encoded."""
        outputs = []
        for name in batch.names:
            rows = batch.indices_where(batch.where(name))
            raw = self.networks.encode(name, self.embed(name, batch.visible(name, rows)))
            outputs.append(in_rows(raw, rows, batch.size))
        return Experts(self.expert(torch.stack(outputs)), batch.present)

    def embed(self, name: str, x: Tensor) -> Tensor:
        """Return the entries of a modality as its encoder reads them: words as vectors, others unchanged."""
        return self.networks.embed(name, x)

    def expert(self, raw: Float[Tensor, "*batch two_L"]) -> Diagonal:
        """Split an encoder's output: loc, and scale = softplus(raw) + 1e-4."""
        loc, scale = raw.chunk(2, -1)
        return self.family(loc, F.softplus(scale) + MIN_SCALE)

    def theta(self, name: str, z: Float[Tensor, "*batch L"]) -> Tensor:
        """Return the parameters of p(x_m | z), [*batch, *shape]; pixels pass a sigmoid unless they are logits.

        Raises:
            Undefined: If the model generates nothing.
        """
        if self.no_decoder:
            raise Undefined(self.no_decoder)
        m = self.modalities[self.names.index(name)]
        theta = self.networks.decode(name, z)
        return theta.sigmoid() if m.dtype == "uint8" and m.likelihood in ("laplace", "normal") else theta

    def log_px_of(
        self, name: str, z: Float[Tensor, "*free B L"], batch: MultimodalBatch, *,
        weighted: bool = True, where: Bool[Tensor, "*axes B"] | None = None,
    ) -> Float[Tensor, "*free B"]:  # fmt: skip
        """Return log p(x_m | z), zero where x_m is absent or ``where`` is False; nothing is decoded there.

        It is multiplied by the modality's weight in training; scores use the density itself. ``where`` is a mask of the
        latents that are needed, for the last axes of z, and a function of ``batch.present`` alone.
        """
        m = self.modalities[self.names.index(name)]
        counted = batch.where(name) if where is None else where & batch.where(name)
        at = batch.indices_where(counted)
        if at is None:
            log_p = self._likelihood(m, batch.visible(name), z)
        else:
            lead = z.shape[: z.dim() - 1 - counted.dim()]
            x, flat = batch.visible(name, at % batch.size), z.reshape(*lead, -1, z.shape[-1])
            each = self._likelihood(m, x, flat.index_select(-2, at))
            log_p = each.new_zeros(*lead, counted.numel()).index_copy(-1, at, each).reshape(z.shape[:-1])
        return torch.where(counted, (m.weight if weighted else 1.0) * log_p, torch.zeros_like(log_p))

    def _likelihood(self, m: Modality, x: Tensor, z: Tensor) -> Tensor:
        return self._likelihoods[m.name].log_prob(x, self.theta(m.name, z), m.scale, len(m.shape))

    def log_px(
        self, z: Tensor, batch: MultimodalBatch, *, weighted: bool = True, where: Tensor | None = None
    ) -> Float[Tensor, "M *batch"]:
        """Return :meth:`log_px_of` of every modality from the same z, stacked over modalities."""
        return torch.stack([self.log_px_of(name, z, batch, weighted=weighted, where=where) for name in self.names])

    def decode(self, z: Float[Tensor, "*batch L"], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return E[x_m | z] of every modality, or of ``names``; of a caption the most likely word at each place."""
        return {name: self._likelihoods[name].mean(self.theta(name, z)) for name in names or self.names}


class PseudoInputs(nn.ParameterDict):
    """Learned inputs u_m1 .. u_mU of each modality m (of captions: as embedded): what stands for an absent entry."""

    def __init__(self, networks: Networks, number: int) -> None:
        super().__init__({m.name: torch.zeros(number, *networks.input_shape(m)) for m in networks.modalities})

    def initialise(self, networks: Networks, draw: Callable[[str, int], Tensor]) -> None:
        """Set them to training entries that are present (see :meth:`MultimodalVAE.initialise`)."""
        for name, u in self.items():
            u.data.copy_(networks.embed(name, draw(name, len(u))))

    def encoded(self, by: Densities) -> Diagonal:
        """Return q(z | u_mi), batch shape [M, U], in the modalities' order: a ParameterDict's own is the alphabet's."""
        return by.expert(torch.stack([by.networks.encode(name, self[name]) for name in by.names]))

    @staticmethod
    def others(encoded: Diagonal, m: int) -> Mixture:
        """Return the uniform mixture of all q(z | u_ni), n != m, batch shape [1]: a prior of rows with x_m alone."""
        return Mixture(everywhere(type(encoded)(without(encoded.loc, m), without(encoded.scale, m))))


class MultimodalVAE(Densities, ABC):
    """A multimodal VAE over M named modalities.

    Subclasses define :meth:`posterior` and :meth:`loss`; their keyword-only constructor parameters are the options
    that a user may set. Every model accepts rows with any subset of modalities present. ``beta`` is the factor of every
    KL term, and of nothing else; 1 is what the paper derives.
    """

    version: ClassVar[int] = 1  # increased by every change of this model's numbers
    no_prior: ClassVar[str | None] = None  # why the model has no p(z) of its own, or None
    rows_meet: ClassVar[bool] = False  # True if the loss compares rows of a batch: it is then no mean over rows
    cross_is_chance: ClassVar[bool] = False  # True if its cross-modal scores are a chance control
    joint_posterior: ClassVar[bool] = True  # True if the paper defines q(z | all modalities)
    remark_if_complete: ClassVar[str] = ""  # remark in ``run.json`` of a run in which no row is incomplete
    cost: ClassVar[float] = 1.0  # time per row relative to mvae, only for estimates of time
    authors: ClassVar[Mapping[str, str]] = {}  # constants of the paper or its code where they are not the defaults
    # Shares of the epochs in each phase of training, such as (0.5, 0.5), of which ``batch.phase`` is the number. Phases
    # log the same terms; each trains what its loss depends on
    phases: ClassVar[tuple[float, ...]] = (1.0,)
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

        ``draw(name, n)`` returns n seeded training entries of a modality that are present, [n, *shape].
        """

    @classmethod
    def unsupported(cls, modalities: Sequence[Modality], missing: Missing) -> str | None:
        """Return why the model does not support these modalities or this scheme (the run is skipped), or None."""
        return None

    @property
    def latent_dim(self) -> int:
        """D, the size of z."""
        return self.networks.latent_dim

    @property
    def latent_parts(self) -> Mapping[str, slice]:
        """Parts of z that are scored apart: ``shared``, and modalities' names for what is private; empty if z is one.

        Relatedness reads the shared part alone, and linear probes read each part beside the whole.
        """
        return {}

    @property
    def label_latents(self) -> slice | None:
        """Dimensions of z that labels are read from, where the others must not say them; else None."""
        return None

    def posterior_for(self, target: str, batch: MultimodalBatch) -> Posterior:
        """Return q(z | x_A) for decoding modality ``target``: the same for all targets unless a paper differs."""
        return self.posterior(batch)

    def prior(self) -> Prior:
        """Return p(z), the family's standard member, batch shape [1].

        Raises:
            Undefined: If the model has no prior of its own.
        """
        if self.no_prior:
            raise Undefined(self.no_prior)
        like = next(self.parameters())
        return standard(self.family, like.new_zeros(1, self.latent_dim))

    def sample_prior(self, n: int, generator: Generator | None = None) -> Mapping[str, Tensor]:
        """Decode n draws of the prior: the mean of every modality, [n, *shape].

        Raises:
            Undefined: If the model has no prior of its own.
        """
        return self.decode(self.prior().rsample(n, generator)[:, 0])

    def log_posterior(self, draws: Draws, prior: Prior | None = None) -> Float[Tensor, "K B"]:
        """Return the log of what p(z | x_A) is proportional to: log p(z) + sum over m in A of log p(x_m | z).

        ``prior`` is a p(z) in place of the model's own (protocol 17): the aggregate, or a learned one.

        Raises:
            Undefined: If there is no prior.
        """
        p = prior or self.prior()
        here = [name for name in draws.given if draws.batch.where(name).any()]  # what is absent adds exactly 0
        return draws.log_prior(p) + torch.stack([draws.log_px(name) for name in here]).sum(0)

    def log_likelihood(
        self, proposals: Proposals, given: Sequence[str] | None = None, prior: Prior | None = None
    ) -> Estimate:
        """Estimate log of the integral of p(z) prod over m in A of p(x_m | z), by importance sampling (protocol 18).

        A is ``given``, or all that is present in a row.

        Raises:
            Undefined: If there is no prior.
        """
        return proposals.given(*(given or self.names)).weighted(prior).evidence()

    def log_conditional(
        self, proposals: Proposals, given: Sequence[str], target: str, prior: Prior | None = None
    ) -> Estimate:
        """Estimate log p(x_t | x_A) = log sum_k w_k p(x_t | z_k) - log sum_k w_k, with draws of p(z | x_A).

        Raises:
            Undefined: If there is no prior.
        """
        return proposals.given(*given).predictive(target, prior)


class OwnConditional(MultimodalVAE):
    """Models without p(z), under which p(z | x_A) is :meth:`posterior` itself: p(x_t | x_A) = E_q[ p(x_t | z) ]."""

    def log_posterior(self, draws: Draws, prior: Prior | None = None) -> Float[Tensor, "K B"]:
        """Return log q(z | x_A), or under a given ``prior`` what every model has."""
        return draws.log_q if prior is None else super().log_posterior(draws, prior)

    def log_likelihood(
        self, proposals: Proposals, given: Sequence[str] | None = None, prior: Prior | None = None
    ) -> Estimate:
        """Estimate log p(x_A) under a given ``prior``: there is none of the model's own (raises :class:`Undefined`)."""
        return super().log_likelihood(proposals, given, prior or self.prior())
