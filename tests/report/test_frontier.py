"""Frontiers of made-up runs, whose areas are known, and the figure and table of a report that has them."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.report.build import build_report
from mmvae_bench.report.frontier import dominated_area, frontiers
from mmvae_bench.report.select import select
from mmvae_bench.store.store import Store

# beta -> coherence and distance: of mvae, .3 is beaten by 1; of mopoe, 3 beats all of mvae but 10, which is nearest
POINTS = {
    "mvae": {0.3: (0.3, 80.0), 1.0: (0.5, 60.0), 10.0: (0.2, 20.0)},
    "mopoe": {0.3: (0.1, 110.0), 1.0: (0.3, 90.0), 3.0: (0.6, 50.0)},
    "unimodal": {0.3: (0.1, 15.0), 1.0: (0.1, 14.0), 3.0: (0.1, 13.0)},
    "mmvae": {1.0: (0.9, 10.0)},  # too few settings for a curve
}


@pytest.fixture
def report(factory: Any, tmp_path: Any) -> Any:
    """Two seeds, both of whose scores are those of POINTS but for a shift that cancels."""
    store, runs = Store(tmp_path / "results"), []
    for (model, points), seed in product(POINTS.items(), range(2)):
        for beta, (c, d) in points.items():
            run = factory.spec(model, seed=seed, options={"beta": beta, "k": 2}, label=f"{model}[k=2,beta={beta:g}]")
            where = {"given": "mnist", "target": "street", "control": model == "unimodal"}
            move = 0.01 * (2 * seed - 1)
            rows = [
                factory.row(run, "cross_coherence", c + move, variant="micro", chance=0.1, ceiling=0.9, **where),
                factory.row(run, "frechet", d, ceiling=10.0, higher_is_better=False, **where),
                factory.row(run, "frechet", 1.0, variant="self", given="street", target="street"),
            ]
            factory.publish(store, run, rows)
            runs.append(run)
    return store, factory.make_plan(runs)


def test_curves_are_by_model_without_its_beta_and_need_three(report: Any) -> None:
    (found,) = frontiers(select(*report))
    assert (found.group, found.target, found.missing.ratio) == ("mnist_street", "street", 0)
    assert list(found.curves) == ["mvae[k=2]", "mopoe[k=2]", "unimodal[k=2]"]
    assert found.curves["mvae[k=2]"][1.0] == {0: (0.49, 60.0), 1: (0.51, 60.0)}
    assert (found.chance, found.ceiling, found.floor, found.worst) == pytest.approx((0.1, 0.9, 10.0, 110.0))


def test_what_nothing_beats_is_marked_and_a_control_takes_no_part(report: Any) -> None:
    (found,) = frontiers(select(*report))
    assert found.best == {("mopoe[k=2]", 3.0), ("mvae[k=2]", 10.0)}
    assert found.own("mvae[k=2]") == {1.0, 10.0}
    assert found.own("mopoe[k=2]") == {3.0}


def test_areas_are_those_of_the_unions_of_rectangles(report: Any) -> None:
    """mvae: (.5, .5) and (.125, .9) give .25 + .125 * .4; seeds move x by .0125, the mean stays."""
    (found,) = frontiers(select(*report))
    assert found.area("mvae[k=2]").mean == pytest.approx(0.5 * 0.5 + 0.125 * 0.4)
    assert found.area("mopoe[k=2]").mean == pytest.approx(0.625 * 0.6)
    assert found.area("unimodal[k=2]").mean == pytest.approx(0.0125 / 2 * 0.97)  # one seed is above chance
    assert (found.area("mvae[k=2]").n, found.area("mvae[k=2]").half_width) == (2, None)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=6))
def test_the_area_is_the_count_of_covered_cells(points: list[tuple[int, int]]) -> None:
    cells = np.zeros((10, 10), bool)
    for x, y in points:
        cells[:x, :y] = True
    assert dominated_area(np.array(points, float).reshape(-1, 2)) == cells.sum()


def test_the_page_has_the_figure_and_the_areas(report: Any, tmp_path: Any) -> None:
    built = build_report(*report, tmp_path / "reports")
    text = built.page.read_text()
    assert "mnist_street-frontier" in {picture.png.stem for picture in built.pictures}
    assert "mopoe[k=2]" in text and "<td>0.375</td>" in text and "Quality against coherence over beta" in text
