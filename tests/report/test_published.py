import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmvae_bench import datasets, metrics, models
from mmvae_bench.options import Named, resolve
from mmvae_bench.report.build import build_report
from mmvae_bench.report.published import Beside, beside, parsed, published, published_notes, settings
from mmvae_bench.report.select import select
from mmvae_bench.spec import Component, RunSpec, TrainSpec
from mmvae_bench.store.store import Store

SHARES = {"cross_coherence", "joint_coherence", "linear_probe", "attributes_strict", "attributes_features"}
MODELS = {"meme": {"beta": 1.0}, "mvae": {"beta": 1.0}, "mmvae": {"beta": 1.0, "family": "normal", "k": 10},
          "mopoe": {"beta": 2.5, "prior_expert": "full"}}  # fmt: skip


def value(paper: str, table: str, **fields: Any) -> tuple[float, float | None]:
    (found,) = [
        p
        for p in published()
        if p.paper.startswith(paper) and p.table.startswith(table)
        if all(getattr(p, key) == wanted for key, wanted in fields.items())
    ]
    return found.value, found.sd


def test_values_are_those_of_the_papers() -> None:
    """Typed from the papers' tables, not by the script that made the file."""
    ms, sm = {"given": "mnist", "target": "svhn"}, {"given": "svhn", "target": "mnist"}
    table3, table4, table5 = (("Joy", f"Table {n}") for n in (3, 4, 5))
    assert value(*table3, model="meme", ratio=0.0, **ms) == (0.625, 0.007)
    assert value(*table3, model="meme", scheme="split", ratio=0.5, **ms) == (0.625, 0.008)
    assert value(*table3, model="meme", scheme="only:svhn", ratio=0.75, **ms) == (0.323, 0.025)
    assert value(*table3, model="meme", scheme="only:mnist", ratio=0.9375, **sm) == (0.446, 0.008)
    assert value(*table3, model="mvae", scheme="only:mnist", ratio=0.875, **sm) == (0.302, 0.015)
    assert value(*table3, model="mmvae", **sm) == (0.735, 0.010)
    assert value(*table4, model="meme", scheme="split", ratio=0.5, given="svhn") == (0.675, 0.004)
    assert value(*table4, model="mvae", scheme="only:svhn", ratio=0.9375, given="mnist") == (0.880, 0.003)
    assert value(*table4, model="mmvae", given="svhn") == (0.499, 0.045)
    image = {"metric": "cca", "given": "image", "target": "caption"}
    assert value(*table5, model="meme", scheme="only:caption", ratio=0.875, **image) == (0.052, 0.002)
    assert value(*table5, model="mvae", ratio=0.0, metric="cca", given="caption", target="image") == (-0.002, 0.001)
    ratio, sd = value(*table5, model="mmvae", metric="cca_ratio", given="image", target="caption")
    assert (ratio, sd) == (pytest.approx(0.060 / 0.106, abs=1e-6), pytest.approx(0.010 / 0.106, abs=1e-6))
    assert value("Shi", "not seen", **sm) == (0.86, None)
    assert value("Shi", "not seen", **ms) == (0.69, None)
    assert value("Hwang", "Table 1", model="mopoe", metric="cross_coherence", views="3") == (0.79, None)
    assert value("Hwang", "Table 1", model="mmvae", metric="linear_probe", views="5") == (0.82, None)
    drop = {"scheme": "independent:keep=m0,drop", "ratio": 0.5, "metric": "cross_coherence", "views": "1"}
    assert value("Senellart", "case study", model="mmvae", **drop) == (0.107, None)
    assert value("Senellart", "case study", model="jnf-dcca", **{**drop, "ratio": 0.2, "views": "4"}) == (0.863, None)
    level = {"dataset_options": "level=2", "model": "mvae", "given": "image"}
    assert value("Sejnova", "leaderboard", metric="attributes_strict", **level) == (0.55, 0.27)
    assert value("Sejnova", "leaderboard", metric="attributes_features", **level) == (0.75, 0.15)


