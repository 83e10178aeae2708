"""Encoders and decoders of captions as vectors of words: [B, T, E] -> [B, 2 L] and [B, L] -> [B, T, E].

All words are decoded at once, as in the papers: the words of a caption are independent given z.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmvae_bench.errors import Unsupported

HEADS = 4


def _steps(length: int, width: int) -> list[tuple[int, int, int]]:
    """(Rows, channels before, channels after) of the convolutions by which a map [1, T, E] becomes [C, 4, 4]."""
    if any(n & (n - 1) for n in (length, width)) or not 8 <= length <= width:
        raise Unsupported(
            f"the conv caption nets need a caption's length and its words' size as powers of two, 8 <= length <= size, "
            f"not {length} and {width}; use conv[text=transformer]"
        )
    count = width.bit_length() - 3  # halvings of E down to 4; the first of them halve T as well
    channels = [1, *(min(32 << i, 128) for i in range(count))]
    return [(4 if length >> i > 4 else 1, *channels[i : i + 2]) for i in range(count)]  # type: ignore[misc]


def _block(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.GroupNorm(8, channels), nn.ReLU()]


def _kernel(rows: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding that halve E, and T as well where there are 4 rows."""
    return (rows, 4), (2 if rows == 4 else 1, 2), (rows // 4, 1)


def conv_encoder(length: int, width: int, latent_dim: int) -> nn.Module:
    """Convolve the map [1, T, E] as in MMVAE's raw-picture model for CUB (Shi et al. 2019; their 128 channels).

    4x4 convolutions with stride 2 (32, 64, 128 channels) until T = 4, then 1x4 ones until E = 4, then a 4x4 head.
    Group norm replaces the authors' batch norm, whose statistics would include absent captions.
    """
    layers: list[nn.Module] = [nn.Unflatten(1, (1, length))]
    for rows, before, after in (steps := _steps(length, width)):
        layers += _block(nn.Conv2d(before, after, *_kernel(rows), bias=False), after)
    return nn.Sequential(*layers, nn.Conv2d(steps[-1][2], 2 * latent_dim, 4), nn.Flatten())


def conv_decoder(length: int, width: int, latent_dim: int) -> nn.Module:
    """The mirror of :func:`conv_encoder`; MMVAE's code ends with one more 1-channel ReLU: no negative values.

    The first layer has no norm (as in MEME's App. K): a group norm there would remove the length of z.
    """
    *steps, last = _steps(length, width)[::-1]
    layers = [nn.Unflatten(1, (latent_dim, 1, 1)), nn.ConvTranspose2d(latent_dim, steps[0][2], 4), nn.ReLU()]
    for rows, after, before in steps:
        layers += _block(nn.ConvTranspose2d(before, after, *_kernel(rows), bias=False), after)
    return nn.Sequential(*layers, nn.ConvTranspose2d(last[2], 1, *_kernel(last[0])), nn.Flatten(1, 2))


def _layers(width: int) -> nn.TransformerEncoder:
    """Pre-norm layers. Without biases torch computes evaluation as it computes training, with the same numbers."""
    if width % HEADS:
        raise Unsupported(f"the words' size must be a multiple of {HEADS} for the transformer, not {width}")
    layer = nn.TransformerEncoderLayer(
        width, HEADS, 2 * width, dropout=0.0, batch_first=True, norm_first=True, bias=False
    )
    stack = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
    for weight in stack.layers.parameters():
        if weight.dim() == 2:
            nn.init.xavier_uniform_(weight)  # torch starts all layers as copies of one
    return stack


class TransformerEncoder(nn.Module):
    """Words attend to each other; their mean is mapped to 2 L numbers.

    A place whose vector is exactly zero is padding: nothing attends to it and the mean excludes it.
    """

    def __init__(self, length: int, width: int, latent_dim: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(length, width) / width**0.5)
        self.layers = _layers(width)
        self.head = nn.Linear(width, 2 * latent_dim)

    def forward(self, vectors: Float[Tensor, "B T E"]) -> Float[Tensor, "B two_L"]:
        """Return loc and raw scale; for a caption without words, which is absent, the head's bias."""
        words = (vectors != 0).any(-1)
        empty = ~words.any(1, keepdim=True)
        h = self.layers(vectors + self.positions, src_key_padding_mask=~(words | empty))  # softmax over nothing is NaN
        total = torch.where(words[..., None], h, 0.0).sum(1)
        out: Tensor = self.head(total / words.sum(1, keepdim=True).clamp(min=1))
        return out


class TransformerDecoder(nn.Module):
    """z is mapped to every place; the places attend to each other."""

    def __init__(self, length: int, width: int, latent_dim: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(length, width) / width**0.5)
        self.start = nn.Linear(latent_dim, width)
        self.layers = _layers(width)

    def forward(self, z: Float[Tensor, "B L"]) -> Float[Tensor, "B T E"]:
        """Return a vector for each place, which the words score."""
        out: Tensor = self.layers(self.start(z)[:, None] + self.positions)
        return out


Maker = Callable[[int, int, int], nn.Module]  # (T, E, L) -> module
TEXT: dict[str, tuple[Maker, Maker]] = {
    "conv": (conv_encoder, conv_decoder),
    "transformer": (TransformerEncoder, TransformerDecoder),
}
