"""Whole runs on tiny data: stored once, resumed, repeatable, and honest when something breaks."""

import json
import re
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from mmvae_bench import datasets, metrics, models, priors
from mmvae_bench.datasets.base import Built, Rows
from mmvae_bench.datasets.linear_gaussian import LinearGaussian
from mmvae_bench.errors import BenchError, DataError
from mmvae_bench.metrics.base import Score, metric
from mmvae_bench.models.mvae import MVAE
from mmvae_bench.store.store import Store
from mmvae_bench.sweep import execute
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.request import Request, Settings
from mmvae_bench.sweep.runner import run_plan
from mmvae_bench.types import Loss, MultimodalBatch
from tests import stored

DATA = "linear_gaussian[rows=120]"


class Diverges(MVAE):
    """Its loss becomes NaN."""

    def loss(self, batch: MultimodalBatch) -> Loss:
        loss = super().loss(batch)
        return Loss(loss.total * float("nan"), loss.terms)


class Corrupt(LinearGaussian):
    """Its file is cut off."""

    def build(self, data_dir: Path) -> Built:
        raise DataError("the file is cut off; fetch it again")


def run(settings: Settings, **request) -> tuple[int, Store]:
    store = Store(settings.results_dir)
    asked = Request(**{"models": ("mvae", "mopoe"), "datasets": (DATA,), "epochs": 1, **request})
    return run_plan(make_plan(asked, store, settings.data_dir), settings), store


def test_a_grid_becomes_tidy_rows(settings):
    settings = replace(settings, metrics=())
    code, store = run(settings, models=("mopoe",), missing=(0.0, 0.5), seeds=(0, 1))
    frame = store.scores()
    assert code == 0 and frame.run_id.nunique() == 4 and frame.config_id.nunique() == 2
    assert set(frame.status) == {"ok", "skipped"}
    assert frame[frame.status == "ok"].value.notna().all()
    assert (frame[frame.status == "skipped"].reason != "").all()
    pd.testing.assert_frame_equal(
        pd.read_csv(store.root / "scores.csv")[["run_id", "value"]], frame[["run_id", "value"]]
    )
    record = json.loads((store.folders()[0] / "run.json").read_text())
    assert record["seconds"]["train"] > 0 and record["rate"] > 0 and record["peak_memory_mb"] > 0
    assert {"model.safetensors", "artifacts.npz", "outcomes.npz", "history.csv", "log.txt", "scores.jsonl"} == set(
        record["files"]
    )


def test_what_is_stored_is_not_run_again_and_an_interrupted_sweep_goes_on(settings, monkeypatch):
    run(settings, models=("mvae",))
    before = {p: p.stat().st_mtime_ns for p in settings.results_dir.rglob("run.json")}
    code, store = run(settings)
    assert code == 0 and len(store.folders()) == 2
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in before.items())


@pytest.mark.parametrize("backend", ["loky", pytest.param("threading", marks=pytest.mark.slow)])
def test_neither_processes_nor_threads_change_a_number(settings, monkeypatch, tmp_path, backend):
    """Threads as on a GPU: several runs in one process, each with its own random numbers."""
    settings = replace(settings, metrics=())
    original, frames = joblib.Parallel, []
    monkeypatch.setattr(joblib, "Parallel", lambda **how: original(**{**how, "backend": backend}))
    for name, jobs in (("a", 1), ("b", 2)):
        other = replace(settings, results_dir=tmp_path / name, jobs=jobs)
        frames.append(run(other, missing=(0.5,), models=("mvae", "meme[k=1,pseudo=4]"))[1].scores())
    pd.testing.assert_frame_equal(*frames)


def test_a_failed_run_is_recorded_and_retried_and_the_sweep_goes_on(settings, monkeypatch):
    monkeypatch.setitem(models.registry._loaded, "diverges", Diverges)
    code, store = run(settings, models=("diverges", "mvae"))
    frame = store.scores()
    broken = frame[frame.label == "diverges"]
    assert code == 1 and list(broken.status) == ["failed"] and "not finite in epoch 1" in broken.reason.item()
    assert broken.value.isna().all() and (frame[frame.label == "mvae"].status == "ok").any()
    assert run(replace(settings, overwrite="never"), models=("diverges", "mvae"))[0] == 1
    monkeypatch.setitem(models.registry._loaded, "diverges", MVAE)  # the bug is mended
    code, store = run(settings, models=("diverges", "mvae"))
    assert code == 0 and "failed" not in set(store.scores().status)


