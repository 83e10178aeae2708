"""Scores of graphs and of numbers, after D-VAE (Zhang et al., NeurIPS 2019, Section 4)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.errors import Undefined
from mmvae_bench.kinds.graph import is_valid
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once
from mmvae_bench.metrics.priors import under_priors

Floats = NDArray[np.floating]
Read = Callable[[Tensor], Floats]


@once
def generated(ev: Evaluation, given: tuple[str, ...], target: str) -> Tensor:
    """Return E[x_t | z] of all test rows, one z per row from q(z | x_A)."""
    return ev.generate(ev.test, given, target)


def keys(x: NDArray[np.generic]) -> NDArray[np.bytes_]:
    """Return a key for each entry, equal for equal graphs: [N]."""
    flat = np.ascontiguousarray(np.asarray(x).reshape(len(x), math.prod(x.shape[1:])) > 0.5)
    return np.packbits(flat, axis=1).view(f"V{-(-flat.shape[1] // 8)}")[:, 0]


@metric(
    Description(
        "Graphs",
        "Generated graphs: shares that are computations, that equal the true one, that differ, and that are new.",
        {
            "valid": "every vertex reads an earlier one, and only the last is read by none",
            "reconstructed": "equal to the true graph, the graph itself being given",
            "unique": "different graphs among the valid ones",
            "novel": "valid graphs that no training row has",
        },
        bounds=(0.0, 1.0),
        unranked=("unique", "novel", "aggregate"),
        drawn=("valid", "reconstructed"),
    ),
    of_priors=True,
)
def graph_quality(ev: Evaluation) -> Iterator[Score]:
    """Validity of graphs given each subset and from priors, exact reconstruction, uniqueness and novelty.

    A generated graph has the likeliest type of each vertex and the edges that are likelier than not, from one z a row.
    """
    ev.check_decoders()
    graphs = [m.name for m in ev.model.modalities if m.kind == "graph"]
    if not graphs:
        raise Undefined("no modality is a graph")
    for name in graphs:
        true, seen = keys(np.asarray(ev.test.x[name])), keys(np.asarray(ev.train.x[name]))
        for given in ev.subsets:
            row = ev.row(given, name)
            try:
                x = generated(ev, given, name).numpy()
            except Undefined as reason:
                yield replace(row, reason=str(reason))
                continue
            yield replace(row, variant="valid").mean(is_valid(x))
            if name in given:
                yield replace(row, variant="reconstructed").mean(keys(x) == true)
        for of_prior, drawn in under_priors(ev, lambda part, name=name: part.x[name].numpy()):  # type: ignore[misc]
            row = replace(of_prior, target=name)
            if not drawn:
                yield row
                continue
            x = np.concatenate(drawn)
            valid = is_valid(x)
            yield replace(row, variant="valid").mean_of_draws(valid)
            made = keys(x[valid])
            if len(made):
                yield replace(row, variant="unique", value=len(np.unique(made)) / len(made), n=len(made))
                yield replace(row, variant="novel").mean_of_draws(~np.isin(made, seen))


@metric(
    Description(
        "Predicted number",
        "A number generated from other modalities, against the true one.",
        {"rmse": "root mean squared error, of a standardised number", "r": "correlation with the true number"},
        higher_is_better=False,
        unranked=("r",),
        drawn=("rmse",),
    ),
)
def number_error(ev: Evaluation) -> Iterator[Score]:
    """Error and correlation of E[x_t | z] of a single number x_t, one z of q(z | x_A) a row, t not in A.

    Where a judge of graphs computes their number, that of the valid ones generated from the true number counts as well.
    Chance of the error is that of the mean of the test rows. Test rows are as in :attr:`Evaluation.test`.
    """
    ev.check_decoders()
    numbers = [m.name for m in ev.model.modalities if m.shape == (1,) and not m.is_text]
    if not numbers:
        raise Undefined("no modality is a single number")
    for number in numbers:
        true = np.asarray(ev.test.x[number], np.float64)[:, 0]
        for given in ev.subsets:
            for target in ev.names:
                read = getattr(ev.oracles.get(target), "numbers", None)
                wanted = number not in given if target == number else read is not None and target not in given
                if wanted:
                    yield from _of(ev, given, target, true, read)


def _of(ev: Evaluation, given: tuple[str, ...], target: str, true: Floats, read: Read | None) -> Iterator[Score]:
    row = ev.row(given, target)
    try:
        x = generated(ev, given, target)
    except Undefined as reason:
        yield replace(row, reason=str(reason))
        return
    made = np.asarray(read(x) if read else x.numpy()[:, 0], np.float64)
    known = np.isfinite(made)
    if known.sum() < 2:
        yield replace(row, reason="fewer than two generated graphs are valid")
        return
    wrong = float(np.sqrt(np.square(made[known] - true[known]).mean()))
    yield replace(row, variant="rmse", value=wrong, n=int(known.sum()), chance=float(true[known].std()), ceiling=0.0)
    if min(made[known].std(), true[known].std()) > 0:
        r = float(np.corrcoef(made[known], true[known])[0, 1])
        yield replace(row, variant="r", value=r, n=int(known.sum()), chance=0.0, ceiling=1.0)
