"""Distances between posteriors: histograms (MEME's Figure 8) and class matrices with dendrograms (Figure 9)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from mmvae_bench.report.figures.exemplars import Exemplar, describe_rows, panels
from mmvae_bench.report.figures.style import Look, Plot, legend_below, new_figure

UNRELATED = "#9A9A9A"
MOST_PAIRS = 3
Matrix = NDArray[np.float64]


def histograms(rows: Sequence[Exemplar], group: str, looks: Mapping[str, Look], slug: str) -> Iterator[Plot]:
    """Draw W2 between posteriors of related and unrelated pairs: a panel per model, a row per missing pattern."""
    for pair in _pairs(rows, "w2hist/"):
        labels = panels(rows, f"w2hist/{pair}/")
        figure = new_figure(0.4 + 1.45 * len(labels), 0.75 + 1.3 * len(rows))
        axes = figure.subplots(len(rows), len(labels), squeeze=False)
        for line, row in zip(axes, rows, strict=True):
            for ax, label in zip(line, labels, strict=True):
                _histogram(ax, row, label, pair, looks[label].colour)
            line[0].set_ylabel(f"{row.missing.text}\ndensity")
        for ax, label in zip(axes[0], labels, strict=True):
            ax.set_title(label)
        a, _, b = pair.partition("+")
        for ax in axes[-1]:
            ax.set_xlabel("W₂")
        legend_below(figure, [Patch(color="#444444", alpha=0.75, label="related (in the model's colour)"),
                              Patch(color=UNRELATED, alpha=0.6, label="unrelated")], 2)  # fmt: skip
        caption = (
            f"2-Wasserstein distances between q(z | {a}) and q(z | {b}) on {group}, for related pairs (same class, or "
            f"the same item where classes do not count) and unrelated ones. Each panel has its own axes: latent scales "
            f"are not comparable between models. {describe_rows(rows)}"
        )
        yield Plot(f"{slug}-w2hist-{pair}", f"Are related pairs closer? {a}, {b}", caption, group, figure)


def _pairs(rows: Sequence[Exemplar], prefix: str) -> list[str]:
    """Return the first pairs of modalities for which arrays are stored."""
    keys = [key for row in rows for arrays in row.arrays.values() for key in arrays if key.startswith(prefix)]
    return list(dict.fromkeys(key.removeprefix(prefix).split("/")[0] for key in keys))[:MOST_PAIRS]


def _histogram(ax: Axes, row: Exemplar, label: str, pair: str, colour: str) -> None:
    arrays = row.arrays.get(label, {})
    key = f"w2hist/{pair}"
    if f"{key}/edges" not in arrays:
        _empty(ax)
        return
    edges = arrays[f"{key}/edges"].astype(float)
    for kind, fill in (("unrelated", UNRELATED), ("related", colour)):
        ax.stairs(_density(arrays[f"{key}/{kind}"], edges), edges, fill=True, color=fill, alpha=0.6)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlim(edges[0], edges[-1])
    ax.locator_params(axis="x", nbins=4)


def _density(counts: NDArray[np.generic], edges: Matrix) -> Matrix:
    """Return counts as a density, so that few related pairs are visible beside many unrelated ones."""
    mass = counts.astype(float) / np.diff(edges)
    return mass / max(float((mass * np.diff(edges)).sum()), 1e-12)


def _empty(ax: Axes) -> None:
    """Draw a panel without a run."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, "not available", ha="center", va="center", transform=ax.transAxes, color="#777777", fontsize=8)


def class_matrices(rows: Sequence[Exemplar], group: str, slug: str) -> Iterator[Plot]:
    """Draw mean W2 between classes, ordered by a dendrogram: a panel per model, a row per missing pattern."""
    for pair in _pairs(rows, "w2class/"):
        labels = panels(rows, f"w2class/{pair}")
        a, _, b = pair.partition("+")
        figure = new_figure(0.9 + 1.5 * len(labels), 0.35 + 1.9 * len(rows))
        draw_matrices(figure, rows, labels, f"w2class/{pair}", (a, b))
        caption = (
            f"Mean 2-Wasserstein distance between posteriors of {a} entries of one class (rows) and {b} entries of "
            f"another (columns) on {group}, divided by the panel's mean. Classes are ordered by average-linkage "
            f"clustering of the symmetrised matrix (W + W^T) / 2 (SciPy), whose dendrogram is above; a dark diagonal "
            f"means that the two modalities of a class are close. {describe_rows(rows)}"
        )
        yield Plot(f"{slug}-w2class-{pair}", f"Distances between classes: {a}, {b}", caption, group, figure)


def draw_matrices(
    figure: Figure, rows: Sequence[Exemplar], labels: Sequence[str], key: str, names: tuple[str, str]
) -> None:
    """Draw all panels on one colour scale."""
    scaled = {(i, label): _scaled(row.arrays.get(label, {}).get(key)) for i, row in enumerate(rows) for label in labels}
    known = np.concatenate([matrix.ravel() for matrix in scaled.values() if matrix is not None] or [np.ones(1)])
    low, high = np.quantile(known, [0.01, 0.99])
    axes = figure.subplots(2 * len(rows), len(labels), squeeze=False, height_ratios=[0.28, 1] * len(rows))
    image = None
    for (i, label), matrix in scaled.items():
        tree, heat = axes[2 * i : 2 * i + 2, labels.index(label)]
        tree.set_axis_off()
        tree.set_title(label if i == 0 else "", fontsize=9)
        if matrix is None:
            _empty(heat)
            continue
        order = _dendrogram(tree, matrix)
        seaborn.heatmap(
            matrix[np.ix_(order, order)], ax=heat, cmap="viridis", vmin=low, vmax=high, cbar=False, xticklabels=False,
            yticklabels=False,
        )  # fmt: skip
        image = heat.collections[0]
        places, names_of = (np.arange(len(order)) + 0.5, order) if len(order) <= 20 else ([], [])
        heat.set_xticks(places, [str(leaf) for leaf in names_of])
        heat.set_yticks(places, [str(leaf) for leaf in names_of])
        heat.tick_params(length=0, labelsize=6.5)
        heat.set_xlabel(names[1] if i == len(rows) - 1 else "")
        heat.set_ylabel(f"{rows[i].missing.text}\n{names[0]}" if label == labels[0] else "")
    if image is not None:
        figure.colorbar(image, ax=list(axes.ravel()), label="distance / mean distance", shrink=0.6, aspect=30)


def _scaled(matrix: NDArray[np.generic] | None) -> Matrix | None:
    """Return a matrix divided by its mean, or None if it cannot be drawn."""
    if matrix is None or matrix.ndim != 2 or len(matrix) < 3 or not np.isfinite(matrix.astype(float)).all():
        return None
    values = matrix.astype(float)
    return values / max(float(values.mean()), 1e-12)


def _dendrogram(ax: Axes, matrix: Matrix) -> list[int]:
    """Draw the tree; return the order of its leaves."""
    symmetric = (matrix + matrix.T) / 2
    np.fill_diagonal(symmetric, 0)
    links = hierarchy.linkage(squareform(symmetric, checks=False), "average", optimal_ordering=True)
    drawn = hierarchy.dendrogram(links, ax=ax, color_threshold=0, above_threshold_color="#444444", no_labels=True)
    for collection in ax.collections:
        collection.set_linewidth(0.8)
    return [int(leaf) for leaf in drawn["leaves"] or ()]