def test_no_cell_of_a_table_is_missing() -> None:
    """Complete data is one run under every scheme: 13 cells of MEME, 13 of MVAE and 1 of MMVAE a direction."""
    found = Counter((p.paper.split()[0], p.table.split(" (")[0], p.metric) for p in published())
    assert found["Joy", "Table 3", "cross_coherence"] == 2 * (13 + 13 + 1)
    assert found["Joy", "Table 4", "linear_probe"] == 2 * (13 + 13 + 1)
    assert found["Joy", "Table 5", "cca"] == found["Joy", "Table 5", "cca_ratio"] == 2 * (10 + 10 + 1)
    assert found["Hwang", "Table 1", "linear_probe"] == 5 * 5
    assert found["Hwang", "Table 1", "cross_coherence"] == 5 * 4
    assert found["Senellart", "case study on missing data", "cross_coherence"] == 4 * (7 + 4 + 7 + 4 + 7) + 5
    assert found["Sejnova", "leaderboard", "attributes_strict"] == 4 * 5 * 3
    assert found["Sejnova", "leaderboard", "attributes_features"] == 4 * 4 * 3


def test_every_row_says_where_it_is_from_and_is_there_once() -> None:
    assert all(p.paper and p.table and p.source and p.confidence in {"A", "B", "C"} for p in published())
    assert len({p.id for p in published()}) == len(published())
    cells = [(p.paper, p.table, p.model, p.model_options, p.dataset, p.dataset_options, p.place, p.views, p.scheme,
              p.ratio, p.value) for p in published() if p.table != "Table 7"]  # fmt: skip
    assert len(set(cells)) == len(cells)
    assert all(("read off a plot" in p.note) == (p.confidence == "C") for p in published())
    assert settings().keys() == {p.settings for p in published()}


def test_values_are_in_our_units() -> None:
    assert all(0 <= p.value <= 1 and 0 <= (p.sd or 0) < 0.5 for p in published() if p.metric in SHARES)
    assert all(-1 <= p.value <= 1 for p in published() if p.metric == "cca")
    known = SHARES | {"cca", "cca_ratio", "cca_ground_truth", "log_likelihood"}
    assert known <= set(metrics.registry.names())
    assert {p.metric for p in published()} == known | {"fid"}  # Inception's, which we do not compute


def test_names_are_ours() -> None:
    """Or a row would never stand beside a run: data sets, options, modalities, variants and schemes."""
    for p in published():
        dataset = datasets.registry.get(p.dataset)
        options = parsed(p.dataset_options)
        names = [m.name for m in dataset(**resolve(dataset, Named(p.dataset, options))).modalities]
        for side in filter(None, (p.given, p.target)):
            assert side.split("+") == [name for name in names if name in side.split("+")]
        for part in p.variant.split() if p.metric != "fid" else ():
            known = metrics.registry.get(p.metric).about.variants
            assert part.isdigit() or part == "iw500" or part in known
        assert (p.missing.scheme, p.missing.ratio) == (p.scheme.removesuffix(",drop"), p.ratio)
        assert p.missing.modality in (None, *names)
        if p.model in models.registry.names():
            theirs = {"learn_prior", "private"}  # sizes of private latents; ours are shares of the nets' latents
            ours = {key: text for key, text in parsed(p.model_options).items() if key not in theirs}
            resolve(models.registry.get(p.model), Named(p.model, ours))


def run_on(factory: Any, model: str, dataset: str, data: dict[str, Any], *where: Any, **changes: Any) -> RunSpec:
    """A run on a data set with options."""
    options = changes.pop("options", MODELS[model])
    run: RunSpec = factory.spec(model, dataset, *where, options=options, **changes)
    return replace(run, dataset=Component(dataset, 1, data, dataset))


def meme_run(factory: Any, model: str = "meme", ratio: float = 0.0, seed: int = 0, **changes: Any) -> RunSpec:
    """A run as MEME's paper declares it."""
    nets = Component("conv", 1, {"hidden": 400, "text": "conv"}, "conv")
    known = {"names": ("mnist", "svhn"), "train": TrainSpec(100, 128, 5e-4), "nets": nets, "pairing": "one_to_one"}
    known |= changes
    return run_on(factory, model, "mnist_svhn", {"pairing": known.pop("pairing")}, ratio, seed, **known)


def rows(factory: Any, run: RunSpec, value: float = 0.6, **more: Any) -> list[dict[str, Any]]:
    return [
        factory.row(run, "cross_coherence", value + add, variant=variant, given="mnist", target="svhn", **more)
        for variant, add in (("micro", 0.0), ("agreement", 0.01))
    ]


