"""The conv preset is the papers' nets: parameters counted by hand from their tables, and what it does with the rest."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from mmvae_bench import nets
from mmvae_bench.errors import Unsupported
from mmvae_bench.types import Modality

GREY = Modality("grey", (1, 28, 28))
SMALL = Modality("small", (3, 32, 32))
LARGE = Modality("large", (3, 64, 64))
COLOUR = Modality("colour", (3, 28, 28))
FEATURES = Modality("features", (2048,), dtype="float32")
CAPTION = Modality("caption", (32,), "categorical", dtype="int16", vocabulary=("w",) * 20)
ALL = [GREY, SMALL, LARGE, COLOUR, FEATURES, CAPTION]


def conv(modalities, latent_dim=64, **options):
    return nets.registry.get("conv")(modalities, latent_dim, **options)


def count(module):
    return sum(p.numel() for p in module.parameters())


def convolutions(*channels):
    """Weights and biases of 4x4 convolutions one after the other."""
    return sum(16 * a * b + b for a, b in pairwise(channels))


def full(*sizes):
    """Weights and biases of linear layers one after the other."""
    return sum(a * b + b for a, b in pairwise(sizes))


def test_parameters_are_those_of_the_papers():
    made = conv([GREY, SMALL, LARGE, FEATURES])
    assert count(made.decoders["small"]) == 296_675  # MEME's released SVHN decoder, counted by running it
    assert count(made.encoders["small"]) == convolutions(3, 32, 64, 128) + 2 * convolutions(128, 64)
    assert count(made.encoders["grey"]) == full(784, 400) + 2 * full(400, 64)
    assert count(made.encoders["large"]) == convolutions(3, 64, 128, 256, 512) + 2 * convolutions(512, 64) == 3_805_248
    assert count(made.decoders["large"]) == convolutions(64, 512, 256, 128, 64, 3) == 3_280_835
    assert count(made.encoders["features"]) == full(2048, 1024, 512, 256) + 2 * full(256, 64) == 2_787_200
    assert count(made.decoders["features"]) == full(64, 256, 512, 1024, 2048) == 2_772_736


def test_colour_digits_have_the_nets_of_mopoe():
    """At L = 512 as in job_polymnist, counted from the layers of EncoderImg and DecoderImg, style_dim = 0."""
    made = conv([COLOUR], 512)
    weights = sum(9 * a * b for a, b in ((3, 32), (32, 64), (64, 128)))
    assert count(made.encoders["colour"]) == weights + 32 + 64 + 128 + full(2048, 512) + 2 * full(512, 512)
    assert count(made.decoders["colour"]) == full(512, 2048) + weights + 64 + 32 + 3
    sizes: list[tuple[int, ...]] = []
    for net in (made.encoders["colour"], made.decoders["colour"]):
        for layer in net:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:])))
    made.decode("colour", made.encode_entries("colour", torch.rand(1, 3, 28, 28))[:, :512])
    assert sizes == [(32, 14, 14), (64, 7, 7), (128, 4, 4), (64, 7, 7), (32, 14, 14), (3, 28, 28)]


def test_activations_are_those_of_the_papers_and_the_ends_are_linear():
    made = conv([LARGE, COLOUR, FEATURES])
    for name, kind, down, up in (("large", nn.ReLU, 4, 4), ("colour", nn.ReLU, 4, 3), ("features", nn.ELU, 3, 3)):
        for net, times in ((made.encoders[name], down), (made.decoders[name], up)):
            layers = [m for m in net.modules() if not list(m.children())]
            assert sum(isinstance(m, kind) for m in layers) == times
            assert isinstance(
                [m for m in layers if not isinstance(m, nn.Flatten | nn.Unflatten)][-1],
                nn.Linear | nn.Conv2d | nn.ConvTranspose2d,
            )


@pytest.mark.parametrize("rows", [1, 3])
def test_shapes(rows):
    made = conv(ALL, 5)
    for m in ALL:
        x = torch.randint(20, (rows, 32)) if m.is_text else torch.rand(rows, *m.shape)
        out = made.encode_entries(m.name, x)
        theta = made.decode(m.name, torch.randn(2, rows, 5))
        assert out.shape == (rows, 10)
        assert theta.shape == (2, rows, *m.shape, *((20,) if m.is_text else ()))


def test_options_reach_the_nets():
    made = conv([CAPTION, GREY], 5, embedding=64, tied=False, hidden=9)
    assert made.input_shape(CAPTION) == (32, 64)
    assert made.words["caption"].scores is not None
    assert made.encoders["grey"][1].out_features == 9


@pytest.mark.parametrize("m", [LARGE, SMALL, COLOUR, FEATURES, CAPTION], ids=lambda m: m.name)
def test_any_of_its_kinds_is_enough(m):
    conv([GREY, m], 3)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 64), (3, 16, 16), (2047,), (20,)])
def test_other_shapes_alone_are_unsupported(shape):
    with pytest.raises(Unsupported, match="use mlp"):
        conv([Modality("other", shape, dtype="float32")], 3)


def test_small_pictures_start_as_they_did_before_there_were_other_nets():
    torch.manual_seed(0)
    made = conv([GREY, SMALL])
    torch.manual_seed(0)
    nn.Linear(784, 400), nn.Linear(400, 128)
    layers = [nn.Conv2d(a, b, 4, 2, 1) for a, b in ((3, 32), (32, 64), (64, 128))] + [nn.Conv2d(128, 128, 4)]
    for ours, expected in zip([m for m in made.encoders["small"] if isinstance(m, nn.Conv2d)], layers, strict=True):
        assert torch.equal(ours.weight, expected.weight)
    nn.Linear(64, 400), nn.Linear(400, 784)
    upwards = [nn.ConvTranspose2d(64, 128, 4)] + [nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in ((128, 64), (64, 32))]
    decoder = [m for m in made.decoders["small"] if isinstance(m, nn.ConvTranspose2d)]
    for ours, expected in zip(decoder, upwards, strict=False):
        assert torch.equal(ours.weight, expected.weight)


def test_a_symbol_beside_a_picture_has_its_own_small_nets() -> None:
    words = ("<pad>", "cat", "dog")
    label = Modality("label", (1,), "categorical", dtype="int16", vocabulary=words)
    networks = conv([Modality("image", (3, 32, 32)), label], 4)
    assert networks.encode_entries("label", torch.tensor([[1], [2]])).shape == (2, 8)
    assert networks.decode("label", torch.zeros(5, 4)).shape == (5, 1, 3)
