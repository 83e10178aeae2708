"""Nets of the authors' released code, where they differ from the papers' nets in ``conv``.

They are for reproductions; comparisons use the same nets for all models (protocol 15). Encoders end in a linear layer
whose second half is the raw scale: softplus + 1e-4 here, clamped at 1e-3 or 1e-4 by MEME's authors, exp(./2) by
MoPoE's and MMVM's. Decoders of pixels end before the sigmoid.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mmvae_bench.errors import Unsupported
from mmvae_bench.nets.base import Networks
from mmvae_bench.nets.conv import conv_decoder
from mmvae_bench.nets.mlp import activated, mlp_decoder, mlp_encoder
from mmvae_bench.types import Modality

Make = Callable[[Modality, int], nn.Module]
GREY, SVHN, COLOUR = (1, 28, 28), (3, 32, 32), (3, 28, 28)


def meme_digit_encoder(m: Modality, latent_dim: int) -> nn.Module:
    """784, 512 ELU, 512 softplus, 2 L (thwjoy/meme, models/networks.py:9)."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ELU(), nn.Linear(512, 512), nn.Softplus(), nn.Linear(512, 2 * latent_dim)
    )


def meme_svhn_encoder(m: Modality, latent_dim: int) -> nn.Module:
    """Convolutions 32, 64, 128 (4, 2, 1) with batch norm and ReLU, 512 (4, 1, 0) with batch norm, 2 L (:47).

    Batch norm uses the rows that are present and, as in their code, the pseudo-inputs as a separate batch.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise((3, 32, 64, 128)):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    head = nn.Conv2d(128, 512, 4), nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512, 2 * latent_dim)
    return nn.Sequential(*layers, *head)


def mopoe_svhn_encoder(m: Modality, latent_dim: int) -> nn.Module:
    """Convolutions 32, 64, 64 (4, 2, 1), 128 (4, 2, 0), ReLU each, 2 L (thomassutter/MoPoE, MNIST-SVHN-Text)."""
    down = [*(nn.Conv2d(*pair, 4, 2, 1) for pair in pairwise((3, 32, 64, 64))), nn.Conv2d(64, 128, 4, 2)]
    return nn.Sequential(*activated(down), nn.Flatten(), nn.Linear(128, 2 * latent_dim))


def mopoe_svhn_decoder(m: Modality, latent_dim: int) -> nn.Module:
    """L, 128 ReLU, up 64 (4, 1, 0), 64, 32, 3 (4, 2, 1), ReLU between; they take no sigmoid, we do."""
    first = activated([nn.Linear(latent_dim, 128)])
    up = [nn.ConvTranspose2d(128, 64, 4), *(nn.ConvTranspose2d(*pair, 4, 2, 1) for pair in pairwise((64, 64, 32, 3)))]
    return nn.Sequential(*first, nn.Unflatten(1, (128, 1, 1)), *activated(up)[:-1])


class Residual(nn.Module):
    """x + 0.1 conv(lrelu(conv(lrelu(x)))), slope 0.2; a 1x1 convolution of x where the channels differ."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(before, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.short = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H, W]."""
        out: Tensor = self.short(x) + 0.1 * self.outer(F.leaky_relu(self.inner(F.leaky_relu(x, 0.2)), 0.2))
        return out


def mmvm_encoder(m: Modality, latent_dim: int) -> nn.Module:
    """ResNet 64, 128, 256 with average pooling, 2 L (thomassutter/mmvmvae, PolyMNIST; MMVAE+'s nets)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1), Residual(64, 64), nn.AvgPool2d(3, 2, 1), Residual(64, 128), nn.AvgPool2d(3, 2, 1),
        Residual(128, 256), nn.Flatten(), nn.Linear(256 * 7 * 7, 2 * latent_dim),
    )  # fmt: skip


def mmvm_decoder(m: Modality, latent_dim: int) -> nn.Module:
    """L, 256x7x7, ResNet 128, 64, 64 with nearest upsampling, leaky ReLU, 3; they take no sigmoid, we do."""
    return nn.Sequential(
        nn.Linear(latent_dim, 256 * 7 * 7), nn.Unflatten(1, (256, 7, 7)), Residual(256, 128),
        nn.Upsample(scale_factor=2), Residual(128, 64), nn.Upsample(scale_factor=2), Residual(64, 64),
        nn.LeakyReLU(0.2), nn.Conv2d(64, 3, 3, 1, 1),
    )  # fmt: skip


NETS: Mapping[str, Mapping[tuple[int, ...], tuple[Make, Make]]] = {
    "meme": {
        GREY: (meme_digit_encoder, partial(mlp_decoder, hidden=[512, 512])),
        SVHN: (meme_svhn_encoder, conv_decoder),
    },
    "mopoe": {
        GREY: (partial(mlp_encoder, hidden=[400]), partial(mlp_decoder, hidden=[400])),
        SVHN: (mopoe_svhn_encoder, mopoe_svhn_decoder),
    },
    "mmvm": {COLOUR: (mmvm_encoder, mmvm_decoder)},
}


def authors(modalities: Sequence[Modality], latent_dim: int, *, of: Literal["meme", "mopoe", "mmvm"]) -> Networks:
    """Return the nets of a released code: MEME's or MoPoE's for MNIST-SVHN, MMVM's (and MMVAE+'s) for PolyMNIST.

    ``of`` names the authors. The preset ``conv`` has MMVAE's for MNIST-SVHN and MoPoE's for PolyMNIST.

    Raises:
        Unsupported: If that code has no nets for a modality.
    """
    known = NETS[of]
    if strange := [m.name for m in modalities if m.shape not in known]:
        have = ", ".join("x".join(map(str, shape)) for shape in known)
        raise Unsupported(f"the nets of {of}'s authors are for {have}, not for {', '.join(strange)}; use conv or mlp")
    return Networks(
        modalities, latent_dim, lambda m, size: known[m.shape][0](m, size), lambda m, size: known[m.shape][1](m, size)
    )
