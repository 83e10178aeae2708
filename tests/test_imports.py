"""Imports point one way, and the top answers without torch."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mmvae_bench

ROOT = Path(mmvae_bench.__file__).parent
LAYERS = [  # a module imports from its own layer or from those above it in this list
    {"errors", "seeds", "types"},
    {"disk", "options", "registry"},
    {"spec"},
    {"presence", "probability", "sampling"},
    {"nets", "datasets", "kinds", "store", "priors"},
    {"models"},
    {"engine", "metrics", "code"},
    {"sweep", "report"},
    {"api", "trained"},
    {"testing"},
    {"cli"},
    {"__main__"},
]
FORBIDDEN = {  # in spite of their layers, or within one
    "nets": {"datasets", "store"},
    "datasets": {"nets", "store"},
    "store": {"nets", "datasets"},
    "models": {"datasets", "store"},
    "engine": {"metrics", "store", "datasets.cache"},
    "metrics": {"engine", "store"},
    "sweep": {"report"},
    "report": {"sweep", "models", "datasets", "engine", "metrics", "nets", "probability"},
    "testing": {"store", "sweep", "report", "api"},
}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path, deep: bool = False) -> set[str]:
    """Names below ``mmvae_bench`` that a file imports anywhere, also inside functions; deep: what is imported from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mmvae_bench":
            rest = node.module.removeprefix("mmvae_bench").lstrip(".")
            inside = {alias.name for alias in node.names if not alias.name.startswith("__")}
            found |= {rest} if rest else inside
            if deep and rest:
                found |= {f"{rest}.{name}" for name in inside}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("mmvae_bench.") for a in node.names if a.name.startswith("mmvae_bench.")}
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    own = part(path)
    assert own in level, f"{own} has no layer: decide where it stands, here and in CONTRIBUTING.md"
    for name in imported(path):
        top = name.split(".")[0]
        assert level[top] <= level[own], f"{path.name} imports {name}, which stands above it"
        registry = own == "report" and name in ("models", "datasets", "metrics")  # the package itself: names, no torch
        assert registry or top == own or not {top, name} & FORBIDDEN.get(own, set()), f"{own} must not know {name}"


def test_no_modules_import_each_other():
    """A circle of imports, those inside functions included, would make two files one."""
    name_of = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    graph = {name: {n for n in imported(path, deep=True) if n in name_of} for name, path in name_of.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_root_is_small():
    assert len([path for path in ROOT.glob("*.py") if path.name != "__init__.py"]) <= 12


@pytest.mark.parametrize(
    "module",
    ["cli", "cli.run", "cli.results", "cli.check", "cli.data", "spec", "presence", "models", "datasets", "metrics",
     "nets", "api", "store.store", "store.merge", "store.check", "report.build", "sweep.plan", "sweep.suites",
     "sweep.status"],
)  # fmt: skip
def test_importing_it_does_not_import_torch(module):
    code = f"import sys, mmvae_bench.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_text_files_name_their_encoding():
    """Else the user's locale would choose one."""
    bare = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("read_text", "write_text"):
                bare += [] if "encoding" in {each.arg for each in node.keywords} else [f"{path}:{node.lineno}"]
    assert not bare


def test_functions_are_short():
    long = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (lines := node.end_lineno - node.lineno + 1) > 40:
                long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert not long
