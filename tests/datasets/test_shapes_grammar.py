"""Captions of shapes are written, read and accepted exactly."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.datasets.captioned_shapes import LENGTH, VOCABULARY, Grammar
from mmvae_bench.datasets.words import EOS, PAD

LEVELS = (1, 2, 3, 4, 5)
COUNTS = (3, 2, 5, 4, 2)
OWN = {  # the words of each attribute, one from each list
    "shape": [("heart", "square", "ellipse")],
    "size": [("small", "big")],
    "colour": [("red", "yellow", "green", "blue", "pink")],
    "position": [("top", "bottom"), ("left", "right")],
    "background": [("light", "dark")],
}
levels = st.sampled_from(LEVELS)
sentences = st.lists(st.integers(0, len(VOCABULARY) - 1), min_size=LENGTH, max_size=LENGTH)


def every(level: int) -> np.ndarray:
    return np.array(list(product(*(range(count) for count in COUNTS[:level]))))


def ids(text: str) -> np.ndarray:
    said = [VOCABULARY.index(word) for word in text.split()]
    return np.array([[*said, EOS, *[PAD] * LENGTH][:LENGTH]])


def text(row: np.ndarray) -> str:
    words = [VOCABULARY[i] for i in row]
    return " ".join(words[: words.index("<eos>")] if "<eos>" in words else words)


@pytest.mark.parametrize(
    ("level", "values", "caption"),
    [
        (1, [0], "heart"),
        (2, [1, 0], "small square"),
        (3, [2, 1, 4], "big pink ellipse"),
        (4, [0, 0, 0, 1], "small red heart top right"),
        (5, [0, 0, 0, 0, 1], "small red heart top left on dark"),
        (5, [2, 1, 3, 2, 0], "big blue ellipse bottom left on light"),
    ],
)
def test_captions_are_these_sentences(level: int, values: list[int], caption: str) -> None:
    written = Grammar(level).write(np.array([values]))
    assert np.array_equal(written, ids(caption))
    assert written.dtype == np.int16


@pytest.mark.parametrize("level", LEVELS)
def test_every_combination_has_a_caption_of_its_own_which_reads_back(level: int) -> None:
    values, grammar = every(level), Grammar(level)
    captions = grammar.write(values)
    assert len({text(row) for row in captions}) == len(values)
    assert np.array_equal(grammar.read(captions), values)
    assert grammar.accepts(captions).all()


@settings(max_examples=300, deadline=None)
@given(level=levels, data=st.data())
def test_the_grammar_accepts_its_sentences_and_no_others(level: int, data: st.DataObject) -> None:
    """Mutants of a caption, and what they read: compared with a search through all sentences, word by word."""
    sentence = Grammar(level).write(every(level)[[data.draw(st.integers(0, len(every(level)) - 1))]])[0].copy()
    for _ in range(data.draw(st.integers(0, 2))):
        i, j = data.draw(st.tuples(st.integers(0, LENGTH - 1), st.integers(0, LENGTH - 1)))
        sentence[i] = data.draw(st.sampled_from([int(sentence[j]), *range(len(VOCABULARY))]))
    known = {text(row) for row in Grammar(level).write(every(level))}
    ended = EOS in sentence
    assert Grammar(level).accepts(sentence[None])[0] == (ended and text(sentence) in known)


@settings(max_examples=300, deadline=None)
@given(level=levels, sentence=sentences)
def test_each_attribute_is_read_from_the_only_word_of_its_own(level: int, sentence: list[int]) -> None:
    said = text(np.array(sentence)).split()
    expected = []
    for name, values in Grammar(level).attributes.items():
        found = [[word for word in said if word in words] for words in OWN[name]]
        once = all(len(words) == 1 for words in found)
        expected.append(values.index(" ".join(w[0] for w in found)) if once else len(values))
    assert Grammar(level).read(np.array([sentence]))[0].tolist() == expected


def test_what_follows_eos_does_not_matter_and_eos_itself_does() -> None:
    sentence = np.array([[*ids("small heart")[0][:3], 4, 5, 6, EOS, 7]])
    assert Grammar(2).accepts(sentence)[0]
    endless = np.where(ids("big blue ellipse top left on dark") == EOS, PAD, ids("big blue ellipse top left on dark"))
    assert not Grammar(5).accepts(endless)[0]


def test_the_judge_reads_tensors_exactly() -> None:
    judge = Grammar(2)
    x = torch.from_numpy(np.concatenate([ids("small square"), ids("square small"), ids("small small")])).long()
    assert judge.read(x).tolist() == [[1, 0], [1, 0], [3, 2]]
    assert judge.predict(x).tolist() == [1, 1, 3]
    assert judge.accepts(x).tolist() == [True, False, False]
    assert judge.accuracy == 1


def test_the_hash_is_that_of_the_grammar() -> None:
    hashes = [Grammar(level).hash for level in (*LEVELS, 1)]
    assert len(set(hashes)) == 5
    assert hashes[0] == hashes[-1]
    assert all(len(h) == 16 for h in hashes)
