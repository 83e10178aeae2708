"""Labels that are a modality: does another label change what it names, and which latents say it? Klys et al. (2018)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.labelled import Symbols
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric
from mmvae_bench.metrics.classes import class_labels, majority, probe
from mmvae_bench.metrics.oracle import Judged
from mmvae_bench.seeds import seed_for

Values = NDArray[np.int64]


def labels_of(ev: Evaluation) -> tuple[str, Symbols]:
    """Return the name of the modality of labels, and what writes and reads them.

    Raises:
        Undefined: If there is none.
    """
    found = {name: judge for name, judge in ev.oracles.items() if isinstance(judge, Symbols)}
    if not found:
        raise Undefined("no modality is the labels; labels=true is the data set's option")
    return next(iter(found.items()))


def said(verdict: Judged) -> Values:
    """Return what a judge says of entries, in the form of :attr:`Rows.values`."""
    return verdict.values if verdict.values.shape[1] else verdict.classes[:, None]


def swapped(values: NDArray[np.int64], sizes: Values, attribute: int, rng: np.random.Generator) -> Values:
    """Return values [N, A] with another value of one attribute in each row, all others being equally likely."""
    out, size = values.copy(), int(sizes[attribute])
    out[:, attribute] = (values[:, attribute] + rng.integers(1, size, len(values))) % size
    return out


@metric(
    Description(
        "Attribute swap",
        "Entries generated from themselves and a label with one attribute changed, as a judge reads them; a mean over "
        "the attributes.",
        {
            "swapped": "share that shows the new value; a copy of the entry scores 0",
            "kept": "share of the other attributes that stay as they were",
        },
        bounds=(0.0, 1.0),
        drawn=("swapped",),
    )
)
def attribute_swap(ev: Evaluation) -> Iterator[Score]:
    """Shares of values that a judge reads in x_t from z of q(z | x_t, y'), y' being the label with one value changed.

    The new value is any of the others with equal probability, the same for every model of a seed. Chance is the best
    constant guess; the ceiling is what the judge reads rightly in true entries. Computed only when it is named.
    """
    ev.check_decoders()
    label, judge = labels_of(ev)
    class_labels(ev)
    rows = ev.judged
    true, count = np.asarray(rows.values), judge.shown
    for target in (name for name in ev.names if name != label and name in ev.oracles):
        given = tuple(name for name in ev.names if name in (target, label))
        right = said(ev.of_true(target)) == true
        changed, kept, chances = [], [], []
        for a in range(count):
            rng = np.random.default_rng(seed_for("eval", ev.dataset, ev.seed, "swap", a))
            wanted = swapped(true, judge.sizes, a, rng)
            other = replace(rows, x={**rows.x, label: judge.write(wanted)})
            correct = said(ev.verdict(target, ev.generate(other, given, target))) == wanted
            changed.append(correct[:, a])
            kept.append(np.delete(correct, a, axis=1))
            chances.append(majority(wanted[:, a]))
        row = replace(ev.row(given, target, "swapped"), chance=float(np.mean(chances)), ceiling=float(right.mean()))
        yield row.mean(np.stack(changed).mean(0))
        if true.shape[1] > 1:
            constant = float(np.mean([majority(column) for column in true.T]))
            yield replace(row, variant="kept", chance=constant).mean(np.concatenate(kept, 1).mean(1))


@metric(
    Description(
        "Attribute probe",
        "Test accuracy of logistic regressions from a sample of z to each attribute, a mean over the attributes.",
        {
            "inside": "from the latents that labels are read from",
            "outside": "from the other latents, where low is good if labels have latents of their own; of other "
            "models all of z",
        },
        bounds=(0.0, 1.0),
        unranked=("outside",),
        drawn=("inside", "outside"),
    )
)
def attribute_probe(ev: Evaluation) -> Iterator[Score]:
    """Leakage after Klys et al.: probes of q(z | x_m) for each attribute, inside and outside the latents of labels.

    Fitted on the training rows of ``linear_probe``. Chance: the best constant guess. Computed only when it is named.
    """
    label, _ = labels_of(ev)
    class_labels(ev)
    fitted, true = np.asarray(ev.probe_rows.values), np.asarray(ev.judged.values)
    chance = float(np.mean([majority(column) for column in true.T]))
    for name in (name for name in ev.names if name != label):
        z, z_test = (ev.latents((name,), split).sample for split in ("train", "test"))
        inside = np.zeros(z.shape[1], np.bool_)
        if ev.model.label_latents is not None:
            inside[ev.model.label_latents] = True
        for variant, part in (("inside", inside), ("outside", ~inside)):
            if not part.any():
                continue
            test = z_test[ev.judged_rows][:, part]
            found = [
                probe(z[:, part], column, test) if len(np.unique(column)) > 1 else np.full(len(test), column[0])
                for column in fitted.T
            ]
            outcomes = (np.stack(found, 1) == true).mean(1)
            yield Score(None, variant, given=name, chance=chance).mean(outcomes)
