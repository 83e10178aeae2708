from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from mmvae_bench.report.build import build_report
from mmvae_bench.report.facts import provenance
from mmvae_bench.report.figures.exemplars import Exemplar
from mmvae_bench.report.figures.relatedness import embeddings
from mmvae_bench.report.figures.samples import EMPTY, PAIRS, TRUE, WIDEST, captions, grids
from mmvae_bench.report.figures.style import STYLE, Plot, save
from mmvae_bench.report.select import select
from mmvae_bench.spec import Missing
from mmvae_bench.store.store import Store

Arrays = dict[str, Any]
HALF = Missing(0.5)


@pytest.fixture
def arrays(factory: Any) -> Arrays:
    made: Arrays = factory.artifacts(factory.spec("mvae", "cub"))
    return made


def draw(*rows: Arrays, label: str = "mvae", second: Missing = HALF) -> list[Plot]:
    """The figures of one model, complete and with holes."""
    shown = [Exemplar(m, 0, {label: row}) for m, row in zip((Missing(), second), rows, strict=False)]
    with mpl.rc_context(STYLE):
        return list(captions(shown, "cub", "cub"))


def said(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


def words(figure: Figure, colour: str = "") -> list[str]:
    return [" ".join(text.get_text().split()) for text in said(figure) if not colour or text.get_color() == colour]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts and pictures whose boxes share more than a pixel's edge, and what leaves the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in said(figure)]
    boxes += [("picture", image.get_window_extent(renderer)) for image in figure.findobj(AxesImage)]
    found = [(a, b) for (a, p), (b, q) in combinations(boxes, 2)
             if min(p.x1, q.x1) - max(p.x0, q.x0) > 1 and min(p.y1, q.y1) - max(p.y0, q.y0) > 1]  # fmt: skip
    wide, high = figure.bbox.width, figure.bbox.height
    return found + [(a, "outside") for a, p in boxes if p.x0 < 0 or p.y0 < 0 or p.x1 > wide or p.y1 > high]


def test_a_row_has_the_pair_and_what_is_made_of_each_side(arrays: Arrays) -> None:
    (plot,) = draw(arrays, arrays)
    text = words(plot.figure)
    assert words(plot.figure, TRUE) == [*arrays["grid/source/caption"][:PAIRS]]
    for caption in arrays["grid/image/caption"][:PAIRS]:
        assert text.count(caption) >= 2
    heads = ("test pair", "caption given image", "image given caption", "image given both")
    assert all(head in text for head in heads)
    assert text.count("complete") == text.count("split 0.5") == 3
    images = plot.figure.findobj(AxesImage)
    assert len(images) == PAIRS * (1 + 2 + 2)
    assert np.array_equal(images[0].get_array(), np.repeat(arrays["grid/source/image"][0], 3, 0).transpose(1, 2, 0))
    assert "complete (seed 0), split 0.5 (seed 0)" in plot.caption


@pytest.mark.parametrize("caption", ["heart", "W" * 300, "this bird has a white belly , " * 6, "<unk> " * 60])
def test_nothing_overlaps_and_all_fits_the_page(arrays: Arrays, caption: str) -> None:
    long = {k: np.array([caption, *v[1:]]) if v.dtype.kind == "U" else v for k, v in arrays.items()}
    label = "meme[pseudo=128,batches=pure,likelihood=10.0,WWWWWWWWWWWW] " * 4
    hard = draw(long, arrays, label=label, second=Missing(0.9375, "independent:keep=image", "drop"))
    for plot in (*draw(long), *hard):
        assert overlaps(plot.figure) == []
        assert plot.figure.get_figwidth() <= WIDEST + 1e-9


def test_what_there_is_no_room_for_is_left_out_from_the_end(arrays: Arrays) -> None:
    wide = {k: np.array([c * 4 for c in v]) if v.dtype.kind == "U" else v for k, v in arrays.items()}
    for other in ("sound", "sketch", "depth"):
        wide |= {f"grid/{other}/{t}": arrays[f"grid/image/{t}"] for t in ("image", "caption")}
    (plot,) = draw(wide, wide)
    text = words(plot.figure)
    assert "caption given image" in text
    assert "image given both" not in text
    assert overlaps(plot.figure) == []


def test_no_words_and_dollars_are_drawn_as_they_are(arrays: Arrays, tmp_path: Path) -> None:
    arrays["grid/image/caption"] = np.array(["", r"$x_ \frac{$ ^", *arrays["grid/image/caption"][2:]])
    (plot,) = draw(arrays)
    assert EMPTY in words(plot.figure)
    assert r"$x_ \frac{$ ^" in words(plot.figure)
    (picture,) = save([plot], tmp_path)
    assert picture.png.stat().st_size > 10_000


def test_runs_of_other_test_pairs_do_not_stand_beside_one_another(arrays: Arrays) -> None:
    other = {**arrays, "grid/source/caption": arrays["grid/source/caption"][::-1].copy()}
    (plot,) = draw(arrays, other)
    assert "split 0.5" not in words(plot.figure)
    assert "split" not in plot.caption


def test_captions_of_features_have_no_pictures(arrays: Arrays) -> None:
    without = {key: values for key, values in arrays.items() if not key.endswith("/image")}
    (plot,) = draw(without)
    assert "caption given image" in words(plot.figure)
    assert not plot.figure.findobj(AxesImage)


def test_pictures_have_grids_and_captions_tables(factory: Any, arrays: Arrays) -> None:
    digits = factory.artifacts(factory.spec("mvae"))
    assert draw(digits) == []
    for rows, count in ((digits, 1), (arrays, 0)):
        assert len(list(grids([Exemplar(Missing(), 0, {"mvae": rows})], "x", "x"))) == count


@pytest.mark.parametrize(("label", "colours"), [(-1, 2), (3, 1)])
def test_without_classes_modalities_differ_in_colour(arrays: Arrays, label: int, colours: int) -> None:
    plain = {**arrays, "tsne/label": np.full(600, label)}
    (plot,) = embeddings([Exemplar(Missing(), 0, {"mvae": plain})], "cub", "cub", ["image", "caption"])
    clouds = plot.figure.findobj(PathCollection)
    assert len(clouds) == 2
    assert len({tuple(cloud.get_facecolor()[0]) for cloud in clouds}) == colours


def test_a_report_of_captions_has_figures_of_them(factory: Any, tmp_path: Path) -> None:
    made = factory.make(tmp_path / "results", seeds=1, models=("meme", "unimodal"), data=("cub",))
    built = build_report(made.store, made.plan, tmp_path / "reports")
    names = {path.stem for path in built.files if path.suffix == ".png"}
    expected = {"captions-0", "captions-1", "cca-mean_oracle", "cca_ratio-mean_oracle", "retrieval_recall-10", "time"}
    assert {f"cub-{name}" for name in expected} <= names
    assert not {name for name in names if "sif" in name or "recall-1_" in name or name.startswith("cub-grid")}
    text = built.page.read_text()
    assert "embedding hash" in text
    assert "e" * 16 in text
    assert "first reduced by PCA" in text


def test_embeddings_are_among_the_hashes_where_there_are_any(factory: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    digits, birds = (factory.publish(store, factory.spec("mvae", data)) for data in ("mnist_street", "cub"))
    assert [list(row) for row in provenance(select(store, factory.make_plan([digits])))] == [
        ["data set", "dataset hash", "oracle hash", "package version"]
    ]  # fmt: skip
    both = provenance(select(store, factory.make_plan([digits, birds])))
    assert [row["embedding hash"] for row in both] == ["", "e" * 16]
