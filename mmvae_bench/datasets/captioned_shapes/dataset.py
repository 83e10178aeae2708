"""Pictures of a shape with a caption, in five levels of difficulty: image-text data that need no download."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Judge, Protocol, Rows
from mmvae_bench.datasets.captioned_shapes.grammar import LENGTH, VOCABULARY, CaptionJudge, Grammar
from mmvae_bench.datasets.captioned_shapes.pictures import OUTLINES, SIDE, render
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

TRAIN, TEST = 4000, 1000
# Balances the 3,072 terms of a picture's likelihood and the 2 to 8 of a caption's. See benchmarks/protocols.md.
CAPTION_WEIGHT = 100.0


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

    Attributes:
        level: number of attributes that captions name.
    """

    summary: ClassVar[str] = "coloured shapes with captions, five levels after CdSprites+; generated"
    classes = tuple(OUTLINES)

    level: Literal[1, 2, 3, 4, 5] = 1

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
        return {"caption": CaptionJudge(Grammar(self.level))}

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
