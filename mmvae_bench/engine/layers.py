"""Faster forward functions of layers on a CPU: the same function and parameters, a different order of arithmetic.

Maps are channels-last. oneDNN is slow on three shapes of convolution (benchmarks/speed): from and to a 1x1 map, which
are matrix products, and a transposed one to few channels, which is half as fast as the convolution that it equals.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

DOUBLING = (4, 4), (2, 2), (1, 1)  # kernel, stride and padding
FEW = 4  # largest number of output channels for which the sub-pixel form is faster


def speed_up(networks: nn.Module, device: torch.device) -> None:
    """Replace the forward function of layers that become faster, in place; parameters and their names do not change."""
    if device.type != "cpu":
        return
    networks.to(memory_format=torch.channels_last)
    for layer in networks.modules():
        if type(layer) in (nn.Conv2d, nn.ConvTranspose2d) and layer.groups == 1 and layer.dilation == (1, 1):
            if type(layer) is nn.Conv2d and layer.padding == (0, 0):
                vars(layer)["forward"] = partial(_to_point, layer)
            elif type(layer) is nn.ConvTranspose2d and layer.output_padding == (0, 0):
                if layer.padding == (0, 0):
                    vars(layer)["forward"] = partial(_from_point, layer)
                elif (layer.kernel_size, layer.stride, layer.padding) == DOUBLING and layer.out_channels <= FEW:
                    vars(layer)["forward"] = partial(_doubled, layer)


def _to_point(layer: nn.Conv2d, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H2 W2"]:
    """A convolution over the whole map: x W."""
    if x.shape[2:] != layer.kernel_size:
        return nn.Conv2d.forward(layer, x)
    x, w = x.permute(0, 2, 3, 1), layer.weight.permute(0, 2, 3, 1)  # views, where maps lie channels-last
    return F.linear(x.flatten(1), w.flatten(1), layer.bias)[..., None, None]


def _from_point(layer: nn.ConvTranspose2d, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O H2 W2"]:
    """A transposed convolution of 1x1 maps: x W, one row of W per input channel."""
    if x.shape[2:] != (1, 1):
        return nn.ConvTranspose2d.forward(layer, x)
    w = layer.weight.permute(0, 2, 3, 1)  # [I, h, w, O]
    y = (x.flatten(1) @ w.flatten(1)).reshape(-1, *w.shape[1:])
    y = y if layer.bias is None else y + layer.bias
    return y.permute(0, 3, 1, 2)


def _doubled(layer: nn.ConvTranspose2d, x: Float[Tensor, "B I H W"]) -> Float[Tensor, "B O 2*H 2*W"]:
    """A transposed 4x4 convolution with stride 2 and padding 1."""
    out: Tensor = _Doubled.apply(x, layer.weight, layer.bias)
    return out


class _Doubled(torch.autograd.Function):
    """Forward: a 3x3 convolution to 4 O channels and a pixel shuffle. Backward: that of the transposed convolution."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return [B, O, 2 H, 2 W]."""
        ctx.save_for_backward(x, weight)
        ctx.bias = None if bias is None else bias.shape
        spread = None if bias is None else bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, sub_pixel(weight), spread, padding=1).contiguous(), 2)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad)
        x_grad, weight_grad, bias_grad = torch.ops.aten.convolution_backward(
            gradient, x, weight, ctx.bias, (2, 2), (1, 1), (1, 1), True, (0, 0), 1, wanted
        )
        return x_grad, weight_grad, bias_grad


def sub_pixel(weight: Float[Tensor, "I O 4 4"]) -> Float[Tensor, "4*O I 3 3"]:
    """The kernel of the 3x3 convolution whose channels (o, q, p) are the output's pixels (2 i + q, 2 j + p).

    The transposed convolution is y[2 i + q] = sum_d x[i + d] w[q + 1 - 2 d]: for q = 0, d = -1, 0; for q = 1, d = 0, 1.
    """
    kernel = weight.new_zeros(weight.shape[1], 2, 2, weight.shape[0], 3, 3)
    flipped = weight.transpose(0, 1).flip(-1, -2)  # [O, I, 4, 4]; w[3 - k], so that k = q + 1 - 2 d rises with d
    for q in (0, 1):
        for p in (0, 1):
            kernel[:, q, p, :, q : q + 2, p : p + 2] = flipped[..., q::2, p::2]
    return kernel.flatten(0, 2)
