"""Style of all figures: one colour per model, PNG and PDF."""

import gc
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmvae_bench.models import registry as models
from mmvae_bench.report.select import file_name

# Okabe and Ito's, distinguishable with any colour vision, without the yellow (too pale); grey is kept for context
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#8C510A", "#56B4E9", "#7B3294", "#BF9000", "#01665E")
MARKERS = "osD^vPX<>*"
MARKS = list(zip(COLOURS, MARKERS, strict=True))  # of missing patterns
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "text.parse_math": False,  # a label may contain dollars
    "figure.autolayout": False,  # laid out once, by save
    "figure.constrained_layout.use": False,
}
DPI = 160
MOST_PROCESSES = 4  # more would mostly be starting


@dataclass(frozen=True)
class Plot:
    """A figure before it is written to files of some name; ``key`` if it is one of the first figures of the page."""

    name: str
    title: str
    caption: str
    group: str
    figure: Figure
    key: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure's files; ``width`` is in CSS pixels, so that its letters are as large as the page's."""

    title: str
    caption: str
    group: str
    png: Path
    width: int
    key: bool = False


@dataclass(frozen=True)
class Look:
    """How a model is drawn, in every figure."""

    colour: str
    marker: str


def palette(labels: Sequence[str]) -> dict[str, Look]:
    """Return one look per label. A registered model's bare name has the same in every report; others take what is left.

    No two of a hundred labels are alike: when all colours are used, they come again with other markers.
    """
    n = len(COLOURS)
    looks = [Look(COLOURS[i], MARKERS[(i + turn) % n]) for turn in range(n) for i in range(n)]
    fixed = dict(zip(models.names(), looks, strict=False))
    taken = {fixed[label] for label in labels if label in fixed}
    free = itertools.cycle([look for look in looks if look not in taken])
    return {label: fixed.get(label) or next(free) for label in labels}


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches; its parts are laid out when it is drawn."""
    return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def axis_kept(ax: Axes) -> Iterator[None]:
    """Keep what is drawn inside from setting the axis.

    An interval of three seeds may be ten times as wide as all that was measured.
    """
    drawn = ax.dataLim.frozen()
    yield
    ax.dataLim.set(drawn)


def lower_first(text: str) -> str:
    """Return a title as it stands inside a sentence."""
    return text[:1].lower() + text[1:]


def handle(label: str, **style: Any) -> Line2D:
    """Return a line of a legend."""
    return Line2D([], [], label=label, **{"markersize": 4, **style})


def legend_right(figure: Figure, handles: Sequence[Artist]) -> None:
    """Add a legend beside all panels, outside them; the figure grows where it would be cut off."""
    if handles:
        figure.set_figheight(max(figure.get_figheight(), 0.19 * len(handles) + 0.2))
        figure.legend(handles=list(handles), loc="outside right upper", handlelength=1.8)


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Add a legend below all panels, outside them, in rows: matplotlib alone fills it by columns."""
    if handles:
        gaps = {"handletextpad": 0.2, "columnspacing": 1.0}
        ordered = [handle for column in range(columns) for handle in handles[column::columns]]
        figure.legend(handles=ordered, loc="outside lower center", ncols=columns, **gaps)


def save_all(parts: Sequence[Callable[[], Iterable[Plot]]], folder: Path, *, pdf: bool = False) -> list[Picture]:
    """Draw and write figures in parallel processes, each part in one of them; return the pictures in order."""
    jobs = max(1, min(joblib.cpu_count(), MOST_PROCESSES, len(parts)))
    written = joblib.Parallel(n_jobs=jobs, backend="loky", batch_size=1)(
        joblib.delayed(_save_part)(part, folder, pdf) for part in parts
    )
    return list(itertools.chain.from_iterable(written))


def _save_part(part: Callable[[], Iterable[Plot]], folder: Path, pdf: bool) -> list[Picture]:
    gc.disable()  # looking for garbage among the thousands of objects of a figure takes a fifth of the time
    try:
        with mpl.rc_context(STYLE):
            return list(save(part(), folder, pdf=pdf))
    finally:
        gc.enable()


def save(plots: Iterable[Plot], folder: Path, *, pdf: bool = False) -> Iterator[Picture]:
    """Write figures as PNG, and as PDF if asked, one after the other; each is laid out once."""
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        figure = plot.figure
        png = folder / f"{file_name(plot.name)}.png"
        FigureCanvasAgg(figure)  # without it, matplotlib makes a renderer each time that it measures a text
        figure.set_dpi(DPI)
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine(None)  # with one, matplotlib draws twice whenever it saves
        figure.savefig(png, dpi=DPI)
        if pdf:  # as long again as all else about a figure: its fonts are cut to the letters that it has
            figure.savefig(png.with_suffix(".pdf"), dpi=DPI, metadata={"CreationDate": None})
        yield Picture(plot.title, plot.caption, plot.group, png, round(112 * figure.get_figwidth()), plot.key)
