"""What SECURITY.md promises of the sources, of suites and of plug-ins; archives, downloads and pages have tests too."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmvae_bench
from mmvae_bench import datasets, metrics, models, nets
from mmvae_bench.datasets import cub as cub_fetch
from mmvae_bench.datasets import digits
from mmvae_bench.errors import BenchError
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.suites import load_suite
from tests.helpers import invoke

ROOT = Path(__file__).parents[1]
PACKAGE = Path(mmvae_bench.__file__).parent
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "yaml", "ftplib", "requests",
           "pooch", "huggingface_hub", "markupsafe"}  # fmt: skip
NAMES = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.hub", "joblib.load",
         "joblib.Memory", "torchvision.datasets.utils", "shutil.unpack_archive", "runpy"}  # fmt: skip
METHODS = {"extract", "extractall", "unpack_archive", "read_pickle", "to_pickle", "from_pretrained", "urlretrieve",
           "load_state_dict_from_url", "download_url", "download_and_extract_archive"}  # fmt: skip
ONLY_IN = {  # dangerous by itself: one place is read with care
    "tarfile": {"datasets/archives.py"}, "zipfile.ZipFile": {"datasets/archives.py", "store/foreign.py"},
    "lzma": {"datasets/archives.py", "store/foreign.py"},
    "gzip": {"datasets/archives.py", "datasets/digits.py"}, "urllib.request": {"datasets/download.py"},
    "http.client": {"datasets/download.py"},
    "importlib.import_module": {"mmvae_bench/__init__.py", "mmvae_bench/registry.py", "cli/data.py", "speed/sides.py",
                                "speed/scaling.py", "speed/__main__.py"},
}  # fmt: skip


def origins(tree: ast.AST) -> dict[str, str]:
    """Names that a file imports -> what they are."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname or a.name: a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def dotted(node: ast.AST, known: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, known)}.{node.attr}"
    return known.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def offences(text: str, name: str = "some.py") -> Iterator[str]:
    tree = ast.parse(text)
    known = origins(tree)
    used = [*known.values(), *(dotted(n, known) for n in ast.walk(tree) if isinstance(n, ast.Name | ast.Attribute))]
    for full in used:
        heads = {full[: dot.start()] for dot in re.finditer(r"\.|$", full)}
        if heads & (MODULES | NAMES) or full.rpartition(".")[2] in METHODS:
            yield full
        yield from (head for head in heads & ONLY_IN.keys() if name not in ONLY_IN[head])
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        if dotted(call.func, known) in ("numpy.load", "np.load") and given.get("allow_pickle") != "False":
            yield "numpy.load without allow_pickle=False"
        if given.get("shell", "False") != "False" or given.get("allow_pickle", "False") != "False":
            yield ast.unparse(call)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_can_be_made_to_run_what_it_reads(path):
    assert list(offences(path.read_text(), f"{path.parent.name}/{path.name}")) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from dill import loads", "import torch\ntorch.load(f)", "from torch import load as l",
        "import joblib as j\nf = j.load", "import pandas as pd\npd.read_pickle(f)", "import numpy as np\nnp.load(f)",
        "from numpy import load\nload(f)", "import numpy as n\nn.load(f, allow_pickle=x)", "eval(x)", "exec(x)",
        "compile(x, '', 'exec')", "import yaml", "archive.extractall()", "a.extract(m)", "import tarfile",
        "import shutil\nshutil.unpack_archive(f)", "import subprocess as s\ns.run(x, shell=True)",
        "import os\nos.system(x)", "from urllib.request import urlopen", "import urllib.request",
        "m.from_pretrained()",
        "from torchvision.datasets.utils import download_url", "from importlib import import_module",
        "np.savez(f, allow_pickle=True)", "import zipfile\nzipfile.ZipFile(f)", "__import__(x)",
    ],
)  # fmt: skip
def test_the_check_of_sources_finds(text):
    assert list(offences(text))


def test_the_check_of_sources_leaves_the_rest_alone():
    fine = "import re, torch\nimport numpy as np\nre.compile(x)\ntorch.compile(m)\nm.eval()\n"
    fine += "np.load(f, allow_pickle=False)\nsubprocess.run(x, shell=False)"
    assert not list(offences(fine))


def test_ruffs_security_rules_run_in_ci():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    spared = {pattern: {r for r in rules if r.startswith("S")} for pattern, rules in lint["per-file-ignores"].items()}
    assert not [rule for rule in lint["ignore"] if re.fullmatch(r"S\d*", rule)]
    assert not [pattern for pattern, rules in spared.items() if rules and pattern.startswith("mmvae_bench")]
    assert {pattern for pattern, rules in spared.items() if "S" in rules} == {"tests/**"}
    assert "ruff check ." in (ROOT / "Makefile").read_text() and "make lint" in (ROOT / ".ci" / "run").read_text()
    silenced = {
        f"{path.parent.name}/{path.name}" for path in SOURCES if re.search(r"noqa(: S\d|(?!:))", path.read_text())
    }
    # S310: the scheme is checked by hand; S603: this Python is started, on a text of its own or as pip
    assert silenced == {"datasets/download.py", "datasets/digits_views.py", "testing/datasets.py"}


