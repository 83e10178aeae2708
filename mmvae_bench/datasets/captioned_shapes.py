"""Pictures of a shape with a caption, in five levels of difficulty: image-text data that need no download."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmvae_bench.datasets import grammar
from mmvae_bench.datasets.base import Built, Dataset, Judge, Protocol, Rows
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

TRAIN, TEST = 4000, 1000
# Balances the 3,072 terms of a picture's likelihood and the 2 to 8 of a caption's. See benchmarks/protocols.md.
CAPTION_WEIGHT = 100.0

# --- pictures: the look of each word of a caption, and variation that no caption names ---
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
MEDIUM = 9.0  # size where captions do not name it
# Largest variation of what no caption names, drawn uniformly to either side.
SHIFT = 1.5  # pixels, of the centre, in both directions
TILT = 10.0  # degrees
SCALE = 0.06  # of the size
HUE = 8.0  # degrees
FADE = 0.1  # saturation, downwards only
SHADE = 0.08  # value, about .9
TINT = 0.03  # each colour of the background

# --- captions ---
VERSION = 1  # increased by every change of how captions are written or read
LENGTH = 8  # T: the seven words of "small red heart top left on dark" and <eos>
ATTRIBUTES = ("shape", "size", "colour", "position", "background")  # level k names the first k
ORDER = (  # of a caption: attribute, and words of which it contains one
    ("size", tuple(SIZES)),
    ("colour", tuple(COLOURS)),
    ("shape", tuple(OUTLINES)),
    ("position", tuple(VERTICAL)),
    ("position", tuple(HORIZONTAL)),
    ("background", ("on",)),
    ("background", tuple(BACKGROUNDS)),
)
VOCABULARY = (*SPECIALS, *(word for _, words in ORDER for word in words))
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CaptionedShapes(Dataset):
    """A coloured shape and a caption that describes it, after CdSprites+ (Sejnova et al. 2022, arXiv 2209.03048).

    The five levels, their attributes and the scores are theirs; grammar, pictures and counts are ours, so results are
    *not* results on CdSprites+. 4,000 rows for training and 1,000 for testing; the counts of combinations of values
    differ by at most one.

    ===== =========================== ====================================
    level adds                        a caption
    ===== =========================== ====================================
    1     shape: one of 3             ``heart``
    2     size: 2                     ``small heart``
    3     colour: 5                   ``small red heart``
    4     position: 4 quadrants       ``small red heart top left``
    5     background: light or dark   ``small red heart top left on dark``
    ===== =========================== ====================================

    Attributes that a level does not name are fixed (medium, red, in the centre, on dark). Pictures also vary in what no
    caption names: up to 1.5 pixels of shift, 10 degrees of tilt, and slightly in size, hue and background.
    """

    summary: ClassVar[str] = "coloured shapes with captions, five levels after CdSprites+; generated"
    classes = tuple(OUTLINES)

    level: Literal[1, 2, 3, 4, 5] = 1  # number of attributes that captions name

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``image`` [3, 32, 32] and ``caption`` [8]; the vocabulary has 20 words at every level."""
        from mmvae_bench.types import Modality

        return (
            Modality("image", (3, SIDE, SIDE), scale=0.4),
            Modality("caption", (LENGTH,), "categorical", weight=CAPTION_WEIGHT, dtype="int16", vocabulary=VOCABULARY),
        )

    @property
    def protocol(self) -> Protocol:
        """Small nets for small pictures."""
        return Protocol("mlp[hidden=128,layers=2]", 16, epochs=40, batch_size=64, learning_rate=1e-3, rows=3800)

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """The attributes that captions of this level name."""
        return Grammar(self.level).attributes

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Return the judge of captions, which reads them by the grammar; pictures need an oracle."""
        return {"caption": Grammar(self.level)}

    def build(self, data_dir: Path) -> Built:
        """Render both splits."""
        return Built(self._rows("train", TRAIN), self._rows("test", TEST))

    def _rows(self, split: str, n: int) -> Rows:
        """Render N rows in random order; a row has the same shape, tilt and so on at every level."""
        rng = np.random.default_rng(seed_for("captioned_shapes", split))
        values = np.ascontiguousarray(balanced(n)[rng.permutation(n), : self.level])
        picture, caption = render(rng, values), Grammar(self.level).write(values)
        return Rows({"image": picture, "caption": caption}, values[:, 0].copy(), attributes=values)


def balanced(n: int) -> NDArray[np.int64]:
    """Return values of all five attributes, [N, 5]: at every level the counts of combinations differ by at most one.

    3, 5 and 16 = 2 x 4 x 2 have no common factor. So counting modulo each of them runs through all combinations of a
    level before one is repeated.
    """
    i = np.arange(n)
    return np.stack([i % 3, i % 2, i % 5, i // 2 % 4, i // 8 % 2], 1)


def render(rng: np.random.Generator, attributes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Render one picture for each of N rows.

    Args:
        rng: draws what no caption names; the number of draws depends on N alone.
        attributes: [N, 1..5]: indices of shape, size, colour, position (row by row) and background in the tables above.
            Absent columns are fixed: medium, red, in the centre, on dark.

    Returns:
        Pixels [N, 3, 32, 32].
    """
    n, level = attributes.shape
    named = np.full((n, len(ATTRIBUTES)), -1)  # the last look of a table, that of absent columns
    named[:, :level] = attributes
    looks = (
        [*SIZES.values(), MEDIUM],
        [*COLOURS.values(), COLOURS["red"]],
        [*((x, y) for y in VERTICAL.values() for x in HORIZONTAL.values()), (0.0, 0.0)],
        list(BACKGROUNDS.values()),  # dark is the last
    )
    size, colour, place, grey = (np.array(table)[column] for table, column in zip(looks, named.T[1:], strict=True))
    size = size * (1 + rng.uniform(-SCALE, SCALE, n))
    angle = np.deg2rad(rng.uniform(-TILT, TILT, n))
    centre = SIDE / 2 + place + rng.uniform(-SHIFT, SHIFT, (n, 2))
    outlines = [_unit(outline) for outline in OUTLINES.values()]
    corners = [size[i] * _turned(outlines[k], angle[i]) + centre[i] for i, k in enumerate(attributes[:, 0])]
    cover = np.stack([_cover(outline) for outline in corners])
    ink = _ink(rng, colour)
    plate = grey[:, None] + rng.uniform(-TINT, TINT, (n, 3))
    picture = plate[:, :, None, None] + cover[:, None] * (ink - plate)[:, :, None, None]
    pixels: NDArray[np.uint8] = (255 * picture.clip(0, 1)).round().astype(np.uint8)
    return pixels


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


class Grammar(grammar.Grammar):
    """The captions of a level, and their judge."""

    def __init__(self, level: int) -> None:
        super().__init__(ATTRIBUTES[:level], ORDER, VOCABULARY, LENGTH, VERSION)
