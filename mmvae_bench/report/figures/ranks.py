"""Critical-difference diagrams: mean ranks over blocks, a bar over models that do not differ (Demšar 2006)."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from mmvae_bench.report.aggregates import ALPHA, Aggregate, Ranks
from mmvae_bench.report.figures.style import Look, Plot, new_figure


def critical_differences(aggregates: Sequence[Aggregate], looks: Mapping[str, Look]) -> Iterator[Plot]:
    """A diagram of each metric that has blocks enough, over all data sets: its group is empty."""
    for a in aggregates:
        if a.ranks and a.ranks.friedman is not None:
            name = "-".join(part for part in ("ranks", a.metric, a.variant, a.prior) if part)
            yield Plot(name, f"{a.title}: mean ranks", _caption(a.ranks, a.ranks.friedman), "", _draw(a.ranks, looks))


def _draw(ranks: Ranks, looks: Mapping[str, Look]) -> Figure:
    from scikit_posthocs import critical_difference_diagram

    p = pd.DataFrame(1.0, list(ranks.mean), list(ranks.mean))
    for (a, b), value in ranks.nemenyi.items():
        p.loc[a, b] = p.loc[b, a] = value
    figure = new_figure(7.0, 0.9 + 0.18 * len(ranks.mean))
    ax = figure.subplots()
    colours = {label: looks[label].colour for label in ranks.mean}
    critical_difference_diagram(
        ranks.mean, p, alpha=ALPHA, ax=ax, color_palette=colours, label_fmt_left="{label} ({rank:.2f})",
        label_fmt_right="({rank:.2f}) {label}", elbow_props={"linewidth": 0.9}, crossbar_props={"linewidth": 2.5},
    )  # fmt: skip
    ax.spines["top"].set_visible(True)  # the axis of ranks
    return figure


def _caption(ranks: Ranks, friedman: float) -> str:
    joined = "a bar joins models that Nemenyi's test does not tell apart" if friedman < ALPHA else "so all are joined"
    return (
        f"Mean ranks over {ranks.blocks} blocks (data set x direction, complete data, averaged over seeds), 1 the "
        f"best; p of Friedman's test that all rank alike: {friedman:.2g}, {joined} at {ALPHA:g}."
    )
