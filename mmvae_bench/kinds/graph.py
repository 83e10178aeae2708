"""The kind of directed acyclic graphs with typed vertices, in a topological order."""

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.kinds.base import Kind, Values
from mmvae_bench.types import Modality


def parts(x: Values) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return types [N, n] and edges [N, n, n] of entries [N, n, T + n]: edge [v, u] is u -> v."""
    n = x.shape[1]
    return x[:, :, :-n].argmax(-1), x[:, :, -n:] > 0.5


def joined(types: NDArray[np.int64], edges: NDArray[np.bool_], count: int) -> NDArray[np.float32]:
    """Return the entries [N, n, T + n] of graphs, T = ``count``: the inverse of :func:`parts`."""
    return np.concatenate([np.eye(count, dtype=np.float32)[types], edges.astype(np.float32)], -1)


def is_valid(x: Values) -> NDArray[np.bool_]:
    """Return which entries [N, n, T + n] are computations, [N].

    Vertex 0 has type 0, the input, and no other has; every other vertex reads an earlier one, and only the last, the
    output, is read by none.
    """
    types, edges = parts(x)
    inputs = (types[:, 0] == 0) & np.all(types[:, 1:] > 0, 1)
    reads, is_read = np.any(edges, 2)[:, 1:], np.any(edges, 1)[:, :-1]
    return np.asarray(inputs & np.all(reads, 1) & np.all(is_read, 1))


def steps(m: Modality, x: Values, true: Values) -> Values:
    """Return graphs as texts [n]: of each vertex but the input its type and what it reads, such as ``sum 0 1``."""
    types, edges = parts(x)
    texts = []
    for kinds, reads in zip(types, edges, strict=True):
        each = zip(kinds[1:], reads[1:], strict=True)
        texts.append("; ".join(" ".join([m.vocabulary[kind], *map(str, np.flatnonzero(row))]) for kind, row in each))
    return np.array(texts, dtype=np.str_)


GRAPH = Kind(steps, ("dag",))
