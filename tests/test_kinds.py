"""What entries of each kind look like in figures, and which kind a modality is of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mmvae_bench import BenchError, Modality, nets
from mmvae_bench.datasets.linear_gaussian import LinearGaussian
from mmvae_bench.datasets.rules import check_modalities
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.errors import Broken
from mmvae_bench.kinds import kinds
from mmvae_bench.kinds.base import Kind
from mmvae_bench.kinds.standard import DOWN, HEIGHT, PAPER, UP, numbers, pixels, sentences, symbols

WORDS = (*SPECIALS, "a", "red", "bird")
CAPTION = Modality("caption", (4,), "categorical", dtype="int16", vocabulary=WORDS)
TABLE = Modality("genes", (3,), "normal", dtype="float32")


@pytest.mark.parametrize(
    ("kind", "m"),
    [
        ("picture", Modality("a", (3, 28, 28))),
        ("picture", Modality("a", (1, 8, 8), dtype="float32")),
        ("table", Modality("a", (2, 8, 8))),  # no colours have two channels
        ("table", Modality("a", (1, 7, 8))),
        ("table", TABLE),
        ("caption", CAPTION),
        ("symbol", Modality("a", (1,), "categorical", dtype="int16", vocabulary=WORDS)),
        ("symbol", Modality("a", (3,), "categorical", dtype="int16", vocabulary=WORDS, kind="symbol")),
    ],
)
def test_the_kind_follows_from_shape_and_type_or_is_declared(kind: str, m: Modality) -> None:
    assert m.kind == kind
    assert not kinds.get(kind).likelihoods or m.likelihood in kinds.get(kind).likelihoods


def test_an_unknown_kind_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BenchError, match=r"No kind 'pictur'; did you mean picture"):
        kinds.get("pictur")


def test_captions_end_at_the_first_eos() -> None:
    ids = np.array([[3, 4, 2, 5], [2, 4, 4, 4], [3, 1, 5, 4]])
    assert sentences(CAPTION, ids, ids).tolist() == ["a red", "", "a <unk> bird red"]


def test_symbols_are_named_and_have_no_end_of_a_sentence() -> None:
    m = Modality("label", (2,), "categorical", dtype="int16", vocabulary=("<pad>", "cat", "dog"), kind="symbol")
    ids = np.array([[1, 2], [2, 2], [0, 1]])
    assert symbols(m, ids, ids).tolist() == ["cat, dog", "dog, dog", "cat"]


def test_pixels_are_rounded_and_clipped() -> None:
    x = np.array([-1.0, 0.0, 0.5 / 255 + 1e-6, 1.0, 7.0])
    assert pixels(Modality("image", (5,)), x, x).tolist() == [0, 0, 1, 255, 255]


def test_bars_of_a_table_are_as_long_as_its_numbers() -> None:
    (picture,) = numbers(TABLE, np.array([[2.0, 0.0, -1.0]]), np.array([[2.0, 2.0, 2.0]]))
    assert picture.shape == (3, HEIGHT, 96) and picture.dtype == np.uint8
    up, flat, down = (picture[:, :, 32 * i + 5].T for i in range(3))  # pixels from the top, of each number
    assert (up[: HEIGHT // 2] == UP).all() and (up[HEIGHT // 2 :] == PAPER).all()  # the largest number is at the border
    assert (flat == PAPER).all()
    assert (down == DOWN).all(1).sum() == HEIGHT // 4 and (down[: HEIGHT // 2] == PAPER).all()


def test_bars_share_the_scale_of_the_true_entries_and_stay_inside() -> None:
    true = np.ones((1, 3))
    half, far = numbers(TABLE, np.array([[0.5, 0, 0], [9.0, 0, 0]]), true)
    assert (half[:, :, 0].T == UP).all(1).sum() == HEIGHT // 4
    assert (far[:, :, 0].T == UP).all(1).sum() == HEIGHT // 2


def test_one_far_number_in_hundreds_does_not_flatten_the_others() -> None:
    true = np.ones((100, 3))
    true[0, 0] = 1000.0
    assert np.array_equal(numbers(TABLE, true[1:], true), numbers(TABLE, true[1:], true[1:]))
    rare = np.zeros((100, 3))
    rare[0, 0] = 2.0  # the quantile is 0: the largest value is the scale
    assert (numbers(TABLE, rare[:1], rare)[0, :, : HEIGHT // 2, 0].T == UP).all()


def test_many_numbers_are_cells_line_by_line_whose_colour_is_their_size() -> None:
    true = np.ones((1, 48))  # 12 columns of 8 pixels, 4 lines
    x = np.zeros((1, 48))
    x[0, [0, 13, 47]] = 1.0, -1.0, 0.5
    (picture,) = numbers(TABLE, x, true)
    assert picture.shape == (3, 32, 96)
    middle = picture[:, 4::8, 4::8].reshape(3, -1).T
    assert np.array_equal(middle[0], UP) and np.array_equal(middle[13], DOWN)
    assert np.array_equal(middle[47], np.round((np.array(UP) + PAPER) / 2))
    assert (np.delete(middle, [0, 13, 47], 0) == PAPER).all()
    assert (picture.reshape(3, 4, 8, 12, 8) == picture[:, None, ::8, None, ::8].transpose(0, 2, 1, 4, 3)).all()


def test_a_single_number_is_written() -> None:
    m, x = Modality("x", (1,), "normal", dtype="float32"), np.array([[1.346], [-2.0]], np.float32)
    assert numbers(m, x, x).tolist() == ["1.35", "-2.00"]


@pytest.mark.parametrize("d", [2, 5, 32, 33, 96, 97, 216, 4000])
def test_tables_of_any_length_have_one_width_at_most(d: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, d))
    picture = numbers(Modality("x", (d,), "normal", dtype="float32"), x, np.zeros_like(x))  # a scale of nothing
    assert picture.dtype == np.uint8 and 48 < picture.shape[3] <= 96 and 16 < picture.shape[2] <= 32


def test_a_kind_of_ones_own_has_its_nets_in_conv_and_its_likelihoods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def encoder(m: Modality, latent_dim: int) -> nn.Module:
        made.append(m.name)
        return nn.Linear(m.shape[0], 2 * latent_dim)

    def decoder(m: Modality, latent_dim: int) -> nn.Module:
        return nn.Linear(latent_dim, m.shape[0])

    own = Kind(lambda m, x, true: np.array([f"{row[0]:.1f}" for row in x]), ("normal",), (encoder, decoder))
    monkeypatch.setitem(kinds._loaded, "dial", own)
    dial = Modality("dial", (4,), "normal", dtype="float32", kind="dial")
    networks = nets.registry.get("conv")([dial, TABLE], 2)
    assert made == ["dial"] and networks.decode("dial", torch.zeros(3, 2)).shape == (3, 4)

    class Data(LinearGaussian):
        modalities = (dial, TABLE)

    check_modalities(Data())
    Data.modalities = (replace(dial, likelihood="laplace"), TABLE)
    with pytest.raises(Broken, match="a dial as dial is normal, not laplace"):
        check_modalities(Data())
    Data.modalities = (replace(dial, kind="dail"), TABLE)
    with pytest.raises(Broken, match=r"the kind of dial is one of .*dial"):
        check_modalities(Data())
