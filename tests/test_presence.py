"""The laws of hiding (protocol 1-4): nested, paired over models, honest about its ratio."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing

NAMES = ("a", "b", "c")
SCHEMES = ["split", "split:fixed", "only:b", "independent", "independent:keep=c"]


def presence(ratio: float, scheme: str, seed: int = 0, rows: int = 400, incomplete: str = "keep") -> Presence:
    return Presence(Missing(ratio, scheme, incomplete), NAMES, rows, "d", seed)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SCHEMES), st.floats(0, 0.99), st.floats(0, 0.99), st.integers(0, 5), st.integers(0, 9))
def test_holes_of_a_lower_ratio_lie_inside_those_of_a_higher(scheme, a, b, seed, epoch):
    low, high = (presence(r, scheme, seed).at(epoch) for r in sorted((a, b)))
    assert not (high & ~low).any()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SCHEMES), st.floats(0, 0.99), st.integers(0, 5), st.integers(0, 9))
def test_every_row_shows_something_and_complete_rows_show_all(scheme, ratio, seed, epoch):
    p = presence(ratio, scheme, seed)
    assert p.at(epoch).any(0).all() and p.at(epoch)[:, p.complete].all()
    assert not (p.at(epoch) & ~p.ever()).any()


@pytest.mark.parametrize(
    ("ratio", "rows", "complete"),  # the last three are off by one where floats are cut
    [(0.1, 401, 360), (0.5, 401, 200), (1 - 1 / 16, 401, 25), (0.9, 10, 1), (0.8, 1000, 200), (0.9, 4000, 400)],
)
@pytest.mark.parametrize("scheme", ["split", "split:fixed", "only:b"])
def test_exactly_int_f_n_rows_are_complete_and_the_others_show_one(ratio, rows, complete, scheme):
    p = presence(ratio, scheme, rows=rows)
    assert p.complete.sum() == complete
    assert (p.at(3)[:, ~p.complete].sum(0) == 1).all()
    assert np.array_equal(p.complete, presence(ratio, "split", rows=rows).complete), "the same rows in split and only"


@pytest.mark.parametrize(("scheme", "shown"), [("only:b", 1), ("independent:keep=c", 2)])
def test_a_modality_that_a_scheme_names_is_never_hidden(scheme, shown):
    p = presence(0.8, scheme)
    assert p.at(0)[shown].all() and not p.at(0)[0].all()


def test_split_shows_each_side_equally_often_over_epochs_and_fixed_does_not_move():
    p, fixed = presence(0.5, "split", rows=200), presence(0.5, "split:fixed", rows=200)
    shown = np.mean([p.at(e)[:, ~p.complete] for e in range(900)], axis=0)
    error = np.sqrt(2 / 9 / 900)
    assert (np.abs(shown - 1 / 3) < 5 * error).all()
    assert np.array_equal(fixed.at(0), fixed.at(7)) and not np.array_equal(p.at(0), p.at(7))
    assert p.ever().all() and not fixed.ever().all()


def test_independent_hides_each_modality_with_its_probability():
    p = presence(0.3, "independent", rows=40_000)
    all_hidden = 0.3**3
    share, expected = 1 - p.at(0).mean(1), 0.3 - all_hidden / 3
    assert (np.abs(share - expected) < 5 * np.sqrt(0.3 * 0.7 / 40_000)).all()


def test_the_holes_depend_on_the_seed():
    assert not np.array_equal(presence(0.5, "split", 0).complete, presence(0.5, "split", 1).complete)


def test_drop_trains_on_the_complete_rows_alone():
    p = presence(0.75, "split", incomplete="drop")
    assert np.array_equal(p.trained(), np.flatnonzero(p.complete))
    assert p.ever()[:, p.complete].all() and not p.ever()[:, ~p.complete].any()


def test_multiplied_pairs_stay_in_their_class_and_leave_incomplete_rows_alone():
    label = np.arange(400) % 10
    p = presence(0.5, "split")
    assert np.array_equal(p.partners(label, "b", 0), np.arange(400))
    turns = [p.partners(label, "b", turn) for turn in (1, 2)]
    for partner in turns:
        assert np.array_equal(label[partner], label)
        assert np.array_equal(partner[~p.complete], np.flatnonzero(~p.complete))
        assert np.array_equal(np.sort(partner), np.arange(400)), "each entry is used once a turn"
        assert p.complete[partner[p.complete]].all(), "no entry of an incomplete row occurs in a complete one"
    assert not np.array_equal(*turns)


@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_with_a_kept_modality_the_others_are_dropped_at_the_full_rate(ratio):
    share = 1 - presence(ratio, "independent:keep=c", rows=40_000).at(0).mean(1)
    assert (np.abs(share[:2] - ratio) < 5 * np.sqrt(ratio * (1 - ratio) / 40_000)).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SCHEMES), st.floats(0, 0.99), st.integers(0, 5), st.integers(0, 9))
def test_no_item_of_an_incomplete_row_is_in_a_complete_one(scheme, ratio, seed, epoch):
    item = np.random.default_rng(seed).integers(1000, 1060, size=400)
    p = Presence(Missing(ratio, scheme), NAMES, 400, "d", seed, item)
    assert not set(item[p.complete]) & set(item[~p.complete])
    assert p.at(epoch).any(0).all() and p.at(epoch)[:, p.complete].all() and not p.at(epoch).all(0)[~p.complete].any()
    if scheme.startswith(("split", "only")):
        assert len(set(item[p.complete])) == int(round((1 - ratio) * len(set(item)), 6))


def test_rows_that_are_items_of_their_own_have_the_holes_of_rows_without_items():
    for scheme in SCHEMES:
        alone = Presence(Missing(0.5, scheme), NAMES, 400, "d", 0, np.arange(400))
        assert np.array_equal(alone.at(3), presence(0.5, scheme).at(3))
