"""From networks to densities: q(z | x_m) and p(x_m | z) of every modality, before any model combines them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmvae_bench.nets.base import Networks
from mmvae_bench.probability import likelihoods
from mmvae_bench.probability.distributions import Diagonal, DiagonalNormal
from mmvae_bench.probability.fusion import Experts
from mmvae_bench.types import Modality, MultimodalBatch

MIN_SCALE = 1e-4  # smallest scale of a posterior; MEME's code clamps at 1e-3 or 1e-4, MMVAE's adds 1e-6


class Densities(nn.Module):
    """Encoder and decoder densities q(z | x_m) and p(x_m | z); absent entries are skipped.

    Args:
        networks: encoders and decoders.
    """

    family: type[Diagonal] = DiagonalNormal

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks = networks
        self.modalities = networks.modalities
        self.names = tuple(m.name for m in networks.modalities)
        self._likelihoods = {m.name: likelihoods.registry.get(m.likelihood) for m in self.modalities}

    def encode(self, batch: MultimodalBatch) -> Experts:
        """Return q(z | x_m) of every modality, batch shape [M, B]; finite for absent entries, which are not encoded."""
        return Experts(self.expert(torch.stack([self._encoded(name, batch) for name in self.names])), batch.present)

    def _encoded(self, name: str, batch: MultimodalBatch) -> Float[Tensor, "B two_L"]:
        """Return the encoder's output for a modality's entries; 0 where they are absent."""
        rows = batch.indices_where(batch.where(name))
        raw = self.networks.encode_entries(name, batch.visible(name, rows))
        return raw if rows is None else raw.new_zeros(batch.size, raw.shape[-1]).index_copy(0, rows, raw)

    def expert(self, raw: Float[Tensor, "*batch two_L"]) -> Diagonal:
        """Split an encoder's output: loc, and scale = softplus(raw) + 1e-4."""
        loc, scale = raw.chunk(2, -1)
        return self.family(loc, F.softplus(scale) + MIN_SCALE)

    def theta(self, name: str, z: Float[Tensor, "*batch L"]) -> Tensor:
        """Return the parameters of p(x_m | z), [*batch, *shape]; pixels pass a sigmoid unless they are logits."""
        m = self.modalities[self.names.index(name)]
        theta = self.networks.decode(name, z)
        return theta.sigmoid() if m.dtype == "uint8" and m.likelihood in ("laplace", "normal") else theta

    def log_px_of(
        self, name: str, z: Float[Tensor, "*free B L"], batch: MultimodalBatch, *,
        weighted: bool = True, where: Bool[Tensor, "*axes B"] | None = None,
    ) -> Float[Tensor, "*free B"]:  # fmt: skip
        """Return log p(x_m | z), zero where x_m is absent or ``where`` is False; nothing is decoded there.

        Args:
            name: m.
            z: latents; their last but one axis has the rows of the batch.
            batch: the entries.
            weighted: True to multiply by the modality's weight, as in training; scores use the density itself.
            where: mask of the latents that are needed, for the last axes of z; a function of ``batch.present`` alone.
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
        return self._likelihoods[m.name](x, self.theta(m.name, z), m.scale, len(m.shape))

    def log_px(
        self, z: Tensor, batch: MultimodalBatch, *, weighted: bool = True, where: Tensor | None = None
    ) -> Float[Tensor, "M *batch"]:
        """Return :meth:`log_px_of` of every modality from the same z, stacked over modalities."""
        return torch.stack([self.log_px_of(name, z, batch, weighted=weighted, where=where) for name in self.names])

    def decode(self, z: Float[Tensor, "*batch L"], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return E[x_m | z] of every modality, or of ``names``; of a caption the most likely word at each place."""
        return {name: self._likelihoods[name].mean(self.theta(name, z)) for name in names or self.names}
