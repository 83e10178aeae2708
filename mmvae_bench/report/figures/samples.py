"""Cross-generation grids, and t-SNE of latents."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mmvae_bench.report.figures.exemplars import Arrays, Exemplar, describe_rows, panels
from mmvae_bench.report.figures.style import Plot, legend_below, new_figure

MARKERS = "o^sDvP"
MOST_SOURCES = 3
Pixels = NDArray[np.uint8]
Strip = tuple[str, Pixels | None]  # a text and a row of pictures; None = a gap


def grids(rows: Sequence[Exemplar], group: str, slug: str) -> Iterator[Plot]:
    """Draw one figure per model: columns are classes, and below each source are the entries generated from it."""
    for number, label in enumerate(panels(rows, "grid/")):
        blocks = [(row.missing.text, _strips(row.arrays.get(label, {}))) for row in rows]
        blocks = [(text, strips) for text, strips in blocks if strips]
        if not blocks:
            continue  # nothing in it is a picture
        lines = max(len(strips) for _, strips in blocks)
        wide = max(len(pixels) for _, strips in blocks for _, pixels in strips if pixels is not None)
        figure = new_figure(len(blocks) * (0.36 * wide + 0.85), 0.35 + 0.34 * lines)
        for ax, (text, strips) in zip(figure.subplots(1, len(blocks), squeeze=False)[0], blocks, strict=True):
            _draw_strips(ax, strips)
            ax.set_title(f"{label}, {text}")
        caption = (
            f"Entries that {label} generates on {group}: one column per test row (one of each class, where there are "
            f"classes), the source first, below it the entries decoded given that source. "
            f"{describe_rows(rows).replace('Rows', 'Panels')}"
        )
        yield Plot(f"{slug}-grid-{number}", f"Cross-generation: {label}", caption, group, figure)


def _strips(arrays: Arrays) -> list[Strip]:
    """Return rows of pictures: each source, then what is generated from it. Captions have other figures."""
    if any(is_text(values) for values in arrays.values()):
        return []
    generated = [key.split("/")[1:] for key in arrays if key.startswith("grid/") and not key.startswith("grid/source/")]
    strips: list[Strip] = []
    sources = list(dict.fromkeys(given for given, _ in generated))
    if len(sources) > MOST_SOURCES:  # more than two modalities: one by one is enough
        sources = [given for given in sources if "+" not in given]
    for given in sources:
        block: list[Strip] = [(name, as_pictures(arrays.get(f"grid/source/{name}"))) for name in given.split("+")]
        block += [(f"→ {target}", as_pictures(arrays[f"grid/{g}/{target}"])) for g, target in generated if g == given]
        shown = [strip for strip in block if strip[1] is not None]
        if any(text.startswith("→") for text, _ in shown):
            strips += [*([("", None)] if strips else []), *shown]
    return strips


def is_text(values: NDArray[Any]) -> bool:
    """Return whether stored entries are captions."""
    return values.dtype.kind == "U"


def as_pictures(values: NDArray[Any] | None) -> Pixels | None:
    """Return stored pictures [n, C, H, W] as [n, H, W, 3]; None for other entries."""
    if values is None or values.dtype != np.uint8 or values.ndim != 4 or values.shape[1] not in (1, 3):
        return None
    return np.repeat(values, 3 // values.shape[1], axis=1).transpose(0, 2, 3, 1)


def _draw_strips(ax: Axes, strips: Sequence[Strip]) -> None:
    """Draw strips one line high, each picture one unit wide whatever its resolution; gaps are a third of a line."""
    y, ticks, wide = 0.0, [], max(len(pixels) for _, pixels in strips if pixels is not None)
    for text, pixels in strips:
        if pixels is None:
            y += 0.35
            continue
        strip = _side_by_side(pixels)
        ax.imshow(strip, extent=(0.03, len(pixels) - 0.03, y + 0.97, y + 0.03), interpolation="nearest")
        ticks.append((y + 0.5, text))
        y += 1
    ax.set(xlim=(0, wide), ylim=(y, 0), xticks=[], aspect="equal")
    ax.set_yticks(*map(list, zip(*ticks, strict=True)))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _side_by_side(pixels: Pixels) -> Pixels:
    """Join pictures into one, white between them: ten times faster than drawing them one by one."""
    gap = max(1, round(0.06 * pixels.shape[2]))
    apart = np.pad(pixels, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(apart), axis=1)[:, :-gap]


def embeddings(rows: Sequence[Exemplar], group: str, slug: str, modalities: Sequence[str]) -> Iterator[Plot]:
    """Draw t-SNE of posterior samples: a panel per model, a row per pattern; colour = class, marker = modality."""
    labels = panels(rows, "tsne/xy")
    if not labels:
        return
    figure = new_figure(0.3 + 1.55 * len(labels), 0.55 + 1.55 * len(rows))
    axes = figure.subplots(len(rows), len(labels), squeeze=False)
    shown: dict[str, set[int]] = {"label": set(), "modality": set()}
    for line, row in zip(axes, rows, strict=True):
        for ax, label in zip(line, labels, strict=True):
            _embedding(ax, row.arrays.get(label, {}), shown)
        line[0].set_ylabel(row.missing.text)
    for ax, label in zip(axes[0], labels, strict=True):
        ax.set_title(label)
    legend_below(figure, _legend(shown, modalities), 12)
    caption = (
        f"t-SNE of one posterior sample per test row and modality on {group}, all in one embedding per panel. Axes "
        f"and distances between panels have no meaning. {describe_rows(rows)}"
    )
    yield Plot(f"{slug}-tsne", "Latent space", caption, group, figure)


def _embedding(ax: Axes, arrays: Arrays, shown: dict[str, set[int]]) -> None:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    if "tsne/xy" not in arrays:
        ax.text(0.5, 0.5, "not available", ha="center", va="center", transform=ax.transAxes, color="#777777")
        return
    xy, label, modality = (arrays[f"tsne/{name}"] for name in ("xy", "label", "modality"))
    for m in np.unique(modality):
        own = modality == m
        colours = _colours(label[own], len(np.unique(label))) if label.max() >= 0 else [_by_modality(int(m))]
        marker = MARKERS[int(m) % len(MARKERS)]
        x, y = xy[own].T
        ax.scatter(x, y, s=6, c=colours, marker=marker, linewidths=0, alpha=0.75, rasterized=True)
    shown["label"] |= {int(c) for c in np.unique(label)}
    shown["modality"] |= {int(m) for m in np.unique(modality)}


def _colours(label: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return ten distinct colours, or a colour wheel for more classes."""
    return np.asarray(colormaps["tab10"](label % 10) if classes <= 10 else colormaps["hsv"](label * 0.618 % 1))


def _by_modality(number: int) -> Any:
    """Return the colour of a modality where there are no classes."""
    return colormaps["tab10"](number % 10)


def _legend(shown: Mapping[str, set[int]], modalities: Sequence[str]) -> list[Line2D]:
    names, plain = dict(enumerate(modalities)), max(shown["label"], default=-1) < 0
    dots = [Line2D([], [], linestyle="", marker=MARKERS[m % len(MARKERS)], markersize=5,
                   color=_by_modality(m) if plain else "#444444", label=names.get(m, f"modality {m}"))
            for m in sorted(shown["modality"])]  # fmt: skip
    classes = [c for c in sorted(shown["label"]) if c >= 0] if len(shown["label"]) <= 20 else []
    colours = [Line2D([], [], linestyle="", marker="s", markersize=5, label=str(c), color=colour)
               for c, colour in zip(classes, _colours(np.array(classes), len(classes)), strict=True)]  # fmt: skip
    return [*dots, *colours]