def shown(factory: Any, root: Path, *runs: RunSpec, **more: Any) -> list[Beside]:
    """What stands beside some runs."""
    store = Store(root)
    for run in runs:
        factory.publish(store, run, rows(factory, run, **more))
    (section,) = beside(select(store, factory.make_plan(list(runs))))
    return section.beside


def test_a_run_under_the_papers_settings_is_subtracted(factory: Any, tmp_path: Path) -> None:
    own = {"latent_dim": 20, "train": TrainSpec(100, 64, 5e-4)}  # of latents and batches the paper says nothing
    found = shown(factory, tmp_path, *(meme_run(factory, seed=seed, **own) for seed in range(3)))
    (one,) = [one for one in found if one.published.table == "Table 3"]
    assert one.published.variant == "agreement"  # MEME's wording, not the agreement with the label
    assert (one.published.value, one.published.scheme, one.why) == (0.625, "none", "")
    assert one.ours.n == 3
    assert one.difference == pytest.approx(0.61 - 0.625)


def test_a_dead_seed_is_a_reason_and_leaves_no_interval(factory: Any, tmp_path: Path) -> None:
    store, runs = Store(tmp_path), [meme_run(factory, seed=seed) for seed in range(3)]
    for run in runs:
        gains = [factory.gain(run, name, 0.0 if run.seed else 3.0) for name in ("mnist", "svhn")]
        factory.publish(store, run, [*rows(factory, run), *gains])
    (section,) = beside(select(store, factory.make_plan(runs)))
    for one in section.beside:
        assert one.why.startswith("2 of 3 seeds dead here")
        assert (one.difference, one.ours.half_width, one.ours.n) == (None, None, 3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train": TrainSpec(12, 128, 5e-4)}, "epochs 12 instead of 100"),
        ({"train": TrainSpec(100, 128, 1e-3)}, "learning rate 0.001 instead of 0.0005"),
        ({"nets": Component("mlp", 1, {"hidden": 400}, "mlp")}, "nets mlp instead of conv"),
        ({"nets": Component("conv", 1, {"hidden": 256}, "conv")}, "hidden 256 instead of 400"),
        ({"pairing": "dm20"}, "pairing dm20 instead of one_to_one"),
        ({"options": {"beta": 2.5}}, "beta 2.5 instead of 1"),
        ({"limit_train": 600}, "600 train rows here"),
        ({"limit_test": 300}, "300 test rows here"),
        ({"subset": "svhn 8000+2000"}, "our data: svhn 8000+2000"),
        ({"likelihoods": {m: {"likelihood": "laplace", "scale": 1.0, "weight": w} for m, w in (("mnist", 3.92),
         ("svhn", 1.0))}}, "mnist.weight 3.92 instead of 1"),
        ({"likelihoods": {m: {"likelihood": "normal", "scale": 1.0, "weight": 1.0} for m in ("mnist", "svhn")}},
         "mnist.likelihood normal instead of laplace; svhn.likelihood normal instead of laplace"),
    ],
)  # fmt: skip
def test_what_departs_from_the_settings_is_said_and_nothing_is_subtracted(
    factory: Any, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    rows = {"subset": changes.pop("subset", "")}
    (one,) = shown(factory, tmp_path, meme_run(factory, **changes), **rows)
    assert one.why == why
    assert one.difference is None


def test_several_published_values_stand_beside_one_run(factory: Any, tmp_path: Path) -> None:
    found = shown(factory, tmp_path, meme_run(factory, "mmvae"))
    whys = {one.published.id: one.why for one in found}
    joy, shi = (next(v for k, v in whys.items() if k.startswith(start)) for start in ("joy2022-t3", "shi2019"))
    assert joy == ""
    for words in (
        "not labelled", "pairing one_to_one instead of dm30", "family normal instead of laplace", "k 10 instead of 30",
        "the paper uses learn_prior=true (this model has no such option)", "780 steps instead of 394,230",
        "mnist.weight 1.0 instead of 3.918", "optimiser adam instead of amsgrad",
    ):  # fmt: skip
        assert words in shi
    assert all("unknown there: nets, budget" in why for key, why in whys.items() if key.startswith("senellart"))
    assert not any(one.difference is not None for one in found if one.published.incomparable)
    assert {one.published.given for one in found} == {"mnist"}  # Laplace's 91.8 and 65.2 have no direction


@pytest.mark.parametrize("scheme", ["split", "only:svhn", "only:mnist"])
def test_schemes_are_the_papers_subscripts(factory: Any, tmp_path: Path, scheme: str) -> None:
    (one,) = shown(factory, tmp_path, meme_run(factory, ratio=0.75, scheme=scheme))
    assert one.published.value == {"split": 0.503, "only:svhn": 0.323, "only:mnist": 0.485}[scheme]
    assert one.run.spec.missing.text == f"{scheme} 0.75"


def test_the_mean_over_sets_of_views_is_matched_and_the_level_of_shapes_too(factory: Any, tmp_path: Path) -> None:
    store, names = Store(tmp_path), tuple(f"m{i}" for i in range(5))
    photographs = {"m": 5, "photographs": "embedded", "translated": False}
    poly = run_on(factory, "mopoe", "polymnist", photographs, names=names)
    factory.publish(store, poly, [factory.row(poly, "cross_coherence", 0.7, variant="micro 3")])
    shapes = run_on(factory, "mvae", "captioned_shapes", {"level": 2})
    task = {"given": "image", "target": "caption"}
    factory.publish(store, shapes, [factory.row(shapes, "attributes_strict", 0.6, **task)])
    views, level = beside(select(store, factory.make_plan([poly, shapes])))
    assert sorted(one.published.value for one in views.beside) == [0.79, 0.803, 0.81, 0.83, 0.84]
    assert {one.score for one in views.beside} == {"Cross-coherence (micro 3), 3 given"}
    assert all("photographs embedded instead of archive" in one.why for one in views.beside)
    (one,) = level.beside
    assert one.published.value == 0.55
    assert one.why.startswith("captioned_shapes is our own data")
    ids = {p.id for p in published() if p.dataset == "captioned_shapes" and p.dataset_options == "level=2"}
    assert level.unmatched == len(ids) - 1


def test_data_on_which_nothing_was_published_have_no_section(factory: Any, tmp_path: Path) -> None:
    run = factory.spec("mvae")
    factory.publish(Store(tmp_path), run)
    assert beside(select(Store(tmp_path), factory.make_plan([run]))) == []


def test_notes_are_said_once_with_the_settings(factory: Any, tmp_path: Path) -> None:
    found = shown(factory, tmp_path, meme_run(factory), meme_run(factory, ratio=0.5))
    first, *_, last = published_notes([*found, *found])
    assert first.startswith("Joy et al. 2022 (MEME), Table 3 (meme): the paper's wording")
    assert "not stated (code: 64, 128)" in last
    assert published_notes([*found, *found]) == published_notes(found[:1])


@pytest.mark.usefixtures("no_figures")
def test_the_page_and_a_table_hold_both_values_and_escape_what_is_from_outside(factory: Any, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    store = Store(tmp_path / "results")
    runs = [meme_run(factory, seed=seed, label=f"meme {evil}") for seed in range(3)]
    for run in runs:
        factory.publish(store, run, rows(factory, run, subset=evil))
    page = build_report(store, factory.make_plan(runs), tmp_path / "reports").page
    text = page.read_text()
    assert "<script" not in text
    for words in ('href="#published"', ">0.610 (n=3)<", "0.625 ± 0.007", "Joy et al. 2022 (MEME), Table 3",
                  "our data: &lt;script&gt;", "other published values on these data have no run of ours"):  # fmt: skip
        assert words in text
    with (page.parent / "published.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert (line["published"], line["published_sd"], line["ours_n"], line["difference"]) == ("0.625", "0.007", "3", "")
    assert line["why_not"] == f"our data: {evil}"
    assert float(line["ours"]) == pytest.approx(0.61)


def test_a_number_is_shown_at_its_own_size() -> None:
    def show(value: float, *numbers: float) -> str:
        return Beside(SimpleNamespace(value=value), "", None, None, "").show(*numbers)  # type: ignore[arg-type]

    assert show(0.5, 0.61, 0.0049) == "0.610 ± 0.005"
    assert show(-2633.5, -2600.04) == "-2600.0"
