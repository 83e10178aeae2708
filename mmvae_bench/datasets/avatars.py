"""Drawn faces with captions that name their attributes: a stand-in for CelebA whose attributes are exact."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmvae_bench.datasets.base import Built, Dataset, Judge, Protocol, Rows
from mmvae_bench.datasets.grammar import Grammar
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.errors import DataError
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

TRAIN, TEST = 20, 5  # rows of each of the 216 combinations of attributes

# --- attributes: word of a caption -> part of python_avatars, or colour; the first is the class ---
HAIR = {"short": "SHORT_FLAT", "long": "STRAIGHT_STRAND", "curly": "CURLY"}
COLOURS = {"black": "#2C1B18", "red": "#C93305", "blond": "#D6B370", "grey": "#E8E1E1"}  # of HairColor there
GLASSES = {"no": "NONE", "round": "ROUND", "dark": "SUNGLASSES"}
BEARDS = {"shaven": "NONE", "bearded": "BEARD_MAGESTIC"}
MOUTHS = {"smiling": "BIG_SMILE", "sad": "SAD", "grimacing": "GRIMACE"}
TABLES = {"hair": HAIR, "colour": COLOURS, "glasses": GLASSES, "beard": BEARDS, "mouth": MOUTHS}
COUNTS = tuple(map(len, TABLES.values()))
SHAPES = ("hair", "glasses", "beard", "mouth")  # attributes that are parts; the colour is paint
ORDER = (  # of a caption: attribute, and words of which it contains one
    ("hair", tuple(HAIR)),
    ("colour", tuple(COLOURS)),
    ("colour", ("hair",)),
    ("glasses", tuple(GLASSES)),
    ("glasses", ("glasses",)),
    ("beard", tuple(BEARDS)),
    ("mouth", tuple(MOUTHS)),
)
VERSION = 1  # increased by every change of how captions are written or read
LENGTH = 8  # T: the seven words of "long red hair round glasses shaven sad" and <eos>
VOCABULARY = (*SPECIALS, *(word for _, words in ORDER for word in words))
CAPTIONS = Grammar(tuple(TABLES), ORDER, VOCABULARY, LENGTH, VERSION)

# --- variation that no caption names, drawn uniformly ---
SKINS = ("#FFDBB4", "#EDB98A", "#D08B5B", "#AE5D29", "#614335")  # of SkinColor; a face is between two neighbours
CLOTHES = ("#262E33", "#65C9FF", "#25557C", "#A7FFC4", "#FF488E", "#FFFFB1")  # of ClothingColor, mixed likewise
GROUND = (0.55, 0.9)  # red, green and blue of the background, each by itself
SHADE = 0.04  # largest change of each of red, green and blue of the hair

# --- drawing: python_avatars draws 264 x 280 units ---
WIDTH, HEIGHT = 132, 140  # at which parts are drawn, in pixels: half a unit each
CENTRE = (66.0, 62.0)  # of the frame of a finished picture, from the top left
FRAME = 106.0  # its side
SHIFT = 4.0  # largest shift of the frame, in both directions
ZOOM = 0.06  # largest change of its side, as a fraction
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Avatars(Dataset):
    """Faces drawn by python-avatars (Ibon, MIT; the avataaars of Pablo Stanley), and captions of their attributes.

    A caption reads ``short red hair dark glasses bearded sad``. Five attributes are independent: hair (short, long,
    curly: the class), its colour (black, red, blond, grey), glasses (none, round, dark), beard (none, full) and mouth
    (smiling, sad, grimacing). Each of the 216 combinations has 20 rows for training and 5 for testing. Pictures also
    vary in what no caption names: skin, clothes, background, tint of the hair, and slightly in position and size.
    The beard has the colour of the hair.
    """

    summary: ClassVar[str] = "drawn faces with captions of five attributes; generated, extra 'avatars'"
    classes = tuple(HAIR)

    side: Literal[64, 32] = 64  # of a picture, in pixels

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``image`` [3, side, side] and ``caption`` [8], scale and weight as for ``captioned_shapes``.

        The weight grows with the number of pixels, so that captions count as much at either size.
        """
        from mmvae_bench.types import Modality

        weight = 100.0 * (self.side / 32) ** 2
        return (
            Modality("image", (3, self.side, self.side), scale=0.4),
            Modality("caption", (LENGTH,), "categorical", weight=weight, dtype="int16", vocabulary=VOCABULARY),
        )

    @property
    def protocol(self) -> Protocol:
        """Convolutions for 64 x 64 pixels, MLPs for 32 x 32."""
        rows = TRAIN * int(np.prod(COUNTS))
        if self.side == 32:
            return Protocol("mlp[hidden=256,layers=2]", 32, epochs=40, batch_size=64, learning_rate=1e-3, rows=rows)
        return Protocol("conv", 32, epochs=100, batch_size=64, learning_rate=5e-4, rows=rows, cost=8.0)

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """The five attributes, in the order of a caption."""
        return CAPTIONS.attributes

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Return the judge of captions, which reads them by the grammar; pictures need an oracle."""
        return {"caption": CAPTIONS}

    def sources(self, data_dir: Path) -> list[Path]:
        """The drawings inside python-avatars; ``data_dir`` is not read."""
        found = {name: find_spec(name) for name in ("python_avatars", "resvg_py")}
        if absent := [name for name, spec in found.items() if spec is None]:
            raise DataError(f"avatars needs {' and '.join(absent)}. Run pip install 'mmvae-bench[avatars]'.")
        origin = found["python_avatars"].origin  # type: ignore[union-attr]
        return [Path(str(origin)).parent / "avatar_parts"]

    def build(self, data_dir: Path) -> Built:
        """Draw every combination of parts, then paint both splits."""
        self.sources(data_dir)
        drawn = draw()
        return Built(self._rows("train", TRAIN, drawn), self._rows("test", TEST, drawn))

    def _rows(self, split: str, times: int, drawn: Array) -> Rows:
        """Return every combination ``times`` times, in random order; a row shows the same face at both sides."""
        rng = np.random.default_rng(seed_for("avatars", split))
        values = np.tile(np.array(list(product(*map(range, COUNTS))), np.int64), (times, 1))
        values = values[rng.permutation(len(values))]
        picture, caption = render(rng, values, drawn, self.side), CAPTIONS.write(values)
        return Rows({"image": picture, "caption": caption}, values[:, 0].copy(), attributes=values)


def draw() -> Array:
    """Draw all combinations of parts so that any colours can be filled in afterwards.

    A pixel is linear in the colours of skin s, hair h, clothes c and ground g, because layers cover each other by
    opacity: pixel = k + a_s s + a_h h + a_c c + a_g g. The numbers are those of two drawings: in black, which leaves k
    and the opacity 1 - a_g, and with red skin, green hair and blue clothes, which add a_s, a_h and a_c to one channel
    each.

    Returns:
        [3, 3, 2, 3, height, width, 7]: of each hair, glasses, beard and mouth k in red, green and blue, a_s, a_h, a_c,
        a_g.
    """
    tables = [tuple(TABLES[name].values()) for name in SHAPES]
    out = np.empty((*map(len, tables), HEIGHT, WIDTH, 7))
    for index in np.ndindex(*out.shape[:4]):
        parts = [table[i] for table, i in zip(tables, index, strict=True)]
        black, painted = (_drawn(parts, *inks) for inks in (("#000000",) * 3, ("#FF0000", "#00FF00", "#0000FF")))
        out[index] = np.concatenate([black[..., :3], painted[..., :3] - black[..., :3], 1 - black[..., 3:]], -1)
    return out


def _drawn(parts: Sequence[str], skin: str, hair: str, clothes: str) -> Array:
    """Return a drawing [height, width, 4]: red, green and blue, multiplied by the opacity, and the opacity; 0..1."""
    import python_avatars as pa
    import resvg_py

    top, glasses, beard, mouth = parts
    avatar: Any = pa.Avatar(
        style=pa.AvatarStyle.TRANSPARENT, top=pa.HairType[top], eyebrows=pa.EyebrowType.DEFAULT_NATURAL,
        eyes=pa.EyeType.DEFAULT, nose=pa.NoseType.DEFAULT, mouth=pa.MouthType[mouth],
        facial_hair=pa.FacialHairType[beard], accessory=pa.AccessoryType[glasses],
        clothing=pa.ClothingType.SHIRT_CREW_NECK, skin_color=skin, hair_color=hair, facial_hair_color=hair,
        clothing_color=clothes,
    )  # fmt: skip
    png = resvg_py.svg_to_bytes(svg_string=avatar.render(), width=WIDTH, skip_system_fonts=True)
    rgba: Array = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), np.float64) / 255
    rgba[..., :3] *= rgba[..., 3:]
    return rgba


def render(rng: np.random.Generator, attributes: NDArray[np.int64], drawn: Array, side: int) -> NDArray[np.uint8]:
    """Paint one picture for each of N rows.

    Args:
        rng: draws what no caption names; the number of draws depends on N alone.
        attributes: values [N, 5].
        drawn: all combinations of parts, see :func:`draw`.
        side: of a picture, in pixels.

    Returns:
        Pixels [N, 3, side, side].
    """
    n = len(attributes)
    skin, clothes = (_between(rng, colours, n) for colours in (SKINS, CLOTHES))
    hair = np.array([_rgb(colour) for colour in COLOURS.values()])[attributes[:, list(TABLES).index("colour")]]
    hair = (hair + rng.uniform(-SHADE, SHADE, (n, 3))).clip(0, 1)
    inks = np.stack([skin, hair, clothes, rng.uniform(*GROUND, (n, 3))], 1)
    half = FRAME / 2 * (1 + rng.uniform(-ZOOM, ZOOM, (n, 1)))
    centre = CENTRE + rng.uniform(-SHIFT, SHIFT, (n, 2))
    boxes = np.concatenate([centre - half, centre + half], 1)
    parts = attributes[:, [list(TABLES).index(name) for name in SHAPES]]
    out = np.empty((n, 3, side, side), np.uint8)
    for i in range(n):
        face = drawn[tuple(parts[i])].reshape(-1, 7)
        whole = (255 * (face[:, :3] + face[:, 3:] @ inks[i])).round().clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(whole.reshape(HEIGHT, WIDTH, 3))
        framed = picture.resize((side, side), Image.Resampling.BOX, tuple(boxes[i]))
        out[i] = np.asarray(framed).transpose(2, 0, 1)
    return out


def _between(rng: np.random.Generator, colours: Sequence[str], n: int) -> Array:
    """Draw n colours [n, 3] on the line through ``colours``."""
    table = np.array([_rgb(colour) for colour in colours])
    place = rng.uniform(0, len(table) - 1, n)
    return np.stack([np.interp(place, np.arange(len(table)), channel) for channel in table.T], 1)


def _rgb(colour: str) -> list[float]:
    """Return red, green and blue in 0..1 of ``#RRGGBB``."""
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
