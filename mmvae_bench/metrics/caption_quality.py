"""Similarity of captions generated from a picture to those that people wrote of it: BLEU and chrF.

Both compare words or letters, not meaning. The ceiling is the score of one person's caption against the others'.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.words import SPECIALS, UNK, decode
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once
from mmvae_bench.metrics.relatedness import ROWS
from mmvae_bench.types import Modality


def text_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """``bleu`` and ``chrf`` of n captions, each against its own references, in [0, 1]: sacrebleu's corpus scores / 100.

    BLEU-4 with sacrebleu's exponential smoothing, ``tokenize="none"`` and case kept: our texts are lower-case tokens
    joined by blanks. chrF2 as sacrebleu's default: letters up to 6-grams, no words.

    Raises:
        Undefined: If sacrebleu is absent.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise Undefined("BLEU needs the extra 'text': pip install 'mmvae-bench[text]'") from None
    streams: list[Any] = list(zip_longest(*references))  # None where a picture has fewer than the others
    judges = {"bleu": BLEU(tokenize="none", force=True), "chrf": CHRF()}
    return {name: float(judge.corpus_score(list(captions), streams).score) / 100 for name, judge in judges.items()}


def picture_and_caption(ev: Evaluation) -> tuple[Modality, Modality]:
    """Return the two modalities of captioned pictures.

    Raises:
        Undefined: If the data set has others, or is scored exactly by its attributes.
    """
    captions = [m for m in ev.model.modalities if m.is_text]
    pictures = [m for m in ev.model.modalities if not m.is_text]
    if len(captions) != 1 or len(pictures) != 1:
        raise Undefined("the data set is not one of pictures and their captions")
    if ev.attributes is not None:
        raise Undefined("captions of this data set are scored exactly, by the attributes that they name")
    return pictures[0], captions[0]


@once
def generated_captions(ev: Evaluation) -> NDArray[np.int64]:
    """Return a caption for the picture of each of ``item_rows``, [n, T]: one z per row, the likeliest words."""
    picture, caption = picture_and_caption(ev)
    return ev.generate(ev.test.take(ev.item_rows(ROWS)), (picture.name,), caption.name).numpy()


@metric(
    Description(
        "Caption quality",
        "Generated captions of test pictures against all true captions of the picture, 0 to 1; rare words of true "
        "captions are unknown, the same for all models.",
        {"bleu": "BLEU-4, shared words in order", "chrf": "chrF, shared runs of letters"},
        bounds=(0.0, 1.0),
        drawn=(),
    ),
)
def caption_quality(ev: Evaluation) -> Iterator[Score]:
    """:func:`text_scores` of one generated caption a test picture against all true captions of that picture.

    Of at most 1,000 pictures, the same for every run. True captions are as the nets know them: 31 words, rare ones
    ``<unk>``, which nothing that is scored can match. Chance: each caption against the references of another picture.
    Ceiling: one true caption of each picture against its others, one reference fewer.
    """
    picture, caption = picture_and_caption(ev)
    rows, item = ev.item_rows(ROWS), ev.test.items
    if len(rows) < 2:
        raise Undefined("one test picture is too few: chance is the score of another picture's caption")
    true = [decode(row, caption.vocabulary) for row in np.asarray(ev.test.x[caption.name])]
    of = [np.flatnonzero(item == item[row]) for row in rows]
    references = [[true[i] for i in group] for group in of]
    captions = [_known(decode(row, caption.vocabulary)) for row in generated_captions(ev)]
    values = text_scores(captions, references)

    order = ev.order("caption_quality", len(rows))  # in a circle, each picture's caption goes to the next
    chance = text_scores([captions[i] for i in order], [references[i] for i in np.roll(order, -1)])
    others = [(_known(true[row]), [true[i] for i in group if i != row]) for row, group in zip(rows, of, strict=True)]
    compared = [pair for pair in others if pair[1]]
    ceiling = text_scores(*zip(*compared, strict=True)) if compared else {}
    for name, value in values.items():
        row = ev.row((picture.name,), caption.name, name)
        yield replace(row, value=value, n=len(rows), chance=chance[name], ceiling=ceiling.get(name))


def _known(text: str) -> str:
    """Return a text without ``<unk>``, which says only that a word is rare."""
    return " ".join(word for word in text.split() if word != SPECIALS[UNK])
