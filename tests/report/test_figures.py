from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from mmvae_bench.metrics import Description
from mmvae_bench.report.figures import style as figures
from mmvae_bench.report.figures.curves import _line, curves
from mmvae_bench.report.figures.exemplars import Exemplar
from mmvae_bench.report.figures.panels import against, priors
from mmvae_bench.report.figures.relatedness import class_matrices, embeddings, histograms
from mmvae_bench.report.figures.samples import grids
from mmvae_bench.report.figures.style import Look, palette, save, save_all
from mmvae_bench.report.statistics import Scores, summarise
from mmvae_bench.report.tables import Cell, Column, Table
from mmvae_bench.spec import Missing

SLUGS = {"data": "data", "micro": "micro"}


@pytest.fixture
def rows(factory: Any) -> list[Exemplar]:
    return [Exemplar(Missing(), 0, {name: factory.artifacts(factory.spec(name)) for name in ("meme", "mvae")})]


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
    written = save_all(parts, tmp_path / "many", pdf=True)
    assert [p.png.stem for p in written] == ["a-grid-0", "a-grid-1", "b-w2class-mnist+street", "c-w2hist-mnist+street"]
    with mpl.rc_context(figures.STYLE):
        alone = [picture for part in parts for picture in save(part(), tmp_path / "one", pdf=True)]
    for ours, theirs in zip(written, alone, strict=True):
        assert (ours.caption, ours.width) == (theirs.caption, theirs.width)
        assert ours.png.read_bytes() == theirs.png.read_bytes()
        assert ours.png.with_suffix(".pdf").read_bytes() == theirs.png.with_suffix(".pdf").read_bytes()


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
    (plot,) = class_matrices([Exemplar(Missing(), 0, {"mvae": {"w2class/a+b": many}})], "x", "x")
    heat = next(ax for ax in plot.figure.axes if ax.get_xlabel() == "b")
    assert not heat.get_xticklabels()


def test_a_band_does_not_set_the_axis() -> None:
    ax = figures.new_figure(3, 3).subplots()
    seeds = {0: 0.1, 1: 0.5, 2: 0.9}
    score = summarise(Scores(seeds))
    assert score.half_width > 0.9
    _line(ax, [(ratio, Cell(score, Scores(seeds))) for ratio in (0.0, 0.5)], Look("black", "o"))
    low, high = ax.get_ylim()
    assert 0 < low < 0.1 < 0.9 < high < 1


def test_means_with_a_dead_seed_are_white_in_the_middle() -> None:
    whole = many(2)
    column = whole.columns[1]
    cells = {
        **whole.cells,
        "model 1": {**whole.cells["model 1"], column: replace(whole.cells["model 1"][column], dead=1)},
    }
    for table, found in ((whole, 0), (replace(whole, cells=cells), 1)):
        (plot,) = curves([table], palette(list(whole.cells)), SLUGS)
        white = [line for line in plot.figure.axes[0].lines if line.get_color() == "white"]
        assert len(white) == found == plot.caption.count("White in the middle: a seed is dead.")
    assert white[0].get_xydata().tolist() == [[0.5, cells["model 1"][column].mean]]


def many(count: int, *texts: str) -> Table:
    """Scores of some entrants at two ratios: entrant i has i hundredths, and twice as many where rows are missing."""
    columns = [c for text in texts or ["a → b"] for c in (Column(text, Missing()), Column(text, Missing(0.5)))]
    cells = {
        f"model {i}": {
            c: Cell(summarise(x), x)
            for c in columns
            for spreads in [enumerate((-30, 0, 30))]
            for x in [Scores({s: 0.01 * (i + spread) * (1 + (c.missing.ratio > 0)) for s, spread in spreads})]
        }
        for i in range(count)
    }
    return Table(
        "data", "cross_coherence", "micro", "", "split", columns, cells, {columns[0]: (0.1, 0.1)}, {}, 1,
        about=Description(drawn=("micro",)),
    )  # fmt: skip


