"""Arrays for the figures of a run, stored beside its scores."""

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from mmvae_bench.kinds import kinds
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.relatedness import balanced, relatedness_artifacts

Arrays = dict[str, NDArray[np.generic]]

GRID_ROWS = 10
TSNE_POINTS = 300  # over all modalities


def artifacts(ev: Evaluation) -> Arrays:
    """Return all arrays of a run by name: :func:`grids`, :func:`tsne`, histograms and matrices of relatedness."""
    pictures = {} if ev.model.no_decoder else grids(ev)
    return {**relatedness_artifacts(ev), **pictures, **tsne(ev)}


def numbers(ev: Evaluation) -> NDArray[np.int64] | None:
    """Return a number that differs between a grid's rows, [N]: of the picture, all attributes or the class; or None."""
    if ev.related == "item":
        return ev.test.item
    if ev.test.attributes is not None:
        _, number = np.unique(ev.test.attributes, axis=0, return_inverse=True)
        return np.asarray(number.reshape(-1), np.int64)
    return ev.test.label


def grid_rows(kind: NDArray[np.int64] | None, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return at most ten rows: the first of each kind in ``order``, then the first of the rest; sorted by kind."""
    if kind is None:
        return np.sort(order[:GRID_ROWS])
    first = np.sort(np.unique(kind[order], return_index=True)[1])
    rest = np.setdiff1d(np.arange(len(order)), first)
    rows = order[np.concatenate([first, rest])[:GRID_ROWS]]
    return np.asarray(rows[np.argsort(kind[rows], kind="stable")])


def grids(ev: Evaluation) -> Arrays:
    """Return ``grid/source/m`` and ``grid/A/t``: true entries, and x_t generated from x_A, as their kind shows them.

    They are texts [10] or pictures, uint8 [10, C, height, width]. ``sounds`` are the names of what a report plays.
    """
    rows = ev.test.take(grid_rows(numbers(ev), ev.order("grid", len(ev.test))))
    source, out = ev.batch(rows).x, Arrays()
    for m in ev.model.modalities:
        show, true = kinds.get(m.kind).show, source[m.name].cpu().numpy()
        out[f"grid/source/{m.name}"] = show(m, true, true)
        for given in ev.subsets:
            out[f"grid/{'+'.join(given)}/{m.name}"] = show(m, ev.generate(rows, given, m.name).numpy(), true)
    heard = [m.name for m in ev.model.modalities if kinds.get(m.kind).heard]
    return {**out, "sounds": np.array(heard)} if heard else out


def tsne(ev: Evaluation) -> Arrays:
    """Return t-SNE of one sample of q(z | x_m) per row and modality: ``tsne/xy`` [n, 2], ``/label``, ``/modality`` [n].

    The same test rows for every modality and run, class-balanced; without classes, or with too many to be coloured,
    the first n and label -1. Empty if that is a single point. ``tsne/circle`` is there if classes are ordered.
    """
    n = min(TSNE_POINTS // len(ev.names), len(ev.test))
    order = ev.order("tsne", len(ev.test))
    label = ev.test.label if ev.classes <= 20 or ev.ordered else None  # more colours cannot be distinguished
    rows = np.sort(order[:n]) if label is None else balanced(label, n, order)
    z = np.concatenate([ev.shared((name,)).sample[rows] for name in ev.names])
    if len(z) < 2:
        return {}
    perplexity = min(30.0, (len(z) - 1) / 3)
    init = "pca" if z.shape[1] > 1 else "random"  # one dimension has no two principal components
    xy = TSNE(init=init, random_state=0, perplexity=perplexity, max_iter=500).fit_transform(z)
    classes = np.full(len(rows), -1) if label is None else label[rows]
    circle = {"tsne/circle": np.array(ev.ordered == "circle")} if ev.ordered else {}
    return {
        **circle,
        "tsne/xy": xy.astype(np.float32),
        "tsne/label": np.tile(classes.astype(np.int64), len(ev.names)),
        "tsne/modality": np.repeat(np.arange(len(ev.names)), len(rows)),
    }
