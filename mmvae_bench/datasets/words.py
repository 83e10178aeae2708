"""Captions as word ids, for all text data sets. This module does not import torch."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAD, UNK, EOS = 0, 1, 2
SPECIALS = ("<pad>", "<unk>", "<eos>")

# A word is a run of letters and digits, with apostrophes inside it; a punctuation mark is a token. All other characters
# separate words, as in the captions of MMVAE's authors ("off-white" is two words). No token can equal a special.
TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[.,;:!?]")


def tokenise(caption: str) -> list[str]:
    """Return the tokens of a caption in lower case: ``A bird's off-white wing.`` -> ``a bird's off white wing .``."""
    return TOKEN.findall(caption.lower())


def vocabulary(captions: Iterable[Sequence[str]], above: int = 3) -> tuple[str, ...]:
    """Return the words by id: the specials, then those more frequent than ``above``, in order of first appearance.

    Args:
        captions: tokens of the training captions.
        above: highest frequency of an unknown word; 3 as in MMVAE.
    """
    count = Counter(word for caption in captions for word in caption)  # in order of first appearance
    return (*SPECIALS, *(word for word, n in count.items() if n > above))


def encode(captions: Sequence[Sequence[str]], vocabulary: Sequence[str], length: int) -> NDArray[np.int16]:
    """Return ids: the first T-1 tokens of a caption, ``<eos>``, ``<pad>``; words not in ``vocabulary`` are ``<unk>``.

    Args:
        captions: tokens of N captions.
        vocabulary: V words by id, the specials first, V < 32,768.
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
    """Return the words of a caption [T] up to the first ``<eos>``, without padding, joined by spaces.

    Where the space is a word, words are the characters of a text, and nothing is put between them.
    """
    words = [int(i) for i in ids]
    end = words.index(EOS) if EOS in words else len(words)
    return ("" if " " in vocabulary else " ").join(vocabulary[i] for i in words[:end] if i != PAD)
