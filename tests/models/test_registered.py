"""What all registered models share: where their nets start, and the ranges that a search of their options covers."""

from dataclasses import replace
from typing import Annotated

import pytest
import torch

from mmvae_bench import models
from mmvae_bench.options import Range, Weight, ranges
from mmvae_bench.spec import Component, Missing, RunSpec, TrainSpec
from mmvae_bench.sweep.execute import build_model
from mmvae_bench.types import Modality
from tests.helpers import NAMES, batch, gradient, modalities, model

SPEC = RunSpec(
    Component("mnist_street", 1, {}), Component("mvae", 1, {}), Component("mlp", 1, {"hidden": 7, "layers": 1}), 3, {},
    TrainSpec(1, 8, 1e-3), Missing(), 0,
)  # fmt: skip
KINDS = {
    "mlp": modalities(2),
    "conv": [
        Modality("image", (3, 32, 32)),
        Modality("caption", (8,), "categorical", dtype="int16", vocabulary=tuple("abcdef")),
    ],
}


def nets_of(model: str, nets: str = "mlp", seed: int = 0, **options: object) -> dict[str, torch.Tensor]:
    part = Component(nets, 1, SPEC.nets.options if nets == "mlp" else {})
    spec = replace(SPEC, model=Component(model, 1, options), nets=part, seed=seed)
    return build_model(spec, KINDS[nets], torch.device("cpu")).networks.state_dict()


@pytest.mark.parametrize("nets", KINDS)
def test_equal_nets_start_from_equal_weights_whatever_the_model(nets):
    first = nets_of("mvae", nets)
    for name, options in [*((name, {}) for name in NAMES), ("meme", {"shared": False}), ("mmvm", {"alone": "pseudo"})]:
        torch.testing.assert_close(nets_of(name, nets, **options), first, rtol=0, atol=0)
    other = nets_of("mvae", nets, seed=1)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_every_model_declares_the_same_range_of_beta_and_meme_one_of_its_supervision():
    declared = {name: ranges(models.registry.get(name), name) for name in NAMES}
    assert all(found["beta"] == Range(0.05, 5.0) for found in declared.values())
    assert declared["meme"] == {"beta": Range(0.05, 5.0), "supervision": Range(1.0, 30.0)}
    assert all(declared[name].keys() == {"beta"} for name in set(NAMES) - {"meme"})
    assert ranges(models.registry.get("dmvae"), "dmvae").keys() == {"beta", "private"}
    assert ranges(models.registry.get("codevae"), "codevae").keys() == {"beta"}


@pytest.mark.parametrize("name", sorted(models.ABOUT.keys() - {"csvae"}))  # which needs labels
def test_what_is_said_of_a_model_without_importing_it_is_true(name):
    made, about = model(name, m=3), models.ABOUT[name]
    assert (about.latents == "shared, private") == bool(made.latent_parts)
    assert (about.family == "chance control") == made.cross_is_chance
    trained = {}
    for rows, present in {"complete": [1, 1, 1], "paired": [1, 1, 0], "any": [0, 1, 0]}.items():
        loss = made.loss(batch(made, present=torch.tensor(present, dtype=torch.bool)[:, None].expand(-1, 4))).total
        trained[rows] = bool((gradient(made, loss) != 0).any())
    counted = ["complete", "paired", "any"][: 1 + ["complete", "paired", "any"].index(about.rows)]
    assert [rows for rows, moved in trained.items() if moved] == counted


def test_all_in_tree_models_are_described():
    assert [name for name in models.registry.names() if models.registry.in_tree(name)] == list(models.ABOUT)


def test_a_range_is_read_from_an_options_annotation_the_last_one_if_there_are_several():
    class Thing:
        def __init__(self, *, weight: Weight = 1.0, own: Annotated[Weight, Range(1, 30)] = 1, k: int = 2, plain=0): ...

    assert ranges(Thing, "thing") == {"weight": Range(0.05, 5.0), "own": Range(1, 30)}
