"""Samples of models of captioned pictures: one row per test pair, with the entries decoded given a side of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmvae_bench.report.figures.exemplars import Arrays, Exemplar, describe_rows, panels
from mmvae_bench.report.figures.samples import Pixels, as_pictures, is_text
from mmvae_bench.report.figures.style import Plot

Texts = NDArray[np.str_]
PAIRS = 8
WIDEST = 9.3  # the page; lengths are in inches
PICTURE = 0.68
NARROWEST, LEAST, BROADEST = 1.0, 1.4, 2.6  # a column of captions, of short ones and where it can be chosen
SIZE = 7.5  # of letters, in points
LETTER, LINE = 0.0636, 0.135  # the width of one, where all are equal (.602 em), and a line's height
MOST_LINES = 8
MARGIN, GAP, GROUP_GAP = 0.08, 0.1, 0.28
TRUE, MADE, RULE = "#6a6a6a", "#111111", "#dddddd"
EMPTY = "(no words)"


@dataclass(frozen=True)
class Part:
    """Columns under one head: title and entries of each."""

    head: str
    columns: list[tuple[str, Texts | Pixels]]
    colour: str = MADE

    def width(self, text: float) -> float:
        """Return its width if columns of captions are ``text`` wide."""
        wide = sum(text if is_text(values) else PICTURE for _, values in self.columns)
        return max(wide + GAP * (len(self.columns) - 1), 1.15)  # the least width of a head

    @property
    def texts(self) -> int:
        """Number of columns of captions."""
        return sum(is_text(values) for _, values in self.columns)


def captions(rows: Sequence[Exemplar], group: str, slug: str) -> Iterator[Plot]:
    """Draw one figure per model whose runs have stored captions."""
    for number, label in enumerate(panels(rows, "grid/")):
        shown = _same_pairs([row for row in rows if label in row.arrays], label)
        if not any(is_text(values) for values in _sources(shown[0].arrays[label]).values()):
            continue
        parts, text = _fit(_parts(shown, label))
        both = " or both" * any("both" in part.head for part in parts)
        caption = (
            f"Entries that {label} generates on {group}: one row per test pair, its true caption in grey, and the "
            f"entries decoded given one side of it{both}; captions show the likeliest word at each position. "
        ) + describe_rows(shown).replace("Rows", "Columns")
        yield Plot(f"{slug}-captions-{number}", f"Captions: {label}", caption, group, _draw(parts, text, label))


def _sources(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return the true entries of each modality."""
    prefix = "grid/source/"
    return {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}


def _same_pairs(rows: list[Exemplar], label: str) -> list[Exemplar]:
    """Return the missing patterns whose grids show the same test pairs as the first, to draw them side by side."""
    first = _sources(rows[0].arrays[label])
    own = [_sources(row.arrays[label]) for row in rows]
    same = [first.keys() == o.keys() and all(np.array_equal(first[name], o[name]) for name in o) for o in own]
    return [row for row, equal in zip(rows, same, strict=True) if equal]


def _parts(rows: Sequence[Exemplar], label: str) -> list[Part]:
    """Return the true pair; captions, then pictures, given one other modality; pictures given all modalities."""
    first = rows[0].arrays[label]
    shown = {name: entries for name, values in _sources(first).items() if (entries := _entries(values)) is not None}
    parts = [Part("test pair", list(shown.items()), TRUE)]
    keys = [key.split("/") for key in first if key.startswith("grid/") and not key.startswith("grid/source/")]
    made = [(given, target) for _, given, target in keys if target in shown]
    for text in (True, False):
        for given, target in made:
            if is_text(shown[target]) == text and target not in given.split("+") and "+" not in given:
                parts.append(Part(f"{target} given {given}", _columns(rows, label, f"grid/{given}/{target}")))
    most = max((given for given, _ in made), key=lambda given: given.count("+"), default="")
    for target in (t for given, t in made if given == most and "+" in given and not is_text(shown[t])):
        head = f"{target} given {'both' if most.count('+') == 1 else 'all'}"
        parts.append(Part(head, _columns(rows, label, f"grid/{most}/{target}")))
    return parts


def _columns(rows: Sequence[Exemplar], label: str, key: str) -> list[tuple[str, Texts | Pixels]]:
    """Return one column per missing pattern."""
    found = [(row.missing.text, _entries(row.arrays[label].get(key))) for row in rows]
    return [(text, entries) for text, entries in found if entries is not None]


def _entries(values: NDArray[Any] | None) -> Texts | Pixels | None:
    """Return the entries of the first pairs, None where they are neither text nor pictures."""
    if values is not None and is_text(values):
        return values[:PAIRS]
    pictures = as_pictures(values)
    return None if pictures is None else pictures[:PAIRS]


