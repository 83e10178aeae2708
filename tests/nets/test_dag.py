"""Message passing: what a vertex reads reaches the output, what it does not read cannot; programs are learned."""

import numpy as np
import pytest
import torch

from mmvae_bench import Modality, Unsupported, datasets, nets
from mmvae_bench.kinds.graph import joined
from mmvae_bench.probability import likelihoods

GRAPH, NUMBER = datasets.make("dag", {"source": "programs"}).modalities


def made(types: str = "one_hot"):
    torch.manual_seed(0)
    return nets.registry.get("dag")([GRAPH, NUMBER], 4, hidden=16, types=types)


@pytest.mark.parametrize("types", ["one_hot", "learned"])
def test_shapes(types: str):
    networks = made(types)
    assert networks.encode_entries("graph", torch.rand(3, 7, 13)).shape == (3, 8)
    assert networks.decode("graph", torch.randn(2, 3, 4)).shape == (2, 3, 7, 13)
    assert networks.encode_entries("number", torch.rand(3, 1)).shape == (3, 8)


def test_what_is_not_read_does_not_reach_the_output():
    edges = np.zeros((3, 7, 7), bool)
    edges[:, range(1, 7), range(6)] = True
    edges[:, 6, 5] = False
    edges[:, 6, 0] = True  # the last vertex reads the input alone
    types = np.tile([0, 1, 2, 3, 4, 5, 1], (3, 1))
    types[1, 3] = 5  # not read by the last
    types[2, 6] = 2
    out = made().encode_entries("graph", torch.tensor(joined(types, edges, 6)))
    torch.testing.assert_close(out[0], out[1], rtol=0, atol=0)
    assert not torch.allclose(out[0], out[2])


def test_other_edges_and_other_types_are_other_codes():
    x = torch.tensor(datasets.make("dag", {"source": "programs"}).build(None).test.x["graph"][:200])
    out = made().encode_entries("graph", x)
    distance = torch.cdist(out.double(), out.double()) + torch.eye(200)
    assert distance.min() > 1e-6


def test_decoders_reach_every_graph_by_gradient():
    """An autoencoder fits ten programs exactly."""
    networks, dag = made(), likelihoods.get("dag")
    x = torch.tensor(datasets.make("dag", {"source": "programs"}).build(None).train.x["graph"][:10])
    z = torch.nn.Parameter(torch.randn(10, 4))
    optimiser = torch.optim.Adam([z, *networks.decoders["graph"].parameters()], 0.01)
    for _ in range(300):
        optimiser.zero_grad()
        (-dag.log_prob(x, networks.decode("graph", z), 1.0, 2).mean()).backward()
        optimiser.step()
    assert torch.equal(dag.mean(networks.decode("graph", z)), x)


def test_without_a_graph_another_preset_is_named():
    with pytest.raises(Unsupported, match="use mlp"):
        nets.registry.get("dag")([Modality("a", (3,)), NUMBER], 4)
