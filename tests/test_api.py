"""The door from Python: public names, runs and their scores, a trained model's answers, one's own arrays."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import mmvae_bench
from mmvae_bench import (
    BenchError,
    Built,
    Dataset,
    Evaluation,
    Modality,
    MultimodalBatch,
    Protocol,
    Rows,
    TrainedModel,
    Undefined,
    datasets,
    fit,
    load_run,
    load_scores,
    models,
    run,
)
from mmvae_bench.store.run import StoredRun
from mmvae_bench.sweep import execute
from mmvae_bench.sweep.backends import results
from mmvae_bench.sweep.request import Settings
from tests.helpers import invoke

WORDS = ("<pad>", "dark", "bright", "grey")
N = 60


class Tiny(Dataset):
    """Pictures of one brightness, a caption that says which, and a table with the number itself."""

    modalities = (
        Modality("picture", (1, 8, 8)),
        Modality("caption", (2,), "categorical", dtype="int16"),
        Modality("table", (3,), "normal", dtype="float32"),
    )
    protocol = Protocol("mlp[hidden=8]", latent_dim=3, epochs=2, batch_size=16, learning_rate=1e-3)

    def build(self, data_dir):
        return Built(Rows(arrays(0)), Rows(arrays(1)), vocabularies={"caption": WORDS})


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    light = rng.random(N)
    return {
        "picture": (255 * np.broadcast_to(light[:, None, None, None], (N, 1, 8, 8))).astype(np.uint8),
        "caption": np.stack([1 + (light > 0.5), rng.integers(0, 4, N)], 1).astype(np.int16),
        "table": np.float32(light[:, None] + rng.normal(size=(N, 3)) / 9),
    }


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """Two trained models, scored by one metric."""
    root = tmp_path_factory.mktemp("api")
    datasets.registry._loaded["tiny"] = Tiny
    where = {"results_dir": root / "results", "cache_dir": root / "cache", "device": "cpu", "jobs": 1}
    asked = {"models": ["mopoe", "meme[pseudo=2,k=1]"], "datasets": "tiny", "name": "small", **where}
    scores = run(**asked, metrics="log_likelihood")
    yield SimpleNamespace(scores=scores, asked=asked, where=where, root=root)
    del datasets.registry._loaded["tiny"]


@pytest.fixture(scope="module")
def mopoe(stored) -> TrainedModel:
    (run_id,) = stored.scores[stored.scores.model == "mopoe"].run_id.unique()
    return load_run(run_id, stored.where["results_dir"])


@pytest.fixture(scope="module")
def meme(stored) -> TrainedModel:
    (run_id,) = stored.scores[stored.scores.model == "meme"].run_id.unique()
    return load_run(run_id[:6], stored.where["results_dir"])


def test_every_public_name_imports_and_is_listed():
    for name in mmvae_bench.__all__:
        assert getattr(mmvae_bench, name) is not None and name in dir(mmvae_bench)
    with pytest.raises(ImportError, match="cannot import name 'fti'"):
        from mmvae_bench import fti  # noqa: F401


def test_editors_see_the_names_that_there_are():
    tree = ast.parse(Path(mmvae_bench.__file__).read_text())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and str(n.module).startswith("mmvae_bench.")]
    seen = {alias.asname: f"{node.module}" for node in found for alias in node.names}
    assert seen == mmvae_bench._MODULE_OF


def test_every_public_name_is_documented():
    page = (Path(mmvae_bench.__file__).parents[1] / "docs" / "python.md").read_text()
    names = set(re.findall(r"`(\w+)`", page[page.index("## All names") :]))
    assert names == {*mmvae_bench.__all__, "models", "datasets", "metrics", "nets", "register"}
    site = (Path(mmvae_bench.__file__).parents[1] / "docs" / "all_names.md").read_text()
    assert sorted(re.findall(r"^\.\. auto\w+:: (\w+)$", site, re.MULTILINE)) == sorted(mmvae_bench.__all__)


def test_names_that_need_no_torch_import_none():
    names = "run, load_scores, build_report, Dataset, Rows, Built, Protocol, Repeated, Positive, Count, Weight, "
    names += "seed_for, Undefined, Unsupported, DataError, BenchError, models, datasets, metrics, nets"
    code = f"import sys, mmvae_bench; from mmvae_bench import {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_mypy_sees_the_names(tmp_path):
    (tmp_path / "use.py").write_text("from mmvae_bench import fit, fti\nmodel = fit({})\nmodel.sample(n='one')\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "use.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"MYPYPATH": str(Path(mmvae_bench.__file__).parents[1])},
    )  # fmt: skip
    assert 'has no attribute "fti"' in done.stdout
    assert 'Argument "n" to "sample" of "TrainedModel" has incompatible type "str"' in done.stdout


def test_worker_processes_know_what_a_script_registered(monkeypatch):
    monkeypatch.setitem(models.registry._loaded, "local", ...)  # before `stored`, whose class imports this file
    known = "[name in __import__('mmvae_bench.models').models.registry.names() for name in ('local', 'foreign')]"
    found = results([partial(eval, known)] * 2, 2, Settings(device="cpu"), processes=True)
    assert list(found) == [[True, False]] * 2


def test_run_returns_the_scores_of_its_plan(stored):
    assert set(stored.scores.model) == {"mopoe", "meme"} and set(stored.scores.metric) == {"log_likelihood"}
    assert stored.scores[stored.scores.model == "mopoe"].value.notna().any()
    for frame in (load_scores(stored.where["results_dir"]), load_scores(stored.where["results_dir"], "small")):
        pd.testing.assert_frame_equal(frame, stored.scores)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"models": "mopeo"}, "did you mean mopoe"),
        ({"metrics": "likelihood"}, "No metric 'likelihood'; did you mean log_likelihood"),
        ({"scheme": "mask"}, "No missing scheme 'mask'"),
        ({"epochs": 2.5}, "'epochs' is a whole number"),
        ({"name": "a/b"}, "A plan's name consists of"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_sentence(asked, sentence, tmp_path):
    with pytest.raises(BenchError, match=sentence):
        run(**{"datasets": "linear_gaussian", "models": "mvae", "results_dir": tmp_path, "device": "cpu", **asked})


def test_numbers_of_numpy_and_lists_of_seeds_are_understood(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("mmvae_bench.sweep.runner.run_plan", lambda plan, settings: seen.extend(plan.specs) or 130)
    with pytest.raises(KeyboardInterrupt):
        run("mvae", "linear_gaussian", np.linspace(0, 0.5, 2), [7, 3], epochs=np.int64(2), results_dir=tmp_path)
    assert {(spec.seed, spec.missing.ratio, spec.train.epochs) for spec in seen} == {
        (7, 0.0, 2), (3, 0.0, 2), (7, 0.5, 2), (3, 0.5, 2),
    }  # fmt: skip


def test_a_record_is_a_run_again(monkeypatch, stored, tmp_path):
    seen = []
    monkeypatch.setattr("mmvae_bench.sweep.runner.run_plan", lambda *call: seen.append(call) or 130)
    (run_id,) = stored.scores[stored.scores.model == "meme"].run_id.unique()
    folder = stored.root / "results" / "runs" / "tiny" / "meme" / run_id
    for metrics in (None, "cca"):
        with pytest.raises(KeyboardInterrupt):
            run(record=folder, metrics=metrics, results_dir=tmp_path)
    (plan, first), (_, second) = seen
    assert [spec.run_id for spec in plan.own] == [run_id]
    assert (first.device, first.threads, first.metrics, second.metrics) == ("cpu", 1, ("log_likelihood",), ("cca",))
    with pytest.raises(BenchError, match="Leave out --seeds"):
        run(record=folder, seeds=3, results_dir=tmp_path)


def test_the_commands_call_the_same_functions(monkeypatch, tmp_path):
    seen = []
    plan = SimpleNamespace(name="mine", entries=[])
    monkeypatch.setattr("mmvae_bench.api.start", lambda *call, **more: seen.append((call, more)) or (plan, 0))
    flags = "run --models mvae --metrics linear_probe cca --name mine --shard 1/2 --dry-run"
    assert invoke(*flags.split()).exit_code == 0
    (((asked,), more),) = seen
    assert (asked["name"], asked["models"], asked["metrics"]) == ("mine", ("mvae",), ("linear_probe", "cca"))
    assert (asked["shard"], more) == ("1/2", {"dry_run": True, "command": f"mmvae-bench {flags}"})
    built = SimpleNamespace(summary="a table", page=Path("page.html"))
    monkeypatch.setattr("mmvae_bench.api.write_report", lambda *call, **public: built)
    assert invoke("report").output.startswith("a table\nReport: page.html\n")
    assert mmvae_bench.build_report() == Path("page.html")


def test_a_tilde_is_the_home_folder(stored, monkeypatch):
    monkeypatch.setenv("HOME", str(stored.root))
    pd.testing.assert_frame_equal(load_scores("~/results"), stored.scores)
    (run_id,) = stored.scores[stored.scores.model == "mopoe"].run_id.unique()
    assert load_run(run_id, "~/results").save("~/saved") == stored.root / "saved"
    assert load_run("~/saved").spec.run_id == run_id


def test_a_run_is_loaded_with_what_it_left(mopoe, stored):
    assert mopoe.spec.model.name == "mopoe" and not mopoe.model.training
    assert mopoe.model.modalities[1].vocabulary == WORDS
    own = stored.scores[stored.scores.model == "mopoe"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mopoe.scores, own)
    assert list(mopoe.history.epoch) == [1, 2]


def test_a_run_without_described_modalities_is_refused(mopoe, stored, monkeypatch):
    read = StoredRun.read

    def older(folder, **how):
        found = read(folder, **how)
        return StoredRun(folder, {k: v for k, v in found.record.items() if k != "modalities"}, found.checksum)

    monkeypatch.setattr(StoredRun, "read", older)
    with pytest.raises(BenchError, match=r"without modalities\. Train it again"):
        load_run(mopoe.spec.run_id, stored.where["results_dir"])


def test_encode_is_the_models_posterior(mopoe):
    x = arrays(5)
    found = mopoe.encode({"picture": x["picture"], "table": x["table"]})
    values = {"picture": torch.tensor(x["picture"]) / 255, "caption": torch.zeros(N, 2, dtype=torch.long)}
    present = torch.tensor([True, False, True])[:, None].expand(3, N)
    with torch.no_grad():
        q = mopoe.model.posterior(MultimodalBatch({**values, "table": torch.tensor(x["table"])}, present))
    np.testing.assert_array_equal(found.mean, q.mean.numpy())
    np.testing.assert_array_equal(found.sd, q.stddev.numpy())
    np.testing.assert_array_equal(found.sample, q.rsample(generator=torch.Generator().manual_seed(0)).numpy())
    assert found.mean.shape == (N, 3)


def test_absent_rows_are_not_read(mopoe):
    x, present = arrays(5), np.arange(N) % 3 > 0
    holes = {**x, "table": np.where(present[:, None], x["table"], np.nan)}
    found = mopoe.encode(holes, given=["picture", "table"], mask={"table": present})
    np.testing.assert_array_equal(found.mean[present], mopoe.encode(x, ["picture", "table"]).mean[present])
    np.testing.assert_array_equal(found.mean[~present], mopoe.encode(x, "picture").mean[~present])


@pytest.mark.parametrize("to", [torch.from_numpy, lambda x: x / np.float32(255) if x.dtype == np.uint8 else x])
def test_tensors_and_floats_are_the_same_entries(mopoe, to):
    x = arrays(5)
    found = mopoe.encode({name: to(values) for name, values in x.items()})
    np.testing.assert_allclose(found.mean, mopoe.encode(x).mean, rtol=1e-6)


def test_generate_is_what_the_metrics_generate(meme, stored):
    material = execute.open_material(meme.spec, stored.root, stored.where["cache_dir"])
    ev = Evaluation(meme.model, material.train, material.test, {}, "tiny", 0, 0)
    ev.generator = lambda *parts: torch.Generator().manual_seed(4)
    x = material.test.x
    for given in (("picture",), ("caption", "table")):
        found = meme.generate(x, given, seed=4)
        assert list(found) == ["picture", "caption", "table"]
        for target, values in found.items():
            np.testing.assert_array_equal(values, ev.generate(material.test, given, target).numpy()[None])


def test_generated_entries_look_like_the_data(mopoe):
    x = arrays(5)
    found = mopoe.generate({"table": x["table"]}, targets=["picture", "caption"], n=600)  # more than a chunk of rows
    assert found["picture"].shape == (600, N, 1, 8, 8) and found["caption"].shape == (600, N, 2)
    assert 0 <= found["picture"].min() < found["picture"].max() <= 1
    assert found["caption"].dtype == np.int64 and 0 <= found["caption"].min() <= found["caption"].max() < len(WORDS)
    assert (found["picture"].std(0) > 0).all()
    few = mopoe.generate({"table": x["table"][:2]}, targets="caption", n=2)
    assert list(few) == ["caption"] and few["caption"].shape == (2, 2, 2)


def test_sample_draws_from_the_prior_where_there_is_one(mopoe, meme):
    found = mopoe.sample(7, seed=1)
    assert {name: x.shape for name, x in found.items()} == {"picture": (7, 1, 8, 8), "caption": (7, 2), "table": (7, 3)}
    with torch.no_grad():
        expected = mopoe.model.sample_prior(7, torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(found["table"], expected["table"].numpy())
    with pytest.raises(Undefined, match=r"MEME has no p\(z\)"):
        meme.sample(7)


def some(**changes: object) -> dict[str, object]:
    return {**arrays(5), **changes}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"x": arrays(5)["picture"]}, "x is a dict"),
        ({"x": {}}, "x is a dict"),
        ({"x": {"pictures": arrays(5)["picture"]}}, "No modality 'pictures'; did you mean picture"),
        ({"x": some(), "given": "cpation"}, "No modality 'cpation'; did you mean caption"),
        ({"x": some(), "given": []}, "Name at least one modality"),
        ({"x": {"table": arrays(5)["table"]}, "given": "picture"}, "'picture' is given, but x has only 'table'"),
        ({"x": some(picture=arrays(5)["picture"][:, 0])}, r"\(60, 8, 8\), and \[N, 1, 8, 8\] is needed"),
        ({"x": some(table=np.zeros((3, 3)))}, "same number of rows, at least one: .*table has 3"),
        ({"x": some(picture=arrays(5)["picture"].astype(float))}, r"uint8, or floats in \[0, 1\], not float64"),
        ({"x": some(caption=np.full((N, 2), 4))}, r"lie in 0\.\.3, not in 4\.\.4"),
        ({"x": some(caption=np.zeros((N, 2)))}, "are word ids: whole numbers, not float64"),
        ({"x": some(table=np.full((N, 3), "a"))}, "'table' are numbers"),
        ({"x": some(table=np.full((N, 3), np.nan))}, "NaN or infinite values in rows that are present"),
        ({"x": some(), "mask": {"table": np.ones(N)}}, r"mask of 'table' is Bool\[60\], not float64"),
        ({"x": some(), "mask": {"tabel": np.ones(N, bool)}}, "No modality 'tabel'"),
        (
            {"x": some(), "given": "table", "mask": {"table": np.arange(N) != 7}},
            "Rows without any of 'table': 1, the first is row 7. Leave them out.",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_model_is_a_sentence(mopoe, asked, sentence):
    for ask in (mopoe.encode, mopoe.generate):
        with pytest.raises(BenchError, match=sentence):
            ask(**asked)


def test_targets_draws_and_runs_that_there_are_not(mopoe, stored, tmp_path):
    with pytest.raises(BenchError, match="No modality 'sound'"):
        mopoe.generate(some(), targets="sound")
    with pytest.raises(BenchError, match="number of draws is at least 1, not 0"):
        mopoe.generate(some(), n=0)
    with pytest.raises(BenchError, match="no such folder, and no id starts with 'feedbeef' under"):
        load_run("feedbeef", stored.where["results_dir"])


QUICK = {"model": "mopoe", "nets": "mlp[hidden=8]", "latent_dim": 3, "batch_size": 16, "epochs": 4, "progress": False}


def test_fit_trains_on_what_the_mask_shows(tmp_path):
    x, mask = arrays(3), {"table": np.arange(N) % 4 > 0, "caption": np.arange(N) % 5 > 0}
    spoiled = {**x, "table": x["table"].copy(), "caption": x["caption"].copy()}
    spoiled["table"][~mask["table"]], spoiled["caption"][~mask["caption"]] = np.nan, -1
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    found = fit(spoiled, mask=mask, **QUICK)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    assert found.history.loss.iloc[-1] < found.history.loss.iloc[0]
    assert [m.likelihood for m in found.model.modalities] == ["laplace", "categorical", "normal"]
    assert found.spec.missing.ratio == pytest.approx(1 - 36 / 60) and found.scores.empty
    clean = fit(x, mask=mask, **QUICK).model.state_dict()
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, clean[name]), name
    unmasked = fit(x, **QUICK).model.state_dict()
    assert any(not torch.equal(value, clean[name]) for name, value in unmasked.items())


def test_a_fitted_model_is_saved_and_loaded_to_the_bit(tmp_path):
    x = arrays(3)
    words = Modality("caption", (2,), "categorical", weight=5.0, dtype="int16", vocabulary=WORDS)
    both = (words, Modality("table", (3,), "normal", dtype="float32"))
    del x["picture"]
    found = fit(x, **QUICK | {"model": "meme[beta=2,pseudo=2,k=1]", "modalities": both})
    assert found.spec.model.options["pseudo"] == 2 and found.spec.model.options["beta"] == 2.0
    folder = found.save(tmp_path / "new" / "folder")
    again = load_run(folder)
    assert (again.spec, again.model.modalities) == (found.spec, both)
    np.testing.assert_array_equal(again.encode(x).sample, found.encode(x).sample)
    pd.testing.assert_frame_equal(again.history, found.history)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BenchError, match="was changed after it was written"):
        load_run(folder)


def test_a_stored_run_is_saved_with_its_scores(mopoe, tmp_path):
    again = load_run(mopoe.save(tmp_path))
    pd.testing.assert_frame_equal(again.scores, mopoe.scores)
    np.testing.assert_array_equal(again.encode(arrays(5)).sample, mopoe.encode(arrays(5)).sample)


def tables() -> dict[str, np.ndarray]:
    return {"left": arrays(3)["table"], "right": arrays(4)["table"]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "mopeo"}, "did you mean mopoe"),
        ({"model": "mvae[betta=1]"}, "has no option 'betta'"),
        ({"x": {"picture": arrays(3)["picture"][:, 0]}}, "which may be many things; pass pictures as uint8"),
        ({"mask": {"table": np.zeros(N, bool)}}, "No row has an entry of 'table'"),
        ({"modalities": [Modality("table", (3,), "normal", dtype="float32")]}, "No modality 'picture'"),
        ({"nets": "conv", "x": tables()}, "'conv' cannot take these modalities: the conv nets need"),
        ({"epochs": 0}, "Epochs and batch size must be at least 1"),
        ({"latent_dim": 0}, "latent_dim is at least 1"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"x": {"table": arrays(3)["table"]}}, "at least two modalities, not 1"),
        ({"x": tables() | {"a.b": arrays(3)["table"]}}, "is a word of letters, digits and '_', not 'a.b'"),
        ({"modalities": [Modality(name, (2,), dtype="int16") for name in arrays(3)]}, "needs a vocabulary"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_a_sentence(changes, sentence):
    with pytest.raises(BenchError, match=sentence):
        fit(**{"x": arrays(3), **QUICK, **changes})


def test_a_model_that_needs_complete_rows_refuses_a_mask(monkeypatch):
    refuse = classmethod(lambda cls, modalities, missing: "no holes" * (missing.ratio > 0))
    monkeypatch.setattr(models.registry.get("mopoe"), "unsupported", refuse)
    fit(arrays(3), **QUICK | {"epochs": 1})
    with pytest.raises(BenchError, match="'mopoe' cannot take these data: no holes"):
        fit(arrays(3), mask={"table": np.arange(N) > 3}, **QUICK)
