import csv
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from mmvae_bench import api, datasets
from mmvae_bench.errors import BenchError, BenchWarning
from mmvae_bench.report.build import ReportResult, _plots, build_report, report_folder
from mmvae_bench.report.content import Content
from mmvae_bench.report.figures.exemplars import exemplars
from mmvae_bench.report.figures.style import palette
from mmvae_bench.report.select import file_name, select, slugs
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from tests.report.test_escaping import TAGS, Page


@pytest.fixture(scope="module")
def report(made: Any, tmp_path_factory: pytest.TempPathFactory) -> ReportResult:
    ids = [run.run_id for run in made.specs if run.dataset.name == "mnist_street"]
    return build_report(made.store, {**made.plan, "run_ids": ids}, tmp_path_factory.mktemp("reports"), pdf=True)


def test_figures_are_there_and_not_empty(report: ReportResult) -> None:
    pngs = [path for path in report.files if path.suffix == ".png"]
    names = {path.stem.removeprefix("mnist_street-") for path in pngs}
    assert names >= {"cross_coherence-micro", "linear_probe-mean", "joint_coherence-model", "joint_coherence-aggregate",
                     "relatedness_auroc", "time", "tsne", "grid-0", "grid-3", "w2hist-mnist+street",
                     "w2class-mnist+street"}  # fmt: skip
    for path in pngs:
        image = matplotlib.image.imread(path)
        assert image[..., :3].std() > 0.01
        pdf = path.with_suffix(".pdf").read_bytes()
        assert pdf.startswith(b"%PDF")
        assert len(pdf) > 2000


def test_page_is_one_file_with_everything_in_it(report: ReportResult) -> None:
    page = Page(report.page.read_text())
    assert {tag for tag, _ in page.tags} <= TAGS
    images = page.all("src")
    assert len(images) == sum(path.suffix == ".png" for path in report.files)
    assert all(source.startswith("data:image/png;base64,") for source in images)
    assert set(page.all("href")) <= {f"#{place}" for place in page.all("id")}


def test_page_says_what_was_run_and_how_to_repeat_it(report: ReportResult, made: Any) -> None:
    text = report.page.read_text()
    for words in ("Demo &amp; more", "20 epochs, batch 16", "torch 2.11.0", "split 0.5", made.plan["command"],
                  "d" * 16, "780 steps", "higher is better", "rows: test rows that the interval covers"):  # fmt: skip
        assert words in text


def test_scores_csv_is_the_selected_rows(report: ReportResult, made: Any) -> None:
    ids = [run.run_id for run in made.specs if run.dataset.name == "mnist_street"]
    with (report.page.parent / "scores.csv").open() as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == sorted(
            (run_id for run_id in made.store.scores()["run_id"] if run_id in ids), key=ids.index
        )


@pytest.mark.usefixtures("no_figures")
def test_runs_of_different_code_are_named_on_the_page_and_in_the_summary(factory: Any, tmp_path: Path) -> None:
    store, run = Store(tmp_path / "results"), factory.spec("mvae")
    store.publish(RunResult(run, factory.scores(run), info={"code": {"model": "0" * 16}}))
    built = build_report(store, factory.make_plan([run]), tmp_path / "reports")
    said = "1 stored run was made by different code of the model '{}'; --overwrite changed trains it again."
    assert said.format("mvae") in " ".join(built.summary.split())
    assert escape(said.format("mvae")).replace("&#x27;", "&#39;") in built.page.read_text()


