"""Whatever a name, a reason or an error holds, a page shows it as text, and so do the tables."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.report.build import build_report
from mmvae_bench.report.render import latex, markdown
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store

ATTACK = (
    """"><script>alert(1)</script>'><img src=x onerror="alert(2)"><svg/onload=alert(3)> {{ 7 * 7 }} &lt;b&gt; $x$"""
)
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "nav", "h1", "h2", "h3", "p", "a", "b", "code", "pre",
    "div", "ul", "li", "dl", "dt", "dd", "details", "summary", "span", "small", "figure", "figcaption", "img", "table",
    "caption", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES = {"alt", "charset", "class", "colspan", "content", "href", "id", "lang", "name", "rowspan", "src", "title",
              "width"}  # fmt: skip


class Page(HTMLParser):
    """What a browser would show, and what it would do; fails on tags that are closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.shown = ""
        self.feed(text)
        assert not self.open

    def all(self, *attributes: str) -> list[str]:
        """The values of some attributes, of any tag."""
        return [value or "" for _, given in self.tags for name, value in given.items() if name in attributes]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        self.shown += "".join(f"[{name}={value}]" for name, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data


def evil(place: str) -> str:
    return f"{place}{ATTACK}"


@pytest.fixture(scope="module")
def folder(factory: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of runs whose every text is an attack, named by its place."""
    root = tmp_path_factory.mktemp("evil")
    store = Store(root / "results")
    names = ("mnist", evil("modality"))
    runs = []
    for model, value in (("mvae", evil("value")), ("mvae", evil("other")), ("mmvae", "")):
        run = factory.spec(model, label=evil(model), options={evil("option"): value}, names=names)
        rows = factory.scores(run)
        rows += [
            factory.row(run, evil("metric"), 0.5, variant=evil("variant"), given=evil("given"), target=evil("target")),
            factory.row(run, "linear_probe", 0.5, variant="mean", given="odd", reason=evil("remark")),
            factory.row(run, "log_likelihood", None, variant="iw100", status="skipped", reason=evil("undefined")),
        ]
        own = {"subset": evil("subset"), "dataset_hash": evil("hash"), "precision": evil("precision")}
        info = {"device": evil("device"), "hardware": evil("hardware"), "versions": {evil("package"): evil("version")}}
        store.publish(RunResult(run, [{**row, **own} for row in rows], info=info))
        runs.append(run)
    broken = factory.spec("mopoe", label=evil("failed"))
    rows = [factory.row(broken, status="failed", reason=evil("error"))]
    runs.append(factory.publish(store, broken, rows, error=evil("error")))
    skipped = {key: evil(f"skipped {key}") for key in ("dataset", "label", "missing", "seed", "reason")}
    plan = factory.make_plan(runs, title=evil("plan title"), command=evil("command"), name="../../" + evil("plan name"))
    plan["skipped"] = [skipped]
    plan["run_ids"].append(evil("run id"))
    trial = {"options": {evil("tried"): evil("setting")}, "learning_rate": 1e-3, "score": 0.5, "run_ids": []}
    search = {key: evil(f"search {key}") for key in ("dataset", "label", "rule")}
    plan["searches"] = [{**search, "winner": 0, "trials": [trial]}]
    return build_report(store, plan, root / "reports").page.parent


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(next(folder.glob("*.html")).read_text())


def test_a_page_has_no_tag_and_no_attribute_from_outside(page: Page) -> None:
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, given in page.tags for name in given} <= ATTRIBUTES
    assert all(link.startswith(("#", "data:")) for link in page.all("href", "src"))


@pytest.mark.parametrize(
    "place",
    ["mvae", "mmvae", "failed", "error", "modality", "option", "value", "metric", "variant", "given", "target",
     "remark", "undefined", "subset", "hash", "precision", "device", "hardware", "package", "version", "plan title",
     "plan name", "command", "run id", *(f"skipped {k}" for k in ("dataset", "label", "missing", "seed", "reason")),
     "tried", "setting", *(f"search {k}" for k in ("dataset", "label", "rule"))],
)  # fmt: skip
def test_each_text_from_outside_is_shown_as_it_is(place: str, page: Page) -> None:
    assert evil(place).casefold() in page.shown.casefold()  # a metric without words of its own gets a capital letter


def test_tables_in_markdown_hold_no_tag_and_keep_their_columns(folder: Path) -> None:
    found = list(folder.glob("tables/*.md"))
    assert any("alert" in path.read_text() for path in found)
    for path in found:
        text = path.read_text()
        assert not re.search(r"(?<!\\)<(?!br>)", text)
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")}
        assert len(widths) == 1


def test_a_name_leads_out_of_no_folder(folder: Path, factory: Any, tmp_path: Path) -> None:
    assert folder.parent.name == "reports"
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {
        ".html", ".csv", ".md", ".tex", ".png", ""
    }  # fmt: skip
    store = Store(tmp_path / "results")
    run = factory.spec("mvae")
    (tmp_path / "reports" / "demo" / "tables" / "mnist_street-").mkdir(parents=True)
    factory.publish(store, run, [factory.row(run, "/../../../../escaped", 0.5)])
    build_report(store, factory.make_plan([run]), tmp_path / "reports")
    assert not list(tmp_path.glob("escaped*"))


def test_a_table_cell_stays_on_its_line_and_runs_nothing() -> None:
    for text in ("a\nb", "a\r\nb", "a\rb", "a\u2028b"):
        assert markdown(text) == latex(text) == "a b"
    assert markdown("| <b> `x` [y](z) \\") == r"\| \<b\> \`x\` \[y\](z) \\"
    assert latex(r"\input{/etc/passwd} $x$ 100% #1") == (r"\textbackslash{}input\{/etc/passwd\} \$x\$ 100\% \#1")
