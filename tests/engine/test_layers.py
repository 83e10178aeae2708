"""The faster forms of layers are the same functions: outputs and every gradient, against PyTorch's own."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmvae_bench import nets
from mmvae_bench.engine.layers import speed_up
from mmvae_bench.types import Modality

CPU = torch.device("cpu")


def compare(layer: nn.Module, x: torch.Tensor) -> None:
    fast = copy.deepcopy(layer)
    speed_up(fast, CPU)
    assert "forward" in vars(fast), "the fast form was not taken"
    ends = []
    for each in (layer, fast):
        own = x.clone().requires_grad_()
        y = each(own)
        y.square().sum().backward()
        ends.append([y, own.grad, *(p.grad for p in each.parameters())])
    for plain, quick in zip(*ends, strict=True):
        torch.testing.assert_close(quick, plain)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6), st.integers(1, 7), st.booleans())
def test_doubling_to_few_channels(rows, channels, height, width, bias):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, channels, 4, 2, 1, bias=bias).double()
    compare(layer, torch.randn(rows, 3, height, width, dtype=torch.float64))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_from_and_to_a_point(size, bias):
    torch.manual_seed(0)
    compare(nn.ConvTranspose2d(6, 5, size, bias=bias).double(), torch.randn(4, 6, 1, 1, dtype=torch.float64))
    compare(nn.Conv2d(6, 5, size, bias=bias).double(), torch.randn(4, 6, *size, dtype=torch.float64))


def test_other_sizes_and_layers_are_left_to_pytorch():
    torch.manual_seed(0)
    compare(nn.ConvTranspose2d(6, 5, 4).double(), torch.randn(4, 6, 2, 3, dtype=torch.float64))
    compare(nn.Conv2d(6, 5, 3).double(), torch.randn(4, 6, 5, 7, dtype=torch.float64))
    many = nn.Sequential(
        nn.ConvTranspose2d(3, 8, 4, 2, 1), nn.ConvTranspose2d(3, 2, 4, 2, 1, dilation=2), nn.Linear(3, 2)
    )
    speed_up(many, CPU)
    assert not any("forward" in vars(layer) for layer in many)


def test_networks_keep_their_parameters_and_their_numbers():
    torch.manual_seed(0)
    pair = [Modality("mnist", (1, 28, 28)), Modality("svhn", (3, 32, 32))]
    plain = nets.registry.get("conv")(pair, 8)
    fast = copy.deepcopy(plain)
    speed_up(fast, CPU)
    assert {n: p.shape for n, p in fast.named_parameters()} == {n: p.shape for n, p in plain.named_parameters()}
    z, x = torch.randn(3, 8), torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(fast.decode("svhn", z), plain.decode("svhn", z))
    torch.testing.assert_close(fast.encode("svhn", x), plain.encode("svhn", x))
    fast.load_state_dict(plain.state_dict())
