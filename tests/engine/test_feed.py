"""Batches: each row once an epoch, bytes scaled once, absent entries zero, pairs and pure batches as the papers."""

import math

import numpy as np
import pytest
import torch

from mmvae_bench.datasets.base import Rows
from mmvae_bench.engine.feed import Feed
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing

N = 70


def feed(missing: Missing | None = None, batch_size: int = 16, **options) -> Feed:
    index = np.arange(N, dtype=np.uint8).reshape(N, 1)
    rows = Rows({"a": index, "b": (index + 100).astype(np.float32)}, np.arange(N) % 7)
    presence = Presence(missing or Missing(), ("a", "b"), N, "d", 0)
    return Feed.load(rows, presence, batch_size, torch.device("cpu"), **options)


def test_an_epoch_shows_each_row_once_in_ceil_n_over_b_steps():
    batches = list(feed().epoch(0))
    seen = torch.cat([batch.x["a"][:, 0] for batch in batches]) * 255
    assert len(batches) == math.ceil(N / 16) == feed().steps
    assert torch.equal(seen.round().sort().values, torch.arange(N).float())
    assert all(torch.allclose(batch.x["a"] * 255 + 100, batch.x["b"]) for batch in batches)


def test_epochs_differ_and_repeat():
    first, again, second = (torch.cat([b.x["b"] for b in feed().epoch(e)]) for e in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_what_is_hidden_is_zero():
    for batch in feed(Missing(0.5, "split")).epoch(2):
        for m, name in enumerate("ab"):
            assert (batch.x[name][~batch.present[m]] == 0).all()
        assert (~batch.present).any()


def test_drop_repeats_complete_rows_for_the_same_number_of_steps():
    made = feed(Missing(0.75, "split", "drop"))
    shown = list(made.epoch(0))
    assert len(shown) == made.steps and sum(b.size for b in shown) == N
    assert all(batch.present.all() for batch in shown)
    counts = torch.cat([b.x["b"][:, 0] for b in shown]).unique(return_counts=True)[1]
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_pure_batches_never_mix_and_keep_the_number_of_steps(ratio):
    made = feed(Missing(ratio, "only:b"), batch_size=8, pure=True)
    kinds = [batch.present.all(0) for batch in made.epoch(0)]
    assert len(kinds) == made.steps
    assert all(kind.all() or not kind.any() for kind in kinds)
    assert {bool(kind.all()) for kind in kinds} == {True, False}


def test_pairings_take_turns_within_the_class():
    made = feed(pairs=3)
    for epoch, same in ((0, True), (1, False), (3, True)):
        a, b = (torch.cat([batch.x[n][:, 0] for batch in made.epoch(epoch)]) for n in "ab")
        a, b = (a * 255).round().long(), b.long() - 100
        assert torch.equal(a, b) == same
        assert torch.equal(a % 7, b % 7)


def test_drawn_entries_are_present_ones():
    made = feed(Missing(0.9, "only:b"))
    allowed = set(np.flatnonzero(made.presence.ever()[0]).tolist())
    drawn = (made.draw("a", 30)[:, 0] * 255).round().long()
    assert set(drawn.tolist()) <= allowed


def test_pure_batches_survive_a_single_step_and_a_rare_kind():
    assert [b.size for b in feed(Missing(0.5, "split"), batch_size=N, pure=True).epoch(0)] == [N]
    made = feed(Missing(0.03, "split"), batch_size=8, pure=True)
    kinds = [batch.present.all(0) for batch in made.epoch(0)]
    assert len(kinds) == made.steps
    assert sum(not kind.any() for kind in kinds) == 1


@pytest.fixture
def mapped(tmp_path) -> Rows:
    np.save(tmp_path / "a.npy", np.arange(N, dtype=np.uint8).reshape(N, 1))
    return Rows({"a": np.load(tmp_path / "a.npy", mmap_mode="c")}, np.zeros(N, int)).take(np.arange(10, N))


def test_what_is_memory_mapped_is_not_copied(mapped):
    made = Feed.load(mapped, Presence(Missing(), ("a",), N - 10, "d", 0), 16, torch.device("cpu"))
    assert np.shares_memory(made.x["a"].numpy(), mapped.x["a"].entries)
    seen = torch.cat([batch.x["a"][:, 0] for batch in made.epoch(0)]) * 255
    assert torch.equal(seen.round().sort().values, torch.arange(10, N).float())


def test_only_what_rows_show_travels_to_another_device(mapped):
    made = Feed.load(mapped, Presence(Missing(), ("a",), N - 10, "d", 0), 16, torch.device("meta"))
    assert made.x["a"].shape == (N - 10, 1) and made.x["a"].device.type == "meta"
