"""The captioned shapes: what their rows are, and that captions are written and read exactly."""

import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.datasets import registry
from mmvae_bench.datasets.base import Built
from mmvae_bench.datasets.captioned_shapes import CaptionedShapes, balanced
from mmvae_bench.datasets.shapes_grammar import LENGTH, VOCABULARY, Grammar
from mmvae_bench.datasets.words import EOS, PAD, SPECIALS
from mmvae_bench.options import parse_named, resolve

LEVELS = (1, 2, 3, 4, 5)
COUNTS = (3, 2, 5, 4, 2)
NOWHERE = Path("/nonexistent")  # nothing is read from the data directory
OWN = {  # the words of each attribute, one from each list
    "shape": [("heart", "square", "ellipse")],
    "size": [("small", "big")],
    "colour": [("red", "yellow", "green", "blue", "pink")],
    "position": [("top", "bottom"), ("left", "right")],
    "background": [("light", "dark")],
}
levels = st.sampled_from(LEVELS)
sentences = st.lists(st.integers(0, len(VOCABULARY) - 1), min_size=LENGTH, max_size=LENGTH)


def make(level: int) -> CaptionedShapes:
    return CaptionedShapes(level=level)  # type: ignore[arg-type]


@cache
def built(level: int) -> Built:
    return make(level).build(NOWHERE)


def every(level: int) -> np.ndarray:
    return np.array(list(product(*(range(count) for count in COUNTS[:level]))))


def ids(text: str) -> np.ndarray:
    said = [VOCABULARY.index(word) for word in text.split()]
    return np.array([[*said, EOS, *[PAD] * LENGTH][:LENGTH]])


def text(row: np.ndarray) -> str:
    words = [VOCABULARY[i] for i in row]
    return " ".join(words[: words.index("<eos>")] if "<eos>" in words else words)


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_rows_have_the_declared_shapes(level: int) -> None:
    data, dataset = built(level), make(level)
    assert dataset.attributes is not None
    for rows, count in ((data.train, 4000), (data.test, 1000)):
        for modality in dataset.modalities:
            assert rows.x[modality.name].shape == (count, *modality.shape)
            assert rows.x[modality.name].dtype == modality.dtype
        assert rows.label is not None
        assert rows.attributes is not None
        assert rows.attributes.shape == (count, level) == (count, len(dataset.attributes))
        assert rows.attributes.dtype == rows.label.dtype == np.int64
        assert np.array_equal(rows.label, rows.attributes[:, 0])
        assert rows.item is None


@pytest.mark.parametrize("level", LEVELS)
def test_attributes_are_balanced_and_shuffled(level: int) -> None:
    for rows in (built(level).train, built(level).test):
        assert rows.attributes is not None
        combinations, count = np.unique(rows.attributes, axis=0, return_counts=True)
        assert len(combinations) == np.prod(COUNTS[:level])
        assert np.ptp(count) <= 1
        for column, values in zip(rows.attributes.T, COUNTS, strict=False):
            assert np.ptp(np.bincount(column, minlength=values)) <= 0.01 * len(rows)
            assert len(np.unique(column[:60])) == values


@given(n=st.integers(1, 1000), level=levels)
def test_any_number_of_rows_is_balanced(n: int, level: int) -> None:
    _, count = np.unique(balanced(n)[:, :level], axis=0, return_counts=True)
    assert np.ptp(count) <= 1
    assert len(count) == min(n, np.prod(COUNTS[:level]))


@pytest.mark.parametrize("level", LEVELS)
def test_every_caption_says_the_attributes_of_its_row(level: int) -> None:
    for rows in (built(level).train, built(level).test):
        captions = rows.x["caption"]
        assert np.array_equal(Grammar(level).read(captions), rows.attributes)  # type: ignore[arg-type]
        assert Grammar(level).accepts(captions).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("level", LEVELS)
def test_no_two_pictures_are_the_same(level: int) -> None:
    data = built(level)
    assert len({x.tobytes() for rows in (data.train, data.test) for x in rows.x["image"]}) == 5000


def test_a_row_shows_the_same_shape_at_every_level_and_splits_have_their_own_streams() -> None:
    for level in LEVELS[:-1]:
        deeper = built(5).train.attributes
        assert deeper is not None
        assert np.array_equal(built(level).train.attributes, deeper[:, :level])  # type: ignore[arg-type]
    assert not np.array_equal(built(1).train.x["image"][:1000], built(1).test.x["image"])


def test_building_twice_gives_the_same_arrays() -> None:
    again = make(5).build(NOWHERE)
    for rows, copy in ((built(5).train, again.train), (built(5).test, again.test)):
        assert all(np.array_equal(rows.x[name], copy.x[name]) for name in rows.x)
        assert np.array_equal(rows.attributes, copy.attributes)  # type: ignore[arg-type]


