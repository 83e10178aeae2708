"""The documents are true: links lead somewhere, named tests exist, commands parse, examples run."""

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from mmvae_bench import datasets, metrics, models, nets, testing
from mmvae_bench.cli.app import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "reports" / "README.md"])
}
WRITTEN = [name for name in DOCUMENTS if not name.startswith("reports/")]  # by the rules of one sentence a line
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", DOCUMENTS["CONTRIBUTING.md"], re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[name]):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            path = (ROOT / name).parent / file if file else ROOT / name
            assert path.exists(), target
            assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", WRITTEN)
def test_tables_are_below_120_columns(name):
    assert not [line for line in DOCUMENTS[name].splitlines() if line.startswith("|") and len(line) >= 120]


def test_the_tests_behind_the_promises_exist():
    file, found = "", 0
    for name, test in re.findall(r"`([\w/]*test_\w+\.py)?(?:::(test_\w+))?`", DOCUMENTS["docs/operations.md"]):
        file = name or file
        if file:
            found += 1
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert not test or f"def {test}(" in text, f"{file}::{test}"
    assert found > 30


@pytest.mark.parametrize("name", WRITTEN)
def test_commands_parse(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cvpr2016_cub.tar.gz").touch()
    blocks = re.findall(r"^```(?:sh|bash)?\n(.*?)^```$", DOCUMENTS[name], re.DOTALL | re.MULTILINE)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if line.startswith("mmvae-bench ") and "..." not in line:
            command, words = main, shlex.split(line, comments=True)[1:]
            while isinstance(command, click.Group):
                command, words = command.commands[words[0]], words[1:]
            command.make_context("mmvae-bench", words)


@pytest.fixture(scope="module")
def examples():
    """What the examples of CONTRIBUTING.md define: their decorators register it under its name."""
    module = ModuleType("contributing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        for package in (models, datasets, metrics, nets):
            patch.setattr(package.registry, "_loaded", dict(package.registry._loaded))
        for code in EXAMPLES:
            exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)  # our own page
        yield module


def test_the_examples_conform(examples, tmp_path):
    testing.check_model(examples.FreeNats)
    testing.check_dataset(examples.Stripes(), tmp_path)
    assert nets.registry.get("normed")(examples.Stripes().modalities, 4).latent_dim == 4
    flags = "run --models free_nats --datasets stripes --nets normed --epochs 1 --jobs 1"
    folders = [f"--{name}-dir={tmp_path / name}" for name in ("results", "cache", "data")]
    result = CliRunner().invoke(main, [*flags.split(), *folders])
    assert result.exit_code == 0, result.output
    scores = (tmp_path / "results" / "scores.csv").read_text()
    assert "active_units" in scores
