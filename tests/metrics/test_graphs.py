"""Scores of graphs and numbers, of models that copy, that break graphs, and that know a number with known noise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmvae_bench import datasets
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.graphs import keys
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.distributions import DiagonalNormal

DATA = datasets.make("dag", {"source": "programs"})
BUILT = DATA.build(Path())
GRAPH = 7 * 13


class Part(nn.Module):
    def __init__(self, graph: bool):
        super().__init__()
        self.graph = graph

    def forward(self, z):
        return (20 * z[:, :GRAPH] - 10).reshape(-1, 7, 13) if self.graph else z[:, GRAPH:]


class Known(MultimodalVAE):
    """z is the graph, side by side with its number and noise; a number alone stands beside the graph ``alone``."""

    def __init__(self, noise: float = 0.0, broken: bool = False):
        parts = {"graph": True, "number": False}
        super().__init__(
            Networks(DATA.modalities, GRAPH + 1, lambda m, _: nn.Identity(), lambda m, _: Part(parts[m.name]))
        )
        self.noise, self.broken, self.dummy = noise, broken, nn.Parameter(torch.zeros(1))

    def posterior(self, batch):
        graph, number = batch.visible("graph").flatten(1), batch.visible("number")
        if self.broken:
            graph = torch.zeros_like(graph)
        made = torch.tensor(DATA.judges({})["graph"].numbers(batch.visible("graph").numpy()))[:, None].nan_to_num()
        number = torch.where(batch.where("number")[:, None], number, made + self.noise * torch.randn_like(made))
        loc = torch.cat([graph, number], 1)
        return DiagonalNormal(loc, torch.full_like(loc, 1e-6))

    def loss(self, batch):
        raise NotImplementedError


def scores(model: MultimodalVAE, *names: str) -> dict[str, float]:
    torch.manual_seed(0)
    ev = Evaluation(model.eval(), train=BUILT.train, test=BUILT.test, oracles=DATA.judges({}), dataset="dag", seed=0,
                    classes=5)  # fmt: skip
    found = [s for s in evaluate(ev, names) if s.value is not None]
    return {" ".join(filter(None, (s.variant, s.prior, s.given, s.target))): s.value for s in found}


def test_copies_are_valid_and_equal_and_of_training_rows_not_new():
    found = scores(Known(), "graph_quality")
    assert found["valid graph graph"] == found["reconstructed graph graph"] == 1.0
    assert abs(found["valid aggregate graph"] - 0.5) < 0.06  # half of them are posteriors of a number alone
    assert found["novel aggregate graph"] == 0.0
    assert 0.3 < found["unique aggregate graph"] < 1.0  # draws of 500 training rows, with repetition
    assert found["valid model graph"] < 0.05  # rounded noise is not a program


def test_broken_graphs_are_neither_valid_nor_equal():
    found = scores(Known(broken=True), "graph_quality")
    assert found["valid graph graph"] == found["reconstructed graph graph"] == 0.0
    assert "unique aggregate graph" not in found


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_error_is_that_of_the_noise(noise: float):
    found, n = scores(Known(noise), "number_error"), len(BUILT.test)
    assert abs(found["rmse graph number"] - noise) <= 5 * noise / (2 * n) ** 0.5 + 1e-4
    variance = BUILT.test.x["number"].var()
    assert found["r graph number"] == pytest.approx((variance / (variance + noise**2)) ** 0.5, abs=0.03)


def test_graphs_from_a_number_are_run_and_invalid_ones_are_left_out():
    assert not [name for name in scores(Known(), "number_error") if name.endswith("number graph")]  # none is valid


def test_equal_graphs_have_equal_keys():
    x = BUILT.test.x["graph"]
    assert (keys(x) == keys(x.copy())).all()
    assert len(np.unique(keys(x))) == len(np.unique(x.reshape(len(x), -1), axis=0))


def test_other_data_have_neither(world):
    graphs, numbers = evaluate(world(), ("graph_quality", "number_error"))
    assert graphs.reason == "no modality is a graph" and numbers.reason == "no modality is a single number"