# --- declarations ----------------------------------------------------------------------------------------------------


def test_levels_name_their_attributes_in_order() -> None:
    assert list(make(5).attributes or ()) == ["shape", "size", "colour", "position", "background"]
    for level in LEVELS:
        attributes = make(level).attributes or {}
        assert [len(values) for values in attributes.values()] == list(COUNTS[:level])
    assert (make(4).attributes or {})["position"] == ("top left", "top right", "bottom left", "bottom right")
    assert make(1).classes == (make(1).attributes or {})["shape"]
    assert make(1).related == "class"


def test_the_vocabulary_is_that_of_all_levels() -> None:
    words = {make(level).modalities[1].vocabulary for level in LEVELS}
    assert words == {VOCABULARY}
    assert VOCABULARY[:3] == SPECIALS
    assert len(set(VOCABULARY)) == len(VOCABULARY) == 20
    assert LENGTH == 8  # a power of two, and enough for the longest


def test_the_level_is_an_option() -> None:
    assert registry.get("captioned_shapes") is CaptionedShapes
    assert resolve(CaptionedShapes, parse_named("captioned_shapes[level=2]")) == {"level": 2}
    assert make(3).protocol.nets == "mlp[hidden=256,layers=2]"


def test_building_and_reading_import_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from mmvae_bench.datasets.captioned_shapes import CaptionedShapes\n"
        "d = CaptionedShapes(level=2); d.protocol; d.attributes; d.judges({}); d.build(Path('.'))\n"
        "print([m for m in ('torch', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- the grammar -----------------------------------------------------------------------------------------------------


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
    for name, values in (make(level).attributes or {}).items():
        found = [[word for word in said if word in words] for words in OWN[name]]
        once = all(len(words) == 1 for words in found)
        expected.append(values.index(" ".join(w[0] for w in found)) if once else len(values))
    assert Grammar(level).read(np.array([sentence]))[0].tolist() == expected


@pytest.mark.parametrize(
    ("caption", "read"),
    [
        ("small red heart top left on dark", [0, 0, 0, 0, 1]),
        ("red small heart top left on dark", [0, 0, 0, 0, 1]),  # swapped
        ("small red heart left top on dark", [0, 0, 0, 0, 1]),
        ("small red heart top left dark", [0, 0, 0, 0, 1]),  # a word is missing
        ("small red top left on dark", [3, 0, 0, 0, 1]),
        ("small red heart top on dark", [0, 0, 0, 4, 1]),
        ("small red heart square left on dark", [3, 0, 0, 4, 1]),  # two shapes
        ("small red heart heart left on dark", [3, 0, 0, 4, 1]),
        ("small <unk> heart top left on dark", [0, 0, 5, 0, 1]),  # a word of no attribute
        ("<eos> red heart top left on dark", [3, 2, 5, 4, 2]),  # over before it begins
        ("small red heart", [0, 0, 0, 4, 2]),  # a sentence of level 3
    ],
)
def test_wrong_sentences_are_read_in_part_and_accepted_never(caption: str, read: list[int]) -> None:
    assert Grammar(5).read(ids(caption))[0].tolist() == read
    assert Grammar(5).accepts(ids(caption))[0] == (caption == "small red heart top left on dark")


def test_sentences_of_other_levels_have_foreign_words() -> None:
    assert Grammar(2).read(ids("small red heart")).tolist() == [[0, 0]]
    assert not Grammar(2).accepts(ids("small red heart"))[0]


def test_what_follows_eos_does_not_matter_and_eos_itself_does() -> None:
    sentence = np.array([[*ids("small heart")[0][:3], 4, 5, 6, EOS, 7]])
    assert Grammar(2).accepts(sentence)[0]
    endless = np.where(ids("big blue ellipse top left on dark") == EOS, PAD, ids("big blue ellipse top left on dark"))
    assert not Grammar(5).accepts(endless)[0]


def test_the_judge_reads_tensors_exactly() -> None:
    (judge,) = make(2).judges({}).values()
    x = torch.from_numpy(np.concatenate([ids("small square"), ids("square small"), ids("small small")])).long()
    assert judge.read(x).tolist() == [[1, 0], [1, 0], [3, 2]]
    assert judge.predict(x).tolist() == [1, 1, 3]
    assert judge.accepts(x).tolist() == [True, False, False]  # type: ignore[attr-defined]
    assert judge.accuracy == 1
    assert set(make(2).judges({})) == {"caption"}


def test_the_hash_is_that_of_the_grammar() -> None:
    hashes = [make(level).judges({})["caption"].hash for level in (*LEVELS, 1)]
    assert len(set(hashes)) == 5
    assert hashes[0] == hashes[-1]
    assert all(len(h) == 16 for h in hashes)
