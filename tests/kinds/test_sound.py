"""Nets and augmentation of sounds."""

import pytest
import torch

from mmvae_bench import Modality
from mmvae_bench.kinds import kinds
from mmvae_bench.kinds.sound import SHIFT, shift
from mmvae_bench.nets.conv import conv

SOUND = Modality("sound", (1, 64, 48), "laplace", dtype="float32", kind="sound")


@pytest.mark.parametrize("shape", [(1, 64, 48), (1, 64, 32), (1, 32, 64)])
def test_the_preset_conv_has_nets_for_sounds_of_any_size(shape: tuple[int, ...]) -> None:
    m = Modality("sound", shape, "normal", dtype="float32", kind="sound")
    networks = conv([m, Modality("mnist", (1, 28, 28))], 5)
    encoded = networks.encode("sound", torch.zeros(2, *shape))
    assert encoded.shape == (2, 10)
    assert networks.decode("sound", encoded[:, :5]).shape == (2, *shape)
    assert any(isinstance(layer, torch.nn.Conv2d) for layer in networks.encoders["sound"].modules())


def test_a_shift_moves_a_sound_in_time_alone() -> None:
    torch.manual_seed(0)
    x = torch.zeros(200, 1, 4, 20)
    x[:, 0, 2, 9], x[:, 0, 1, 0] = 5.0, -2.0  # -2 is the least of all
    moved = shift(x)
    assert moved.shape == x.shape
    places = moved[:, 0, 2].argmax(1)
    assert set(places.tolist()) == set(range(9 - SHIFT, 9 + SHIFT + 1))
    assert (moved[:, 0, 2].amax(1) == 5).all() and (moved[:, 0, [0, 1, 3]] <= 0).all()
    later = moved[places == 9 + SHIFT]
    assert (later[..., :SHIFT] == -2).all()


def test_sounds_are_heard_and_have_a_likelihood_of_numbers() -> None:
    kind = kinds.get("sound")
    assert kind.heard and kind.likelihoods == ("normal", "laplace")
    assert not any(kinds.get(name).heard for name in kinds.names() if name != "sound")
