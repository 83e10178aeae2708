"""Imports point one way, and the top answers without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mmvae_bench

ROOT = Path(mmvae_bench.__file__).parent
LAYERS = [  # a module imports from its own layer or from those above it in this list
    {"errors", "seeds", "disk", "holder"},
    {"registry", "options"},
    {"spec"},
    {"types", "presence", "request"},
    {"probability"},
    {"nets", "datasets"},
    {"models"},
    {"metrics", "engine"},
    {
        "backends",
        "claims",
        "publish",
        "stops",
        "sweep",
        "under_way",
        "worker",
        "run_folder",
        "store",
        "check_run",
        "check_results",
        "compare",
        "copy_run",
        "merge",
        "status",
        "stored_plan",
        "suites",
        "estimate",
        "environment",
        "multivalue",
        "plan",
        "planning",
        "report",
        "execute",
        "records",
        "progress",
        "runner",
    },
    {"cli_run"},
    {"cli_store", "cli_compare"},
    {"testing"},
    {"cli_check"},
    {"cli", "__main__"},
]
FORBIDDEN = {  # within a layer, or in spite of it
    "report": {
        "planning",
        "plan",
        "runner",
        "execute",
        "progress",
        "estimate",
        "suites",
        "request",
        "models",
        "datasets",
        "engine",
        "metrics",
    },
    "engine": {"metrics", "datasets.cache"},
    "models": {"datasets", "metrics", "engine"},
    "nets": {"models", "datasets"},
    "run_folder": {"store", "report", "runner", "execute", "planning", "models", "datasets", "metrics", "engine"},
    "store": {"report", "runner", "execute", "planning", "models", "datasets", "metrics", "engine"},
    "execute": {"runner", "planning", "report"},
}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Names below ``mmvae_bench`` that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mmvae_bench":
            rest = node.module.removeprefix("mmvae_bench").lstrip(".")
            found |= {rest} if rest else {alias.name for alias in node.names if not alias.name.startswith("__")}
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
        only = own in ("testing", "cli_check")
        assert only or top != "testing", "testing may see everything, nothing but its command sees it"


@pytest.mark.parametrize(
    "module",
    [
        "cli",
        "cli_run",
        "cli_store",
        "cli_check",
        "merge",
        "check_results",
        "status",
        "spec",
        "store",
        "models",
        "datasets",
        "metrics",
        "nets",
        "report",
        "report.build",
        "presence",
        "suites",
    ],
)
def test_importing_it_does_not_import_torch(module):
    code = f"import sys, mmvae_bench.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_stay_small():
    for path in FILES:
        limit = 130 if part(path) == "models" else 205
        lines = len(path.read_text().splitlines())
        assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines: does a second noun live there?"