def test_many_entrants_have_a_row_each_and_few_a_line() -> None:
    looks = palette([f"model {i}" for i in range(25)])
    (few,) = curves([many(10)], looks, SLUGS)
    assert few.figure.axes[0].get_xlabel() == "missing ratio"
    (plot,) = curves([many(25)], looks, SLUGS)
    (ax,) = plot.figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"model {i}" for i in range(25)]
    assert ax.yaxis_inverted()
    complete, split = (line for line in ax.lines if len(line.get_xdata()) == 25)
    assert np.allclose(complete.get_xdata(), np.arange(25) / 100)
    assert np.allclose(split.get_xdata(), np.arange(25) / 50)
    assert ax.get_xlim()[1] < 0.6  # no interval sets the axis
    assert [text.get_text() for text in plot.figure.legends[0].get_texts()] == ["complete", "split 0.5", "chance"]
    assert "bars, cut at the axes: 95 % intervals over seeds alone" in plot.caption


@pytest.mark.parametrize("entrants", [2, 25])
def test_titles_of_panels_side_by_side_do_not_meet(entrants: int) -> None:
    table = many(entrants, *(f"m{i}+m{i + 1}+m{i + 2}+m{i + 3} → m0" for i in range(1, 5)))
    schemes = [replace(table, scheme=f"independent:keep=m0{end}") for end in ("", " (incomplete rows dropped)")]
    with mpl.rc_context(figures.STYLE):
        (plot,) = curves(schemes, palette(list(table.cells)), SLUGS)
        plot.figure.draw_without_rendering()
    left, right = (ax.title.get_window_extent() for ax in plot.figure.axes[:2])
    assert left.x1 < right.x0


def test_a_long_legend_makes_its_figure_higher() -> None:
    with mpl.rc_context(figures.STYLE):
        figure = figures.new_figure(4, 2)
        figures.legend_right(figure, [Line2D([], [], label=str(i)) for i in range(30)])
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.y0 >= 0 and box.y1 <= figure.bbox.y1


def numbered(variant: str, values: dict[str, float], prior: str = "", text: str = "a → b") -> Table:
    """Scores of models under a variant or a prior, with one seed more than needed for an interval."""
    column = Column(text, Missing())
    cells = {}
    for model, value in values.items():
        own = Scores({seed: value + 0.01 * seed for seed in (-1, 0, 1)})
        cells[model] = {column: Cell(summarise(own), own, control=model == "unimodal")}
    about = Description(title="Score", against="size", variants={"none": "nothing", "both": "all"})
    return Table("data", "score", variant, prior, "", [column], cells, {column: (0.1, 0.1)}, {}, 1, about=about)


def marks(plot: Any) -> dict[str, dict[int, list[float]]]:
    """Rows -> number of a line with marks -> its values."""
    lines = {ax.get_ylabel(): [line for line in ax.lines if line.get_marker() != "None"] for ax in plot.figure.axes}
    return {name: {i: list(map(float, line.get_ydata())) for i, line in enumerate(own)} for name, own in lines.items()}


def test_variants_that_begin_with_a_number_are_lines_against_it() -> None:
    tables = [
        numbered(f"{size} {rest}", {"mvae": size / 10 + (rest == "both"), "unimodal": 0.1})
        for size in (0, 1, 2)
        for rest in ("none", "both")
    ]
    (plot,) = against(tables, {"data": "data"})
    assert marks(plot)["mvae"] == {0: pytest.approx([0, 0.1, 0.2]), 1: pytest.approx([1, 1.1, 1.2])}
    assert [label.get_text() for label in plot.figure.axes[-1].get_xticklabels()] == ["0", "1", "2"]
    assert [text.get_text() for text in plot.figure.legends[0].get_texts()] == ["none", "both"]
    assert plot.name == "data-score-against"
    for part in ("none: nothing; both: all", "Dashed: chance", "Dotted: chance controls", "intervals over seeds"):
        assert part in plot.caption


