"""The board: its numbers are those of the report's tables, its sentences fit them, and no name becomes markup."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench import models
from mmvae_bench.errors import BenchError
from mmvae_bench.report.board import board_data, render, write_board
from mmvae_bench.report.folders import Source, read_folder
from mmvae_bench.store.store import Store
from tests.helpers import benchmark, invoke
from tests.report.test_escaping import ATTACK, Page

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "reports" / "board" / "index.html"
SUITES = sorted(path.parent for path in ROOT.glob("results/*/scores.csv.xz"))
MARKS = {"≈": "tie", "~": "unsure", "†": "control", "‡": "bound"}


def data_of(page: str) -> dict[str, Any]:
    """What a page has for its script, read as a browser would: up to the first end of a script."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script', page, re.DOTALL)
    assert text
    found: dict[str, Any] = json.loads(text[1])
    return found


@cache
def committed() -> dict[str, Any]:
    """The data of the board in the repository."""
    return data_of(BOARD.read_text(encoding="utf-8"))


def cells(one: dict[str, Any], table: dict[str, Any]) -> Iterator[tuple[str, str, float, list[Any]]]:
    """Model, column and ratio of each cell."""
    for column in table["columns"]:
        for cell in column["cells"]:
            yield table["labels"][cell[0]], column["text"], column["ratio"], cell


def printed(text: str) -> Iterator[tuple[str, str, float, float, float | None, str, bool]]:
    """The cells of a table in Markdown: model, column, ratio, mean, half width, marks, and whether it is bold."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    heads = [re.fullmatch(r"(.*)<br>(?:complete|\S+ ([\d.]+))", head) for head in lines[0][1:]]
    for name, *row in (line for line in lines[2:] if line[0] not in ("chance", "ceiling")):
        for head, cell in zip(heads, row, strict=True):
            found = re.match(r"(\**)(-?[\d.]+)(?: ± ([\d.]+))?(\S?)", cell)
            assert head
            if found:
                half = None if found[3] is None else float(found[3])
                where = name.replace("\\", ""), head[1].replace("\\", ""), float(head[2] or 0)
                yield *where, float(found[2]), half, found[4].strip("*"), bool(found[1])


SCORES = "cross_coherence-micro|attributes_strict|linear_probe-mean"
MAIN = rf"(mnist_street|captioned_shapes)_(default|tuned)-({SCORES})-split"
TABLES = [
    (path, found[1], found[2])
    for path in sorted(ROOT.glob("reports/*/tables/*.md"))
    if (found := re.fullmatch(MAIN, path.stem))
]


@pytest.mark.parametrize(("path", "suite", "tier"), TABLES, ids=lambda value: getattr(value, "stem", ""))
def test_the_committed_board_says_what_the_published_tables_say(path: Path, suite: str, tier: str) -> None:
    """Means, intervals, bests and ties of the main scores."""
    text = path.read_text(encoding="utf-8")
    title = re.match(r"\*\*(.*?) on ", text)
    assert title
    (one,) = (s for s in committed()["sets"] if (s["source"], s["tier"]) == (suite, tier))
    (table,) = (t for t in one["tables"] if t["title"] == title[1].replace("\\", ""))
    ours = {where[:3]: where[3] for where in cells(one, table)}
    seen = 0
    for model, column, ratio, mean, half, mark, bold in printed(text):
        _, value, width, _, state, dead, _ = ours[model, column, ratio]
        assert (value, width) == (mean, half), (model, column, ratio)
        assert (state == "best") == bold
        assert not mark or mark == "(" or MARKS[mark] == state
        assert bool(dead) == (state == "dead" or (state == "control" and dead > 0))
        seen += 1
    assert seen == len([cell for cell in ours.values() if cell[1] is not None]) > 10


def test_the_first_sentence_names_the_best_and_its_ties() -> None:
    """MNIST to street, by hand from reports/mnist_street: at complete data three are tied, at an eighth nobody is."""
    one = committed()["sets"][0]
    said = {(c["text"], c["ratio"]): c["verdict"] for c in one["tables"][0]["columns"]}
    assert one["tables"][0]["title"] == "Cross-coherence (micro)"
    assert said["mnist → street", 0.0].startswith("MMVAE is best, 0.912; not distinguished from MoPoE-VAE and MM-VAMP.")
    assert said["mnist → street", 0.875].startswith("MM-VAMP is best, 0.801, and distinguished from MEME, MVAE,")
    assert "Nothing is claimed of MVAE (1 dead seed)" in said["street → mnist", 0.875]


def test_scores_whose_rows_are_not_published_have_no_interval_and_claim_nothing() -> None:
    one = committed()["sets"][0]
    (table,) = (t for t in one["tables"] if t["title"] == "Oracle accuracy")
    assert {cell[2] for _, _, _, cell in cells(one, table)} == {None}
    assert not {cell[4] for _, _, _, cell in cells(one, table)} & {"tie", "unsure", "worse"}


def test_the_committed_board_is_small_has_every_published_suite_and_asks_for_nothing() -> None:
    page = BOARD.read_text(encoding="utf-8")
    assert len(page.encode()) < 2e6
    assert {s["source"] for s in committed()["sets"]} == {folder.name for folder in SUITES} | {"papers"}
    assert not re.search(r"(?:src|href)=[\"']?(?!#main)[a-z/]", page.replace(" ", ""))
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


@pytest.mark.parametrize("folder", SUITES, ids=lambda folder: folder.name)
def test_every_published_run_has_the_record_whose_hash_is_its_id(folder: Path) -> None:
    (source,) = read_folder(folder)
    assert {run.run_id for run in source.selection.runs} == set(source.selection.rows["run_id"])
    assert source.selection.groups
    run = source.selection.runs[0]
    assert run.spec.nets.name == "mlp"


def test_every_model_has_a_paper_as_the_page_of_models_says() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert models.PAPERS.keys() == models.ABOUT.keys()
    for name, paper in models.PAPERS.items():
        row = re.search(rf"^\| `{name}` \| (.*?) \|", page, re.MULTILINE)
        assert row and paper.title.split(" ")[-1] in row[1], name
        if number := re.search(r"\[(\d+)\]", row[1]):
            line = re.search(rf"^{number[1]}\. (.*)$", page, re.MULTILINE)
            assert line and line[1].startswith(paper.cited), name
            assert (f"arXiv:{paper.arxiv}]" in line[1]) if paper.arxiv else "arXiv" not in line[1]


@pytest.fixture(scope="module")
def stored(factory: Any, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four models at two ratios, three seeds."""
    store = Store(tmp_path_factory.mktemp("stored"))
    store.check_writable()
    runs = [factory.spec(m, ratio=r, seed=s) for m in ("mvae", "mmvae", "unimodal") for r in (0, 0.5) for s in range(3)]
    for run in runs:
        factory.publish(store, run)
    store.write_plan("toy", factory.make_plan(runs, name="toy", title="A toy"))
    return store


