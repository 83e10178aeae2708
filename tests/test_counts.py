"""The page on likelihoods of one's own: its code runs, its density is that of SciPy, and its models learn."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.stats import nbinom

from mmvae_bench import datasets, likelihoods, run
from mmvae_bench.code import code_of, describe
from mmvae_bench.store.run import StoredRun, parts
from mmvae_bench.store.store import Store
from tests.helpers import invoke

PAGE = (Path(__file__).parents[1] / "docs" / "counts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def counts(tmp_path, monkeypatch):
    """The page's module, imported from a file as a user would."""
    (tmp_path / "my_counts.py").write_text("\n\n".join(BLOCKS[:2]))
    monkeypatch.syspath_prepend(tmp_path)
    import my_counts

    yield my_counts
    for registry in (likelihoods, datasets.registry):
        for name in ("negative_binomial", "my_counts"):
            registry._loaded.pop(name, None)
            registry._code.pop(name, None)
    sys.modules.pop("my_counts")


@pytest.mark.parametrize("r", [0.3, 2.0, 40.0])
def test_the_density_is_that_of_scipy_and_draws_have_its_moments(counts: ModuleType, r: float) -> None:
    theta = torch.linspace(-3, 4, 8, dtype=torch.float64).reshape(4, 2)
    x = torch.tensor([[0, 1], [2, 5], [0, 30], [100, 7]], dtype=torch.float64)
    mu = theta.exp().numpy()
    want = nbinom.logpmf(x.numpy(), r, r / (r + mu)).sum(-1)
    assert np.allclose(likelihoods.get("negative_binomial").log_prob(x, theta, r, 1).numpy(), want, atol=1e-5)
    drawn = counts.draw(theta.expand(20_000, 4, 2), r, torch.Generator().manual_seed(0)).numpy()
    error = np.sqrt((mu + mu**2 / r) / 20_000)
    assert (np.abs(drawn.mean(0) - mu) < 5 * error).all()


@pytest.mark.usefixtures("counts")
def test_its_data_train_and_are_told_from_chance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metrics = ["cross_coherence", "log_likelihood", "log_likelihood_ais"]
    scores = run("mopoe", "my_counts", metrics=metrics, cache_dir=tmp_path / "cache", device="cpu", jobs=1)
    found = scores[(scores["metric"] == "cross_coherence") & (scores["variant"] == "micro")]
    assert (found["value"] > found["chance"] + 0.2).all() and len(found) == 2
    gap = scores[scores["variant"] == "gap"]["value"].item()
    assert -1 < gap < 20
    (folder,) = Store(tmp_path / "results").folders()
    record = StoredRun.read(folder)
    assert record.record["code"]["likelihoods"] == code_of(record.spec)["likelihoods"] != {"negative_binomial": ""}
    assert describe(parts(record.record)) == []
    likelihoods._code["negative_binomial"] = "f" * 16
    (sentence,) = describe(parts(record.record))
    assert sentence.startswith("1 stored run was made by different code of the likelihood 'negative_binomial'")


@pytest.mark.usefixtures("counts")
def test_its_data_set_conforms():
    result = invoke("check", "my_counts")
    assert result.exit_code == 0, result.output