def _fit(parts: list[Part]) -> tuple[list[Part], float]:
    """Return as many of the first parts as fit the page, and the width of their captions."""
    longest = max(len(str(t)) for part in parts for _, values in part.columns if is_text(values) for t in values)
    wanted = min(max(LETTER * longest, NARROWEST), BROADEST)
    for kept in range(len(parts), 0, -1):
        some = parts[:kept]
        spare = WIDEST - _total(some, NARROWEST)
        text = min(wanted, NARROWEST + spare / max(1, sum(part.texts for part in some)))
        if text >= min(wanted, LEAST):
            return some, text
    return parts[:1], wanted


def _total(parts: Sequence[Part], text: float) -> float:
    return 2 * MARGIN + sum(part.width(text) for part in parts) + GROUP_GAP * (len(parts) - 1)


def _draw(parts: list[Part], text: float, label: str) -> Figure:
    """Draw the table: heads, then a line per pair, as high as its picture or its longest text."""
    width, heads = _total(parts, text), max(len(_lines(part.head, part.width(text))) for part in parts)
    columns = [
        (title, values, text if is_text(values) else PICTURE) for part in parts for title, values in part.columns
    ]
    titles = max(len(_lines(title, wide + GAP)) for title, _, wide in columns)
    name = _lines(label, 0.7 * width)  # it is larger, and bold
    top = MARGIN + LINE * (1.2 * len(name) + heads + titles) + 3 * GAP
    tops = [top]
    for i in range(min(len(values) for _, values, _ in columns)):
        tops.append(tops[-1] + GAP + max(_height(values[i], wide) for _, values, wide in columns))
    figure = Figure(figsize=(width, tops[-1] + MARGIN))  # laid out here, by hand
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.text(MARGIN, MARGIN, "\n".join(name), va="top", weight="bold")
    for y in tops[1:-1]:
        ax.plot([MARGIN, width - MARGIN], [y, y], color=RULE, linewidth=0.5)
    x, base = MARGIN, top - LINE * titles - GAP
    for part in parts:
        _draw_part(ax, part, x, base, tops, text)
        x += part.width(text) + GROUP_GAP
    ax.set(xlim=(0, width), ylim=(tops[-1] + MARGIN, 0))
    return figure


def _draw_part(ax: Axes, part: Part, x: float, base: float, tops: Sequence[float], text: float) -> None:
    """Draw a head above ``base``, the titles of its columns below it, and its entries from the heights ``tops`` on."""
    wide = part.width(text)
    ax.text(x + wide / 2, base - 0.03, "\n".join(_lines(part.head, wide)), va="bottom", ha="center", fontsize=8)
    ax.plot([x, x + wide], [base, base], color="black", linewidth=0.7)
    inside = sum(text if is_text(values) else PICTURE for _, values in part.columns) + GAP * (len(part.columns) - 1)
    x += (wide - inside) / 2
    for title, values in part.columns:
        own = text if is_text(values) else PICTURE
        ax.text(x + own / 2, base + 0.05, "\n".join(_lines(title, own + GAP)), va="top", ha="center", fontsize=SIZE)
        for entry, y, end in zip(values, tops, tops[1:], strict=False):
            _draw_entry(ax, entry, (x, (y + end) / 2), own, part.colour)
        x += own + GAP


def _draw_entry(ax: Axes, entry: Any, where: tuple[float, float], wide: float, colour: str) -> None:
    """Draw a picture, or a text of the given width, centred at the given height."""
    x, y = where
    if isinstance(entry, str):
        said = "\n".join(_lines(entry or EMPTY, wide))
        style = "normal" if entry else "italic"
        ax.text(x, y, said, va="center", fontsize=SIZE, family="monospace", color=colour, style=style)
        return
    high = _height(entry, wide)
    half = wide * min(1.0, entry.shape[1] / entry.shape[0]) / 2
    middle = x + wide / 2
    ax.imshow(entry, extent=(middle - half, middle + half, y + high / 2, y - high / 2), aspect="auto")


def _height(entry: Any, wide: float) -> float:
    """Return the height of a text or a picture in a column of a width."""
    if isinstance(entry, str):
        return LINE * len(_lines(entry or EMPTY, wide))
    return wide * min(1.0, float(entry.shape[0] / entry.shape[1]))


def _lines(text: str, wide: float) -> list[str]:
    """Break a text into lines of a width, and cut it off where there are too many."""
    return wrap(text, max(4, int(wide / LETTER)), max_lines=MOST_LINES, placeholder=" ...") or [""]
