"""The captioned shapes: what their rows are and what the data set declares."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.datasets.base import Built
from mmvae_bench.datasets.captioned_shapes import LENGTH, VOCABULARY, CaptionedShapes, Grammar, balanced
from mmvae_bench.datasets.words import SPECIALS

LEVELS = (1, 2, 3, 4, 5)
COUNTS = (3, 2, 5, 4, 2)
NOWHERE = Path("/nonexistent")  # nothing is read from the data directory
levels = st.sampled_from(LEVELS)


def make(level: int) -> CaptionedShapes:
    return CaptionedShapes(level=level)  # type: ignore[arg-type]


@cache
def built(level: int) -> Built:
    return make(level).build(NOWHERE)


@pytest.mark.parametrize("level", LEVELS)
def test_attributes_are_balanced_and_shuffled(level: int) -> None:
    for rows in (built(level).train, built(level).test):
        assert rows.attributes is not None
        for column, values in zip(rows.attributes.T, COUNTS, strict=False):
            assert np.ptp(np.bincount(column, minlength=values)) <= 0.01 * len(rows)
            assert len(np.unique(column[:60])) == values


@given(n=st.integers(1, 1000), level=levels)
def test_any_number_of_rows_is_balanced(n: int, level: int) -> None:
    _, count = np.unique(balanced(n)[:, :level], axis=0, return_counts=True)
    assert np.ptp(count) <= 1
    assert len(count) == min(n, np.prod(COUNTS[:level]))


@pytest.mark.parametrize("level", LEVELS)
def test_every_caption_says_the_attributes_of_its_row(level: int) -> None:
    for rows in (built(level).train, built(level).test):
        captions = rows.x["caption"]
        assert np.array_equal(Grammar(level).read(captions), rows.attributes)  # type: ignore[arg-type]
        assert np.array_equal(rows.label, rows.attributes[:, 0])  # type: ignore[arg-type, index]
        assert Grammar(level).accepts(captions).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("level", LEVELS)
def test_no_two_pictures_are_the_same(level: int) -> None:
    data = built(level)
    assert len({x.tobytes() for rows in (data.train, data.test) for x in rows.x["image"]}) == 5000


def test_a_row_shows_the_same_shape_at_every_level_and_splits_have_their_own_streams() -> None:
    for level in LEVELS[:-1]:
        deeper = built(5).train.attributes
        assert deeper is not None
        assert np.array_equal(built(level).train.attributes, deeper[:, :level])  # type: ignore[arg-type]
    assert not np.array_equal(built(1).train.x["image"][:1000], built(1).test.x["image"])


# --- declarations ----------------------------------------------------------------------------------------------------


def test_levels_name_their_attributes_in_order() -> None:
    assert list(make(5).attributes or ()) == ["shape", "size", "colour", "position", "background"]
    for level in LEVELS:
        attributes = make(level).attributes or {}
        assert [len(values) for values in attributes.values()] == list(COUNTS[:level])
    assert (make(4).attributes or {})["position"] == ("top left", "top right", "bottom left", "bottom right")
    assert make(1).classes == (make(1).attributes or {})["shape"]
    assert make(1).related == "class"
    assert set(make(2).judges({})) == {"caption"}  # pictures need an oracle


def test_the_vocabulary_is_that_of_all_levels() -> None:
    words = {make(level).modalities[1].vocabulary for level in LEVELS}
    assert words == {VOCABULARY}
    assert VOCABULARY[:3] == SPECIALS
    assert len(set(VOCABULARY)) == len(VOCABULARY) == 20
    assert LENGTH == 8  # a power of two, and enough for the longest


@pytest.mark.parametrize("level", LEVELS)
def test_rows_have_the_declared_shapes(level: int) -> None:
    data, dataset = built(level), make(level)
    assert dataset.attributes is not None
    for rows, count in ((data.train, 4000), (data.test, 1000)):
        for modality in dataset.modalities:
            assert rows.x[modality.name].shape == (count, *modality.shape)
            assert rows.x[modality.name].dtype == modality.dtype
        assert rows.label is not None
        assert rows.attributes is not None
        assert rows.attributes.shape == (count, level) == (count, len(dataset.attributes))
        assert rows.attributes.dtype == rows.label.dtype == np.int64
        assert np.array_equal(rows.label, rows.attributes[:, 0])
        assert rows.item is None