def test_a_plan_that_lacks_runs_of_the_last_one_of_its_name_says_so(settings, capsys):
    store, settings = Store(settings.results_dir), replace(settings, overwrite="never")
    asked = Request(models=("mvae",), datasets=(DATA,), seeds=(0, 1))
    for spec in make_plan(asked, store, settings.data_dir).specs:
        stored.publish(store, spec)
    for seeds, said in (((1,), False), ((0, 1), False), ((1,), True)):
        assert run_plan(make_plan(replace(asked, seeds=seeds), store, settings.data_dir), settings) == 0
        assert ("had 1 run that this one lacks, and is replaced" in capsys.readouterr().err) == said


def test_a_corrupt_data_set_leaves_the_others_alone(settings, monkeypatch, capsys):
    monkeypatch.setitem(datasets.registry._loaded, "corrupt", Corrupt)
    code, store = run(settings, datasets=("corrupt", DATA), models=("mvae",))
    assert code == 2 and len(store.folders()) == 1
    assert re.search(r"\n1 run on corrupt left out: .*cut off; fetch it again", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("name", "values", "rule"),
    [
        ("x0", lambda x: x.astype(np.float64), "train x0 is float64, not float32"),
        ("x0", lambda x: np.where(x > 0, np.nan, x), "train x0 has values that are not finite"),
        ("x0", lambda x: x[:, :1], "train x0 has shape (120, 1), not (120, 8)"),
        ("left/right", lambda x: x, "a modality's name is a word, as in --scheme only:name, not 'left/right'"),
    ],
)
def test_data_that_are_not_what_they_are_declared_to_be_are_never_trained_on(
    settings, monkeypatch, capsys, tmp_path, name, values, rule
):
    """Their faults would be given for those of the cache, of the model or of its learning rate."""

    class Wrong(LinearGaussian):
        def build(self, data_dir: Path) -> Built:
            built = super().build(data_dir)
            return replace(built, train=Rows({name: values(built.train.x["x0"]), "x1": built.train.x["x1"]}))

        @property
        def modalities(self):
            first, *others = super().modalities
            return [replace(first, name=name), *others]

    monkeypatch.setitem(datasets.registry._loaded, "wrong", Wrong)
    settings = replace(settings, cache_dir=tmp_path / "cache")  # of the same code, with other values
    code, store = run(settings, datasets=("wrong[rows=120]",), models=("mvae",))
    assert code == 2 and not store.folders()
    assert f"'wrong' breaks a rule: {rule}. To check all rules: mmvae-bench check wrong" in capsys.readouterr().err


