from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.image import AxesImage

from mmvae_bench.report import figures
from mmvae_bench.report.exemplars import Exemplar
from mmvae_bench.report.figures import Look, palette, save, save_all
from mmvae_bench.report.figures_curves import _line
from mmvae_bench.report.figures_relatedness import class_matrices, histograms
from mmvae_bench.report.figures_samples import grids
from mmvae_bench.report.statistics import summarise
from mmvae_bench.report.tables import Cell


@pytest.fixture
def rows(factory: Any) -> list[Exemplar]:
    return [Exemplar("none", 0.0, 0, {name: factory.artifacts(factory.spec(name)) for name in ("meme", "mvae")})]


def test_figures_are_the_same_and_in_order_whoever_writes_them(
    rows: list[Exemplar], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    parts = [
        partial(grids, rows, "x", "a"),
        partial(grids, [], "x", "nothing"),
        partial(class_matrices, rows, "x", "b"),
        partial(histograms, rows, "x", palette(["meme", "mvae"]), "c"),
    ]
    written = save_all(parts, tmp_path / "many")
    assert [p.png.stem for p in written] == ["a-grid-0", "a-grid-1", "b-w2class-mnist+street", "c-w2hist-mnist+street"]
    with mpl.rc_context(figures.STYLE):
        alone = [picture for part in parts for picture in save(part(), tmp_path / "one")]
    for ours, theirs in zip(written, alone, strict=True):
        assert (ours.caption, ours.width) == (theirs.caption, theirs.width)
        assert ours.png.read_bytes() == theirs.png.read_bytes()
        assert ours.pdf.read_bytes() == theirs.pdf.read_bytes()


def test_a_strip_has_each_picture_as_it_is_at_its_column(rows: list[Exemplar]) -> None:
    plot = next(iter(grids(rows, "x", "x")))
    strip = plot.figure.findobj(AxesImage)[0]
    shown, (left, right, *_) = np.asarray(strip.get_array()), strip.get_extent()
    stored = rows[0].arrays["meme"]["grid/source/mnist"]
    unit = shown.shape[1] / (right - left)
    for x, picture in enumerate(stored):
        first = round(x * unit)
        own = shown[:, first : first + 28, 0]
        assert np.array_equal(own, picture[0])
    assert strip.get_interpolation() == "nearest"


def test_a_matrix_is_drawn_in_the_order_of_its_labels(rows: list[Exemplar]) -> None:
    (plot,) = class_matrices(rows, "x", "x")
    heats = [ax for ax in plot.figure.axes if ax.get_xlabel() == "street"]
    assert len(heats) == 2
    for ax, arrays in zip(heats, rows[0].arrays.values(), strict=True):
        order = [int(label.get_text()) for label in ax.get_xticklabels()]
        assert order == [int(label.get_text()) for label in ax.get_yticklabels()]
        assert sorted(order) == list(range(10))
        matrix = arrays["w2class/mnist+street"]
        (mesh,) = ax.findobj(QuadMesh)
        assert np.allclose(mesh.get_array(), (matrix / matrix.mean())[np.ix_(order, order)])
        assert ax.yaxis_inverted()  # the first label is above


def test_many_classes_have_no_labels() -> None:
    many = np.abs(np.subtract.outer(np.arange(30.0), np.arange(30.0))) + 1
    (plot,) = class_matrices([Exemplar("none", 0.0, 0, {"mvae": {"w2class/a+b": many}})], "x", "x")
    heat = next(ax for ax in plot.figure.axes if ax.get_xlabel() == "b")
    assert not heat.get_xticklabels()


def test_a_band_does_not_set_the_axis() -> None:
    ax = figures.new_figure(3, 3).subplots()
    seeds = {0: 0.1, 1: 0.5, 2: 0.9}
    score = summarise(list(seeds.values()))
    assert score.half_width > 0.9
    _line(ax, [(ratio, Cell(score, by_seed=seeds)) for ratio in (0.0, 0.5)], Look("black", "o"))
    low, high = ax.get_ylim()
    assert 0 < low < 0.1 < 0.9 < high < 1