@pytest.mark.usefixtures("no_figures")
def test_what_has_no_scores_is_listed_with_its_reason(factory: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    run = factory.spec("meme")
    rows = [{**row, "subset": "svhn 8000+2000"} for row in factory.scores(run)]
    factory.publish(store, run, rows)
    broken = factory.spec("mvae", ratio=0.5)
    factory.publish(store, broken, [factory.row(broken, status="failed", reason="loss is NaN")], error="loss is NaN")
    absent = factory.spec("mmvae")
    skipped = [
        {"dataset": "mnist_street", "label": "mmvm", "missing": "none", "seed": s, "reason": "no files"} for s in (0, 1)
    ]
    built = build_report(store, factory.make_plan([run, broken, absent], skipped=skipped), tmp_path / "reports")
    text = built.page.read_text()
    for words in ("loss is NaN", "no files", absent.run_id, "MEME&#39;s prior depends on the row",
                  "mnist_street is not the official data, or not known to be: svhn 8000+2000"):  # fmt: skip
        assert words in text
    assert "Planned runs without scores: 1 failed, 2 skipped, 1 not done" in built.summary
    with (built.page.parent / "scores.csv").open() as file:
        (failed,) = [row for row in csv.DictReader(file) if row["status"] == "failed"]
    assert (failed["reason"], failed["tier"]) == ("loss is NaN", "default")


def test_a_second_report_takes_away_what_is_out_of_date_and_nothing_else(factory: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    runs = [factory.spec("mvae", seed=seed) for seed in (0, 1)]
    for run, metric in zip(runs, ("linear_probe", "relatedness_auroc"), strict=True):
        factory.publish(store, run, [factory.row(run, metric, 0.5, variant="mean" if metric == "linear_probe" else "")])
    first = build_report(store, factory.make_plan(runs), tmp_path)
    mine = first.page.parent / "tables" / "mine.csv"
    mine.write_text("kept")
    with pytest.warns(BenchWarning, match="had 1 run that this one lacks, and is replaced"):
        second = build_report(store, factory.make_plan(runs[:1]), tmp_path)
    assert {p for p in second.page.parent.rglob("*.*") if p.is_file()} == {
        *second.files, mine, second.page.parent / ".report-files"
    }  # fmt: skip
    assert set(second.files) < set(first.files)


@pytest.mark.parametrize(
    ("name", "make"),
    [("index.html", Path.mkdir), ("scores.csv", Path.mkdir), ("tables", Path.touch), (".report-files", Path.mkdir)],
)
@pytest.mark.usefixtures("no_figures")
def test_what_cannot_be_written_is_a_sentence(factory: Any, tmp_path: Path, name: str, make: Any) -> None:
    store, run = Store(tmp_path / "results"), factory.spec("mvae")
    factory.publish(store, run, [factory.row(run, "linear_probe", 0.5, variant="mean")])
    store.write_plan("custom", {**factory.make_plan([run]), "name": "custom"})
    in_the_way = tmp_path / "reports" / "custom" / name
    in_the_way.parent.mkdir(parents=True)
    make(in_the_way)
    with pytest.raises(BenchError, match=r"Cannot write the report .*--out") as raised:
        api.build_report(store.root, tmp_path / "reports")
    assert f"'{in_the_way}': {'Is a directory' if make is Path.mkdir else 'File exists'}" in str(raised.value)


NAMES = [
    "a-b",
    "a_b",
    "a b",
    "a b 2",
    "a b 3",
    "a+b",
    "a.b",
    "a_b_2",
    "é",
    "è",
    "日本",
    "x",
    "..",
    ".",
    "a/b",
    "../a",
    "a" * 300,
    "a" * 301,
]


def test_no_two_names_share_a_report_or_a_file() -> None:
    out = Path("reports")
    folders = [report_folder(out, name) for name in NAMES]
    assert [folder.name for folder in folders[:12]] == NAMES[:12]
    assert len(set(folders)) == len(NAMES) and {folder.parent for folder in folders} == {out}
    assert not {folder.name for folder in folders} & {"", ".", ".."}
    for files in (slugs(NAMES).values(), map(file_name, NAMES)):
        names = list(files)
        assert len(set(names)) == len(NAMES) and not [name for name in names if "/" in name or len(name) > 310]


@pytest.mark.usefixtures("no_figures")
def test_plans_and_variants_of_like_names_replace_nothing(factory: Any, tmp_path: Path) -> None:
    store, run = Store(tmp_path / "results"), factory.spec("mvae")
    factory.publish(store, run, [factory.row(run, "strange", 0.5, variant=variant) for variant in ("k 1", "k-1")])
    built = [build_report(store, {**factory.make_plan([run]), "name": name}, tmp_path) for name in ("a-b", "a_b")]
    assert [one.page.parent.name for one in built] == ["a-b", "a_b"]
    assert len([path for path in built[0].files if path.suffix == ".tex"]) == 2


@pytest.mark.usefixtures("no_figures")
def test_runs_without_main_scores_make_a_report(factory: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    run = factory.spec("mvae", "linear_gaussian")
    rows = [factory.row(run, "log_likelihood", -12.5, variant="iw100", prior="model", target="a+b"),
            factory.row(run, "cross_coherence", status="skipped", reason="the data set has no classes")]  # fmt: skip
    factory.publish(store, run, rows)
    built = build_report(store, factory.make_plan([run]), tmp_path / "reports")
    assert "the data set has no classes" in built.page.read_text()
    assert (built.page.parent / "tables" / "linear_gaussian-log_likelihood-iw100-model.csv").exists()


def test_only_failed_runs_make_a_report(factory: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    run = factory.publish(store, factory.spec("mvae"), [], error="loss is NaN")
    assert "loss is NaN" in build_report(store, factory.make_plan([run]), tmp_path / "reports").page.read_text()


def test_a_model_has_one_look() -> None:
    few, many = palette(["mvae", "unimodal"]), palette(["meme", "mvae", "mvae (k=1)", "plug-in", "unimodal"])
    assert few["mvae"] == many["mvae"]
    assert len(set(many.values())) == 5
    assert len(set(palette([f"model {i}" for i in range(90)]).values())) == 90  # no two alike


def test_report_needs_no_torch(made: Any, tmp_path: Path) -> None:
    plan = {**made.plan, "run_ids": made.plan["run_ids"][:1]}
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from mmvae_bench.report.build import build_report\nfrom mmvae_bench.store.store import Store\n"
        f"build_report(Store(Path({str(made.store.root)!r})), {plan!r}, Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_public_report_has_no_picture_of_data_that_may_not_be_shown(made: Any, tmp_path: Path) -> None:
    plan = {**made.plan, "run_ids": [run.run_id for run in made.specs if run.seed == 0]}
    selection = select(made.store, plan, public=True)
    assert set(selection.hidden) == {group for group in selection.groups if group.startswith("cub")}
    assert not select(made.store, plan).hidden
    examples = {group: exemplars(selection.runs, group, selection.labels) for group in selection.groups}
    names = {one.name for plots in _plots(Content(selection, []), examples) for one in plots()}
    pictures = {name for name in names if "-grid-" in name or "-captions-" in name}
    assert {name.split("-")[0] for name in pictures} == {"mnist_street", "captioned_shapes"}
    assert any(name.startswith("cub-w2hist") for name in names)


@pytest.mark.parametrize(
    ("name", "options", "shown"),
    [
        ("mnist_street", {}, True),
        ("captioned_shapes", {}, True),
        ("mnist_svhn", {}, False),
        ("cub", {}, False),
        ("polymnist", {}, True),
        ("polymnist", {"photographs": "folder"}, False),
        ("polymnist", {"photographs": "archive"}, False),
    ],
)
def test_what_may_be_shown_is_what_its_licence_allows(name: str, options: dict[str, Any], shown: bool) -> None:
    assert datasets.registry.get(name)(**options).may_be_shown is shown


def test_pictures_of_a_data_set_that_is_not_known_here_may_not_be_shown(factory: Any, tmp_path: Path) -> None:
    run = factory.spec("mvae", dataset="gone")
    store = Store(tmp_path / "results")
    store.check_writable()
    factory.publish(store, run)
    assert select(store, factory.make_plan([run]), public=True).hidden == ["gone"]
