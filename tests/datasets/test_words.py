import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.datasets.archives import members
from mmvae_bench.datasets.cub import UNSEEN
from mmvae_bench.datasets.words import EOS, PAD, SPECIALS, UNK, decode, encode, tokenise, vocabulary
from tests.helpers import REAL, needs

CAPTIONS = "cub/cub_captions_text_c10.tar.xz"

lines = st.lists(st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(["a red bird.", "a <pad> b", ""]))


def test_tokens_of_a_caption():
    assert tokenise("The bird's off-white wing, 2 EYES / beak.") == [
        "the", "bird's", "off", "white", "wing", ",", "2", "eyes", "beak", "."
    ]  # fmt: skip
    assert tokenise("  'tis \ufffd(black)_crown... ") == ["tis", "black", "crown", ".", ".", "."]
    assert tokenise("caf\u00e9 <eos> <pad>") == ["caf\u00e9", "eos", "pad"]  # no caption can write a special
    assert tokenise("") == []


def test_words_that_occur_more_than_three_times_in_order_of_appearance():
    captions = [["b", "a", "c"], ["a", "b", "c"], ["b", "a", "c"], ["a", "b", "d"]]
    assert vocabulary(captions) == (*SPECIALS, "b", "a")  # c occurs three times
    assert vocabulary(captions, above=2) == (*SPECIALS, "b", "a", "c")
    assert vocabulary([]) == SPECIALS


def test_a_caption_is_words_then_eos_then_padding():
    words = (*SPECIALS, "a", "bird")
    ids = encode([["a", "bird"], ["a", "dodo", "bird", "a"], ["a"] * 3, ["a"] * 9, []], words, 4)
    assert ids.dtype == np.int16
    np.testing.assert_array_equal(
        ids, [[3, 4, EOS, PAD], [3, UNK, 4, EOS], [3, 3, 3, EOS], [3, 3, 3, EOS], [EOS, PAD, PAD, PAD]]
    )
    assert [decode(row, words) for row in ids] == ["a bird", "a <unk> bird", "a a a", "a a a", ""]
    np.testing.assert_array_equal(encode([["<pad>", "<eos>"]], words, 4), [[UNK, UNK, EOS, PAD]])
    assert encode([], words, 4).shape == (0, 4)


@given(lines, st.integers(2, 12), st.integers(0, 3))
def test_encoding_holds_for_any_text(text, length, above):
    tokens = [tokenise(line) for line in text]
    words = vocabulary(tokens, above)
    assert len(set(words)) == len(words)
    ids = encode(tokens, words, length)
    assert ids.shape == (len(text), length)
    assert ((ids >= 0) & (ids < len(words))).all()
    assert ((ids == EOS).sum(1) == 1).all()
    for row, caption in zip(ids, tokens, strict=True):
        end = int(np.argmax(row == EOS))
        assert (row[:end] != PAD).all() and (row[end + 1 :] == PAD).all()
        kept = [word if word in words else "<unk>" for word in caption[: length - 1]]
        assert decode(row, words) == " ".join(kept)


@needs(CAPTIONS)
def test_the_size_that_the_docs_state_is_that_of_reeds_captions():
    train: list[list[str]] = []
    for name, content in members(REAL / CAPTIONS, lambda name: name.startswith("text_c10")):
        if int(name.split("/")[1][:3]) not in UNSEEN:
            train += map(tokenise, content.decode().splitlines())
    assert len(train) == 88_550
    words = vocabulary(train)
    assert len(words) == 1710


def test_letters_of_a_text_are_not_put_apart() -> None:
    letters = (*SPECIALS, " ", *"abc")
    assert decode(np.array([4, 3, 5, 6, 2, 4]), letters) == "a bc"
