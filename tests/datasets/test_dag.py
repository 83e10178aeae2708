"""Programs as graphs: they compute what they say, judges run them, and D-VAE's file is read as it is written."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mmvae_bench import DataError, Modality, datasets
from mmvae_bench.datasets import dag
from mmvae_bench.kinds.graph import is_valid, joined, parts, steps
from tests.helpers import invoke


def graph(*vertices: tuple[str, list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Types and edges of one program: of each vertex but the input its type and what it reads."""
    types = np.array([[0, *(dag.PROGRAMS.index(name) for name, _ in vertices)]])
    edges = np.zeros((1, 7, 7), bool)
    for v, (_, reads) in enumerate(vertices, 1):
        edges[0, v, reads] = True
    return types, edges


CHAIN = [("sum", [0]), ("half", [1, 0]), ("minus", [2]), ("sine", [3, 0]), ("cosine", [4, 1]), ("sum", [5, 0, 2])]


def test_a_program_computes_what_it_says():
    half = (1 + 1) / 2
    value = math.cos(math.sin(-half + 1) + 1) + 1 + half
    np.testing.assert_allclose(dag.run(*graph(*CHAIN)), [math.asinh(value)])


def test_all_programs_are_valid_and_the_inverse_of_their_entries():
    built = datasets.make("dag", {"source": "programs"}).build(Path())
    for rows in (built.train, built.test):
        x = rows.x["graph"]
        assert is_valid(x).all()
        np.testing.assert_array_equal(joined(*parts(x), len(dag.PROGRAMS)), x)
        assert np.bincount(rows.label, minlength=5).min() > 150
    assert np.bincount(built.train.label).tolist() == [800] * 5
    assert abs(built.train.x["number"].mean()) < 1e-6 and abs(built.train.x["number"].std() - 1) < 1e-6
    rare = np.unique(built.train.x["graph"].reshape(4000, -1), axis=0)
    assert len(rare) > 3990


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({1: ("input", [0])}, False),  # a second input
        ({3: ("minus", [])}, False),  # it reads nothing
        ({4: ("sine", [0])}, False),  # 3 is read by none
    ],
)
def test_valid_graphs_have_one_input_and_one_output_and_no_loose_end(change: dict, valid: bool):
    vertices = [change.get(v, vertex) for v, vertex in enumerate(CHAIN, 1)]
    x = joined(*graph(*vertices), len(dag.PROGRAMS))
    judge = dag.Run()
    assert is_valid(x).tolist() == judge.accepts(torch.tensor(x)).tolist() == [valid]
    assert (judge.predict(torch.tensor(x))[0] < 5) == valid
    assert np.isfinite(judge.numbers(x)[0]) == valid


def test_judges_give_the_class_of_true_entries():
    data = datasets.make("dag", {"source": "programs"})
    rows, judges = data.build(Path()).test, data.judges({})
    for name in ("graph", "number"):
        assert np.array_equal(judges[name].predict(torch.tensor(rows.x[name])), rows.label)
    np.testing.assert_allclose(judges["graph"].numbers(rows.x["graph"]), rows.x["number"][:, 0], rtol=1e-6)


def test_a_graph_is_written_as_its_steps():
    m = Modality("graph", (7, 13), "dag", dtype="float32", vocabulary=dag.PROGRAMS, kind="graph")
    x = joined(*graph(*CHAIN), len(dag.PROGRAMS))
    assert steps(m, x, x).tolist() == ["sum 0; half 0 1; minus 2; sine 0 3; cosine 1 4; sum 0 2 5"]


def write(path: Path, *lines: str) -> Path:
    rows = ["never read"] * dag.UNTRAINED + [*lines]
    path.write_text("\n".join(rows) + "\n")
    return path


def architecture(rng: np.random.Generator) -> str:
    layers = [[int(rng.integers(6)), *rng.integers(0, 2, i).tolist()] for i in range(6)]
    return f"{layers}, {rng.random():.4f}"


def test_architectures_are_read_as_d_vae_reads_them(tmp_path: Path):
    """Bits of layer i are edges from vertices 0 .. i - 1, and the layer before is always read."""
    line = "[[4], [0, 1], [3, 0, 1], [5, 0, 0, 0], [1, 1, 0, 0, 1], [2, 0, 0, 0, 0, 1]], 0.7431"
    rng = np.random.default_rng(0)
    write(tmp_path / dag.FILE, line, *(architecture(rng) for _ in range(40)))
    types, edges, number = dag.read_architectures(tmp_path / dag.FILE)
    assert types[0].tolist() == [0, 5, 1, 4, 6, 2, 3] and number[0] == 0.7431
    reads = [np.flatnonzero(row).tolist() for row in edges[0]]
    assert reads == [[], [0], [0, 1], [1, 2], [3], [0, 3, 4], [4, 5]]
    data = datasets.make("dag", {"source": "architectures"})
    built = data.build(tmp_path)
    assert (len(built.train), len(built.test)) == (36, 5)
    assert is_valid(built.train.x["graph"]).all()


@pytest.mark.parametrize(
    "line", ["[[4], [0, 1]], 0.7", "[[9], [0, 1], [0, 0, 1], [0] * 4], 0.7", "import os", "[[4]], 'x'", "(" * 500]
)
def test_another_form_is_named_with_its_line(tmp_path: Path, line: str):
    write(tmp_path / dag.FILE, line, *(architecture(np.random.default_rng(0)) for _ in range(20)))
    with pytest.raises(DataError, match=r"^line 1001 of .* Copy the file again\.$"):
        dag.read_architectures(tmp_path / dag.FILE)


def test_the_file_is_brought_by_the_user(tmp_path: Path):
    told = invoke("data", "check", "dag[source=architectures]", "--data-dir", str(tmp_path / "data"))
    assert "muhanzhang/D-VAE" in told.output
    rng = np.random.default_rng(0)
    brought = write(tmp_path / "mine.txt", *(architecture(rng) for _ in range(20)))
    done = invoke(
        "data", "fetch", "dag[source=architectures]", "--from", str(brought), "--data-dir", str(tmp_path / "data")
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "data" / dag.FILE).read_bytes() == brought.read_bytes()
