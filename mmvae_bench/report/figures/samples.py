"""Generated entries: cross-generation grids of pictures, and tables of pictures and captions."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmvae_bench.report.figures.exemplars import Arrays, Exemplar, describe_rows, panels
from mmvae_bench.report.figures.style import Plot, new_figure

MOST_SOURCES = 3
Pixels = NDArray[np.uint8]
Texts = NDArray[np.str_]
PAIRS = 8
WIDEST = 9.3  # the page; lengths are in inches
PICTURE, NARROWEST, BROADEST = 0.8, 1.4, 2.6  # columns of pictures and of captions
SIZE = 7.5  # of letters, in points
LETTER, LINE = 0.0636, 0.135  # the width of one, where all are equal (.602 em), and a line's height
MOST_LINES = 8
GAP = 0.12
TRUE, MADE = "#6a6a6a", "#111111"
EMPTY = "(no words)"
TITLE: dict[str, Any] = {"ha": "center"}
Content = tuple[int | slice, "list[str] | Pixels", dict[str, Any]]  # place, what is drawn, style
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
    if any(is_text(values) for values in _sources(arrays).values()):
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


class Column(NamedTuple):
    """Entries under a head and a title."""

    head: str
    title: str
    entries: Texts | Pixels
    colour: str = MADE


def captions(rows: Sequence[Exemplar], group: str, slug: str) -> Iterator[Plot]:
    """Draw one figure per model of captioned pictures: a row per test pair, with the entries decoded given a side."""
    for number, label in enumerate(panels(rows, "grid/")):
        shown = _same_pairs([row for row in rows if label in row.arrays], label)
        if not any(is_text(values) for values in _sources(shown[0].arrays[label]).values()):
            continue
        columns, text = _fit(_columns(shown, label))
        both = " or both" * any("both" in column.head for column in columns)
        caption = (
            f"Entries that {label} generates on {group}: one row per test pair, its true caption in grey, and the "
            f"entries decoded given one side of it{both}; captions show the likeliest word at each position. "
        ) + describe_rows(shown).replace("Rows", "Columns")
        yield Plot(f"{slug}-captions-{number}", f"Captions: {label}", caption, group, _draw(columns, text, label))


def _sources(arrays: Arrays) -> Arrays:
    """Return the true entries of each modality."""
    prefix = "grid/source/"
    return {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}


def _same_pairs(rows: list[Exemplar], label: str) -> list[Exemplar]:
    """Return the missing patterns whose grids show the same test pairs as the first, to draw them side by side."""
    first, *others = (_sources(row.arrays[label]) for row in rows)
    same = [first.keys() == o.keys() and all(np.array_equal(first[name], o[name]) for name in o) for o in others]
    return [row for row, equal in zip(rows, [True, *same], strict=True) if equal]


def _columns(rows: Sequence[Exemplar], label: str) -> list[Column]:
    """Return the true pair; captions, then pictures, given one other modality; pictures given all modalities."""
    first = rows[0].arrays[label]
    true = {name: entries for name, values in _sources(first).items() if (entries := _entries(values)) is not None}
    keys = [key.split("/") for key in first if key.startswith("grid/") and not key.startswith("grid/source/")]
    made = [(given, target) for _, given, target in keys if target in true]
    most = max((given for given, _ in made), key=lambda given: given.count("+"), default="")
    one = [(given, target) for given, target in made if "+" not in given and given != target]
    shown = [pair for text in (True, False) for pair in one if is_text(true[pair[1]]) == text]
    shown += [pair for pair in made if pair[0] == most and "+" in most and not is_text(true[pair[1]])]
    columns = [Column("test pair", name, entries, TRUE) for name, entries in true.items()]
    for given, target in shown:
        head = f"{target} given {('both' if given.count('+') == 1 else 'all') if '+' in given else given}"
        every = [(row.missing.text, _entries(row.arrays[label].get(f"grid/{given}/{target}"))) for row in rows]
        columns += [Column(head, title, entries) for title, entries in every if entries is not None]
    return columns


def _entries(values: NDArray[Any] | None) -> Texts | Pixels | None:
    """Return the entries of the first pairs, None where they are neither text nor pictures."""
    entries = values if values is not None and is_text(values) else as_pictures(values)
    return None if entries is None else entries[:PAIRS]


def _fit(columns: list[Column]) -> tuple[list[Column], float]:
    """Return the columns of as many of the first heads as fit the page, and the width of their captions."""
    longest = max(len(str(text)) for c in columns if is_text(c.entries) for text in c.entries)
    wanted = min(max(LETTER * longest, NARROWEST), BROADEST)
    heads = list(dict.fromkeys(column.head for column in columns))
    for left in range(len(heads), 0, -1):
        kept = [column for column in columns if column.head in heads[:left]]
        texts = sum(is_text(column.entries) for column in kept)
        room = WIDEST - GAP * (len(kept) + 1) - PICTURE * (len(kept) - texts)
        if room >= NARROWEST * texts:
            return kept, min(wanted, room / max(1, texts))
    return kept, wanted


def _draw(columns: list[Column], text: float, label: str) -> Figure:
    """Draw the table: heads, then a line per pair, as high as its picture or its longest text."""
    widths = [text if is_text(column.entries) else PICTURE for column in columns]
    lines: list[list[Content]] = [[(slice(None), _lines(label, 0.7 * sum(widths)), TITLE | {"weight": "bold"})], [], []]
    for j, (column, wide) in enumerate(zip(columns, widths, strict=True)):
        if j == 0 or column.head != columns[j - 1].head:
            span = slice(j, j + sum(other.head == column.head for other in columns))
            lines[1].append((span, _lines(column.head, 0.7 * sum(widths[span])), TITLE))  # these letters may be wider
        lines[2].append((j, _lines(column.title, wide), TITLE))
    styles = [{"color": column.colour, "family": "monospace"} for column in columns]
    for i in range(min(len(column.entries) for column in columns)):
        lines.append([(j, _content(c.entries[i], widths[j]), styles[j]) for j, c in enumerate(columns)])
    heights = [max(_height(content) for _, content, _ in line) for line in lines]
    wide, high = (sum(lengths) + GAP * (len(lengths) + 1) for lengths in (widths, heights))
    figure = Figure(figsize=(wide, high))  # sized so that the grid below has gaps of GAP
    grid = figure.add_gridspec(
        len(heights), len(widths), width_ratios=widths, height_ratios=heights, left=GAP / wide, right=1 - GAP / wide,
        bottom=GAP / high, top=1 - GAP / high, wspace=GAP / np.mean(widths), hspace=GAP / np.mean(heights),
    )  # fmt: skip
    for number, line in enumerate(lines):
        for place, content, style in line:
            ax = figure.add_subplot(grid[number, place])
            ax.set_axis_off()
            if isinstance(content, list):
                x = 0.5 if style.get("ha") == "center" else 0.0
                ax.text(x, 0.5, "\n".join(content), va="center", fontsize=SIZE, transform=ax.transAxes, **style)
            else:
                ax.imshow(content)
    return figure


def _content(entry: Any, wide: float) -> list[str] | Pixels:
    """Return a picture as it is, and a text as lines."""
    return _lines(entry or EMPTY, wide) if isinstance(entry, str) else entry


def _height(content: list[str] | Pixels) -> float:
    if isinstance(content, list):
        return LINE * len(content)
    return PICTURE * min(1.0, float(content.shape[0] / content.shape[1]))


def _lines(text: str, wide: float) -> list[str]:
    """Break a text into lines of a width, and cut it off where there are too many."""
    return wrap(text, max(4, int(wide / LETTER)), max_lines=MOST_LINES, placeholder=" ...") or [""]
