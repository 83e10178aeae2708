"""Quality against coherence over beta: the settings that no other beats in both, and the area below them.

A setting of a model is a point (c, d): c is the coherence of what it generates of a modality from one other one (strict
attributes where the data have them, else cross-coherence), and d the Fréchet distance of the same entries, each a mean
over the modalities given. Both are put on [0, 1],

    x = (c - chance) / (ceiling - chance),    y = (worst - d) / (worst - floor),

where the ceiling is the judge's accuracy on true entries, the floor the distance of true training entries, and worst
the largest distance of any point of the panel. The area is that of the union of all [0, x] x [0, y] over beta (the
hypervolume of Zitzler and Thiele, 1999): 1 for a model that is as coherent and as close as true entries are.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mmvae_bench.report.averaging import in_order
from mmvae_bench.report.select import Run, Selection
from mmvae_bench.report.statistics import Scores, Summary, summarise
from mmvae_bench.report.summary import PARTS
from mmvae_bench.spec import Missing

MIN_BETAS = 3  # of a model, for a curve
OPTION = "beta"
KEY = ["run_id", "given", "target"]
Point = tuple[float, float]  # coherence and distance
Curve = dict[float, dict[int, Point]]  # beta -> seed -> point


@dataclass(frozen=True)
class Frontier:
    """All models' points of one generated modality on one data set after training with one missing pattern."""

    group: str
    target: str
    missing: Missing
    chance: float
    ceiling: float  # of coherence
    floor: float  # of the distance
    curves: dict[str, Curve] = field(default_factory=dict)  # by model
    controls: frozenset[str] = frozenset()  # models whose coherence is chance by construction

    @cached_property
    def worst(self) -> float:
        """Largest distance of any point."""
        return max(d for curve in self.curves.values() for points in curve.values() for _, d in points.values())

    @cached_property
    def means(self) -> dict[str, dict[float, Point]]:
        """Mean point over seeds of each model and beta."""
        return {
            model: {beta: _mean(points.values()) for beta, points in sorted(curve.items())}
            for model, curve in self.curves.items()
        }

    @cached_property
    def best(self) -> set[tuple[str, float]]:
        """Models and betas whose mean point no other beats in both scores; chance controls take no part."""
        known = {(model, beta): p for model, curve in self.means.items() for beta, p in curve.items()}
        known = {where: p for where, p in known.items() if where[0] not in self.controls}
        return {where for where, p in known.items() if not any(_beats(other, p) for other in known.values())}

    def own(self, model: str) -> set[float]:
        """Return the betas of a model whose mean point no other beta of it beats in both scores."""
        curve = self.means[model]
        return {beta for beta, p in curve.items() if not any(_beats(other, p) for other in curve.values())}

    def area(self, model: str) -> Summary:
        """Return the area below a model's points, a mean over seeds that have all betas, with the interval of seeds."""
        curve = self.curves[model]
        seeds = sorted(set.intersection(*(set(points) for points in curve.values())))
        return summarise(Scores({seed: self._area([points[seed] for points in curve.values()]) for seed in seeds}))

    def _area(self, points: Iterable[Point]) -> float:
        spans = self.ceiling - self.chance, self.worst - self.floor
        scaled = [((c - self.chance) / spans[0], (self.worst - d) / spans[1]) for c, d in points]
        return dominated_area(np.clip(scaled, 0.0, 1.0))


def dominated_area(points: Any) -> float:
    """Return the area of the union of all [0, x] x [0, y] of points [n, 2] with coordinates of at least 0."""
    area = height = 0.0
    for x, y in sorted(map(tuple, points), reverse=True):
        area += x * max(y - height, 0.0)
        height = max(height, y)
    return area


def _beats(one: Point, other: Point) -> bool:
    """Return whether a point is no worse in both scores and better in one."""
    return one != other and one[0] >= other[0] and one[1] <= other[1]


def _mean(points: Iterable[Point]) -> Point:
    c, d = np.mean(list(points), axis=0)
    return float(c), float(d)


