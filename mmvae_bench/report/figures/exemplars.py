"""Runs that represent their models in figures of single runs: the lowest seed at ratio 0 and the highest ratio."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmvae_bench.report.figures.style import new_figure
from mmvae_bench.report.select import Run
from mmvae_bench.spec import Missing

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Exemplar:
    """One run of each model under one missing pattern: a row of panels."""

    missing: Missing
    seed: int  # lowest seed with the most models
    arrays: dict[str, Arrays]  # model label -> artifacts of its run


def exemplars(runs: Sequence[Run], group: str, labels: Sequence[str]) -> list[Exemplar]:
    """Return the panel rows of a data set's figures: its lowest ratio and, if different, its highest (first scheme)."""
    own = [run for run in runs if run.group == group and (run.folder / "artifacts.npz").exists()]
    ratios = sorted({run.spec.missing.ratio for run in own})
    ends = dict.fromkeys([*ratios[:1], *ratios[-1:]])
    return [_exemplar([run for run in own if run.spec.missing.ratio == ratio], labels) for ratio in ends]


def _exemplar(runs: list[Run], labels: Sequence[str]) -> Exemplar:
    missing = runs[0].spec.missing
    by_seed: dict[int, dict[str, Run]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: run.spec.seed):
        if run.spec.missing == missing:
            by_seed[run.spec.seed][run.label] = run
    seed, found = max(by_seed.items(), key=lambda pair: len(pair[1]))
    return Exemplar(missing, seed, {name: found[name].arrays("artifacts.npz") for name in labels if name in found})


def describe_rows(rows: Sequence[Exemplar]) -> str:
    """Return the text ``Rows: complete (seed 0), split 0.5 (seed 0).`` for captions."""
    listed = ", ".join(f"{row.missing.text} (seed {row.seed})" for row in rows)
    return f"{'Rows' if len(rows) > 1 else 'Runs'}: {listed}."


def panels(rows: Sequence[Exemplar], prefix: str) -> list[str]:
    """Return the models with artifacts whose key begins with ``prefix`` in any row, in order."""
    found = {label for row in rows for label, arrays in row.arrays.items() if any(k.startswith(prefix) for k in arrays)}
    order = dict.fromkeys(label for row in rows for label in row.arrays)
    return [label for label in order if label in found]


def draw_panels(
    rows: Sequence[Exemplar],
    key: str,
    size: tuple[float, float],
    draw: Callable[[Axes, Arrays, str], None],
    ylabel: str = "",
) -> tuple[Figure, NDArray[Any]]:
    """Draw a panel of some inches per model that has artifacts named ``key...``, and a row per missing pattern.

    ``draw`` draws one panel from the artifacts of a model with this label, where there are any.
    """
    labels = panels(rows, key)
    figure = new_figure(0.4 + size[0] * len(labels), 0.6 + size[1] * len(rows))
    axes = figure.subplots(len(rows), len(labels), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for ax, label in zip(line, labels, strict=True):
            arrays = row.arrays.get(label, {})
            if any(name.startswith(key) for name in arrays):
                draw(ax, arrays, label)
            else:
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                ax.text(0.5, 0.5, "not available", ha="center", va="center", transform=ax.transAxes, color="#777777")
        line[0].set_ylabel(f"{row.missing.text}\n{ylabel}".strip())
    for ax, label in zip(axes[0], labels, strict=True):
        ax.set_title(label)
    return figure, axes
