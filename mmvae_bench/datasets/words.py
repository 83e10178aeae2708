"""Captions as word ids: what every text data set shares. No torch here."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


PAD, UNK, EOS = 0, 1, 2
SPECIALS = ("<pad>", "<unk>", "<eos>")


def decode(ids: NDArray[np.integer[Any]], vocabulary: Sequence[str]) -> str:
    """The words of a caption [T] up to the first ``<eos>``, without padding, joined by spaces."""
    words = [int(i) for i in ids]
    end = words.index(EOS) if EOS in words else len(words)
    return " ".join(vocabulary[i] for i in words[:end] if i != PAD)
