"""Latent spaces: distances as histograms (MEME's Figure 8) and as class matrices (Figure 9), and t-SNE."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import seaborn
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from mmvae_bench.report.figures.exemplars import Arrays, Exemplar, describe_rows, draw_panels
from mmvae_bench.report.figures.style import Look, Plot, handle, legend_below

UNRELATED = "#9A9A9A"
MOST_PAIRS = 3
MARKERS = "o^sDvP"
ORDERED = {False: "viridis", True: "twilight"}  # colours of classes in an order, on a line and on a circle
Matrix = NDArray[np.float64]


def histograms(rows: Sequence[Exemplar], group: str, looks: Mapping[str, Look], slug: str) -> Iterator[Plot]:
    """Draw W2 between posteriors of related and unrelated pairs: a panel per model, a row per missing pattern."""
    for pair in _pairs(rows, "w2hist/"):
        key, (a, _, b) = f"w2hist/{pair}/", pair.partition("+")
        figure, axes = draw_panels(rows, key, (1.45, 1.3), partial(_histogram, key=key, looks=looks), "density")
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


def _histogram(ax: Axes, arrays: Arrays, label: str, key: str, looks: Mapping[str, Look]) -> None:
    edges = arrays[f"{key}edges"].astype(float)
    for kind, fill in (("unrelated", UNRELATED), ("related", looks[label].colour)):
        ax.stairs(_density(arrays[f"{key}{kind}"], edges), edges, fill=True, color=fill, alpha=0.6)
    ax.set(yticks=[], xlim=(edges[0], edges[-1]))
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=4)


def _density(counts: NDArray[np.generic], edges: Matrix) -> Matrix:
    """Return counts as a density, so that few related pairs are visible beside many unrelated ones."""
    mass = counts.astype(float) / np.diff(edges)
    return mass / max(float((mass * np.diff(edges)).sum()), 1e-12)


def class_matrices(rows: Sequence[Exemplar], group: str, slug: str) -> Iterator[Plot]:
    """Draw mean W2 between classes, ordered by a dendrogram: a panel per model, a row per missing pattern."""
    for pair in _pairs(rows, "w2class/"):
        key, (a, _, b) = f"w2class/{pair}", pair.partition("+")
        drawn = [
            replace(row, arrays={label: _scaled(arrays, key) for label, arrays in row.arrays.items()}) for row in rows
        ]
        known = [matrix.ravel() for row in drawn for arrays in row.arrays.values() for matrix in arrays.values()]
        if not known:
            continue
        scale = Normalize(*np.quantile(np.concatenate(known), [0.01, 0.99]))
        figure, axes = draw_panels(drawn, key, (1.65, 1.85), partial(_matrix, scale=scale), a)
        for ax in axes[-1]:
            ax.set_xlabel(b)
        image = ScalarMappable(scale, "viridis")
        figure.colorbar(image, ax=list(axes.flat), label="distance / mean distance", shrink=0.6, aspect=30)
        caption = (
            f"Mean 2-Wasserstein distance between posteriors of {a} entries of one class (rows) and {b} entries of "
            f"another (columns) on {group}, divided by the panel's mean. Classes are ordered by average-linkage "
            f"clustering of the symmetrised matrix (W + W^T) / 2 (SciPy), whose dendrogram is above; a dark diagonal "
            f"means that the two modalities of a class are close. {describe_rows(rows)}"
        )
        yield Plot(f"{slug}-w2class-{pair}", f"Distances between classes: {a}, {b}", caption, group, figure)


def _matrix(ax: Axes, arrays: Arrays, label: str, scale: Normalize) -> None:
    """Draw the matrix of a model, and the tree of its classes above it."""
    (matrix,) = arrays.values()
    tree = ax.inset_axes((0, 1, 1, 0.28))
    tree.set_axis_off()
    order = _dendrogram(tree, matrix)
    names: Any = order if len(order) <= 20 else False
    seaborn.heatmap(
        matrix[np.ix_(order, order)], ax=ax, cmap="viridis", vmin=scale.vmin, vmax=scale.vmax, cbar=False,
        xticklabels=names, yticklabels=names,
    )  # fmt: skip
    ax.tick_params(length=0, labelsize=6.5, rotation=0)


def _scaled(arrays: Arrays, key: str) -> Arrays:
    """Return a matrix divided by its mean, or nothing if it cannot be drawn."""
    matrix = arrays.get(key, np.empty(0)).astype(float)
    if matrix.ndim != 2 or len(matrix) < 3 or not np.isfinite(matrix).all():
        return {}
    return {key: matrix / max(float(matrix.mean()), 1e-12)}


def _dendrogram(ax: Axes, matrix: Matrix) -> list[int]:
    """Draw the tree; return the order of its leaves."""
    symmetric = (matrix + matrix.T) / 2
    np.fill_diagonal(symmetric, 0)
    links = hierarchy.linkage(squareform(symmetric, checks=False), "average", optimal_ordering=True)
    drawn = hierarchy.dendrogram(links, ax=ax, color_threshold=0, above_threshold_color="#444444", no_labels=True)
    for collection in ax.collections:
        collection.set_linewidth(0.8)
    return [int(leaf) for leaf in drawn["leaves"] or ()]


def embeddings(rows: Sequence[Exemplar], group: str, slug: str, modalities: Sequence[str]) -> Iterator[Plot]:
    """Draw t-SNE of posterior samples: a panel per model, a row per pattern; colour = class, marker = modality."""
    if not any("tsne/xy" in arrays for row in rows for arrays in row.arrays.values()):
        return
    figure, axes = draw_panels(rows, "tsne/", (1.55, 1.55), _embedding)
    legend_below(figure, _legend(rows, modalities), 12)
    _order_beside(figure, axes, rows)
    caption = (
        f"t-SNE of one posterior sample per test row and modality on {group}, all in one embedding per panel. Axes "
        f"and distances between panels have no meaning. {describe_rows(rows)}"
    )
    yield Plot(f"{slug}-tsne", "Latent space", caption, group, figure)
    if _ordered(rows):
        yield _by_modality(rows[0], group, slug, modalities)


def _by_modality(row: Exemplar, group: str, slug: str, modalities: Sequence[str]) -> Plot:
    """Draw the same points with a line of panels per modality: the order of the classes, as each latent has it."""
    lines = [
        replace(row, arrays={label: _of(arrays, m) for label, arrays in row.arrays.items()})
        for m in range(len(modalities))
    ]
    figure, axes = draw_panels(lines, "tsne/", (1.4, 1.25), _embedding)
    for column in axes.T:
        ends = [(*ax.get_xlim(), *ax.get_ylim()) for ax in column]
        (left, _, low, _), (_, right, _, high) = np.min(ends, 0), np.max(ends, 0)
        for ax in column:
            ax.set(xlim=(left, right), ylim=(low, high))
    for line, name in zip(axes, modalities, strict=True):
        line[0].set_ylabel(name)
    _order_beside(figure, axes, lines)
    caption = (
        f"The t-SNE of posterior samples on {group}, with a line of panels for each modality; the panels of a column "
        f"are one embedding. Equal colours at equal places mean that modalities share the latent. "
        f"{describe_rows([row])}"
    )
    return Plot(f"{slug}-tsne-modalities", "Latent space by modality", caption, group, figure)


def _of(arrays: Arrays, m: int) -> Arrays:
    """Return the points of a modality."""
    own = arrays.get("tsne/modality", np.empty(0)) == m
    return {key: x[own] if x.ndim else x for key, x in arrays.items() if key.startswith("tsne/")}


def _ordered(rows: Sequence[Exemplar]) -> str:
    """Return the name of the colours of ordered classes; empty if classes have no order."""
    found = [arrays["tsne/circle"] for row in rows for arrays in row.arrays.values() if "tsne/circle" in arrays]
    return ORDERED[bool(found[0])] if found else ""


def _order_beside(figure: Figure, axes: NDArray[Any], rows: Sequence[Exemplar]) -> None:
    """Add the colours of ordered classes beside the panels."""
    if colours := _ordered(rows):
        last = max(arrays["tsne/label"].max() for row in rows for arrays in row.arrays.values() if arrays)
        image = ScalarMappable(Normalize(1, last + 1), colours)
        ticks = MaxNLocator(5, integer=True)
        figure.colorbar(image, ax=list(axes.flat), label="class, in order", shrink=0.6, aspect=25, ticks=ticks)


def _embedding(ax: Axes, arrays: Arrays, label: str) -> None:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    xy, classes, modality = (arrays[f"tsne/{name}"] for name in ("xy", "label", "modality"))
    for m in np.unique(modality):
        own = modality == m
        colours = colormaps["tab10"]([m % 10])
        if "tsne/circle" in arrays:
            colours = colormaps[ORDERED[bool(arrays["tsne/circle"])]](classes[own] / max(1, classes.max()))
        elif classes.max() >= 0:
            colours = _colours(classes[own], len(np.unique(classes)))
        x, y = xy[own].T
        marker = MARKERS[int(m) % len(MARKERS)]
        ax.scatter(x, y, s=6, c=colours, marker=marker, linewidths=0, alpha=0.75, rasterized=True)


def _colours(label: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return ten distinct colours, or a colour wheel for more classes."""
    return np.asarray(colormaps["tab10"](label % 10) if classes <= 10 else colormaps["hsv"](label * 0.618 % 1))


def _legend(rows: Sequence[Exemplar], modalities: Sequence[str]) -> list[Line2D]:
    """Return the modalities, then the classes, unless these are too many."""
    shown = [arrays for row in rows for arrays in row.arrays.values() if "tsne/xy" in arrays]
    classes, present = (
        sorted({int(n) for arrays in shown for n in np.unique(arrays[f"tsne/{name}"])})
        for name in ("label", "modality")
    )
    plain, names = max(classes, default=-1) < 0, dict(enumerate(modalities))
    classes = [c for c in classes if c >= 0] if len(classes) <= 20 and not _ordered(rows) else []
    dots = [
        handle(names.get(m, f"modality {m}"), linestyle="", marker=MARKERS[m % len(MARKERS)], markersize=5,
               color=colormaps["tab10"](m % 10) if plain else "#444444") for m in present
    ]  # fmt: skip
    colours = zip(classes, _colours(np.array(classes), len(classes)), strict=True)
    return dots + [handle(str(c), linestyle="", marker="s", markersize=5, color=colour) for c, colour in colours]
