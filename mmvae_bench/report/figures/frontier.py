"""Quality against coherence: a curve over beta for each model."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes

from mmvae_bench.report.figures.style import Look, Plot, handle, legend_right, new_figure, palette
from mmvae_bench.report.frontier import Frontier

CAPTION = (
    "{group}{hidden}: Fréchet distance (lower is better) against coherence of the same generated entries, one "
    "curve a model over beta = {betas}. Large marks: means over seeds, filled where no other beta of the model is "
    "better in both; dots: seeds. Grey steps: what the settings reach that no other beats in both, which have their "
    "beta beside them. Dashed: chance; dotted: the judge's accuracy and the distance of true entries. Dotted curves: "
    "chance controls."
)


def frontier_figures(found: Sequence[Frontier], slugs: Mapping[str, str]) -> Iterator[Plot]:
    """Draw a figure for each data set and missing pattern, a panel for each generated modality."""
    looks = palette(list(dict.fromkeys(model for frontier in found for model in frontier.curves)))
    parts = defaultdict(list)
    for frontier in found:
        parts[frontier.group, frontier.missing].append(frontier)
    for (group, missing), some in parts.items():
        figure = new_figure(1.7 + 3.1 * len(some), 3.3)
        for ax, frontier in zip(figure.subplots(1, len(some), squeeze=False)[0], some, strict=True):
            _panel(ax, frontier, looks)
        models = dict.fromkeys(model for frontier in some for model in frontier.curves)
        legend_right(figure, [handle(name, color=looks[name].colour, marker=looks[name].marker) for name in models])
        betas = sorted({beta for frontier in some for curve in frontier.curves.values() for beta in curve})
        hidden = f", {missing.text}" if missing.ratio else ""
        caption = CAPTION.format(group=group, hidden=hidden, betas=", ".join(f"{beta:g}" for beta in betas))
        name = "-".join(filter(None, (slugs[group], "frontier", hidden and slugs[missing.text])))
        yield Plot(name, "Quality against coherence over beta", caption, group, figure, key=True)


def _panel(ax: Axes, frontier: Frontier, looks: Mapping[str, Look]) -> None:
    for model, curve in frontier.means.items():
        look, own = looks[model], frontier.own(model)
        dash = (0, (1, 1.2)) if model in frontier.controls else "-"
        ax.plot(*zip(*curve.values(), strict=True), color=look.colour, linewidth=1, linestyle=dash, zorder=3)
        for beta, point in curve.items():
            fill = look.colour if beta in own else "white"
            ax.plot(*point, look.marker, color=look.colour, markerfacecolor=fill, markersize=4.5, zorder=4)
        dots = [point for points in frontier.curves[model].values() for point in points.values()]
        ax.plot(*zip(*dots, strict=True), ".", color=look.colour, markersize=2, alpha=0.5, zorder=2)
    best = sorted((*frontier.means[model][beta], beta) for model, beta in frontier.best)
    (steps,) = ax.plot([c for c, _, _ in best], [d for _, d, _ in best], color="0.7", linewidth=2.5, zorder=1)
    steps.set_drawstyle("steps-pre")
    for c, d, beta in best:
        ax.annotate(f"{beta:g}", (c, d), (4, 4), textcoords="offset points", fontsize=7, zorder=5)
    ax.axvline(frontier.chance, color="black", linewidth=0.9, linestyle="--", zorder=1)
    ax.axvline(frontier.ceiling, color="black", linewidth=0.9, linestyle=":", zorder=1)
    ax.axhline(frontier.floor, color="black", linewidth=0.9, linestyle=":", zorder=1)
    ax.set(title=f"→ {frontier.target}", xlabel="coherence", ylabel="Fréchet distance")
    ax.invert_yaxis()
    ax.grid(linewidth=0.4, alpha=0.5)
