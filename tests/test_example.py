"""The example plug-in conforms, is small, and is what the tutorial shows; the tutorial's commands work."""

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from mmvae_bench import models
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import MultimodalBatch
from tests.helpers import SHAPE, batch, invoke, model

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "mmvae_bench_jmvae"
SOURCE = EXAMPLE / "src" / "my_jmvae.py"
TOUR = ROOT / "examples" / "tour.ipynb"
TUTORIAL = (ROOT / "docs" / "plugin.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL, re.DOTALL | re.MULTILINE)


@pytest.fixture
def my_jmvae(monkeypatch):
    """The example's class, registered as its package would be."""
    monkeypatch.syspath_prepend(SOURCE.parent)
    import my_jmvae

    monkeypatch.setitem(models.registry._loaded, "my_jmvae", my_jmvae.JMVAE)
    yield my_jmvae.JMVAE
    sys.modules.pop("my_jmvae")


@pytest.mark.slow
@pytest.mark.usefixtures("my_jmvae")
def test_it_conforms_by_the_command():
    result = invoke("check", "my_jmvae")
    assert result.exit_code == 0, result.output
    last = result.output.splitlines()[-1]
    assert last.startswith("my_jmvae conforms: ") and f"`{last}`" in TUTORIAL


@pytest.mark.usefixtures("my_jmvae")
def test_among_all_models_it_is_skipped_with_its_sentence_where_rows_are_incomplete(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = "run --models all --datasets linear_gaussian --missing 0 0.5 --dry-run"
    result = invoke(*flags.split())
    assert result.exit_code == 0, result.output
    assert re.search(r"to run +my_jmvae on linear_gaussian, complete", result.stdout)
    assert re.search(r"skipped +my_jmvae on linear_gaussian, split 0.5", result.stdout)
    assert "1 run skipped: JMVAE is defined on complete rows; train on those alone with --incomplete drop" in (
        result.stderr
    )
    dropped = invoke(*flags.split(), "--incomplete", "drop")
    assert set(re.findall(r"skipped +(\w+)", dropped.output)) == {"csvae"}  # which needs labels


def test_its_loss_is_the_papers_bound(my_jmvae):
    """Suzuki et al. 2016, JMVAE-kl, term by term with torch.distributions, where beta and alpha weigh the three KLs."""
    made = model("my_jmvae", beta=0.5, alpha=0.3)
    rows = batch(made)
    torch.manual_seed(7)
    found = made.loss(rows)
    torch.manual_seed(7)
    joint = made.joint(rows)
    z = joint.rsample()
    q = torch.distributions.Normal(joint.loc, joint.scale)
    kl = torch.distributions.kl_divergence
    divergence = kl(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    log_px = torch.zeros(rows.size, dtype=torch.float64)
    for m in made.modalities:
        alone = made.expert(made.networks.encode_entries(m.name, rows.x[m.name]))
        divergence = divergence + 0.3 * kl(q, torch.distributions.Normal(alone.loc, alone.scale)).sum(-1)
        px = torch.distributions.Laplace(made.decode(z)[m.name], m.scale)
        log_px = log_px + px.log_prob(rows.x[m.name]).sum(tuple(range(1, len(SHAPE) + 1)))
    assert torch.allclose(found.total, -(log_px - 0.5 * divergence).mean())


def test_its_posterior_is_the_joint_encoders_of_all_and_the_unimodal_one_of_one(my_jmvae):
    made = model("my_jmvae", m=3)
    rows = batch(made)
    assert torch.equal(made.posterior(rows).loc, made.joint(rows).loc)
    alone = made.posterior(rows.given("b"))
    assert torch.allclose(alone.loc, made.encode(rows).q.loc[1]) and torch.allclose(
        alone.scale, made.encode(rows).q.scale[1]
    )
    q = made.encode(rows).q[:2]
    precision = q.scale.pow(-2).sum(0)  # of a product of Normals: precisions add
    both = made.posterior(rows.given("a", "b"))
    assert torch.allclose(both.scale, precision.rsqrt()) and isinstance(both, DiagonalNormal)
    assert torch.allclose(both.loc, (q.scale.pow(-2) * q.loc).sum(0) / precision)


def test_incomplete_rows_count_nothing(my_jmvae):
    made = model("my_jmvae")
    complete = batch(made, rows=3)
    holes = torch.tensor([[True, True, False], [True, False, False]])
    torch.manual_seed(7)
    found = made.loss(MultimodalBatch(complete.x, holes)).total
    torch.manual_seed(7)
    only_first = torch.tensor([[True, False, False]] * 2)
    assert torch.equal(found, made.loss(MultimodalBatch(complete.x, only_first)).total)


def test_it_is_at_most_40_lines():
    lines = [line for line in SOURCE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= 40


def test_the_tutorial_shows_the_examples_files():
    assert "\n".join(text for kind, text in BLOCKS if kind == "python") == SOURCE.read_text()
    assert [text for kind, text in BLOCKS if kind == "toml"] == [(EXAMPLE / "pyproject.toml").read_text()]
    assert {kind for kind, _ in BLOCKS} == {"python", "toml", "sh"}


def test_the_wheel_takes_no_example_along():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["packages"] == ["mmvae_bench"] and "/examples" in build["sdist"]["include"]


def test_the_notebook_is_stored_with_small_outputs():
    """Outputs of every cell that has some, without errors and paths of whoever ran it."""
    text = TOUR.read_text()
    codes = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert len(text) < 200_000 and "/tmp" not in text and "/home" not in text
    assert [cell["execution_count"] for cell in codes] == list(range(1, len(codes) + 1))
    kinds = [output["output_type"] for cell in codes for output in cell["outputs"]]
    assert "error" not in kinds and sum("image/png" in str(cell["outputs"]) for cell in codes) == 3


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = NotebookClient(nbformat.read(TOUR, 4), timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    run.execute()  # raises if a cell does
    assert (tmp_path / "reports" / "tour" / "index.html").exists()


def script() -> str:
    """The page as one shell script: its commands as they stand, its files written where it says."""
    parts, files = ["set -eux"], {"toml": "pyproject.toml", "python": "src/my_jmvae.py"}
    for kind, text in BLOCKS:
        parts.append(text if kind == "sh" else f"cat >> {files[kind]} <<'END'\n{text}\nEND")
    return "\n".join(parts)


@pytest.mark.slow
def test_the_tutorial_works_from_an_empty_folder_with_the_wheel(tmp_path):
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)

    def call(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, check=False
        )

    fetched = call(sys.executable, "-m", "pip", "download", "--no-deps", "-d", "index", "hatchling>=1.27")
    if fetched.returncode:
        pytest.skip("no package index: wheels cannot be built without hatchling")
    built = call(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", "dist", str(ROOT))
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    # An environment of its own that borrows what is installed here, but for mmvae-bench: lines of a .pth file are
    # folders to import from, whose own .pth files (the editable checkout) are not read.
    assert call(sys.executable, "-m", "venv", "env").returncode == 0
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    site.joinpath("borrowed.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    binaries = tmp_path / "env" / "bin"
    installed = call(str(binaries / "pip"), "install", "--no-deps", "--force-reinstall", str(wheel))
    assert installed.returncode == 0, installed.stderr
    path = {"PATH": f"{binaries}:{os.environ['PATH']}", "MMVAE_BENCH_CACHE": str(tmp_path / "cache")}
    where = call(str(binaries / "python"), "-P", "-c", "import mmvae_bench; print(mmvae_bench.__file__)", **path)
    assert where.stdout.startswith(str(site)), where.stdout

    done = call("bash", "-c", script(), **path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    folder = tmp_path / "mmvae_bench_jmvae"
    assert (folder / "src" / "my_jmvae.py").read_text().split() == SOURCE.read_text().split()
    assert "(plug-in: my_jmvae:JMVAE)" in done.stdout and re.search(
        r"^my_jmvae conforms: \d+ checks$", done.stdout, re.M
    )
    assert "1 run skipped: JMVAE is defined on complete rows" in done.stderr
    with (folder / "results" / "scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "my_jmvae" and row["status"] == "ok"]
    assert {(row["missing_scheme"], row["incomplete"]) for row in rows} == {("none", "keep"), ("split", "drop")}
    assert {"alpha=0.01" in row["label"] for row in rows} == {True, False}
    (page,) = (folder / "reports").rglob("index.html")
    assert "my_jmvae" in page.read_text()
