"""Swapped attributes and leakage, in worlds where both are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.labelled import Symbols
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.labels import swapped
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import Modality
from tests.metrics.conftest import Copy, rows
from tests.metrics.test_attributes import COUNTS, NAMES, Exact, split

BOTH = ("attribute_swap", "attribute_probe")
LABEL = Modality("label", (2,), "categorical", dtype="int16", vocabulary=tuple("-lh01234"), kind="symbol")


class Taken(Copy):
    """z is noise, then x or, if ``obeys`` and a label is given, the one-hot form of the label."""

    def __init__(self, obeys: bool, inside: bool = True) -> None:
        super().__init__(1)
        self.obeys, self.inside = obeys, inside
        self.modalities, self.names = (*self.modalities, LABEL), ("a", "label")
        self.networks = Networks([self.modalities[0]], 20, lambda m, size: nn.Identity(), lambda m, size: Last())

    @property
    def label_latents(self):
        return slice(10, 20) if self.inside else None

    def posterior(self, batch):
        x, ids = batch.visible("a"), batch.visible("label")
        told = batch.where("label")[:, None] & self.obeys
        y = (5 * (ids[:, 0] - 1) + ids[:, -1] - 3).clamp(0, 9)
        noise = torch.randn(len(x), 10, generator=torch.Generator().manual_seed(5))
        z = torch.cat([noise, torch.where(told, torch.eye(10)[y], x)], 1)
        return DiagonalNormal(z, torch.full_like(z, 1e-4))


class Last(nn.Module):
    def forward(self, z):
        return z[:, 10:]


def labelled(seed: int) -> Rows:
    plain = rows(400, 1, seed)
    values = split(plain.label)
    return Rows({**plain.x, "label": Symbols(COUNTS).write(values)}, plain.label, attributes=values)


def scores(model: Taken, *metrics: str, **fields: object) -> dict[str, object]:
    known = {"a": Exact(), "label": Symbols(COUNTS)}
    defaults = {"train": labelled(1), "test": labelled(2), "oracles": known, "attributes": NAMES}
    ev = Evaluation(model.eval(), dataset="world", seed=0, classes=10, **{**defaults, **fields})
    return {f"{s.given} {s.variant}": s for s in evaluate(ev, metrics or BOTH)}


@pytest.mark.parametrize("obeys", [True, False])
def test_a_swap_is_counted_where_the_label_moves_the_entry(obeys: bool) -> None:
    found = scores(Taken(obeys), "attribute_swap")
    assert found["a+label swapped"].value == obeys
    assert found["a+label kept"].value == 1.0  # the other attribute stays, in the one case as in the other
    assert 0 < found["a+label swapped"].chance < 0.75 and found["a+label swapped"].n == 400


def test_what_says_labels_is_probed_apart_from_what_must_not() -> None:
    found = scores(Taken(obeys=True), "attribute_probe")
    assert found["a inside"].value == 1.0
    chance = found["a outside"].chance
    assert chance == (0.5 + 0.2) / 2
    assert abs(found["a outside"].value - chance) <= 5 * (0.25 / 400) ** 0.5
    whole = scores(Taken(obeys=True, inside=False), "attribute_probe")
    assert set(whole) == {"a outside"} and whole["a outside"].value == 1.0


def test_a_class_alone_is_swapped_too() -> None:
    train, test = (replace(each, attributes=None, x={**each.x, "label": each.x["label"][:, :1]}) for each in
                   (labelled(1), labelled(2)))  # fmt: skip
    known = {"a": Exact(), "label": Symbols([2])}
    halves = [replace(each, label=each.label // 5) for each in (train, test)]
    model = Taken(obeys=False)
    found = scores(model, train=halves[0], test=halves[1], oracles=known, attributes=None)
    assert found["a+label swapped"].value == 0.0 and "a+label kept" not in found


def test_without_labels_the_reason_names_the_option(world) -> None:
    (swap, probe) = evaluate(world(), BOTH)
    assert swap.reason == probe.reason == "no modality is the labels; labels=true is the data set's option"


def test_every_other_value_is_equally_likely() -> None:
    values = np.tile(np.array([[0, 4]]), (6000, 1))
    out = swapped(values, np.array(COUNTS), 1, np.random.default_rng(0))
    assert (out[:, 0] == 0).all() and (np.abs(np.bincount(out[:, 1], minlength=5)[:4] - 1500) < 5 * 35).all()
    assert not (out[:, 1] == 4).any()
