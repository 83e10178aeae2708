"""Captions as word ids: what every text data set shares. No torch here."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAD, UNK, EOS = 0, 1, 2
SPECIALS = ("<pad>", "<unk>", "<eos>")

# A word is a run of letters and digits, with apostrophes inside it; a mark is a token. Hyphens, slashes and all else
# separate, as MMVAE's authors cleaned their captions ("off-white" is two words). No special can be such a token.
TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[.,;:!?]")


def tokenise(caption: str) -> list[str]:
    """The tokens of one caption in lower case: ``A bird's off-white wing.`` -> ``a bird's off white wing .``."""
    return TOKEN.findall(caption.lower())


def vocabulary(captions: Iterable[Sequence[str]], above: int = 3) -> tuple[str, ...]:
    """The words by id: the specials, then what occurs more than ``above`` times, in order of first appearance.

    Args:
        captions: Tokens of the training captions.
        above: 3 is MMVAE's number: words that occur three times are unknown.
    """
    count = Counter(word for caption in captions for word in caption)  # remembers the order of first appearance
    return (*SPECIALS, *(word for word, n in count.items() if n > above))


def encode(captions: Sequence[Sequence[str]], vocabulary: Sequence[str], length: int) -> NDArray[np.int16]:
    """Tokens as ids: the first T-1 of a caption, ``<eos>``, then ``<pad>``; words not in ``vocabulary`` are ``<unk>``.

    Args:
        captions: Tokens of N captions.
        vocabulary: V words by id, the specials first; no more than int16 counts.
        length: T.

    Returns:
        Ids [N, T].
    """
    number = {word: i for i, word in enumerate(vocabulary) if i >= len(SPECIALS)}
    ids = np.full((len(captions), length), PAD, np.int16)
    for row, caption in zip(ids, captions, strict=True):
        words = [number.get(word, UNK) for word in caption[: length - 1]]
        row[: len(words) + 1] = [*words, EOS]
    return ids


def decode(ids: NDArray[np.integer[Any]], vocabulary: Sequence[str]) -> str:
    """The words of a caption [T] up to the first ``<eos>``, without padding, joined by spaces."""
    words = [int(i) for i in ids]
    end = words.index(EOS) if EOS in words else len(words)
    return " ".join(vocabulary[i] for i in words[:end] if i != PAD)
