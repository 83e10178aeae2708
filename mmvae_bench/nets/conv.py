"""The nets of MEME's paper for MNIST-SVHN (App. K, Table 8), which are also MMVAE's: no normalisation layers.

28x28 grey digits: FC 400. 32x32 colour: convolutions 32, 64, 128 (4x4, stride 2, padding 1), then a 4x4 head.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from mmvae_bench.errors import Unsupported
from mmvae_bench.nets.base import Networks
from mmvae_bench.nets.mlp import mlp_decoder, mlp_encoder
from mmvae_bench.types import Modality


def conv_encoder(m: Modality, latent_dim: int) -> nn.Module:
    """[B, C, 32, 32] -> [B, 2 L]."""
    sizes = [m.shape[0], 32, 64, 128]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(128, 2 * latent_dim, 4), nn.Flatten())


def conv_decoder(m: Modality, latent_dim: int) -> nn.Module:
    """[B, L] -> [B, C, 32, 32]."""
    layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1)), nn.ConvTranspose2d(latent_dim, 128, 4), nn.ReLU()]
    for before, after in ((128, 64), (64, 32)):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, m.shape[0], 4, 2, 1))


def conv(modalities: Sequence[Modality], latent_dim: int, *, hidden: int = 400) -> Networks:
    """Return convolutional nets for 32x32 pictures and one-hidden-layer MLPs of ``hidden`` units for the rest.

    Raises:
        Unsupported: If no modality is a 32x32 picture: use ``mlp`` there.
    """
    pictures = {m.name for m in modalities if len(m.shape) == 3 and m.shape[1:] == (32, 32)}
    if not pictures:
        raise Unsupported("the conv nets need at least one 32x32 picture modality; use mlp")
    return Networks(
        modalities,
        latent_dim,
        lambda m: conv_encoder(m, latent_dim) if m.name in pictures else mlp_encoder(m, latent_dim, [hidden]),
        lambda m: conv_decoder(m, latent_dim) if m.name in pictures else mlp_decoder(m, latent_dim, [hidden]),
    )
