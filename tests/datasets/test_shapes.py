"""Pictures of shapes: that each word looks as it says, and that nothing else decides what is drawn."""

import colorsys
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from mmvae_bench.datasets.captioned_shapes import BACKGROUNDS, COLOURS, OUTLINES, SIDE, SIZES, _unit, render

SHAPE, SIZE, COLOUR, POSITION, BACKGROUND = range(5)
COUNTS = (3, 2, 5, 4, 2)


@cache
def everything() -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Every combination four times, and its pictures."""
    values = np.stack([a.ravel() for a in np.indices((*COUNTS, 4))[:5]], 1)
    return values, pictures(values)


def pictures(values: NDArray[np.int64], seed: int = 0) -> NDArray[np.uint8]:
    return render(np.random.default_rng(seed), values)


def coverage(x: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far each pixel [N, 32, 32] is from the picture's background, which is its most frequent colour, 0..1."""
    flat = x.reshape(len(x), 3, -1).astype(np.float64)
    distance = np.abs(flat - np.median(flat, 2, keepdims=True)).sum(1)
    share: NDArray[np.float64] = (distance / distance.max(1, keepdims=True)).reshape(len(x), SIDE, SIDE)
    return share


def ink(x: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The colour of each shape [N, 3], 0..1: the mean over what it covers wholly."""
    inside = (coverage(x) > 0.95)[:, None]
    rgb: NDArray[np.float64] = (x * inside).sum((2, 3)) / inside.sum((2, 3)) / 255
    return rgb


def test_pictures_are_pixels_of_the_declared_shape() -> None:
    x = everything()[1]
    assert (x.shape, x.dtype) == ((960, 3, 32, 32), np.uint8)
    edges = coverage(x)
    assert (((edges > 0.1) & (edges < 0.9)).sum((1, 2)) >= 4).all()  # smoothed


@pytest.mark.parametrize("colour", COLOURS)
def test_a_shape_of_a_colour_has_its_hue(colour: str) -> None:
    values, x = everything()
    rows = values[:, COLOUR] == list(COLOURS).index(colour)
    hue = np.array([360 * colorsys.rgb_to_hsv(*rgb)[0] for rgb in ink(x[rows])])
    away = (hue - COLOURS[colour][0] + 180) % 360 - 180
    assert np.abs(away).max() < 10
    assert away.std() > 3  # and yet varies


def test_every_small_shape_covers_less_than_every_big_one() -> None:
    """Areas are what SIZES says, and those of shapes alike, so that a shape does not tell its size."""
    values, x = everything()
    covered = coverage(x).sum((1, 2))
    for shape in range(len(OUTLINES)):
        small, big = (covered[(values[:, SHAPE] == shape) & (values[:, SIZE] == k)] for k in (0, 1))
        assert small.max() < big.min()
        assert small.mean() == pytest.approx(SIZES["small"] ** 2, rel=0.1)
        assert big.mean() == pytest.approx(SIZES["big"] ** 2, rel=0.1)


def test_the_centre_of_mass_lies_in_the_quadrant() -> None:
    values, x = everything()
    share = coverage(x)
    share = share / share.sum((1, 2), keepdims=True)
    row = (share.sum(2) * np.arange(SIDE)).sum(1) - SIDE / 2
    column = (share.sum(1) * np.arange(SIDE)).sum(1) - SIDE / 2
    assert np.array_equal(2 * (row > 0) + (column > 0), values[:, POSITION])  # top left, top right, bottom ...
    assert np.abs([row, column]).min() > 4


def test_backgrounds_are_light_or_dark() -> None:
    values, x = everything()
    grey = np.median(x.reshape(len(x), -1), 1) / 255
    for k, value in enumerate(BACKGROUNDS.values()):
        assert np.abs(grey[values[:, BACKGROUND] == k] - value).max() < 0.06


def test_shapes_have_the_corners_of_their_names() -> None:
    """Of equal area: the square is as wide as high, the ellipse higher than wide, the heart wider with a notch."""
    unit = {name: _unit(outline) for name, outline in OUTLINES.items()}
    width, height = ({name: float(np.ptp(u[:, i])) for name, u in unit.items()} for i in (0, 1))
    assert width["square"] == height["square"] == pytest.approx(1)
    assert width["ellipse"] / height["ellipse"] == pytest.approx(0.5, abs=0.01)
    assert width["heart"] > height["heart"]
    middle = unit["heart"][np.abs(unit["heart"][:, 0]) < 1e-6, 1]
    assert middle.min() > unit["heart"][:, 1].min() + 0.1  # y points down: its top dips in the middle
    assert middle.max() == unit["heart"][:, 1].max()


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_what_is_not_named_is_fixed(columns: int) -> None:
    values = everything()[0][:, :columns]
    x = pictures(values)
    share = coverage(x)
    if columns <= POSITION:
        centre = (share / share.sum((1, 2), keepdims=True)).sum(1) @ np.arange(SIDE) - (SIDE - 1) / 2
        assert np.abs(centre).max() < 2.5
    if columns <= COLOUR:
        assert (ink(x).argmax(1) == 0).all()
    if columns <= SIZE:
        assert SIZES["small"] ** 2 < share.sum((1, 2)).min() < share.sum((1, 2)).max() < SIZES["big"] ** 2
    assert np.median(x) < 64
