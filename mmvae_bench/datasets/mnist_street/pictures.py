"""Rendered street numbers: a digit in some font and colour on a photograph, other digits cut at the edge, blurred.

Results depend only on the arguments and the state of the given generator.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mmvae_bench.datasets.packaged import packaged_file

WORK = 64  # side on which pictures are composed; they are reduced at the end, which smooths edges
FACE = 88  # font size at which a digit is about WORK pixels high
STRIP = (480, 128)  # size on which digits are written before they are bent: three of the widest font
BASELINE = 96  # of the strip
LUMA = np.array([0.299, 0.587, 0.114])
CHROMA = np.array([0.9, 0.25, 1.2])  # photographs of streets vary most between blue and yellow, least in green
SKY = np.array([0.0, 0.0, 0.4])  # on average they are slightly blue
Span = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Parameters of a level of difficulty. Lengths are fractions of the picture's side, colours are in 0..1.

    Attributes:
        side: side of the finished picture, in pixels.
        fonts: file names of matplotlib's fonts.
        height: range of the digit's height.
        width: range of the width of a zero as a fraction of its height; every font is scaled to it.
        stroke: range of the stroke that thickens the font, in pixels of a digit about 64 high.
        shift: largest shift of the centre, horizontal and vertical.
        luminance: mean and sd of the background's luminance.
        contrast: median and log-sd of the difference in luminance between ink and background.
        bright: probability of ink brighter than a grey background.
        chroma: scale of the background's distance from grey, and of the ink's from the background.
        texture: median and log-sd of the photograph's contrast.
        blur: median and log-sd of the lens's blur radius.
        tilt: largest tilt in degrees.
        shear: largest horizontal shift per unit of height.
        neighbour: probability of another digit on the left, and of one on the right.
        shadow: probability of a shadow or a glint beside the ink.
        edge: probability that the plate ends within the picture; beyond it the colour differs.
        shade: largest slope of the light across the picture.
        noise: largest sd of the sensor's noise.
    """

    side: int
    fonts: tuple[str, ...]
    height: Span
    width: Span
    stroke: tuple[int, int]
    shift: Span
    luminance: Span
    contrast: Span
    bright: float
    chroma: Span
    texture: Span
    blur: Span
    tilt: float = 0.0
    shear: float = 0.0
    neighbour: float = 0.0
    shadow: float = 0.0
    edge: float = 0.0
    shade: float = 0.0
    noise: float = 0.0


def font_files(style: Style) -> list[Path]:
    """Return the paths of the fonts of ``style`` in matplotlib."""
    return [packaged_file("matplotlib", "mpl-data", "fonts", "ttf", name) for name in style.fonts]


def photograph_files() -> list[Path]:
    """Return the paths of two photographs of scikit-learn."""
    return [packaged_file("sklearn", "datasets", "images", f"{name}.jpg") for name in ("china", "flower")]


def render(rng: np.random.Generator, digits: Iterable[int], style: Style) -> NDArray[np.uint8]:
    """Render one street number for each of N digits.

    Returns:
        Pixels [N, 3, side, side].
    """
    basic = ImageFont.Layout.BASIC  # the default engine is not in every build of Pillow
    fonts = [ImageFont.truetype(path, FACE, layout_engine=basic) for path in font_files(style)]
    photographs = [Image.open(path).convert("RGB") for path in photograph_files()]
    pictures = [_picture(rng, int(digit), style, fonts, photographs) for digit in digits]
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def _picture(
    rng: np.random.Generator,
    digit: int,
    style: Style,
    fonts: Sequence[ImageFont.FreeTypeFont],
    photographs: Sequence[Image.Image],
) -> NDArray[np.uint8]:
    """Render one street number [side, side, 3]: plate, shadow, ink, light, lens, sensor, in this order."""
    plate, ink = _colours(rng, style)
    scene = plate + _texture(rng, style, photographs)
    if rng.random() < style.edge:
        scene += _beyond(rng)[..., None] * (_colours(rng, style)[0] - plate)
    cover = _ink(rng, digit, style, fonts[int(rng.integers(len(fonts)))])[..., None]
    if rng.random() < style.shadow:
        scene += rng.uniform(-0.3, 0.3) * np.roll(cover, rng.integers(-4, 5, 2), (0, 1))
    scene += cover * (ink - scene)
    slope = rng.uniform(-style.shade, style.shade, 2)
    scene *= 1 + np.add.outer(*slope[:, None] * np.linspace(-1, 1, WORK))[..., None]
    lens = ImageFilter.GaussianBlur(WORK * _lognormal(rng, style.blur))
    image = Image.fromarray((scene.clip(0, 1) * 255).astype(np.uint8)).filter(lens)
    small = np.asarray(image.resize((style.side, style.side), Image.Resampling.BOX))
    sensor = rng.normal(0, 255 * rng.uniform(0, style.noise), small.shape) if style.noise else 0.0
    return (small + sensor).round().clip(0, 255).astype(np.uint8)


