"""The documents are true: links lead somewhere, named tests exist, commands parse, examples run."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from mmvae_bench import datasets, metrics, models, nets, testing
from mmvae_bench.cli.app import main
from tests.helpers import invoke

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


def test_the_site_leads_to_every_page():
    """The navigation of the site is made of these links; `make docs` says where the site itself is broken."""
    pages = set(re.findall(r"^- \[.*?\]\((\w+\.md)\)", DOCUMENTS["docs/index.md"], re.MULTILINE))
    assert pages == {name[5:] for name in DOCUMENTS if name.startswith("docs/")} - {"index.md"}


@pytest.mark.parametrize("name", [name for name, text in DOCUMENTS.items() if "```pycon" in text])
def test_examples_print_what_the_page_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(ROOT / "results")
    text = "\n".join(re.findall(r"^```pycon\n(.*?)^```$", DOCUMENTS[name], re.DOTALL | re.MULTILINE))
    page = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(page, out=said.append)
    assert result.attempted > 1
    assert not result.failed, "".join(said)


def test_the_map_of_the_package_names_what_is_there():
    tree = re.search(r"```\nmmvae_bench/\n(.*?)^tests/", DOCUMENTS["CONTRIBUTING.md"], re.DOTALL | re.MULTILINE)[1]
    named = {name for line in tree.splitlines() for name in re.findall(r"\w+(?:\.py|/)", line.strip().split("  ")[0])}
    there = {path.name + "/" * path.is_dir() for path in (ROOT / "mmvae_bench").glob("[!.]*")}
    assert named == there - {"py.typed", "__main__.py", "__pycache__/"}


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
    for name_of_file in ("cvpr2016_cub.tar.gz", "run.json"):
        (tmp_path / name_of_file).touch()
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


def test_the_example_of_a_model_conforms(examples):
    testing.check_model(examples.FreeNats, kinds=("pixels",), m=(2,))


@pytest.mark.slow
def test_the_examples_run_together(examples, tmp_path):
    testing.check_dataset(examples.Stripes(), tmp_path)
    flags = "run --models free_nats --datasets stripes --nets normed --epochs 1 --jobs 1"
    folders = [f"--{name}-dir={tmp_path / name}" for name in ("results", "cache", "data")]
    result = invoke(*flags.split(), *folders)
    assert result.exit_code == 0, result.output
    assert "active_units" in (tmp_path / "results" / "scores.csv").read_text()


@pytest.mark.slow
def test_the_three_uses_of_the_readme_work_in_an_empty_folder(tmp_path):
    """As pasted, but for limits: with them models train for seconds instead of minutes."""
    found = dict(part.split("\n", 1) for part in DOCUMENTS["README.md"].split("\n## "))

    def block(part: str, language: str, limits: dict[str, str]) -> str:
        text = re.search(rf"```{language}\n(.*?)```", found[part], re.DOTALL)[1]
        for whole, limited in limits.items():
            assert whole in text
            text = text.replace(whole, limited)
        return text

    small = "--name my_first --epochs 1 --limit-train 200 --limit-test 100 --metrics cross_coherence"
    commands = {"mmvae-bench": f"{sys.executable} -m mmvae_bench", "--seeds 3 --name my_first": f"--seeds 2 {small}"}
    own = {'name="mine"': 'name="mine", limit_train=200, limit_test=100, metrics="cross_coherence"'}
    files = {
        "compare.sh": "set -e\n" + block("Compare published models", "", commands),
        "my_model.py": block("Add your model", "python", own),
        "my_data.py": block("Use your own data from Python", "python", {"epochs=20": "epochs=2"}),
    }
    environment = {"MMVAE_BENCH_CACHE": str(tmp_path / "cache"), **os.environ, "PYTHONPATH": str(ROOT)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        command = ["bash" if name.endswith("sh") else sys.executable, name]
        done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "reports" / "my_first" / "index.html").is_file()
    assert (tmp_path / "my_model" / "model.safetensors").is_file()
