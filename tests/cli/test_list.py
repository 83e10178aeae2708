"""``mmvae-bench list``: names, what they are, and their options."""

import re
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from mmvae_bench import models, nets
from mmvae_bench.models.mvae import MVAE
from mmvae_bench.options import Weight
from tests.helpers import invoke


def lines(*args: str) -> list[str]:
    result = invoke("list", *args)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


class Theirs(MVAE):
    """A model of a plug-in. It has two options.

    Args:
        beta: Weight of the KL.
    """

    def __init__(self, networks, *, beta: Weight = 2.0, k: int | None = None) -> None: ...


@pytest.fixture
def plugin(monkeypatch):
    """A plug-in with metadata, and one that cannot be imported."""
    theirs = SimpleNamespace(
        value="theirs:Theirs",
        load=lambda: Theirs,
        dist=SimpleNamespace(metadata=SimpleNamespace(json={"summary": "More."})),
    )
    monkeypatch.setitem(models.registry._plugins, "theirs", theirs)
    monkeypatch.setitem(models.registry._plugins, "bad", EntryPoint("bad", "no_such_module:X", "mmvae_bench.models"))
    yield
    models.registry._loaded.pop("theirs", None)


def test_models_are_listed_with_their_papers_and_plugins_with_their_distribution(plugin):
    listed = {cells[0]: cells[1:] for cells in (re.split(r" {2,}", line) for line in lines("models"))}
    assert listed["name"] == ["family", "latents", "rows", "paper"]
    paper = "MoPoE-VAE (Sutter et al., ICLR 2021): a mixture of the products over all subsets."
    assert listed["mopoe"] == ["mixture of products", "shared", "any", paper]
    assert listed["jnf"][2] == "complete" and listed["dmvae"][1] == "shared, private"
    assert listed["theirs"] == ["-", "-", "-", "More. (plug-in: theirs:Theirs)"]
    assert listed["bad"] == ["-", "-", "-", "(plug-in: no_such_module:X)"]


def test_nets_are_listed_by_what_they_return():
    listed = dict(line.split(maxsplit=1) for line in lines("nets"))
    assert list(listed) == nets.registry.names()
    assert listed["authors"] == (
        "The nets of a released code: MEME's or MoPoE's for MNIST-SVHN, MMVM's (and MMVAE+'s) for PolyMNIST."
    )


def test_options_have_a_line_each_with_type_bounds_and_default(plugin):
    found = lines("models", "--options")
    at = found.index("theirs  A model of a plug-in. (plug-in: theirs:Theirs)")
    assert found[at + 1 : at + 3] == [
        "    beta  number, at least 0.0; default 2.0",
        "    k     whole number or none; default none",
    ]
    assert "    estimator  one of iwae, stl, dreg, elbo; default stl" in found
    assert "The model 'bad' cannot be imported" in found[found.index("bad  (plug-in: no_such_module:X)") + 1]
    assert "    m            one of 2, 3, 4, 5; default 5" in lines("datasets", "--options")
    assert "    of  one of meme, mopoe, mmvm; no default" in lines("nets", "--options")


def test_scores_and_suites_have_no_options():
    result = invoke("list", "suites", "--options")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "Leave out --options" in result.stderr