def test_many_columns_have_a_figure_for_each_given_modality() -> None:
    texts = [f"{a} → {b}" for a in "abc" for b in "abc"]
    parts = [numbered("1 none", {"mvae": 0.5}, text=text) for text in texts]
    cells = {"mvae": {column: cell for part in parts for column, cell in part.cells["mvae"].items()}}
    whole = replace(parts[0], columns=[part.columns[0] for part in parts], cells=cells)
    plots = list(against([whole], {"data": "data"}))
    assert [plot.name for plot in plots] == [f"data-score-against-{given}" for given in "abc"]
    assert [[ax.get_title() for ax in plot.figure.axes] for plot in plots] == [texts[:3], texts[3:6], texts[6:]]


BOUNDED = ["ncp[bound=1]", "ncp[bound=2]", "ncp", "ncp[bound=1,sampler=langevin]", "ncp[bound=2,sampler=langevin]"]


def test_priors_are_lines_against_the_bound_and_flat_without_one() -> None:
    values = dict(zip(["model", "gmm", *BOUNDED], np.arange(7) / 10, strict=True))
    tables = [numbered("", {"mvae": value}, prior, "joint") for prior, value in values.items()]
    tables += [numbered("ess", {"mvae": 0.9}, "ncp", "all"), numbered("ess least", {"mvae": 0.4}, "ncp", "all")]
    (plot,) = priors(tables, {"data": "data"})
    first, second = plot.figure.axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["1", "2", "none"]
    shown = {line.get_color(): line for line in first.lines if line.get_marker() != "None" and len(line.get_ydata())}
    assert [list(line.get_ydata()) for line in shown.values()] == [
        pytest.approx([0.0] * 3), pytest.approx([0.1] * 3), pytest.approx([0.2, 0.3, 0.4]), pytest.approx([0.5, 0.6]),
    ]  # fmt: skip
    assert sorted(float(y) for line in second.lines if line.get_marker() != "None" for y in line.get_ydata()) == [
        pytest.approx(0.4), pytest.approx(0.9),
    ]  # fmt: skip
    names = [text.get_text() for text in plot.figure.legends[0].get_texts()]
    assert names == ["model", "gmm", "ncp", "ncp[sampler=langevin]", "least"]


def test_priors_without_two_bounds_are_side_by_side() -> None:
    tables = [numbered("", {"mvae": 0.5}, prior, "joint") for prior in ("model", "aggregate", "gmm", "ncp")]
    (plot,) = priors(tables, {"data": "data"})
    (ax,) = plot.figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["model", "aggregate", "gmm", "ncp"]
    assert [list(line.get_ydata()) for line in ax.lines if line.get_marker() != "None"] == [pytest.approx([0.5] * 4)]


@pytest.mark.parametrize("circle", [False, True])
def test_ordered_classes_have_a_panel_for_each_modality_and_their_pictures_are_still_drawn(circle: bool) -> None:
    rng = np.random.default_rng(0)
    tsne = {"xy": rng.normal(size=(80, 2)), "label": np.tile(np.arange(20), 4), "modality": np.repeat([0, 1], 40)}
    arrays = {f"tsne/{name}": values for name, values in tsne.items()} | {"tsne/circle": np.array(circle)}
    arrays |= {f"grid/{name}/b": rng.integers(0, 255, (10, 3, 32, 80), dtype=np.uint8) for name in ("source", "a")}
    arrays["grid/source/a"] = arrays["grid/source/b"]
    rows = [Exemplar(Missing(), 0, {"one": arrays, "two": {}})]
    assert len(list(grids(rows, "tracks", "tracks"))) == 1
    together, apart = embeddings(rows, "tracks", "tracks", ["a", "b"])
    panels = [ax for ax in apart.figure.axes if ax.get_ylabel() != "class, in order"]
    assert [ax.get_ylabel() for ax in panels] == ["a", "b"]
    assert panels[0].get_xlim() == panels[1].get_xlim() and len(together.figure.axes) == 2
    points = [ax.collections[0].get_offsets() for ax in panels]
    np.testing.assert_allclose(np.concatenate(points), tsne["xy"])
    first, last = (panels[0].collections[0].get_facecolors()[i, :3] for i in (0, 19))
    assert np.allclose(first, last, atol=0.05) == circle  # a circle's ends meet