def test_a_resumed_run_of_an_engine_that_promises_no_bits_is_marked(settings, monkeypatch):
    monkeypatch.setattr("mmvae_bench.engine.step._compiled", lambda loss: loss)
    monkeypatch.setattr("mmvae_bench.engine.mode._cannot_compile", lambda _: "")
    settings = replace(settings, compiled=True)
    with monkeypatch.context() as patch:
        patch.setattr(
            "mmvae_bench.store.store.write_files", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        with pytest.raises(BenchError, match="No space left"):
            run(settings, models=("mvae",))
    code, store = run(settings, models=("mvae", "mopoe"))
    engines = store.scores().groupby("label").engine.unique().explode().to_dict()
    assert code == 0 and engines == {"mvae": "compiled resumed", "mopoe": "compiled"}


def test_what_a_process_left_that_died_after_publishing_is_removed(settings):
    _, store = run(settings, models=("mvae",))
    name = store.folders()[0].name
    (store.root / "work" / name).mkdir()
    (store.root / "work" / name / "log.txt").write_text("")
    (store.root / "work" / f"{name}.lock").write_text("")
    assert run(settings, models=("mvae",))[0] == 0
    assert not list((store.root / "work").iterdir())


def test_a_metric_registered_later_scores_stored_runs_without_training(settings, monkeypatch):
    settings = replace(settings, metrics=())
    _, store = run(settings, models=("mvae",))
    old = store.scores()
    weights = (store.folders()[0] / "model.safetensors").read_bytes()
    later = metric()(lambda ev: [Score(float(ev.latents(("x0",)).mean.mean()), n=len(ev.test))])
    monkeypatch.setitem(metrics.registry._loaded, "later", later)
    monkeypatch.setattr("mmvae_bench.sweep.execute.train", lambda *_: pytest.fail("trained again"))
    code, store = run(settings, models=("mvae",))
    new = store.scores()
    assert code == 0 and (new.metric == "later").sum() == 1
    pd.testing.assert_frame_equal(old, new[new.metric != "later"].reset_index(drop=True), check_dtype=False)
    assert (store.folders()[0] / "model.safetensors").read_bytes() == weights


def test_what_is_hidden_reaches_no_weight_and_no_generated_score(settings, tmp_path, monkeypatch):
    """Entries that ``only:x0`` always hides are replaced in the files: the trained model stays the same, bit by bit."""
    settings = replace(settings, metrics=())
    _, store = run(settings, models=("mopoe",), missing=(0.5,), scheme=("only:x0",))
    original = execute.open_material

    def spoiled(*arguments):
        material = original(*arguments)
        x = {name: np.array(values) for name, values in material.train.x.items()}
        x["x1"][~material.presence.ever()[1]] = np.nan
        return replace(material, train=Rows(x, material.train.label))

    monkeypatch.setattr(execute, "open_material", spoiled)
    other = Store(tmp_path / "other")
    code, other = run(replace(settings, results_dir=other.root), models=("mopoe",), missing=(0.5,), scheme=("only:x0",))
    keys = ["label", "metric", "variant", "prior", "given", "target"]
    a, b = (s.scores()[lambda f: ~f.metric.isin(["linear_probe"])][[*keys, "value"]] for s in (store, other))
    assert code == 0
    pd.testing.assert_frame_equal(a, b)
    for mine, theirs in zip(store.folders(), other.folders(), strict=True):
        assert (mine / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()


def test_a_metric_that_is_gone_takes_no_scores_along_and_a_broken_one_costs_no_run(settings, monkeypatch):
    settings = replace(settings, metrics=())
    later = metric()(lambda ev: [Score(1.0)])
    monkeypatch.setitem(metrics.registry._loaded, "later", later)
    run(settings, models=("mvae",))
    monkeypatch.delitem(metrics.registry._loaded, "later")
    monkeypatch.setitem(metrics.registry._lazy, "broken", "no_such_package:metric")
    code, store = run(settings, models=("mvae", "mopoe"))
    frame = store.scores()
    assert code == 0
    assert (frame.metric == "later").sum() == 1
    broken = frame[frame.metric == "broken"]
    assert list(broken.status) == ["skipped"]
    assert "cannot be imported" in broken.reason.item()


def test_a_failure_never_takes_a_results_place(settings, monkeypatch):
    _, store = run(settings, models=("mvae",))
    before = store.scores()
    monkeypatch.setattr("mmvae_bench.sweep.execute.train", lambda *_: 1 / 0)
    code, store = run(replace(settings, overwrite="always"), models=("mvae",))
    assert code == 1
    pd.testing.assert_frame_equal(store.scores(), before)


def test_one_latent_dimension_and_one_test_row_are_scored(settings):
    settings = replace(settings, metrics=())
    code, store = run(settings, datasets=("linear_gaussian[rows=120,latent=1]",), models=("mvae",), limit_test=1)
    assert code == 0
    assert set(store.scores().status) == {"ok", "skipped"}


@pytest.mark.parametrize(("ratios", "stored"), [((0.99,), 0), ((0.99, 0.0), 1), ((0.0, 0.99), 1)])
def test_an_impossible_pattern_is_a_skip_of_its_own(settings, capsys, ratios, stored):
    """Whatever stands first in the plan: only the data determine what is impossible."""
    code, store = run(settings, models=("mvae",), missing=ratios, scheme=("only:x0",), limit_train=20)
    assert code == (0 if stored else 2) and len(store.folders()) == stored
    assert "1 run on linear_gaussian left out: Some modality is present in no training row" in " ".join(
        capsys.readouterr().err.split()
    )
    (skipped,) = store.read_plan("custom")["skipped"]
    assert (skipped["missing"], skipped["reason"][-39:]) == ("only:x0 0.99", "Lower --missing or raise --limit-train.")


MODEL = '''"""A plug-in."""

from mmvae_bench.models.mvae import MVAE


class Edited(MVAE):
    """Its code is edited."""

    def __init__(self, networks):
        super().__init__(networks, beta=1.0)
'''
METRIC = """from mmvae_bench import Score, metric

Edited = metric()(lambda ev: [Score(1.0)])
"""
DATA_SET = """from dataclasses import dataclass

from mmvae_bench.datasets.linear_gaussian import LinearGaussian


@dataclass(frozen=True, kw_only=True)
class Edited(LinearGaussian):
    rows: int = 120

    def _rows(self, split, n):
        return super()._rows(split, n)
"""


def contents(store: Store) -> dict[Path, bytes]:
    """The files of all runs."""
    return {path: path.read_bytes() for path in store.root.glob("runs/*/*/*/*")}


def changes(settings: Settings, **request) -> list[str]:
    """What a plan says of code."""
    asked = Request(**{"models": ("mvae",), "datasets": (DATA,), "epochs": 1, **request})
    return make_plan(asked, Store(settings.results_dir), settings.data_dir).changes


def test_a_model_whose_code_was_edited_is_named_and_trained_again_where_that_is_asked_for(settings, plug_in):
    mine, changed = {"models": ("edited", "mvae")}, replace(settings, overwrite="changed")
    plug_in(models.registry, MODEL)
    _, store = run(settings, **mine)
    before = contents(store)
    for same in (MODEL.replace("Its code is edited", "It has another docstring"), MODEL + "\n# a comment\n"):
        plug_in(models.registry, same)
        assert changes(settings, **mine) == []
    plug_in(models.registry, MODEL.replace("1.0", "4.0"))
    assert changes(settings, **mine) == [
        "1 stored run was made by different code of the model 'edited'; --overwrite changed trains it again."
    ]
    for overwrite in ("failed", "never"):
        assert run(replace(settings, overwrite=overwrite), **mine)[0] == 0
        assert contents(store) == before
    assert run(changed, **mine)[0] == 0
    after = contents(store)
    assert {path.parts[-3] for path in after if after[path] != before[path]} == {"edited"}
    assert any(path.name == "model.safetensors" and after[path] != before[path] for path in after)
    assert changes(settings, **mine) == []
    assert run(changed, **mine)[0] == 0
    assert contents(store) == after


PRIOR = """
from mmvae_bench.priors.gmm import gmm

def Edited(known):
    return gmm(known, components=1)
"""


def labels(store: Store, metric: str) -> set[str]:
    """Return the learned priors of a metric's rows, which are those of the record."""
    rows = store.scores()
    found = {p for p in rows[rows["metric"] == metric]["prior"].dropna() if p not in ("", "model", "aggregate")}
    record = json.loads((store.folders()[0] / "run.json").read_text())
    assert found == record["priors"].get(metric, {}).keys()
    return found


def test_a_learned_prior_is_added_to_a_stored_run_without_training_or_losing_others(settings, monkeypatch):
    two, three = "gmm[components=2]", "gmm[components=3]"
    settings = replace(settings, metrics=("log_likelihood", "oracle_accuracy"))
    _, store = run(settings, models=("mvae",))
    before = store.scores()
    monkeypatch.setattr("mmvae_bench.sweep.execute.train", lambda *_: pytest.fail("trained again"))
    both = ("log_likelihood", "prior_fit")
    for asked, prior, likelihood, fit in (
        (both[:1], two, {two}, set()),
        (both, three, {two, three}, {two, three}),
        (both[1:], two, {two, three}, {two, three}),
    ):
        assert run(replace(settings, metrics=asked, priors=(prior,)), models=("mvae",))[0] == 0
        assert (labels(store, "log_likelihood"), labels(store, "prior_fit")) == (likelihood, fit)
    after = store.scores()
    after = after[(after["metric"] != "prior_fit") & ~after["prior"].astype(str).str.startswith("gmm")]
    order = ["metric", "variant", "prior", "given", "target"]
    kept, first = (frame.sort_values(order, ignore_index=True) for frame in (after, before))
    pd.testing.assert_frame_equal(kept, first, check_dtype=False)


def test_an_edited_prior_is_scored_again_and_one_that_is_gone_keeps_its_rows(settings, plug_in, monkeypatch):
    plug_in(priors.registry, PRIOR)
    settings = replace(settings, metrics=("prior_fit",), priors=("edited",))
    _, store = run(settings, models=("mvae",))
    monkeypatch.setattr("mmvae_bench.sweep.execute.train", lambda *_: pytest.fail("trained again"))
    first = store.scores()
    plug_in(priors.registry, PRIOR.replace("components=1", "components=2"))
    assert changes(settings) == [
        "1 stored run was scored by different code of the prior 'edited'; --overwrite changed scores it again."
    ]
    assert run(replace(settings, overwrite="changed"), models=("mvae",))[0] == 0
    second = store.scores()
    values = [frame[frame["prior"] == "edited"]["value"].item() for frame in (first, second)]
    assert values[0] != values[1] and changes(settings) == []
    priors.registry._loaded.pop("edited")
    assert run(replace(settings, priors=("gmm",)), models=("mvae",))[0] == 0
    third = store.scores()
    assert third[third["prior"] == "edited"]["value"].item() == values[1]
    assert "gmm" in set(third["prior"])


def test_a_metric_whose_code_was_edited_scores_again_where_that_is_asked_for(settings, plug_in, monkeypatch):
    plug_in(metrics.registry, METRIC)
    settings = replace(settings, metrics=("edited", "log_likelihood"))
    _, store = run(settings, models=("mvae",))
    before = store.scores()
    codes = json.loads((store.folders()[0] / "run.json").read_text())["code"]
    plug_in(metrics.registry, METRIC.replace("1.0", "2.0"))
    monkeypatch.setattr("mmvae_bench.sweep.execute.train", lambda *_: pytest.fail("trained again"))
    assert changes(settings) == [
        "1 stored run was scored by different code of the metric 'edited'; --overwrite changed scores it again."
    ]
    changed = replace(settings, overwrite="changed")
    for other in (settings, replace(changed, metrics=("log_likelihood",))):
        run(other, models=("mvae",))
        pd.testing.assert_frame_equal(store.scores(), before)
    assert run(changed, models=("mvae",))[0] == 0
    after = store.scores()
    assert list(after[after.metric == "edited"].value) == [2.0]
    rest = [scores[scores.metric != "edited"].reset_index(drop=True) for scores in (before, after)]
    pd.testing.assert_frame_equal(*rest, check_dtype=False)
    now = json.loads((store.folders()[0] / "run.json").read_text())["code"]
    assert now["metrics"].pop("edited") != codes["metrics"].pop("edited")
    assert now == codes and set(codes) == {"model", "nets", "dataset", "metrics"} and all(codes.values())
    assert changes(settings) == []


def test_a_data_set_whose_code_was_edited_is_built_again(settings, plug_in, tmp_path):
    settings, mine = replace(settings, cache_dir=tmp_path / "cache"), {"models": ("mvae",), "datasets": ("edited",)}
    plug_in(datasets.registry, DATA_SET)
    _, store = run(settings, **mine)
    (before,) = store.scores().dataset_hash.unique()
    plug_in(datasets.registry, DATA_SET.replace("(split, n)\n", "(split + 'again', n)\n"))
    assert changes(settings, **mine) == [
        "1 stored run was made by different code of the data set 'edited'; --overwrite changed trains it again."
    ]
    assert run(replace(settings, overwrite="changed"), **mine)[0] == 0
    (after,) = store.scores().dataset_hash.unique()
    assert after != before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_cuda(settings):
    code, store = run(replace(settings, device="cuda"), missing=(0.5,), models=("all",))
    assert code == 0 and set(store.scores().device) == {"cuda"}


def test_a_precision_is_another_run_and_says_so_in_every_row(settings):
    run(settings, models=("mvae",))
    code, store = run(settings, models=("mvae",), precision="bf16")
    scores = store.scores()
    assert code == 0 and len(store.folders()) == 2
    assert set(scores.precision) == {"fp32", "bf16"} and set(scores.engine) == {"eager"}
    value = scores[scores.metric == "log_likelihood"].pivot_table(
        index=["given", "target", "variant", "prior"], columns="precision", values="value"
    )
    assert (value.bf16 != value.fp32).any()


def test_an_engine_that_is_not_to_be_had_is_said_and_the_run_is_stored(settings, monkeypatch, capsys):
    monkeypatch.setattr("mmvae_bench.engine.mode._cannot_compile", lambda _: "no C++ compiler")
    code, store = run(replace(settings, compiled=True, jobs=1), models=("mvae",))
    assert code == 0 and set(store.scores().engine) == {"eager"}
    record = json.loads((store.folders()[0] / "run.json").read_text())
    assert "no C++ compiler" in record["engine_remark"]
    assert {"load", "warm_up", "train", "evaluate"} == set(record["seconds"])
