"""Arrays for the figures of a run, stored beside its scores."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from mmvae_bench.datasets.words import decode
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.oracle import is_picture
from mmvae_bench.metrics.relatedness import balanced, relatedness_artifacts
from mmvae_bench.types import Modality

Arrays = dict[str, NDArray[np.generic]]

GRID_ROWS = 10
TSNE_POINTS = 300  # over all modalities


def artifacts(ev: Evaluation) -> Arrays:
    """Return all arrays of a run by name: :func:`grids`, :func:`tsne`, histograms and matrices of relatedness."""
    pictures = {} if ev.model.no_decoder else grids(ev)
    return {**relatedness_artifacts(ev), **pictures, **tsne(ev)}


def shown(modality: Modality, x: torch.Tensor) -> NDArray[np.generic]:
    """Return captions as text [n] of fixed width, which loads without pickle; pictures in 0..255, rounded."""
    if modality.is_text:
        return np.array([decode(row, modality.vocabulary) for row in x.numpy()], dtype=np.str_)
    return np.asarray((x.clamp(0, 1) * 255).round().byte().numpy())


def kinds(ev: Evaluation) -> NDArray[np.int64] | None:
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
    """Return ``grid/source/m`` and ``grid/A/t``: true entries, and x_t generated from x_A.

    Pictures are uint8 [10, *shape], captions text [10]; other modalities have none.
    """
    rows = ev.test.take(grid_rows(kinds(ev), ev.order("grid", len(ev.test))))
    source, out = ev.batch(rows).x, Arrays()
    for modality in ev.model.modalities:
        if not (modality.is_text or is_picture(modality.shape)):
            continue
        out[f"grid/source/{modality.name}"] = shown(modality, source[modality.name].cpu())
        for given in ev.subsets:
            out[f"grid/{'+'.join(given)}/{modality.name}"] = shown(modality, ev.generate(rows, given, modality.name))
    return out


def tsne(ev: Evaluation) -> Arrays:
    """Return t-SNE of one sample of q(z | x_m) per row and modality: ``tsne/xy`` [n, 2], ``/label``, ``/modality`` [n].

    The same test rows for every modality and run, class-balanced; without classes, or with too many to be coloured,
    the first n and label -1. Empty if that is a single point.
    """
    n = min(TSNE_POINTS // len(ev.names), len(ev.test))
    order = ev.order("tsne", len(ev.test))
    label = ev.test.label if ev.classes <= 20 else None  # more colours cannot be distinguished
    rows = np.sort(order[:n]) if label is None else balanced(label, n, order)
    z = np.concatenate([ev.shared((name,)).sample[rows] for name in ev.names])
    if len(z) < 2:
        return {}
    perplexity = min(30.0, (len(z) - 1) / 3)
    init = "pca" if z.shape[1] > 1 else "random"  # one dimension has no two principal components
    xy = TSNE(init=init, random_state=0, perplexity=perplexity, max_iter=500).fit_transform(z)
    classes = np.full(len(rows), -1) if label is None else label[rows]
    return {
        "tsne/xy": xy.astype(np.float32),
        "tsne/label": np.tile(classes.astype(np.int64), len(ev.names)),
        "tsne/modality": np.repeat(np.arange(len(ev.names)), len(rows)),
    }