def frontiers(selection: Selection) -> list[Frontier]:
    """Return the frontiers of all data sets, patterns and modalities on which a model has three betas or more."""
    points = _points(selection)
    if points.empty:
        return []
    found = []
    for (group, target), rows in points.groupby(["group", "target"], sort=False):
        for missing in in_order(rows["missing"]):
            own = rows[rows["missing"] == missing]
            curves = {str(model): _curve(part) for model, part in own.groupby("model", sort=False)}
            curves = {model: curve for model, curve in curves.items() if len(curve) >= MIN_BETAS}
            if curves:
                chance, ceiling, floor = (float(own[name].mean()) for name in ("chance", "ceiling", "floor"))
                controls = frozenset(own.loc[own["control"], "model"])
                found.append(Frontier(str(group), str(target), missing, chance, ceiling, floor, curves, controls))
    return found


def _points(selection: Selection) -> pd.DataFrame:
    """Return a row for each run and pair of modalities that has both scores, with its model and beta."""
    frame = selection.frame[(selection.frame["status"] == "ok") & (selection.frame["prior"] == "")]
    frame = frame[~frame["given"].str.contains("+", regex=False)]
    c = pd.concat([frame[:0], *(_coherence(rows) for _, rows in frame.groupby("group", sort=False))])
    d = frame[(frame["metric"] == "frechet") & (frame["variant"] == "")]
    d = d[[*KEY, "group", "value", "ceiling"]].rename(columns={"value": "d", "ceiling": "floor"})
    both = c.merge(d, on=[*KEY, "group"]).rename(columns={"value": "c"})
    names = {(run.run_id, run.group): (_name(run), run.spec.model.options.get(OPTION)) for run in selection.runs}
    found = [names[where] for where in zip(both["run_id"], both["group"], strict=True)]
    both["model"], both["beta"] = ([own[i] for own in found] for i in (0, 1))
    return both.dropna(subset=["beta", "floor", "ceiling"])


def _coherence(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the coherences of a data set, those of its summary."""
    each = [frame[(frame["metric"] == part.metric) & (frame["variant"] == part.variant)] for part in PARTS[0]]
    return next((rows for rows in each if len(rows)), each[-1])


def _name(run: Run) -> str:
    """Return the label of a run's model without its beta: ``mmvae[k=3]`` of ``mmvae[k=3,beta=0.1]``."""
    rest = re.sub(rf"(?<=[\[( ,]){OPTION}=[^\],)]*,? ?", "", run.label)
    return re.sub(r",? ?(?=[\])])", "", rest).replace("[]", "").replace("()", "").strip()


def _curve(rows: pd.DataFrame) -> Curve:
    """Return the points of a model, each a mean over the modalities given."""
    means = rows.groupby(["beta", "seed"])[["c", "d"]].mean()
    curve: Curve = {}
    for (beta, seed), c, d in means.itertuples(name=None):
        curve.setdefault(float(beta), {})[int(seed)] = float(c), float(d)
    return curve


def shown(found: Sequence[Frontier]) -> list[dict[str, str]]:
    """Return the table of the page: a row for each data set, pattern, generated modality and model, best area first."""
    rows = []
    for frontier in found:
        areas = {model: frontier.area(model) for model in frontier.curves}
        for model, area in sorted(areas.items(), key=lambda item: -item[1].mean):
            half = "" if area.half_width is None else f" ± {area.half_width:.3f}"
            best = sorted(beta for name, beta in frontier.best if name == model)
            rows.append(
                {
                    "data set": frontier.group,
                    "generated": frontier.target,
                    "missing": frontier.missing.text,
                    "model": model + " (chance control)" * (model in frontier.controls),
                    "area": f"{area.mean:.3f}{half}",
                    "seeds": str(area.n),
                    "on the frontier of all, beta": ", ".join(f"{beta:g}" for beta in best) or "-",
                }
            )
    return rows
