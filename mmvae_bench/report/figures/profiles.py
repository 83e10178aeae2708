"""Performance profiles: the share of tasks and seeds with a score above a threshold (Agarwal et al. 2021)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mmvae_bench.report.figures.style import Look, Plot, handle, legend_right, new_figure
from mmvae_bench.report.improvement import enough, has_intervals, profile, resampled
from mmvae_bench.report.tasks import Family

PANEL = (2.6, 2.3)
MOST_PANELS = 3  # side by side
POINTS = 101  # thresholds
MARKED = 12  # steps from one mark to the next
MOST_BANDS = 6  # more would hide one another


def profiles(found: Sequence[Family], looks: Mapping[str, Look]) -> Iterator[Plot]:
    """Draw a panel for each score, and a figure for each tier."""
    for tier in dict.fromkeys(family.tier for family in found):
        own = [family for family in found if family.tier == tier and enough(family)]
        if not own:
            continue
        wide = min(len(own), MOST_PANELS)
        high = -(-len(own) // wide)
        figure = new_figure(1.9 + PANEL[0] * wide, 0.3 + PANEL[1] * high)
        axes = figure.subplots(high, wide, squeeze=False, sharey=True)
        for ax in axes.flat[len(own) :]:
            ax.set_axis_off()
        for ax, family in zip(axes.flat, own, strict=False):
            _panel(ax, family, looks)
        for ax in axes[:, 0]:
            ax.set_ylabel("share of cells above")
        labels = dict.fromkeys(model for family in own for model in family.models)
        legend_right(figure, [handle(label, color=looks[label].colour, marker=looks[label].marker) for label in labels])
        name, title = "-".join(filter(None, ("profiles", tier))), "Performance profiles" + f" ({tier})" * bool(tier)
        yield Plot(name, title, _caption(own), "", figure)


def _panel(ax: Axes, family: Family, looks: Mapping[str, Look]) -> None:
    """Draw a step line per model, and a band where there are enough cells and seeds."""
    every = np.concatenate([block.scores.ravel() for block in family.blocks])
    taus = np.linspace(min(0.0, every.min()), max(1.0, every.max()), POINTS)
    rng, bands = np.random.default_rng(0), _has_bands(family)
    for i, model in enumerate(family.models):
        scores = family.scores_of(i)
        share, ends = profile(scores, taus, resampled(scores, rng) if bands else [])
        look, places = looks[model], slice(i % MARKED, None, MARKED)
        style: dict[str, Any] = {"linewidth": 1.2, "markersize": 3.5, "drawstyle": "steps-post", "zorder": 3}
        ax.plot(taus, share, color=look.colour, marker=look.marker, markevery=places, **style)
        if ends is not None:
            ax.fill_between(taus, ends[0], ends[1], color=looks[model].colour, alpha=0.15, linewidth=0, step="post")
    ax.set(title=family.title, xlabel="score", xlim=(taus[0], taus[-1]), ylim=(0, 1.02))
    ax.grid(linewidth=0.4, alpha=0.5)


def _has_bands(family: Family) -> bool:
    return has_intervals(family) and len(family.models) <= MOST_BANDS


def _caption(found: Sequence[Family]) -> str:
    """Return what the lines and bands are, and over how many cells."""
    counts = "; ".join(f"{family.title}: {family.tasks} tasks, {family.cells} cells" for family in found)
    bands = "bands: 95 % bootstrap intervals" if any(map(_has_bands, found)) else "without intervals"
    return (
        f"Share of task x seed cells whose score exceeds the value on the axis; higher is better, {bands}. Only tasks "
        f"and seeds that all models have are counted. {counts}."
    )
