"""Word vectors by FastText, and two ways from them to the vector of a caption (protocol 22).

``mean`` is what Joy et al. 2022 (App. G) describe, ``sif`` what Shi et al. 2019 do in code (src/report/helper.py).
"""

import hashlib
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mmvae_bench.datasets.cache import array_hash
from mmvae_bench.datasets.words import EOS, PAD, SPECIALS, UNK
from mmvae_bench.disk import built_once, replace_file
from mmvae_bench.errors import Undefined
from mmvae_bench.seeds import seed_for

VERSION = 1  # of what is cached; bumped by whoever changes the numbers
SIZE, WINDOW, LEAST, EPOCHS = 300, 3, 3, 10  # as MMVAE's
BUCKETS = 200_000  # of n-grams: CUB's vocabulary has 15,000; gensim's 2,000,000 take 2.4 GB
A = 1e-3  # of SIF (Arora et al. 2017)

Ids = NDArray[np.int16] | NDArray[np.int64]
Reals = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class WordVectors:
    """A vector for every word of a vocabulary; of a count, ``<unk>`` pools all that it stands for."""

    vectors: Reals  # [V, 300] by id; ``<pad>`` is 0, ``<unk>`` all -1, ``<eos>`` all +1 (MMVAE's)
    counts: NDArray[np.int64]  # occurrences in the training captions, [V]; 0 of ``<pad>`` and ``<eos>``
    hash: str  # 16 hex digits of SHA-256 of the vectors


def spoken(ids: Ids) -> NDArray[np.bool_]:
    """Return which positions of captions [N, T] count: up to and including the first ``<eos>``, but never ``<pad>``."""
    ends = ids == EOS
    return np.asarray((np.cumsum(ends, 1) - ends == 0) & (ids != PAD))


def mean_embedding(ids: Ids, words: WordVectors) -> Reals:
    """Captions [N, T] to [N, 300]: the average vector of their words; zero where there are none.

    ``<unk>`` and ``<eos>`` are no words: FastText gives them no vector, and MMVAE's constants would drown the others.
    """
    proper = np.ones(len(words.vectors), np.float32)
    proper[: len(SPECIALS)] = 0
    return _average(ids, words.vectors, proper, proper)


def sif_embedding(ids: Ids, words: WordVectors) -> Reals:
    """Captions [N, T] to [N, 300]: sum of a / (a + p(w)) times the vector of w, over the number of tokens.

    p(w) are shares of the training tokens, a = 1e-3, ``<eos>`` has weight 0 but counts as a token. The first principal
    direction is still inside: see :func:`first_direction`.
    """
    weight = A / (A + words.counts / max(int(words.counts.sum()), 1))
    weight[[PAD, EOS]] = 0
    return _average(ids, words.vectors, weight.astype(np.float32), np.ones(len(weight), np.float32))


def first_direction(e: Reals) -> Reals:
    """The unit vector along which rows [N, D] vary most: the top right-singular vector of the centred rows, [D]."""
    centred = e.astype(np.float64) - e.mean(0, dtype=np.float64)
    return np.asarray(np.linalg.eigh(centred.T @ centred)[1][:, -1], np.float32)


def without(direction: Reals, e: Reals) -> Reals:
    """e - (e u) u for rows e [N, D], not centred; u = 0 changes nothing."""
    return np.asarray(e - (e @ direction)[:, None] * direction)


def _average(ids: Ids, vectors: Reals, weight: Reals, counted: Reals) -> Reals:
    """Sum of weight * vector over the tokens, divided by how many of them are counted."""
    rows, tokens = np.nonzero(spoken(ids))[0], ids[spoken(ids)]
    bags = csr_array((weight[tokens], (rows, tokens)), shape=(len(ids), len(vectors)))  # equal pairs are added up
    length = np.bincount(rows, counted[tokens], minlength=len(ids))
    return np.asarray(bags @ vectors / np.maximum(length, 1)[:, None], np.float32)


def load_word_vectors(ids: Ids, vocabulary: Sequence[str], cache_dir: Path | None) -> WordVectors:
    """Return word vectors of training captions [N, T], from the cache or trained into it; the same in every process.

    Raises:
        Undefined: If they must be trained and gensim is absent, or no word occurs three times.
    """
    content = "\n".join((f"{VERSION} vectors {array_hash(ids)}", *vocabulary))
    arrays = kept(cache_dir, content, lambda: _trained(ids, vocabulary))
    return WordVectors(**arrays, hash=hashlib.sha256(arrays["vectors"].tobytes()).hexdigest()[:16])


def _trained(ids: Ids, vocabulary: Sequence[str]) -> Arrays:
    """FastText (CBOW) on the captions without their specials; rare words get the vectors of their n-grams."""
    counts = np.bincount(ids[spoken(ids)], minlength=len(vocabulary)).astype(np.int64)
    counts[EOS] = 0
    if counts[len(SPECIALS) :].max(initial=0) < LEAST:
        raise Undefined(f"no word occurs {LEAST} times in the training captions: too few for word vectors")
    proper = spoken(ids) & (ids != UNK) & (ids != EOS)
    sentences = [[vocabulary[i] for i in row[use]] for row, use in zip(ids, proper, strict=True)]
    try:
        from gensim.models import FastText
    except ImportError:
        raise Undefined("FastText needs the extra 'text': pip install 'mmvae-bench[text]'") from None
    model = FastText(
        sentences=sentences, vector_size=SIZE, window=WINDOW, min_count=LEAST, epochs=EPOCHS, bucket=BUCKETS,
        workers=1, seed=seed_for("fasttext") % 2**31,
    )  # fmt: skip
    vectors = np.zeros((len(vocabulary), SIZE), np.float32)
    vectors[UNK], vectors[EOS] = -1, 1
    for i, word in enumerate(vocabulary[len(SPECIALS) :], len(SPECIALS)):
        vectors[i] = model.wv[word]
    return {"vectors": vectors, "counts": counts}


def kept(cache_dir: Path | None, content: str, make: Callable[[], Arrays]) -> Arrays:
    """Return what ``make`` returns, from ``cache_dir/embeddings/`` or made into it by one process; None keeps nothing.

    ``content`` is all that the arrays depend on; its hash is the file's name.
    """
    if cache_dir is None:
        return make()
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = cache_dir / "embeddings" / f"{key}.npz"

    def read() -> Arrays | None:
        try:
            with path.open("rb") as file:
                stored = np.load(file, allow_pickle=False)
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
            return None

    def write(arrays: Arrays) -> None:
        packed = io.BytesIO()
        np.savez(packed, **arrays)  # type: ignore[arg-type]
        replace_file(path, packed.getvalue())

    return built_once(cache_dir, path, read, make, write)
