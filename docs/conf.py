"""Configuration of the documentation site, which ``make docs`` builds.

The source folder is the repository itself, so that pages are the Markdown files where they are, and links between
them are the same on the site and in the repository. The order of pages is that of the links in ``docs/index.md``.
"""

import json
import re
from importlib import import_module
from inspect import getsourcefile
from pathlib import Path
from typing import Any

from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import mmvae_bench

COLON = "\N{RATIO}"  # stands for a colon where napoleon must not read one

project = "mmvae-bench"
copyright = "the mmvae-bench authors"
version = release = mmvae_bench.__version__

ROOT = Path(__file__).parents[1]
PAGES = re.findall(r"^- \[.*?\]\((.*?)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
root_doc = "docs/index"
include_patterns = ["docs/index.md", *(str((ROOT / "docs" / page).resolve().relative_to(ROOT)) for page in PAGES)]
exclude_patterns = [".*", "build", "data", "docs/_build", "mmvae_bench", "results", "tests"]  # not looked through
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]

# Types in signatures of other packages, or without a page; names without a page that docstrings refer to.
nitpick_ignore_regex = [("py:class", r"(?!mmvae_bench\.\w+$).*"), ("py:obj", r"typing\..*")]
nitpick_ignore = [
    ("py:data", "PROBE_ROWS"),
    ("py:exc", "TrainingFailed"),
    ("py:func", "mmvae_bench.metrics.evaluate.evaluate"),
    ("py:func", "once"),
    ("py:func", "stratify"),
]

myst_heading_anchors = 4  # with the names that GitHub gives

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_use_ivar = True
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = "mmvae-bench"
html_extra_path = ["_site"]  # index.html, which leads to docs/index.html
highlight_language = "none"  # of blocks that name none
templates_path = ["_templates"]
html_sidebars = {"**": ["pages.html"]}
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "navbar_center": [],  # all pages are in the sidebar
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}


class NotebookParser(MystParser):
    """Reads a notebook with its stored outputs, and runs nothing."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: Any) -> None:
        """Parse the cells as one Markdown text."""
        super().parse("\n\n".join(map(_cell, json.loads(inputstring)["cells"])), document)


def _cell(cell: dict[str, Any]) -> str:
    """Return a cell and its outputs as Markdown: code in a block, printed text in another, and pictures inline."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    printed, pictures = "", ""
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            pictures += f"\n\n![Output](data:image/png;base64,{''.join(data['image/png'].split())})"
        else:
            printed += "".join(output.get("text", data.get("text/plain", ""))).rstrip("\n") + "\n"
    return f"```python\n{text}\n```" + (f"\n\n```text\n{printed}```" if printed.strip() else "") + pictures


def _prepare_source(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add to the first page, for Sphinx alone, a hidden table of contents of the links below each of its headings.

    The hundreds of tables of published suites are files to download, and no pages.
    """
    source[0] = re.sub(r"\[([^\]]*)\]\(((?:[\w-]+/)?tables/[^)]*)\)", r"{download}`\1 <\2>`", source[0])
    if page == root_doc:
        for heading, links in re.findall(r"^## (.*)\n((?:(?!##).*\n?)*)", source[0], re.MULTILINE):
            pages = re.findall(r"^- \[(.*?)\]\((.*?)\)", links, re.MULTILINE)
            entries = "\n".join(f"{title} <{Path(target).with_suffix('')}>" for title, target in pages)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{entries}\n```\n"


def _read_comments_as_meanings() -> None:
    """Let autodoc read the comment beside a field of a data class, or above it, as the field's description."""
    for module in {getattr(mmvae_bench, name).__module__ for name in mmvae_bench.__all__ if name[0].isupper()}:
        if module.startswith("mmvae_bench."):
            path = getsourcefile(import_module(module)) or ""
            text = Path(path).read_text(encoding="utf-8")
            text = re.sub(r"^(    \w+: [^#\n]+  )# ", r"\1#: ", text, flags=re.MULTILINE)
            above = re.compile(r"^(?:    # .*\n)+(?=    \w+: )", re.MULTILINE)
            text = above.sub(lambda found: found[0].replace("    # ", "    #: "), text)
            ModuleAnalyzer.cache["module", module] = ModuleAnalyzer(text, module, path)


def _before_napoleon(_app: Sphinx, what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Hide the colons in the meaning of a field, or what stands before the first is taken for its type.

    Data have no docstring of their own, only their class's; the page says what they are.
    """
    if what == "data":
        lines.clear()
    if what in ("attribute", "property"):
        lines[:] = [line.replace(":", COLON) for line in lines]


def _after_napoleon(_app: Sphinx, _what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Let stars and bars be what they are in formulas and shapes: no docstring has emphasis or substitutions."""
    for position, line in enumerate(lines):
        parts = line.replace(COLON, ":").split("``")
        parts[::2] = [re.sub(r"(?<!\\)([*|])", r"\\\1", part) for part in parts[::2]]  # the others are literal
        lines[position] = "``".join(parts)


def _plain_signature(
    _app: Sphinx, _what: str, _name: str, _value: object, _options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write arrays as ``NDArray[dtype]``, and defaults that are functions by their names."""
    array = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[([~.\w]+)\]\]")
    texts = [text and array.sub(r"NDArray[\1]", text) for text in (signature, returned)]
    return texts[0] and re.sub(r"<function (\w+)>", r"\1", texts[0].replace("<factory>", "...")), texts[1]


def setup(app: Sphinx) -> None:
    """Add the parser of notebooks, the table of contents, and the comments."""
    app.add_source_parser(NotebookParser)
    app.connect("source-read", _prepare_source)
    app.connect("autodoc-process-docstring", _before_napoleon, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", _after_napoleon, priority=600)
    app.connect("autodoc-process-signature", _plain_signature)
    _read_comments_as_meanings()
