"""Fully connected nets take entries of any shape, captions as their words' vectors."""

import torch
from torch import nn

from mmvae_bench import nets
from mmvae_bench.types import Modality

PICTURE = Modality("picture", (2, 3, 5))
CAPTION = Modality("caption", (6,), "categorical", dtype="int16", vocabulary=tuple("abcdefghi"))


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
