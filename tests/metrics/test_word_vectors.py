import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from mmvae_bench.errors import BenchError, Undefined
from mmvae_bench.metrics.word_vectors import (
    WordVectors,
    first_direction,
    kept,
    load_word_vectors,
    mean_embedding,
    sif_embedding,
    spoken,
    without,
)
from tests.metrics.captioned_world import VOCABULARY, captioned

IDS = np.array([[3, 4, 2, 0], [4, 1, 3, 2], [0, 2, 4, 4], [2, 3, 3, 3]])  # the third and fourth: only generated ones

SCRIPT = """
import numpy as np
from tests.metrics.captioned_world import VOCABULARY, captioned
from mmvae_bench.metrics.word_vectors import load_word_vectors
print(load_word_vectors(np.asarray(captioned().pairs.x["caption"]), VOCABULARY, None).hash)
"""


@pytest.fixture(scope="module")
def trained():
    return load_word_vectors(np.asarray(captioned().pairs.x["caption"]), VOCABULARY, None)


def by_hand():
    return WordVectors(
        np.array([[0, 0], [-1, -1], [1, 1], [2, 0], [0, 4]], np.float32), np.array([0, 10, 0, 60, 30]), ""
    )


def test_words_count_up_to_the_first_eos_and_padding_never():
    assert spoken(IDS).astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0], [1, 0, 0, 0]]
    assert spoken(np.array([[3, 0, 4, 4]])).tolist() == [[True, False, True, True]]  # no <eos>: all of it


def test_mean_is_the_average_of_words_and_of_words_alone():
    assert mean_embedding(IDS, by_hand()).tolist() == [[1, 2], [1, 2], [0, 0], [0, 0]]


def test_sif_is_its_formula():
    weight = 1e-3 / (1e-3 + np.array([0.1, 0.6, 0.3]))  # of <unk> and the two words
    unk, a, b = weight[:, None] * [[-1, -1], [2, 0], [0, 4]]
    expected = [(a + b) / 3, (b + unk + a) / 4, [0, 0], [0, 0]]
    assert sif_embedding(IDS, by_hand()) == pytest.approx(np.array(expected), rel=1e-5)


def test_the_first_direction_is_the_top_singular_vector_of_the_centred_rows():
    e = np.random.default_rng(0).normal(size=(50, 4)) * [1, 3, 2, 1] + 5
    u = first_direction(e.astype(np.float32))
    assert abs(u @ np.linalg.svd(e - e.mean(0))[2][0]) == pytest.approx(1, abs=1e-5)
    assert without(u, e) @ u == pytest.approx(np.zeros(50), abs=1e-5)
    assert without(u, e) == pytest.approx(e - np.outer(e @ u, u))  # the rows themselves are not centred
    assert np.array_equal(without(np.zeros(4), e), e)


def test_specials_have_mmvaes_vectors_and_words_their_counts(trained):
    assert trained.vectors.shape == (len(VOCABULARY), 300)
    assert not trained.vectors[0].any()
    assert np.all(trained.vectors[1] == -1) and np.all(trained.vectors[2] == 1)
    assert trained.counts[:3].tolist() == [0, 0, 0] and trained.counts.sum() == 1200 * 6
    assert trained.hash == hashlib.sha256(trained.vectors.tobytes()).hexdigest()[:16]


def test_a_process_with_another_hash_seed_trains_the_same_vectors(trained):
    env = {**os.environ, "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == trained.hash


def test_rare_words_get_the_vectors_of_their_letters():
    words = ("<pad>", "<unk>", "<eos>", "yellow", "black", "yellowish", "zzz")
    ids = np.array([[3, 4, 2]] * 20 + [[5, 1, 2]])
    v = load_word_vectors(ids, words, None)
    assert v.counts.tolist() == [0, 1, 0, 20, 20, 1, 0]

    def alike(a, b):
        return v.vectors[a] @ v.vectors[b] / np.linalg.norm(v.vectors[a]) / np.linalg.norm(v.vectors[b])

    assert alike(3, 5) > alike(4, 5) + 0.2
    assert v.vectors[6].any()


def test_what_is_kept_is_made_once_and_made_again_where_damaged(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(1000.0)}

    first, second = kept(tmp_path, "this", make), kept(tmp_path, "this", make)
    assert np.array_equal(first["a"], second["a"]) and len(made) == 1
    (path,) = (tmp_path / "embeddings").iterdir()
    for damaged in (path.read_bytes()[:500], b"", path.read_bytes().replace(b"\x40", b"\x41")):
        path.write_bytes(damaged)
        assert np.array_equal(kept(tmp_path, "this", make)["a"], np.arange(1000.0))
    assert len(made) == 4
    kept(tmp_path, "that", make)
    kept(None, "this", make)
    assert len(made) == 6
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"cache .*file cannot be written .*--cache-dir"):
        kept(tmp_path / "file", "this", make)


def test_another_vocabulary_or_other_captions_are_other_vectors(tmp_path, trained):
    ids = np.asarray(captioned().pairs.x["caption"])
    same = load_word_vectors(ids, VOCABULARY, tmp_path)
    assert same.hash == trained.hash == load_word_vectors(ids, VOCABULARY, tmp_path).hash
    load_word_vectors(ids[:-1], VOCABULARY, tmp_path)
    load_word_vectors(ids, (*VOCABULARY[:-1], "renamed"), tmp_path)
    assert len(list((tmp_path / "embeddings").iterdir())) == 3


def test_too_few_captions_are_a_reason():
    with pytest.raises(Undefined, match="too few"):
        load_word_vectors(np.array([[3, 4, 2]] * 2), ("<pad>", "<unk>", "<eos>", "a", "b"), None)
