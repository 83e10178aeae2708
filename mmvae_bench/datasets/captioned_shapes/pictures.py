"""Rendered pictures of one shape: the look of each word of a caption, and variation that no caption names.

Results depend only on the arguments and the state of the given generator.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 32  # of a finished picture, in pixels
FINE = 8  # factor by which shapes are drawn larger before averaging, which smooths edges
TURN = np.linspace(0, 2 * np.pi, 48, endpoint=False)  # angles of the corners of round shapes
# The look of each word. Lengths are in pixels of the finished picture.
OUTLINES = {  # corners [n, 2], x to the right and y down
    "heart": np.stack(
        [
            16 * np.sin(TURN) ** 3,
            -13 * np.cos(TURN) + 5 * np.cos(2 * TURN) + 2 * np.cos(3 * TURN) + np.cos(4 * TURN),
        ],
        1,
    ),
    "square": np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]),
    "ellipse": np.stack([0.5 * np.cos(TURN), np.sin(TURN)], 1),
}
SIZES = {"small": 6.5, "big": 10.5}  # square root of the area, the same for all shapes
COLOURS = {  # hue in degrees, saturation
    "red": (0.0, 0.9),
    "yellow": (54.0, 0.9),
    "green": (130.0, 0.85),
    "blue": (225.0, 0.85),
    "pink": (315.0, 0.5),
}
VERTICAL = {"top": -6.5, "bottom": 6.5}  # offset of the shape's centre from the picture's
HORIZONTAL = {"left": -6.5, "right": 6.5}
BACKGROUNDS = {"light": 0.88, "dark": 0.14}  # grey level, 0..1
# Fixed values of what the captions of a level do not name.
MEDIUM = 9.0
PLAIN = COLOURS["red"]
CENTRE = (0.0, 0.0)
PLATE = BACKGROUNDS["dark"]
# Largest variation of what no caption names, drawn uniformly to either side.
SHIFT = 1.5  # pixels, of the centre, in both directions
TILT = 10.0  # degrees
SCALE = 0.06  # of the size
HUE = 8.0  # degrees
FADE = 0.1  # saturation, downwards only
SHADE = 0.08  # value, about .9
TINT = 0.03  # each colour of the background
Array = NDArray[np.float64]


def render(rng: np.random.Generator, attributes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Render one picture for each of N rows.

    Args:
        rng: draws what no caption names; the number of draws depends on N alone.
        attributes: [N, 1..5]: indices of shape, size, colour, position (row by row) and background in the tables above.
            Absent columns are fixed: medium, red, in the centre, on dark.

    Returns:
        Pixels [N, 3, 32, 32].
    """
    n = len(attributes)
    shape, *named = attributes.T
    size = _looks(named, 0, list(SIZES.values()), MEDIUM, n) * (1 + rng.uniform(-SCALE, SCALE, n))
    angle = np.deg2rad(rng.uniform(-TILT, TILT, n))
    places = [(x, y) for y in VERTICAL.values() for x in HORIZONTAL.values()]
    centre = SIDE / 2 + _looks(named, 2, places, CENTRE, n) + rng.uniform(-SHIFT, SHIFT, (n, 2))
    outlines = [_unit(outline) for outline in OUTLINES.values()]
    cover = np.stack([_cover(size[i] * _turned(outlines[k], angle[i]) + centre[i]) for i, k in enumerate(shape)])
    ink = _ink(rng, _looks(named, 1, list(COLOURS.values()), PLAIN, n))
    plate = _looks(named, 3, list(BACKGROUNDS.values()), PLATE, n)[:, None] + rng.uniform(-TINT, TINT, (n, 3))
    picture = plate[:, :, None, None] + cover[:, None] * (ink - plate)[:, :, None, None]
    return (255 * picture.clip(0, 1)).round().astype(np.uint8)


def _looks(named: Sequence[NDArray[np.int64]], which: int, table: object, fixed: object, n: int) -> Array:
    """Return the look of each row, [N, ...]: by its column, or the fixed one if there is no such column."""
    if which < len(named):
        return np.asarray(table, np.float64)[named[which]]
    return np.asarray([fixed] * n, np.float64)


def _unit(outline: Array) -> Array:
    """Return the shape with its centre of mass at the origin and area 1 (shoelace formula)."""
    x, y = outline.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    area = cross.sum() / 2
    centre = ((outline + np.roll(outline, -1, 0)) * cross[:, None]).sum(0) / (6 * area)
    unit: Array = (outline - centre) / np.sqrt(abs(area))
    return unit


def _turned(outline: Array, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    turned: Array = outline @ np.array([[c, s], [-s, c]])
    return turned


def _cover(corners: Array) -> Array:
    """Return the share of each pixel [32, 32] inside the polygon, 0..1."""
    fine = Image.new("L", (FINE * SIDE, FINE * SIDE))
    ImageDraw.Draw(fine).polygon((FINE * corners - 0.5).ravel().tolist(), fill=255)
    return np.asarray(fine.reduce(FINE), np.float64) / 255


def _ink(rng: np.random.Generator, colour: Array) -> Array:
    """Return red, green and blue [N, 3] of hues and saturations [N, 2], with random variation."""
    n = len(colour)
    hue = colour[:, 0] + rng.uniform(-HUE, HUE, n)
    saturation = colour[:, 1] - rng.uniform(0, FADE, n)
    value = 0.9 + rng.uniform(-SHADE, SHADE, n)
    sextant = (np.array([5.0, 3.0, 1.0]) + hue[:, None] / 60) % 6
    rgb: Array = value[:, None] * (1 - saturation[:, None] * np.minimum(sextant, 4 - sextant).clip(0, 1))
    return rgb
