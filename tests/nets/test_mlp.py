"""Fully connected nets take entries of any shape, captions as their words' vectors."""

import pytest
import torch
from torch import nn

from mmvae_bench import nets
from mmvae_bench.nets.mlp import embedded
from mmvae_bench.types import Modality

PICTURE = Modality("picture", (2, 3, 5))
CAPTION = Modality("caption", (6,), "categorical", dtype="int16", vocabulary=tuple("abcdefghi"))


@pytest.mark.parametrize("preset", ["mlp", "linear"])
@pytest.mark.parametrize("rows", [1, 4])
def test_shapes(preset, rows):
    made = nets.registry.get(preset)([PICTURE, CAPTION], 3)
    z = torch.randn(2, rows, 3)
    assert made.encode_entries("picture", torch.rand(rows, 2, 3, 5)).shape == (rows, 6)
    assert made.encode_entries("caption", torch.randint(9, (rows, 6))).shape == (rows, 6)
    assert made.decode("picture", z).shape == (2, rows, 2, 3, 5)
    assert made.decode("caption", z).shape == (2, rows, 6, 9)


def test_only_a_caption_is_seen_as_vectors():
    assert embedded(PICTURE, 32) is PICTURE
    assert embedded(CAPTION, 32).shape == (6, 32)


def test_a_caption_alongside_does_not_change_how_a_picture_starts():
    states = []
    for modalities in ([PICTURE], [PICTURE, CAPTION]):
        torch.manual_seed(0)
        states.append(nets.registry.get("mlp")(modalities, 3).encoders["picture"].state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_hidden_and_layers_are_what_they_say():
    made = nets.registry.get("mlp")([CAPTION], 3, hidden=7, layers=3)
    sizes = [(m.in_features, m.out_features) for m in made.encoders["caption"] if isinstance(m, nn.Linear)]
    assert sizes == [(6 * 32, 7), (7, 7), (7, 7), (7, 6)]


def test_linear_is_affine_in_the_words_vectors():
    encoder = nets.registry.get("linear")([CAPTION], 3).double().encoders["caption"]
    a, b = torch.randn(2, 1, 6, 32, dtype=torch.float64)
    torch.testing.assert_close(encoder((a + b) / 2), (encoder(a) + encoder(b)) / 2)
