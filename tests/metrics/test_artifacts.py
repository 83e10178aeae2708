import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench import models
from mmvae_bench.datasets.base import Repeated, Rows
from mmvae_bench.datasets.words import EOS, SPECIALS
from mmvae_bench.kinds.standard import sentences
from mmvae_bench.metrics.artifacts import (
    GRID_ROWS,
    TSNE_POINTS,
    artifacts,
    grid_rows,
    grids,
    numbers,
    tsne,
)
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.nets.mlp import mlp
from mmvae_bench.types import Modality

WORDS = (*SPECIALS, "a", "red", "bird")
CAPTION = Modality("caption", (4,), "categorical", dtype="int16", vocabulary=WORDS)
Make = Callable[..., Evaluation]


def pairs(pictures: int = 30, captions: int = 3) -> Rows:
    """Pictures with several captions each; caption k of picture i is ``a`` and one other word."""
    rng = np.random.default_rng(0)
    index = np.repeat(np.arange(pictures), captions)
    image = Repeated(rng.integers(0, 256, (pictures, 1, 8, 8), dtype=np.uint8), index)
    caption = np.stack([np.full(len(index), 3), rng.integers(4, 6, len(index)), np.full(len(index), EOS),
                        np.zeros(len(index))], 1).astype(np.int16)  # fmt: skip
    return Rows({"image": image, "caption": caption}, label=index // 3, item=index + 100)


@pytest.fixture
def birds(world: Make) -> Make:
    """Captioned pictures, an untrained model of them; fields of the evaluation may be given."""

    def make(**fields: object) -> Evaluation:
        torch.manual_seed(0)
        model = models.registry.get("mvae")(mlp([Modality("image", (1, 8, 8)), CAPTION], 3, hidden=8, layers=1))
        rows = pairs()
        defaults = {"train": rows, "test": rows, "oracles": {}, "classes": 10, "related": "item"}
        return world(model, **{**defaults, **fields})

    return make


def test_grids_of_captions_are_text_that_loads_without_pickle(birds: Make) -> None:
    ev = birds()
    file = io.BytesIO()
    np.savez_compressed(file, **grids(ev))
    file.seek(0)
    out = dict(np.load(file, allow_pickle=False))
    sources = {"image", "caption", "image+caption"}
    assert set(out) == {f"grid/{a}/{t}" for a in (*sources, "source") for t in ("image", "caption")}
    assert all(values.shape == (GRID_ROWS,) and values.dtype.kind == "U"
               for key, values in out.items() if key.endswith("/caption"))  # fmt: skip
    assert set(out["grid/source/caption"]) <= {"a red", "a bird"}
    chosen = grid_rows(numbers(ev), ev.order("grid", len(ev.test)))
    assert np.array_equal(out["grid/source/image"], ev.test.x["image"][chosen])
    generated = ev.generate(ev.test.take(chosen), ("image",), "caption")
    assert out["grid/image/caption"].tolist() == sentences(CAPTION, generated.numpy(), generated.numpy()).tolist()


def test_a_grid_of_items_shows_ten_different_pictures(birds: Make) -> None:
    ev = birds()
    chosen = grid_rows(numbers(ev), ev.order("grid", len(ev.test)))
    items = ev.test.item[chosen]
    assert len(set(items.tolist())) == GRID_ROWS
    assert np.array_equal(items, np.sort(items))
    assert items.max() - items.min() > GRID_ROWS  # not simply the first ones, which are of one species


def test_a_grid_of_attributes_shows_different_combinations(birds: Make) -> None:
    rows = pairs()
    attributes = np.stack([np.arange(len(rows.label)) % 3, np.arange(len(rows.label)) % 4], 1)
    ev = birds(related="class", test=Rows(rows.x, attributes[:, 0], attributes=attributes), classes=3)
    chosen = grid_rows(numbers(ev), ev.order("grid", len(ev.test)))
    assert len({tuple(row) for row in attributes[chosen].tolist()}) == GRID_ROWS


@given(st.lists(st.integers(0, 15), min_size=1, max_size=60), st.integers(0, 5))
def test_grid_rows_are_distinct_and_of_as_many_kinds_as_there_are(kind: list[int], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(kind))
    rows = grid_rows(np.array(kind), order)
    assert len(set(rows.tolist())) == len(rows) == min(GRID_ROWS, len(kind))
    assert len({kind[row] for row in rows}) == min(GRID_ROWS, len(set(kind)))


@pytest.mark.parametrize(("classes", "coloured"), [(10, True), (20, True), (21, False), (200, False)])
def test_more_classes_than_colours_have_no_label(birds: Make, classes: int, coloured: bool) -> None:
    out = tsne(birds(classes=classes))
    assert (out["tsne/label"] >= 0).all() == coloured
    assert (out["tsne/label"] == -1).all() == (not coloured)
    assert len(out["tsne/label"]) == len(out["tsne/xy"]) == len(out["tsne/modality"])


def test_arrays_of_pictures_and_vectors(world: Make) -> None:
    parts = [Modality("a", (1, 8, 8)), Modality("b", (64,), dtype="float32")]
    rng, label = np.random.default_rng(0), np.arange(200) % 10
    x = rng.integers(0, 256, size=(200, 1, 8, 8)).astype(np.uint8)
    rows = Rows({"a": x, "b": rng.normal(size=(200, 64)).astype(np.float32)}, label)
    torch.manual_seed(0)
    model = models.registry.get("mvae")(mlp(parts, 3, hidden=8, layers=1))
    ev = world(model, train=rows, test=rows)
    out = artifacts(ev)
    pictures = {name: value for name, value in out.items() if name.startswith("grid/")}
    assert set(pictures) == {f"grid/{given}/{target}" for given in ("a", "b", "a+b", "source") for target in "ab"}
    shapes = {name[-1]: value.shape for name, value in pictures.items() if value.dtype == np.uint8}
    assert shapes == {"a": (GRID_ROWS, 1, 8, 8), "b": (GRID_ROWS, 3, 30, 84)}  # a table of 64 is 14 x 5 cells
    chosen = grid_rows(label, ev.order("grid", 200))
    assert np.array_equal(label[chosen], np.arange(10))
    assert np.array_equal(out["grid/source/a"], x[chosen])
    assert out["tsne/xy"].shape == (2 * (TSNE_POINTS // 2), 2) and out["tsne/xy"].dtype == np.float32
    assert np.bincount(out["tsne/label"]).tolist() == [TSNE_POINTS // 10] * 10
    assert np.bincount(out["tsne/modality"]).tolist() == [TSNE_POINTS // 2] * 2


def test_without_classes_the_first_ten_rows_are_drawn() -> None:
    assert grid_rows(None, np.arange(99)[::-1]).tolist() == list(range(89, 99))


def test_all_arrays_of_captioned_pictures_are_small_and_the_same_twice(birds: Make) -> None:
    out, again = artifacts(birds()), artifacts(birds())
    assert sum(values.nbytes for values in out.values()) < 100_000
    assert out.keys() == again.keys()
    assert all(np.array_equal(values, again[name]) for name, values in out.items())
    assert not any(values.dtype.hasobject for values in out.values())


@pytest.mark.parametrize(("ordered", "circle"), [("line", False), ("circle", True)])
def test_ordered_classes_are_coloured_however_many_there_are(birds: Make, ordered: str, circle: bool) -> None:
    out = tsne(birds(classes=30, ordered=ordered))
    assert (out["tsne/label"] >= 0).all() and bool(out["tsne/circle"]) == circle
    assert "tsne/circle" not in tsne(birds(classes=30))