def test_every_download_is_pinned():
    pins = [cub_fetch.CUB, *(digits._pinned(name, digits.MNIST_AT) for name in digits.PINS)]
    for pin in pins:
        assert re.fullmatch("[0-9a-f]{64}", pin.sha256) and pin.size > 0
    assert {url.partition(":")[0] for url in (*cub_fetch.CUB.urls, *digits.MNIST_AT)} == {"https"}


CODE = ["marked_module:run", "marked_module.run", "marked_module", "os.system", "os:system", "../marked_module",
        "/tmp/marked_module.py", "__import__", "__class__", "registry.get", "mvae.__class__", "mvae[__class__=x]",
        "mvae:__init__=x", "mvae[beta=__import__('marked_module')]", "{marked_module}", ""]  # fmt: skip


@pytest.fixture
def marked(tmp_path, monkeypatch):
    (tmp_path / "marked_module.py").write_text("def run(*args, **options): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("key", ["models", "datasets", "nets", "scheme", "incomplete", "precision"])
@pytest.mark.parametrize("value", CODE)
def test_a_suite_that_names_code_is_a_sentence_and_imports_nothing(key, value, tmp_path):
    if key == "nets" and value == "":
        return  # the protocol's
    path = tmp_path / "suite.toml"
    path.write_text(f'models = "mvae"\n{key} = "{value}"' if key != "models" else f'models = ["mvae", "{value}"]')
    with pytest.raises(BenchError) as raised:
        make_plan(load_suite(str(path)), Store(tmp_path / "results"), tmp_path)
    assert "\n" not in str(raised.value)
    assert "marked_module" not in sys.modules


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("name", ["marked_module", "marked_module.py", "../quick", "os:system", "__init__"])
def test_a_name_of_a_suite_is_no_code_either(name):
    with pytest.raises(BenchError, match="No suite"):
        load_suite(name)
    assert "marked_module" not in sys.modules


KINDS = {
    "models": (models, "from mmvae_bench.models.mvae import MVAE as Thing"),
    "datasets": (datasets, "from mmvae_bench.datasets.linear_gaussian import LinearGaussian as Thing"),
    "nets": (nets, "from mmvae_bench.nets.mlp import mlp as Thing"),
    "metrics": (metrics, "Thing = None"),
}


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """An installed package with a plug-in of each kind, ``plugged_<kind>``; says which were imported."""
    points = "".join(f"[mmvae_bench.{k}]\nplugged_{k} = plugged_{k}:Thing\n" for k in KINDS)
    info = tmp_path / "site" / "plugged-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    for kind, (package, source) in KINDS.items():
        (tmp_path / "site" / f"plugged_{kind}.py").write_text(source)
        monkeypatch.setattr(package.registry, "_plugins", {})  # is put back; what is cached now is read again
        monkeypatch.delattr(package.registry, "_plugins")
        monkeypatch.setattr(package.registry, "_loaded", dict(package.registry._loaded))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    yield lambda: {kind for kind in KINDS if f"plugged_{kind}" in sys.modules}
    for kind, (package, _) in KINDS.items():
        package.registry.__dict__.pop("_plugins", None)
        sys.modules.pop(f"plugged_{kind}", None)


def call(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.output


def test_plugins_are_listed_and_passed_by_without_being_imported(plugged):
    for kind in ("models", "datasets", "metrics"):
        assert f"(plug-in: plugged_{kind}:Thing)" in call("list", kind)
    assert "plugged_nets" in nets.registry.names()
    for args in ("--help", "run --help", "list suites", "env"):
        call(*args.split())
    call("run", "--dry-run", "--models", "mvae", "mmvae", "--datasets", "linear_gaussian")
    assert plugged() == set()


@pytest.mark.parametrize(
    ("args", "imported"),
    [
        ("--models plugged_models", {"models"}),
        ("--models all", {"models"}),
        ("--models mvae --datasets plugged_datasets", {"datasets"}),
        ("--models mvae --nets plugged_nets", {"nets"}),
    ],
)
def test_a_plugin_is_imported_when_named_and_by_all(args, imported, plugged):
    data = () if "--datasets" in args else ("--datasets", "linear_gaussian")
    call("run", "--dry-run", *args.split(), *data)
    assert plugged() == imported