def _ink(rng: np.random.Generator, digit: int, style: Style, font: ImageFont.FreeTypeFont) -> NDArray[np.float64]:
    """Draw the share of ink in each pixel, 0..1, [WORK, WORK]: the digit at the centre, perhaps its neighbours."""
    strip = Image.new("L", STRIP)
    draw, stroke = ImageDraw.Draw(strip), int(rng.integers(style.stroke[0], style.stroke[1], endpoint=True))
    pitch = font.getlength("0") * rng.uniform(1.0, 1.3)  # digits are equally wide in all of these fonts
    for place in (-1, 0, 1):
        text = str(rng.integers(10) if place else digit)
        if place == 0 or rng.random() < style.neighbour:
            at = (STRIP[0] / 2 + place * pitch, BASELINE)
            draw.text(at, text, fill=255, font=font, anchor="ms", stroke_width=stroke)
    left, top, right, _ = font.getbbox("0", anchor="ls")
    height = WORK * rng.uniform(*style.height)
    size = height * rng.uniform(*style.width) / (right - left), -height / top
    bent = strip.transform((WORK, WORK), Image.Transform.AFFINE, _bend(rng, style, size, top), Image.Resampling.BICUBIC)
    return np.asarray(bent) / 255


def _bend(rng: np.random.Generator, style: Style, size: Span, top: float) -> tuple[float, ...]:
    """Return Pillow's six coefficients from the picture to the strip, which scale by ``size``, shear and tilt."""
    angle = np.deg2rad(rng.uniform(-style.tilt, style.tilt))
    tilt = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, rng.uniform(-style.shear, style.shear)], [0, 1]])
    back = np.linalg.inv(tilt @ shear @ np.diag(size))
    centre = WORK * (0.5 + np.array(style.shift) * rng.uniform(-1, 1, 2))
    (a, b), (d, e) = back
    c, f = np.array([STRIP[0] / 2, BASELINE + top / 2]) - back @ centre
    return float(a), float(b), float(c), float(d), float(e), float(f)


def _colours(rng: np.random.Generator, style: Style) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw the colours [3] of plate and ink. Bright ink is more likely on a darker plate."""
    level = float(np.clip(rng.normal(*style.luminance), 0.04, 0.95))
    sign = 1 if rng.random() < style.bright + 1.5 * (0.5 - level) else -1
    hue, change = (rng.normal(size=(2, 3)) * CHROMA) * np.exp(0.6 * rng.normal(size=(2, 1)))
    hue, change = style.chroma[0] * (hue + SKY), style.chroma[1] * change
    ink = np.clip(level + sign * _lognormal(rng, style.contrast), 0.03, 0.97)
    hue, change = hue - LUMA @ hue, change - LUMA @ change  # so that colour does not change the luminance
    return level + hue, ink + hue + change


def _texture(rng: np.random.Generator, style: Style, photographs: Sequence[Image.Image]) -> NDArray[np.float64]:
    """Draw a piece of a photograph [WORK, WORK, 3] with mean 0 and the contrast of ``style``."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    side = int(rng.integers(24, 200))
    x, y = (int(rng.integers(extent - side)) for extent in photograph.size)
    piece = photograph.resize((WORK, WORK), Image.Resampling.BILINEAR, (x, y, x + side, y + side))
    value: NDArray[np.float64] = np.asarray(piece) / 255
    value -= value.mean((0, 1))
    return value * (_lognormal(rng, style.texture) / (float(value.std()) + 0.02))


def _beyond(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the part beyond the plate, [WORK, WORK]: past a slightly tilted line close to one of the four sides."""
    angle = np.pi / 2 * rng.integers(4) + rng.normal(0, 0.06)
    along = np.linspace(-0.5, 0.5, WORK)
    return np.where(np.add.outer(np.sin(angle) * along, np.cos(angle) * along) > rng.uniform(0.3, 0.5), 1.0, 0.0)


def _lognormal(rng: np.random.Generator, span: Span) -> float:
    """Draw from the log-normal distribution with this median and log-sd."""
    return float(span[0] * np.exp(span[1] * rng.normal()))
