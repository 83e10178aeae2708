from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mmvae_bench import metrics
from mmvae_bench.errors import BenchError
from mmvae_bench.report.averaging import build_tables
from mmvae_bench.report.facts import warnings
from mmvae_bench.report.render import limit_rows, notes, show, to_latex, to_markdown
from mmvae_bench.report.select import Selection, select
from mmvae_bench.report.summary import compare_summary, summarise_groups, to_terminal
from mmvae_bench.report.tables import Table
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.run import OUTCOMES, current
from mmvae_bench.store.store import RunResult, Store

Factory = Any


@pytest.fixture
def stored(factory: Factory, tmp_path: Any) -> Callable[..., Selection]:
    """Publish runs with the rows given and select them."""

    def store_and_select(*runs: tuple[RunSpec, list[dict[str, Any]]], **plan: Any) -> Selection:
        store = Store(tmp_path)
        for run, rows in runs:
            factory.publish(store, run, rows)
        return select(store, factory.make_plan([run for run, _ in runs], **plan))

    return store_and_select


@pytest.fixture
def strange(factory: Factory, stored: Any) -> Callable[..., Selection]:
    """Publish runs with one score of 0.5 each and select them."""
    return lambda *runs: stored(*((run, [factory.row(run, "strange", 0.5)]) for run in runs))


def one(tables: list[Table], metric: str, variant: str = "", prior: str = "", group: str = "") -> Table:
    return next(
        t
        for t in tables
        if (t.metric, t.variant, t.prior) == (metric, variant, prior) and (not group or t.group == group)
    )


