"""The authors' nets: parameters as counted by running their code, or by hand from their layers."""

import pytest
import torch

from mmvae_bench import nets
from mmvae_bench.errors import Unsupported
from mmvae_bench.types import Modality

MNIST, SVHN, VIEW = Modality("mnist", (1, 28, 28)), Modality("svhn", (3, 32, 32)), Modality("m0", (3, 28, 28))
IDLE = 65_664  # parameters of MEME's SVHN encoder that its forward never uses


def made(of, modalities, latent_dim=64):
    return nets.registry.get("authors")(modalities, latent_dim, of=of)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_meme_has_the_parameters_of_the_released_code():
    ours = made("meme", [MNIST, SVHN])
    assert count(ours.encoders["mnist"]) == 730_240
    assert count(ours.encoders["svhn"]) == 1_347_488 - IDLE
    assert count(ours.decoders["mnist"]) == 698_128
    assert count(ours.decoders["svhn"]) == 296_675


@pytest.mark.parametrize(("of", "modalities"), [("meme", [MNIST, SVHN]), ("mopoe", [MNIST, SVHN]), ("mmvm", [VIEW])])
def test_shapes(of, modalities):
    ours = made(of, modalities, 8)
    for m in modalities:
        assert ours.encode_entries(m.name, torch.rand(2, *m.shape)).shape == (2, 16)
        assert ours.decode(m.name, torch.rand(3, 2, 8)).shape == (3, 2, *m.shape)


def test_mopoe_and_mmvm_by_hand():
    mopoe, mmvm = made("mopoe", [MNIST, SVHN], 20), made("mmvm", [VIEW], 64)

    def conv(a, b, side, bias=True):
        return side * side * a * b + b * bias

    encoder = conv(3, 32, 4) + conv(32, 64, 4) + conv(64, 64, 4) + conv(64, 128, 4) + 128 * 40 + 40
    assert count(mopoe.encoders["svhn"]) == encoder
    decoder = 20 * 128 + 128 + conv(128, 64, 4) + conv(64, 64, 4) + conv(64, 32, 4) + conv(32, 3, 4)
    assert count(mopoe.decoders["svhn"]) == decoder

    def block(a, b):
        return conv(a, b, 3) + conv(b, b, 3) + (conv(a, b, 1, bias=False) if a != b else 0)

    flat = 256 * 49
    encoder = conv(3, 64, 3) + block(64, 64) + block(64, 128) + block(128, 256) + flat * 128 + 128
    assert count(mmvm.encoders["m0"]) == encoder
    decoder = 64 * flat + flat + block(256, 128) + block(128, 64) + block(64, 64) + conv(64, 3, 3)
    assert count(mmvm.decoders["m0"]) == decoder


def test_what_the_code_does_not_have_is_said():
    with pytest.raises(Unsupported, match="the nets of mmvm's authors are for 3x28x28, not for mnist, svhn"):
        made("mmvm", [MNIST, SVHN])
