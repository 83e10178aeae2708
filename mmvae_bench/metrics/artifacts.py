"""What the figures of a run are drawn from: small arrays stored beside its scores."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from mmvae_bench.metrics.base import Evaluation, join
from mmvae_bench.metrics.classifier import is_picture
from mmvae_bench.metrics.relatedness import balanced, relatedness_artifacts

Arrays = dict[str, NDArray[np.generic]]

GRID_ROWS = 10
TSNE_POINTS = 300  # over all modalities
TSNE_STEPS = 500


def artifacts(ev: Evaluation) -> Arrays:
    """All arrays of a run by name: :func:`grids`, :func:`tsne` and the histograms and matrices of relatedness."""
    return {**relatedness_artifacts(ev), **grids(ev), **tsne(ev)}


def to_pixels(x: torch.Tensor) -> NDArray[np.uint8]:
    """[0, 1] to 0..255, rounded."""
    return np.asarray((x.clamp(0, 1) * 255).round().byte().numpy())


def grid_rows(label: NDArray[np.int64] | None, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most ten rows: the first of each class in ``order``, by class; the first ten where there are no classes."""
    if label is None:
        return np.sort(order[:GRID_ROWS])
    first = np.unique(label[order], return_index=True)[1]
    return order[first[:GRID_ROWS]]


def grids(ev: Evaluation) -> Arrays:
    """``grid/source/m`` and ``grid/A/t``: uint8 [10, *shape], true pictures, and x_t generated from x_A."""
    rows = ev.test.take(grid_rows(ev.test.label, ev.order("grid", len(ev.test))))
    pictures = [m.name for m in ev.model.modalities if is_picture(m.shape)]
    source = ev.batch(rows).x
    out: Arrays = {f"grid/source/{name}": to_pixels(source[name].cpu()) for name in pictures}
    for given in ev.subsets:
        for target in pictures:
            out[f"grid/{join(given)}/{target}"] = to_pixels(ev.generate(rows, given, target))
    return out


def tsne(ev: Evaluation) -> Arrays:
    """t-SNE of one sample of q(z | x_m) a row for every modality: ``tsne/xy`` [n, 2], ``/label``, ``/modality`` [n].

    The same test rows for every modality and run, class-balanced; label -1 where there are no classes.
    """
    n = min(TSNE_POINTS // len(ev.names), len(ev.test))
    order, label = ev.order("tsne", len(ev.test)), ev.test.label
    rows = np.sort(order[:n]) if label is None else balanced(label, n, order)
    z = np.concatenate([ev.latents((name,), "test").sample[rows] for name in ev.names])
    perplexity = min(30.0, (len(z) - 1) / 3)
    init = "pca" if z.shape[1] > 1 else "random"  # one dimension has no two principal components
    xy = TSNE(init=init, random_state=0, perplexity=perplexity, max_iter=TSNE_STEPS).fit_transform(z)
    classes = np.full(len(rows), -1) if label is None else label[rows]
    return {
        "tsne/xy": xy.astype(np.float32),
        "tsne/label": np.tile(classes.astype(np.int64), len(ev.names)),
        "tsne/modality": np.repeat(np.arange(len(ev.names)), len(rows)),
    }