def test_published_results_give_the_tables_of_the_runs_that_they_are_of(stored, tmp_path, monkeypatch) -> None:
    """benchmarks/publish.py writes all that the board reads; only intervals of unpublished outcomes differ."""
    script = benchmark("publish")
    folder = tmp_path / "toy"
    folder.mkdir()
    (before,) = read_folder(stored.root)
    chosen = before.selection
    chosen.rows[list(script.COLUMNS)].to_csv(folder / "scores.csv.xz", index=False)
    script.np.savez_compressed(folder / "outcomes.npz", **script.outcomes(chosen))
    script.records(chosen).to_csv(folder / "runs.csv.xz", index=False)
    one, other = (board_data(list(read_folder(root))) for root in (stored.root, folder))
    one.pop("date"), other.pop("date")
    assert one["sets"][0]["tables"] == other["sets"][0]["tables"]
    assert one["models"] == other["models"]
    assert {m["seconds"] for m in other["sets"][0]["models"]} == {m["seconds"] for m in one["sets"][0]["models"]}


def test_an_edited_record_is_refused_with_the_way_out(tmp_path) -> None:
    source = SUITES[-1]
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "runs.csv.xz").write_bytes((SUITES[0] / "runs.csv.xz").read_bytes())
    with pytest.raises(BenchError, match=r"no record of the run .* publish its suite again"):
        list(read_folder(tmp_path))


def test_the_command_writes_a_page(stored, tmp_path) -> None:
    result = invoke("board", str(stored.root), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "18 runs" in result.output
    one = data_of((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))["sets"][0]
    assert [m["label"] for m in one["models"]] == ["mvae", "mmvae", "unimodal"]
    assert one["tables"][0]["columns"][0]["verdict"].startswith("MMVAE is best")


def test_a_folder_without_results_is_one_sentence(tmp_path) -> None:
    result = invoke("board", str(tmp_path), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "There is nothing to show" in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_without_a_folder_it_takes_what_is_under_results(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("board")
    assert result.exit_code == 2
    assert "mmvae-bench run" in result.output


def test_two_seeds_claim_nothing(factory, tmp_path) -> None:
    store = Store(tmp_path)
    store.check_writable()
    runs = [factory.spec(m, seed=s) for m in ("mvae", "mmvae") for s in range(2)]
    for run in runs:
        factory.publish(store, run, [{**row, "se": 0.01} for row in factory.scores(run)])
    store.write_plan("toy", factory.make_plan(runs, name="toy", title="A toy"))
    said = board_data(list(read_folder(tmp_path)))["sets"][0]["tables"][0]["columns"][0]["verdict"]
    assert re.search(r"has the best mean, .*, but no order is claimed: there are fewer than 3 seeds", said)


def evil(place: str) -> str:
    return f"{place}</script>{ATTACK}\u2028<!--"


def test_no_name_becomes_markup(factory, tmp_path) -> None:
    store = Store(tmp_path)
    store.check_writable()
    runs = [factory.spec(m, label=evil(m), options={evil("option"): evil("value")}) for m in ("mvae", "mmvae")]
    for run in runs:
        rows = [*factory.scores(run), factory.row(run, evil("metric"), 0.5, variant=evil("v"), given=evil("given"))]
        factory.publish(store, run, [{**row, "subset": evil("subset")} for row in rows])
    store.write_plan("toy", factory.make_plan(runs, name="toy", title=evil("title")))
    sources = [Source(evil("source"), source.selection) for source in read_folder(store.root)]
    page = render(board_data(sources))
    assert evil("mvae") in data_of(page)["models"]
    assert page.count("</script") == page.count("<script") == 3
    assert "alert(1)" not in "".join(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert "\u2028" not in page
    Page(re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", page, flags=re.DOTALL))


def test_the_script_never_writes_markup() -> None:
    script = (ROOT / "mmvae_bench" / "report" / "board.js").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|fetch\(|XMLHttp", script
    )
    assert "</script" not in script


def test_a_board_is_written_to_a_new_folder(stored, tmp_path) -> None:
    made = write_board([stored.root], tmp_path / "a" / "b")
    assert made.page.is_file() and made.runs == 18
