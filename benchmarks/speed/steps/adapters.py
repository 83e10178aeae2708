"""Our nets behind the interface of PyPI's ``multivae``; ``tests/against_multivae`` compares losses through them."""

from collections.abc import Callable
from typing import Any

import torch
from multivae.models.base import BaseDecoder, BaseEncoder, ModelOutput
from multivae.models.nn.base_architectures import BaseJointEncoder, BaseMultilatentEncoder
from torch import Tensor, nn

from mmvae_bench.models.base import MultimodalVAE

LogVariance = Callable[[Tensor], Tensor]  # of the second half of a net's output


def as_is(raw: Tensor) -> Tensor:
    """Return the output itself: as cheap as theirs."""
    return raw


class Encoder(BaseEncoder):
    """Our encoder; the first ``shared`` of its ``size`` latents are shared, the others private."""

    def __init__(self, net: nn.Module, size: int, shared: int, log_variance: LogVariance) -> None:
        super().__init__()
        self.net, self.log_variance = net, log_variance
        self.latent_dim, self.style_dim = shared, size - shared

    def forward(self, x: Tensor) -> Any:
        """Return means and log-variances of the shared and the private latents."""
        loc, raw = self.net(x).chunk(2, -1)
        u, w = (slice(self.latent_dim), slice(self.latent_dim, None))
        scale = self.log_variance(raw)
        own = {"style_embedding": loc[:, w], "style_log_covariance": scale[:, w]} if self.style_dim else {}
        return ModelOutput(embedding=loc[:, u], log_covariance=scale[:, u], **own)


class MultilatentEncoder(Encoder, BaseMultilatentEncoder):
    """The same, as multivae names what has private latents."""


class Joint(BaseJointEncoder):
    """Our joint encoder."""

    def __init__(self, ours: Any, size: int, log_variance: LogVariance) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: ours.networks.encoders[f"{name} jointly"] for name in ours.names})
        self.head, self.latent_dim, self.log_variance = ours.head, size, log_variance

    def forward(self, x: dict[str, Tensor]) -> Any:
        """Return mean and log-variance given all modalities."""
        loc, raw = self.head(torch.cat([self.parts[name](x[name]) for name in x], -1).relu()).chunk(2, -1)
        return ModelOutput(embedding=loc, log_covariance=self.log_variance(raw))


class Decoder(BaseDecoder):
    """Our decoder; pixels pass a sigmoid, as in our models."""

    def __init__(self, net: nn.Module, size: int, pixels: bool) -> None:
        super().__init__()
        self.net, self.latent_dim, self.pixels = net, size, pixels

    def forward(self, z: Tensor) -> Any:
        """Return the reconstruction, with the leading axes of z."""
        x = self.net(z.reshape(-1, self.latent_dim))
        x = x.sigmoid() if self.pixels else x
        return ModelOutput(reconstruction=x.reshape(*z.shape[:-1], *x.shape[1:]))


def adapted(ours: MultimodalVAE, shared: int, log_variance: LogVariance = as_is) -> dict[str, Any]:
    """Return encoders and decoders, and the joint encoder where there is one, as multivae's models take them."""
    nets, of = ours.networks, ours.modalities
    size = nets.latent_dim
    kind = Encoder if shared == size else MultilatentEncoder
    joint = {"joint_encoder": Joint(ours, size, log_variance)} if hasattr(ours, "head") else {}
    return {
        "encoders": {m.name: kind(nets.encoders[m.name], size, shared, log_variance) for m in of},
        "decoders": {m.name: Decoder(nets.decoders[m.name], size, m.dtype == "uint8") for m in of},
        **joint,
    }
