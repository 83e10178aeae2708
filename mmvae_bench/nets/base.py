"""What every model gets: an encoder and a decoder a modality, the same for all models of a comparison."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mmvae_bench.types import Modality


class Networks(nn.Module):
    """The nets of a run.

    An encoder maps [B, *shape] to [B, 2 L] (loc and raw scale side by side); a decoder maps [B, L] to theta of
    shape [B, *shape]. The model applies the scale's and the pixels' links, so nets end linearly.

    Args:
        modalities: In the data set's order.
        latent_dim: L.
        encoder: Makes the encoder of a modality; ``decoder`` likewise.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        latent_dim: int,
        encoder: Callable[[Modality], nn.Module],
        decoder: Callable[[Modality], nn.Module],
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.latent_dim = latent_dim
        self.encoders = nn.ModuleDict({m.name: encoder(m) for m in modalities})
        self.decoders = nn.ModuleDict({m.name: decoder(m) for m in modalities})

    def encode(self, name: str, x: Tensor) -> Tensor:
        """[B, *shape] -> [B, 2 L]."""
        out: Tensor = self.encoders[name](x)
        return out

    def decode(self, name: str, z: Tensor) -> Tensor:
        """[..., L] -> theta [..., *shape], all leading axes in one call."""
        theta: Tensor = self.decoders[name](z.reshape(-1, z.shape[-1]))
        return theta.reshape(*z.shape[:-1], *theta.shape[1:])
