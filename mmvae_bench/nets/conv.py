"""The papers' nets, without batch normalisation.

28x28 grey digits: FC 400. 32x32 pictures: convolutions 32, 64, 128 (4x4, stride 2, padding 1), then a 4x4 head (MEME's
paper App. K, Table 8, and MMVAE's code). 64x64 pictures: the same with 64, 128, 256, 512 (MMVAE's raw-picture model for
CUB). 28x28 colour pictures: MoPoE's nets for PolyMNIST (the authors' code, mmnist/networks/ConvNetworksImgCMNIST.py).
2048 features of a picture: FC 1024, 512, 256 with ELU (MMVAE's feature model, MEME's App. K). Captions: ``text``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

from torch import nn

from mmvae_bench.errors import Unsupported
from mmvae_bench.kinds import kinds
from mmvae_bench.nets.base import Networks, Words
from mmvae_bench.nets.mlp import Activation, activated, embedded, mlp_decoder, mlp_encoder
from mmvae_bench.nets.text import TEXT
from mmvae_bench.options import Positive
from mmvae_bench.types import Modality

CHANNELS = {32: (32, 64, 128), 64: (64, 128, 256, 512)}  # by the side of a picture
COLOUR = (3, 28, 28)  # the shape of a picture with MoPoE's nets
FEATURES = (2048,)  # the shape of a picture's features
Makers = list[Callable[[int], nn.Module]]


def conv_encoder(m: Modality, latent_dim: int) -> nn.Module:
    """[B, C, side, side] -> [B, 2 L]."""
    sizes = [m.shape[0], *CHANNELS[m.shape[1]]]
    down = (nn.Conv2d(*pair, 4, 2, 1) for pair in pairwise(sizes))
    return nn.Sequential(*activated(down), nn.Conv2d(sizes[-1], 2 * latent_dim, 4), nn.Flatten())


def conv_decoder(m: Modality, latent_dim: int) -> nn.Module:
    """[B, L] -> [B, C, side, side]."""
    sizes = CHANNELS[m.shape[1]][::-1]
    up = [nn.ConvTranspose2d(latent_dim, sizes[0], 4), *(nn.ConvTranspose2d(*p, 4, 2, 1) for p in pairwise(sizes))]
    last = nn.ConvTranspose2d(sizes[-1], m.shape[0], 4, 2, 1)
    return nn.Sequential(nn.Unflatten(1, (latent_dim, 1, 1)), *activated(up), last)


def colour_encoder(latent_dim: int) -> nn.Module:
    """[B, 3, 28, 28] -> [B, 2 L]. The layer before the head is L wide in the authors' code, where L = 512."""
    down = (nn.Conv2d(*pair, 3, 2, 1) for pair in pairwise((3, 32, 64, 128)))
    return nn.Sequential(
        *activated(down), nn.Flatten(), *activated([nn.Linear(2048, 512)]), nn.Linear(512, 2 * latent_dim)
    )


def colour_decoder(latent_dim: int) -> nn.Module:
    """[B, L] -> [B, 3, 28, 28]. The authors use this as the mean; here it passes a sigmoid, as all pixels do."""
    first = activated([nn.Linear(latent_dim, 2048)])
    up = [nn.ConvTranspose2d(128, 64, 3, 2, 1), nn.ConvTranspose2d(64, 32, 3, 2, 1, output_padding=1)]
    last = nn.ConvTranspose2d(32, 3, 3, 2, 1, output_padding=1)
    return nn.Sequential(*first, nn.Unflatten(1, (128, 4, 4)), *activated(up), last)


def is_square(m: Modality) -> bool:
    """Return True for a square picture of a size in :data:`CHANNELS`."""
    return m.kind == "picture" and m.shape[1] == m.shape[2] and m.shape[1] in CHANNELS


def conv(
    modalities: Sequence[Modality], latent_dim: int, *, hidden: Positive = 400,
    text: Literal["conv", "transformer"] = "conv", embedding: Positive = 128, tied: bool = True,
) -> Networks:  # fmt: skip
    """Return the papers' nets, and one-hidden-layer MLPs of ``hidden`` units for what they do not cover.

    Captions have nets of the kind ``text`` and word vectors of size E = ``embedding``; a tied word is scored by the
    vector that embeds it.

    Raises:
        Unsupported: If all nets would be MLPs, or a caption's nets cannot have its length and ``embedding``.
    """
    makers = {m.name: _makers(m, text, embedding) for m in modalities}
    if not any(makers.values()):
        raise Unsupported(
            "the conv nets need a picture of 32x32 or 64x64, a colour picture of 28x28, 2048 features or a caption; "
            "use mlp"
        )
    makers = {m.name: makers[m.name] or _mlps(embedded(m, embedding), (hidden,)) for m in modalities}
    return Networks(
        modalities, latent_dim, lambda m, size: makers[m.name][0](size), lambda m, size: makers[m.name][1](size),
        lambda m: Words(len(m.vocabulary), embedding, tied=tied),
    )  # fmt: skip


def _makers(m: Modality, text: str, embedding: int) -> Makers:
    """Return the functions from L to the encoder and to the decoder of a modality; none where an MLP stands in."""
    if m.kind == "caption":
        return [partial(make, m.shape[0], embedding) for make in TEXT[text]]
    if is_square(m):
        return [partial(conv_encoder, m), partial(conv_decoder, m)]
    if (own := kinds.get(m.kind).nets) is not None:
        return [partial(make, m) for make in own]
    if m.shape == COLOUR:
        return [colour_encoder, colour_decoder]
    return _mlps(m, (1024, 512, 256), nn.ELU) if m.shape == FEATURES and not m.is_text else []


def _mlps(m: Modality, sizes: tuple[int, ...], activation: Activation = nn.ReLU) -> Makers:
    return [
        partial(mlp_encoder, m, hidden=sizes, activation=activation),
        partial(mlp_decoder, m, hidden=sizes[::-1], activation=activation),
    ]