@pytest.mark.parametrize(("variant", "rows"), [("micro", 200), ("macro", 0)])
def test_cells_equal_pandas_by_hand(made: Any, variant: str, rows: int) -> None:
    selection = select(made.store, made.plan)
    table = one(build_tables(selection), "cross_coherence", variant, group="mnist_street")
    own = made.store.scores()
    own = own[(own["metric"] == "cross_coherence") & (own["variant"] == variant) & (own["dataset"] == "mnist_street")]
    arrays = {run.run_id: run.arrays(OUTCOMES) for run in selection.runs}
    for (model, given, ratio), part in own.groupby(["label", "given", "missing_ratio"]):
        (column,) = (c for c in table.columns if c.text.startswith(f"{given} →") and c.missing.ratio == ratio)
        score = table.cells[model][column].summary
        assert score.mean == pytest.approx(part["value"].mean())
        assert score.sd == pytest.approx(part["value"].std())
        assert (score.n, score.rows, score.covers) == (3, rows, rows > 0)
        v_seeds, v_rows = part["value"].var() / 3, 0.0
        if rows:
            (target,) = set(part["target"])
            x = [arrays[run_id][f"cross_coherence/{variant}//{given}/{target}"] for run_id in part["run_id"]]
            v_rows = np.cov(x)[np.triu_indices(3, 1)].mean() / rows
            assert v_rows > 1e-4
        t, normal = stats.t(2).sf, stats.norm.sf
        d, share = score.half_width / np.sqrt(v_seeds + v_rows), v_seeds / (v_seeds + v_rows)
        assert 2 * (share * t(d) + (1 - share) * normal(d)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("higher", [True, False])
def test_what_is_not_beyond_chance_by_two_errors_is_no_best(factory: Factory, stored: Any, higher: bool) -> None:
    sign = 1 if higher else -1
    gaps = {"mvae": 0.05, "mmvae": 0.03, "mopoe": 0.019}  # of a chance of their own; se 0.01
    levels = {"mvae": 0.3, "mmvae": 0.3, "mopoe": 0.3 + sign * 0.2}  # the collapsed one has the best score of all

    runs = []
    for name, gap in gaps.items():
        run, value = factory.spec(name), levels[name] + sign * gap
        row = factory.row(run, "strange", value, higher_is_better=higher, chance=levels[name], se=0.01)
        runs.append((run, [row]))
    table = one(build_tables(stored(*runs)), "strange")
    assert {label for label, row in table.cells.items() if row[table.columns[0]].best} == {"mvae"}


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_a_gap_without_any_error_is_not_told_from_chance(factory: Factory, stored: Any, seeds: tuple[int, ...]) -> None:
    """Not even in equal seeds, which have no interval."""
    levels = {"mvae": 0.504, "mmvae": 0.533}
    runs = [(factory.spec(name, seed=seed), level) for name, level in levels.items() for seed in seeds]
    table = one(build_tables(stored(*((r, [factory.row(r, "strange", x, chance=0.5)]) for r, x in runs))), "strange")
    assert not any(cell.best for row in table.cells.values() for cell in row.values())
    (note,) = (note for note in notes(table) if "is known" in note)
    assert note.startswith("No error of a score of mvae, mmvae is known") and note.endswith("never marked as the best.")


@pytest.mark.parametrize(("n", "best"), [(0, False), (2, False), (5, False), (7, True)])
def test_a_few_rows_that_agree_are_not_told_from_chance(factory: Factory, stored: Any, n: int, best: bool) -> None:
    runs = [factory.spec(name) for name in ("mvae", "mmvae")]
    scored = ((run, [factory.row(run, "strange", 1.0, chance=0.5, se=0.0, n=n)]) for run in runs)
    table = one(build_tables(stored(*scored)), "strange")
    assert all(cell.best == best for row in table.cells.values() for cell in row.values())


@pytest.mark.parametrize("seeds", [1, 3])
def test_below_three_seeds_the_least_gap_that_is_told_from_chance_is_printed(
    factory: Factory, stored: Any, seeds: int
) -> None:
    runs = [(factory.spec(m, seed=s), n) for n, m in enumerate(("mvae", "mmvae"), 1) for s in range(seeds)]
    where = {"given": "mnist", "target": "street", "chance": 0.5}
    scored = ((r, [factory.row(r, "relatedness_auroc", 0.6 + r.seed / 99, se=0.01 * n, **where)]) for r, n in runs)
    selection, said = stored(*scored), "told from chance by two standard errors: a gap of 0.020 to 0.040."
    table = one(build_tables(selection), "relatedness_auroc")
    assert any(said in note for note in notes(table)) == (seeds < 3)
    assert (said in " ".join(to_terminal(summarise_groups(selection), []).split())) == (seeds < 3)


@pytest.mark.parametrize(("spread", "best"), [(0.01, True), (0.2, False)])
def test_from_three_seeds_on_a_best_is_beyond_chance_by_its_interval(
    factory: Factory, stored: Any, spread: float, best: bool
) -> None:
    runs = []
    for model, mean in {"mvae": 0.4, "mmvae": 0.1}.items():  # chance .3: by test rows alone .4 is far above it
        for seed in range(3):
            run, value = factory.spec(model, seed=seed), mean + spread * (seed - 1)
            runs.append((run, [factory.row(run, "strange", value, chance=0.3, se=0.001)]))
    table = one(build_tables(stored(*runs)), "strange")
    assert table.cells["mvae"][table.columns[0]].best == best


def test_each_column_has_its_own_digits_and_no_zero_has_a_sign(factory: Factory, stored: Any) -> None:
    runs = [factory.spec("mvae", seed=seed) for seed in range(3)]
    values = {"picture": (-590.26, -590.26, -590.26), "word": (-0.0002, -0.0003, -0.0001)}
    rows = [[factory.row(r, "strange", v[r.seed], target=name) for name, v in values.items()] for r in runs]
    table = one(build_tables(stored(*zip(runs, rows, strict=True))), "strange")
    assert [show(table.cells["mvae"][column], table).plain for column in table.columns] == [
        "-590.3",  # three equal seeds do not show that there is no spread
        "0.000 ± 0.000",
    ]


def test_a_run_that_was_not_scored_says_nothing_of_the_direction(factory: Factory, stored: Any) -> None:
    a, b = factory.spec("mvae"), factory.spec("mmvae")
    skipped = factory.row(a, "strange", None, given="mnist", target="street", status="skipped", higher_is_better=False)
    scored = [factory.row(run, "strange", 0.5, given="street", target="mnist") for run in (a, b)]
    (table,) = build_tables(stored((a, [skipped, scored[0]]), (b, [scored[1]])))
    assert table.better == 1


def test_one_alone_is_no_best_and_diagnostics_have_none(factory: Factory, stored: Any) -> None:
    a, b = factory.spec("mvae"), factory.spec("mmvae")
    rows = [[factory.row(run, "joint_coherence", 0.5, prior="model", variant="entropy")] for run in (a, b)]
    rows[0].append(factory.row(a, "joint_coherence", 0.5, prior="model"))
    tables = build_tables(stored((a, rows[0]), (b, rows[1])))
    assert not any(cell.best for t in tables for row in t.cells.values() for cell in row.values())


def test_priors_are_never_in_one_table(made: Any) -> None:
    selection = select(made.store, made.plan)
    tables = [t for t in build_tables(selection) if t.metric in ("joint_coherence", "log_likelihood")]
    assert {t.prior for t in tables} == {"model", "aggregate"}
    table = one(tables, "joint_coherence", prior="model")
    assert show(table.cells["meme"][table.columns[0]], table).mean == "n/a"
    assert any("prior depends on the row" in note for note in notes(table))


def test_two_seeds_have_no_interval(factory: Factory, strange: Any) -> None:
    runs = [factory.spec("mvae", seed=seed) for seed in (0, 1)]
    table = one(build_tables(strange(*runs)), "strange")
    assert "±" not in to_markdown(table).replace("mean ± half", "")
    assert "n = 2" in to_markdown(table)
    assert "without intervals" in to_markdown(table)


def test_cells_of_different_n_say_so(factory: Factory, strange: Any) -> None:
    runs = [factory.spec("mvae", seed=0), factory.spec("mvae", seed=1), factory.spec("mmvae", seed=0)]
    table = one(build_tables(strange(*runs)), "strange")
    assert "0.500 (n=2)" in to_markdown(table)
    assert "0.500 (n=1)" in to_markdown(table)


@pytest.mark.parametrize("column", ["dataset_hash", "oracle_hash", "embedding_hash"])
def test_mixed_hashes_are_refused_naming_what_differs(factory: Factory, stored: Any, column: str) -> None:
    runs = [factory.spec("mvae", seed=seed) for seed in (0, 1)]
    rows = [[factory.row(run, "strange", 0.5, **{column: f"hash-{run.seed}"})] for run in runs]
    selection = stored(*zip(runs, rows, strict=True))
    with pytest.raises(BenchError, match=rf"mvae.*{column}.*hash-0, hash-1"):
        build_tables(selection)


@pytest.mark.parametrize("column", ["dataset_hash", "oracle_hash", "embedding_hash"])
def test_models_scored_by_different_means_are_shown_but_not_ranked(factory: Factory, stored: Any, column: str) -> None:
    runs = [factory.spec(model) for model in ("mvae", "mmvae")]
    same = {"variant": "mean oracle", "given": "a", "target": "b"}
    rows = [[factory.row(r, "cca", 0.5 + i, **same, **{column: r.model.name})] for i, r in enumerate(runs)]
    selection = stored(*zip(runs, rows, strict=True))
    table = one(build_tables(selection), "cca", "mean oracle")
    assert not any(cell.best for row in table.cells.values() for cell in row.values())
    assert not list(compare_summary(summarise_groups(selection)[0]))
    assert any(f"differ in {column}" in text for text in warnings(selection, []))


def test_results_from_before_there_were_embeddings_are_read(factory: Factory, stored: Any) -> None:
    runs = [factory.spec("mvae", seed=seed) for seed in (0, 1)]
    rows = [factory.row(run, "linear_probe", 0.5, variant="mean", given="mnist") for run in runs]
    del rows[0]["embedding_hash"]
    selection = stored(*((run, [row]) for run, row in zip(runs, rows, strict=True)))
    assert set(selection.frame["embedding_hash"]) == {""}
    assert one(build_tables(selection), "linear_probe", "mean").seeds == 2


@pytest.mark.parametrize(
    ("reason", "scheme", "now"),
    [
        ("", "split", ("", "split", "keep", False)),
        ("PCA", "split,drop", ("PCA", "split", "drop", False)),
        ("chance control: x", "none", ("", "none", "keep", True)),
        ("chance control: x; PCA", "only:a,drop", ("PCA", "only:a", "drop", True)),
    ],
)
def test_rows_from_before_the_columns_control_and_incomplete_are_read(reason: str, scheme: str, now: Any) -> None:
    row = {"run_id": "x", "value": 0.5, "reason": reason, "missing_scheme": scheme}
    later = {"split": "test", "tier": "default", "rule": "", "bound": False, "sampled": ""}
    known = dict(zip(("reason", "missing_scheme", "incomplete", "control"), now, strict=True))
    assert current(row) == {**row, **known, **later}
    assert current(current(row)) == current(row)


@pytest.mark.parametrize(
    ("runs", "labels"),
    [
        ([{"options": {"k": 1}}, {"options": {"k": 30}, "latent_dim": 20}],
         ["mvae (k=1, latent_dim=2)", "mvae (k=30, latent_dim=20)"]),
        ([*({"options": {"k": k}, "label": f"mvae[k={k}]"} for k in (10, 3)), {}], ["mvae", "mvae[k=3]", "mvae[k=10]"]),
    ],
)  # fmt: skip
def test_configurations_are_told_apart_in_the_order_of_their_numbers(
    factory: Factory, strange: Any, runs: list[dict[str, Any]], labels: list[str]
) -> None:
    assert strange(*(factory.spec("mvae", **changes) for changes in runs)).labels == labels


def test_one_configuration_typed_twice_is_one_model(factory: Factory, strange: Any) -> None:
    runs = [
        factory.spec("mvae", seed=0, options={"k": 1}),
        factory.spec("mvae", seed=1, options={"k": 1}, label="mvae[k=1]"),
    ]
    selection = strange(*runs)
    assert selection.labels == ["mvae"]
    assert one(build_tables(selection), "strange").seeds == 2


def test_dropping_incomplete_rows_is_another_column(factory: Factory, strange: Any) -> None:
    runs = [factory.spec("mvae", ratio=0.5, incomplete=what) for what in ("keep", "drop")]
    columns = {column for table in build_tables(strange(*runs)) for column in table.columns}
    assert {column.missing.text for column in columns} == {"split 0.5", "split 0.5 (incomplete rows dropped)"}


def test_limited_data_is_another_data_set(factory: Factory, strange: Any) -> None:
    runs = [factory.spec("mvae"), factory.spec("mvae", limit_train=500)]
    assert strange(*runs).groups == ["mnist_street (limit_train=None)", "mnist_street (limit_train=500)"]


def test_every_scheme_has_ratio_zero(factory: Factory, strange: Any) -> None:
    runs = [factory.spec("mvae"), *(factory.spec("mvae", ratio=0.5, scheme=s) for s in ("split", "only:mnist"))]
    tables = build_tables(strange(*runs))
    assert [t.scheme for t in tables] == ["split", "only:mnist"]
    assert all(t.columns[0].missing.ratio == 0 for t in tables)


def test_three_modalities_are_averaged_over_directions_by_size(factory: Factory, stored: Any) -> None:
    run = factory.spec("mmvae", names=("a", "b", "c"))
    values = {("a", "b"): 0.1, ("a", "c"): 0.2, ("b", "a"): 0.3, ("b", "c"): 0.4, ("c", "a"): 0.5, ("c", "b"): 0.6,
              ("a+b", "c"): 0.7, ("a+c", "b"): 0.8, ("b+c", "a"): 0.9}  # fmt: skip
    rows = [factory.row(run, "cross_coherence", v, variant="micro", given=g, target=t) for (g, t), v in values.items()]
    rows.append(factory.row(run, "cross_coherence", 0.35, variant="micro 1"))
    other = factory.spec("mvae", names=("a", "b", "c"))
    partial = [factory.row(other, "cross_coherence", 0.9, variant="micro", given="a", target="b")]
    tables = build_tables(stored((run, rows), (other, partial)))
    table = one(tables, "cross_coherence", "micro")
    assert [t.variant for t in tables] == ["micro"]
    assert [c.text for c in table.columns] == ["1 given", "2 given"]
    assert [table.cells["mmvae"][c].mean for c in table.columns] == pytest.approx([0.35, 0.8])
    assert table.cells["mvae"][table.columns[0]].note == "scored: 1 of 6 directions"


def test_a_metric_skipped_as_a_whole_is_noted_in_every_empty_cell(factory: Factory, stored: Any) -> None:
    a, b = factory.spec("mvae"), factory.spec("mmvae")
    scored = [
        factory.row(a, "strange", 0.5, given="mnist", variant="x"),
        factory.row(a, "other", None, status="skipped"),
    ]
    skipped = [factory.row(b, "strange", None, status="skipped", reason="it has none")]
    tables = build_tables(stored((a, scored), (b, skipped)))
    assert [t.metric for t in tables] == ["strange"]  # nothing was scored of the other
    assert tables[0].cells["mmvae"][tables[0].columns[0]].note == "it has none"


def test_chance_and_ceiling_are_lines(factory: Factory, stored: Any) -> None:
    runs = [factory.spec("mvae"), factory.spec("mmvae")]
    rows = [[factory.row(r, "strange", 0.5, chance=c, ceiling=0.97)] for r, c in zip(runs, (0.1, 0.12), strict=True)]
    table = one(build_tables(stored(*zip(runs, rows, strict=True))), "strange")
    assert limit_rows(table) == {"chance": ["0.100 to 0.120"], "ceiling": ["0.970"]}
    assert "| chance | 0.100 to 0.120 |" in to_markdown(table)


def test_latex_is_escaped_and_balanced(factory: Factory, stored: Any) -> None:
    runs = [factory.spec("mvae", label="my_model & 50% #1 {x}", seed=s) for s in range(3)]
    rows = [[factory.row(r, "strange_score", 0.5 + 0.1 * (r.seed - 1), given="image_a", target="text")] for r in runs]
    text = to_latex(one(build_tables(stored(*zip(runs, rows, strict=True))), "strange_score"))
    assert r"my\_model \& 50\% \#1 \{x\}" in text
    assert r"image\_a $\rightarrow$ text" in text
    assert r"0.500 $\pm$ 0.248" in text
    bare = text.replace(r"\_", "").replace(r"\&", "")
    assert "_" not in bare
    body = [line for line in bare.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count("&") for line in body} == {1}
    assert text.count(r"\begin{") == text.count(r"\end{")


def test_summary_fits_a_terminal_and_marks_the_best(made: Any) -> None:
    selection = select(made.store, made.plan)
    tables = summarise_groups(selection)
    text = to_terminal(tables, ["x " * 200])
    assert max(map(len, text.splitlines())) <= 120
    assert "mnist_street" in text
    assert "captioned_shapes" in text
    line = next(line for line in text.splitlines() if line.startswith("meme"))
    first = tables[0].parts[0][1]
    assert f"{first.cells['meme'][first.columns[0]].mean:.3f}" in line
    assert "*" in text
    assert "†" in text


def test_a_summary_has_the_scores_that_its_data_set_has(made: Any) -> None:
    selection = select(made.store, made.plan)
    tables = {table.group: table for table in summarise_groups(selection)}
    both = ["image → caption", "caption → image"]
    shapes = [("strict", both[0]), ("strict", both[1]), ("joint strict", "joint"), ("linear probe", "image"),
              ("linear probe", "caption"), ("relatedness", "image ↔ caption")]  # fmt: skip
    birds = [*(("CCA", text) for text in both), *(("recall@10", text) for text in both), shapes[-1]]
    assert (tables["captioned_shapes"].heads, tables["cub"].heads) == (shapes, birds)
    assert [name for name, _ in tables["mnist_street"].parts][:2] == ["cross-coherence", "joint coh."]
    for table in tables.values():  # each fits without being folded
        assert to_terminal([table], []).count("missing / model") == 1


def test_a_summary_has_no_empty_column(factory: Factory, stored: Any) -> None:
    run = factory.spec("mvae", "cub")
    rows = [factory.row(run, "cca", 0.1, variant="mean oracle", given="image", target="caption"),
            factory.row(run, "cca", None, variant="mean oracle", given="caption", target="image", status="skipped"),
            factory.row(run, "attributes_strict", None, status="skipped", reason="no attributes")]  # fmt: skip
    (table,) = summarise_groups(stored((run, rows)))
    assert table.heads == [("CCA", "image → caption")]


def test_remarks_on_scores_are_below_their_table(made: Any) -> None:
    selection = select(made.store, made.plan)
    table = one(build_tables(selection), "cca", "mean oracle", group="cub")
    assert notes(table)[-2:] == ["† chance control: shown, never ranked.", "first reduced by PCA"]
    assert "0.000 ± 0.000†" in to_markdown(table)
    assert not any(cell.best for cell in table.cells["unimodal"].values())


def test_baselines_are_named_below_tables(factory: Factory, stored: Any) -> None:
    runs = [factory.spec(model) for model in ("mvae", "regressor")]
    key = {"variant": "micro", "given": "mnist", "target": "street"}
    selection = stored(*((run, [factory.row(run, "cross_coherence", 0.5, **key)]) for run in runs))
    note = "Baselines, ranked with the models though they are no VAEs: regressor."
    assert note in notes(one(build_tables(selection), "cross_coherence", "micro"))
    assert note in to_terminal(summarise_groups(selection), []).replace("\n", " ")


def test_a_remark_on_some_models_names_them(factory: Factory, stored: Any) -> None:
    runs = [factory.spec(model) for model in ("mvae", "mmvae")]
    rows = [[factory.row(r, "strange", 0.5, reason="odd" * (r.model.name == "mvae"))] for r in runs]
    assert notes(one(build_tables(stored(*zip(runs, rows, strict=True))), "strange")) == ["mvae: odd"]


@pytest.mark.parametrize(
    ("metric", "variant", "title", "says"),
    [
        ("retrieval_recall", "10", "Recall@10", "k = 10."),
        ("retrieval_recall", "1", "Recall@1", "k = 1."),
        ("cca", "sif resnet101", "CCA (sif resnet101)", "(SIF); pictures as ResNet-101 features."),
        ("attributes_strict", "self", "Attributes, strict (self)", "among the given."),
        ("log_likelihood", "ess100", "Log-likelihood (ess100)", "importance weights, mean over test rows."),
        ("log_likelihood", "iw100", "Log-likelihood (iw100)", "(table ess) is below 10."),
        ("strange", "x", "Strange (x)", "plug-in that defines it."),
    ],
)
def test_variants_are_put_into_words(
    factory: Factory, stored: Any, metric: str, variant: str, title: str, says: str
) -> None:
    run = factory.spec("mvae")
    table = one(build_tables(stored((run, [factory.row(run, metric, 0.5, variant=variant)]))), metric, variant)
    assert table.title == title
    assert table.definition.endswith(says)


def test_a_metric_is_described_by_its_run_and_else_by_the_registry(factory: Factory, tmp_path: Any) -> None:
    store = Store(tmp_path)
    stored = {"strange": {"title": "Strangeness", "definition": "How strange.", "drawn": ["x"], "unranked": ["y"]}}
    runs = [factory.spec("mvae", seed=seed) for seed in (0, 1)]
    for run, described in zip(runs, (stored, {}), strict=True):
        rows = [factory.row(run, metric, 0.5) for metric in ("strange", "linear_probe", "unknown")]
        store.publish(RunResult(run, rows, info={"descriptions": described}))
    known = select(store, factory.make_plan(runs)).metrics
    assert known["strange"].title_of("z", "model") == "Strangeness (z, model prior)"
    assert [known["strange"].is_drawn(v) for v in ("x 1", "", "y")] == [True, False, False]
    assert [known["strange"].is_ranked(v) for v in ("x 1", "", "y")] == [True, True, False]
    assert known["linear_probe"] == metrics.registry.get("linear_probe").about
    assert (known["unknown"].title, known["unknown"].higher_is_better) == ("Unknown", True)


def test_a_metric_itself_comes_before_its_variants(factory: Factory, stored: Any) -> None:
    run = factory.spec("mvae", "captioned_shapes")
    rows = [factory.row(run, "attributes_strict", 0.5, variant=v, target="image") for v in ("self", "")]
    assert [table.variant for table in build_tables(stored((run, rows)))] == ["", "self"]


def test_what_is_ranked_and_what_is_drawn() -> None:
    drawn = {("attributes_strict", ""), ("cca", "mean oracle"), ("cca_ratio", "mean resnet101"),
             ("retrieval_recall", "10"), ("cross_coherence", "micro")}  # fmt: skip
    not_drawn = {("attributes_strict", "self"), ("attributes_features", ""), ("cca", "sif oracle"),
                 ("retrieval_recall", "1"), ("cca_ground_truth", "mean oracle")}  # fmt: skip
    about = {name: metrics.registry.get(name).about for name, _ in drawn | not_drawn}
    assert all(about[name].is_drawn(variant) and about[name].is_ranked(variant) for name, variant in drawn)
    assert not any(about[name].is_drawn(variant) for name, variant in not_drawn)
    assert not about["cca_ground_truth"].is_ranked("mean oracle")


def test_wide_summaries_are_folded(factory: Factory, stored: Any) -> None:
    names = tuple(f"modality_number_{i}" for i in range(2))
    run = factory.spec("mmvae", names=names, label="a rather long label of a model with options")
    text = to_terminal(summarise_groups(stored((run, factory.scores(run)))), [])
    assert max(map(len, text.splitlines())) <= 120


def test_nothing_stored_is_a_sentence(factory: Factory, tmp_path: Any) -> None:
    with pytest.raises(BenchError, match=r"No run of 'demo' is stored.*mmvae-bench status --suite demo"):
        select(Store(tmp_path), factory.make_plan([factory.spec("mvae")]))
