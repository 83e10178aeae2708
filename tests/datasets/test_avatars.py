"""Drawn faces: what they show, and that their captions say so."""

from pathlib import Path

import numpy as np
import pytest

from mmvae_bench import BenchError, datasets
from mmvae_bench.datasets import avatars
from mmvae_bench.datasets.avatars import CAPTIONS, COUNTS, TABLES, VOCABULARY, Avatars, draw, render
from mmvae_bench.datasets.base import Built
from mmvae_bench.datasets.rules import check_labels, check_modalities, check_rows
from mmvae_bench.datasets.words import decode

NOWHERE = Path("/nonexistent")  # nothing is read from the data directory


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    pytest.importorskip("python_avatars", reason="pip install 'mmvae-bench[avatars]'")
    pytest.importorskip("resvg_py", reason="pip install 'mmvae-bench[avatars]'")
    return draw()


@pytest.fixture(scope="module")
def built(drawn: np.ndarray) -> Built:
    """Every combination once on each side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(avatars, "TRAIN", 1)
        patch.setattr(avatars, "TEST", 1)
        patch.setattr(avatars, "draw", lambda: drawn)
        return Avatars(side=32).build(NOWHERE)


def test_every_combination_is_there_equally_often_and_in_random_order(built: Built) -> None:
    for rows in (built.train, built.test):
        assert rows.attributes is not None
        _, counts = np.unique(rows.attributes, axis=0, return_counts=True)
        assert len(counts) == np.prod(COUNTS) == 216 and np.ptp(counts) == 0
        assert len(np.unique(rows.attributes[:40, 0])) == 3
        assert np.array_equal(rows.label, rows.attributes[:, 0])
    assert not np.array_equal(built.train.attributes, built.test.attributes)
    assert len({x.tobytes() for rows in (built.train, built.test) for x in rows.x["image"]}) == 432


def test_captions_say_the_attributes_of_their_rows(built: Built) -> None:
    captions, attributes = built.test.x["caption"], built.test.attributes
    assert np.array_equal(CAPTIONS.read(captions), attributes)  # type: ignore[arg-type]
    assert CAPTIONS.accepts(captions).all()  # type: ignore[arg-type]
    written = CAPTIONS.write(np.array([[1, 1, 1, 0, 1], [0, 0, 0, 1, 2]]))
    assert [decode(row, VOCABULARY) for row in written] == [
        "long red hair round glasses shaven sad",
        "short black hair no glasses bearded grimacing",
    ]
    assert list(CAPTIONS.attributes) == list(TABLES) and Avatars().classes == ("short", "long", "curly")


def test_colours_filled_in_are_those_of_a_drawing_in_these_colours(drawn: np.ndarray) -> None:
    """A drawing by python-avatars in other colours, for parts that overlap most, differs by its rounding alone."""
    parts, index = ("CURLY", "SUNGLASSES", "BEARD_MAGESTIC", "SAD"), (2, 2, 1, 1)
    colours = ("#D08B5B", "#D6B370", "#A7FFC4")
    expected = avatars._drawn(parts, *colours)
    inks = np.array([avatars._rgb(colour) for colour in colours])
    found = drawn[index]
    assert np.abs(found[..., :3] + found[..., 3:6] @ inks - expected[..., :3]).max() < 4 / 255
    assert np.abs(1 - found[..., 6] - expected[..., 3]).max() < 1.5 / 255


def test_pictures_show_the_colours_of_hair_and_the_bigger_beard(drawn: np.ndarray) -> None:
    """Known places: the top of the hair, and the chest below the chin, which only a beard covers."""
    hues = {}
    for colour in range(4):
        for beard in range(2):
            x = render(np.random.default_rng(0), np.array([[1, colour, 0, beard, 0]]), drawn, 64)[0]
            hues[colour, beard] = x[:, 6:10, 28:36].mean((1, 2)), x[:, 50:54, 30:34].mean((1, 2))
    for colour, (_, code) in enumerate(avatars.COLOURS.items()):
        shade = 255 * np.array(avatars._rgb(code))
        assert np.abs(hues[colour, 0][0] - shade).max() < 255 * avatars.SHADE + 25
        assert np.abs(hues[colour, 1][1] - shade).max() < 255 * avatars.SHADE + 25
    without = [hues[colour, 0][1] for colour in range(4)]
    assert np.ptp(without, 0).max() < 2  # neck or shirt, whatever the hair


def test_both_sides_show_the_same_faces(drawn: np.ndarray) -> None:
    values = np.array([[0, 1, 2, 0, 1], [2, 3, 0, 1, 2]])
    big, small = (render(np.random.default_rng(3), values, drawn, side).astype(float) for side in (64, 32))
    assert big.shape == (2, 3, 64, 64) and small.shape == (2, 3, 32, 32)
    halved = big.reshape(2, 3, 32, 2, 32, 2).mean((3, 5))
    assert np.abs(halved - small).mean() < 2


def test_without_the_extra_a_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avatars, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"resvg_py. Run pip install 'mmvae-bench\[avatars\]'"):
        Avatars().build(NOWHERE)


def test_labels_name_all_attributes_of_a_face(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.make("avatars", {"side": 32, "labels": True})
    monkeypatch.setattr(Avatars, "build", lambda self, data_dir: built)
    labelled, label = data.build(NOWHERE), data.modalities[-1]
    check_modalities(data)
    for rule in (check_rows, check_labels):
        rule(data, labelled)
    assert (label.name, label.shape, len(label.vocabulary)) == ("label", (5,), 1 + sum(COUNTS))
    assert np.array_equal(data.judges({})["label"].read(labelled.test.x["label"]), built.test.attributes)  # type: ignore[arg-type]
