"""``mmvae-bench submit``: what is accepted, and every fault as a sentence and the exit code 2."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmvae_bench import datasets, metrics, models
from mmvae_bench.datasets.base import Built, Dataset, Protocol
from mmvae_bench.store import foreign
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from mmvae_bench.sweep import submit
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.request import Request
from mmvae_bench.types import Modality
from tests.helpers import invoke
from tests.store.test_check import reseal
from tests.stored import damage, fail, row, snapshot
from tests.sweep.test_plan import Picky

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(path.parent for path in ROOT.glob("results/*/scores.csv.xz"))
OUTCOMES = np.array([0, 1, 1, 1], dtype=np.float32)


class Pairs(Dataset):
    modalities = (Modality("left", (4,), "normal", 0.5, 2.0, "float32"), Modality("right", (4,)))
    protocol = Protocol("mlp[hidden=8]", latent_dim=2, epochs=3, batch_size=16, learning_rate=1e-3)

    def build(self, data_dir) -> Built:
        raise NotImplementedError


def store_run(store: Store, spec, value: float = 0.75, outcomes=OUTCOMES, version: int = 0, **fields) -> Path:
    """Store a run with one score, the mean of its four outcomes."""
    known = {
        "sampled": "rows",
        "n": 4,
        "metric_version": 1,
        "dataset_options": "{}",
        "missing_ratio": spec.missing.ratio,
    }
    score = row(spec, "linear_probe", value, **{**known, **fields})
    key = "linear_probe///a/b"
    info = {"metrics": {"linear_probe": version or metrics.registry.get("linear_probe").version}}
    kept = {"weights": {"w": np.arange(3.0)}, "outcomes": {key: outcomes} if len(outcomes) else {}}
    folder = store.publish(RunResult(spec, [score], [{"epoch": 1, "loss": 2.0}], info, **kept))
    assert folder is not None
    return folder


@pytest.fixture
def toy(monkeypatch) -> Request:
    """A suite of two models, one of which needs complete rows: six runs."""
    monkeypatch.setitem(datasets.registry._loaded, "pairs", Pairs)
    monkeypatch.setitem(models.registry._loaded, "picky", Picky)
    request = Request(
        name="toy", models=("mvae", "picky"), datasets=("pairs",), missing=(0.0, 0.5), seeds=(0, 1),
        metrics=("linear_probe",),
    )  # fmt: skip
    monkeypatch.setattr(submit, "list_suites", lambda: {"toy": ""})
    monkeypatch.setattr(submit, "load_suite", lambda name: request)
    return request


@pytest.fixture
def store(toy, tmp_path) -> Store:
    """All runs of the suite, and nothing else."""
    store = Store(tmp_path / "mine")
    plan = make_plan(toy, store, Path())
    for spec in plan.specs:
        store_run(store, spec)
    store.write_plan("toy", make_plan(toy, store, Path()).record())
    store.collate()
    return store


def faults(folder: Path, *options: str) -> list[str]:
    """The faults, which are lines; nothing is ever written."""
    before = snapshot(folder)
    result = invoke("submit", str(folder), *options)
    assert snapshot(folder) == before
    found = [line.removeprefix("fault: ") for line in result.stdout.splitlines() if line.startswith("fault: ")]
    assert result.exit_code == (2 if found else 0), result.output
    assert ("- [ ]" in result.stdout) is not found or not found
    return found


def first(store: Store) -> Path:
    return store.folders()[0]


def test_a_whole_suite_is_accepted_and_the_checklist_printed(store) -> None:
    result = invoke("submit", str(store.root))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "toy: 6 runs, 6 rows, 0 faults" in lines
    assert f"- [ ] python benchmarks/publish.py toy --results-dir {store.root}" in lines
    assert len([line for line in lines if line.startswith("- [ ] ")]) == 6


def test_each_run_that_is_missing_or_failed_is_a_line(store, toy) -> None:
    one, two, *_ = make_plan(toy, store, Path()).specs
    shutil.rmtree(store.folder(one))
    shutil.rmtree(store.folder(two))
    fail(store, two)
    (store.root / "scores.csv").unlink()
    assert faults(store.root) == [
        f"mvae on pairs, complete, seed 0 ({one.run_id}) is not stored.",
        f"mvae on pairs, complete, seed 1 ({two.run_id}) failed: the loss is NaN.",
    ]


def test_runs_are_demanded_where_the_data_are_absent(store, monkeypatch) -> None:
    def sources(self, data_dir):
        raise datasets.base.DataError("put the file there")

    monkeypatch.setattr(Pairs, "sources", sources)
    shutil.rmtree(first(store))
    (store.root / "scores.csv").unlink()
    assert [line.rpartition(" is ")[2] for line in faults(store.root)] == ["not stored."]


def test_a_run_of_other_settings_is_named_with_what_differs(store, toy) -> None:
    spec = make_plan(toy, store, Path()).specs[0]
    other = replace(spec, latent_dim=3, seed=0)
    folder = store_run(store, other)
    (store.root / "scores.csv").unlink()
    assert faults(store.root) == [
        f"'{folder}' is not a run of 'toy' in this version: it differs in latent_dim. Move it elsewhere."
    ]


def test_another_plan_is_not_of_the_suite(store) -> None:
    store.write_plan("other", {**store.read_plan("toy"), "name": "other"})
    result = invoke("submit", str(store.root))
    assert result.exit_code == 2
    assert "has the plans other, toy. Name the suite with --suite." in result.stderr
    (line,) = faults(store.root, "--suite", "toy")
    assert line.endswith("other.json' is not the plan of 'toy'. Move it elsewhere.")


def with_value(store: Store, spec) -> None:
    store_run(store, spec, 0.76)


def with_n(store: Store, spec) -> None:
    store_run(store, spec, n=5)


def without_outcomes(store: Store, spec) -> None:
    store_run(store, spec, outcomes=np.zeros(0))


def of_an_old_version(store: Store, spec) -> None:
    store_run(store, spec, version=99)


def of_other_data(store: Store, spec) -> None:
    store_run(store, spec, dataset_hash="e" * 16)


def with_changed_weights(store: Store, spec) -> None:
    damage(store.folder(spec))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (with_value, "linear_probe///a/b is 0.76, and the mean of its 4 outcomes is another."),
        (with_n, "linear_probe///a/b is 0.75, and the mean of its 4 outcomes is another."),
        (without_outcomes, "has no outcomes of linear_probe///a/b."),
        (of_an_old_version, "1 run was scored by version 99 of linear_probe, and this is version"),
        (of_other_data, "Scores on pairs differ in dataset_hash"),
        (with_changed_weights, "model.safetensors was changed after it was written."),
    ],
)
def test_a_run_with_a_fault_is_refused_in_a_sentence(store, toy, change: Callable, sentence: str) -> None:
    change(store, make_plan(toy, store, Path()).specs[0])
    (store.root / "scores.csv").unlink()
    (line,) = faults(store.root)
    assert sentence in line


def test_links_pickles_and_strange_files_are_refused_before_anything_is_read(store, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    folder = first(store)
    (folder / "run.json").unlink()
    (folder / "run.json").symlink_to(secret)
    (folder / "model.pkl").write_bytes(pickle.dumps("x"))
    (store.root / "runs" / "away").symlink_to(tmp_path)
    os.mkfifo(store.root / "pipe")
    published = store.root / "mnist_street" / "environment.json"  # lies there in a clone, and is no fault
    published.parent.mkdir()
    published.write_text("{}")
    assert faults(store.root) == [
        f"'{store.root / 'pipe'}' does not belong to the results. Move it elsewhere.",
        f"'{store.root / 'runs' / 'away'}' is a link. Put the file itself there.",
        f"'{folder / 'model.pkl'}' does not belong to the results. Move it elsewhere.",
        f"'{folder / 'run.json'}' is a link. Put the file itself there.",
    ]


def test_an_array_of_objects_is_never_loaded(store) -> None:
    folder = first(store)
    np.savez(folder / "outcomes.npz", **{"linear_probe///a/b": np.array([{}], dtype=object)})
    reseal(folder)
    assert any("outcomes.npz' (ValueError)" in line for line in faults(store.root))


@pytest.mark.parametrize("name", ["../../escaped.npy", "/etc/passwd.npy", "a\\..\\b.npy", "run.py"])
def test_an_archive_with_paths_out_of_it_is_refused(store, name: str) -> None:
    with zipfile.ZipFile(first(store) / "outcomes.npz", "a") as archive:
        archive.writestr(name, b"x")
    (line,) = faults(store.root)
    assert f"contains {name!a}, which is not the name of an array" in line


def test_what_is_large_or_becomes_large_is_not_read(store, monkeypatch) -> None:
    monkeypatch.setattr(foreign, "MOST_ARRAYS", 4000)
    os.truncate(first(store) / "model.safetensors", 4001)
    zeros = store.folders()[1] / "outcomes.npz"
    np.savez_compressed(zeros, x=np.zeros(100_000))
    assert zeros.stat().st_size < 4000
    one, two = faults(store.root)
    assert "too large: 4,001 bytes, and at most 4,000 are read." in one
    assert "bytes when unpacked, and at most 4,000 are read." in two


@pytest.mark.parametrize("change", [{"metrics": 5}, {"code": 5}, {"spec": {"seed": 0}}])
def test_a_record_made_by_hand_is_a_sentence(store, change: dict) -> None:
    reseal(first(store), **change)
    result = invoke("submit", str(store.root))
    assert result.exit_code == 2
    assert "Error: " in result.stderr or "fault: " in result.stdout


def test_what_is_no_results_folder_is_a_sentence(toy, tmp_path) -> None:
    archive = tmp_path / "results.tar.gz"
    archive.touch()
    for path, words in ((archive, "must be unpacked first"), (tmp_path, "There are no results in")):
        result = invoke("submit", str(path))
        assert (result.exit_code, words in result.stderr) == (2, True)
    (tmp_path / "mine" / "runs").mkdir(parents=True)
    assert "has no plan. Name the suite" in invoke("submit", str(tmp_path / "mine")).stderr
    assert "'x' is not a suite of mmvae-bench" in invoke("submit", str(tmp_path / "mine"), "--suite", "x").stderr


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_what_is_published_is_its_suite_and_has_the_outcomes_of_its_values(folder: Path) -> None:
    """Results stay as they were published, so that metrics may have newer versions since."""
    found = submit.check_submission(folder)
    assert found.runs > 0
    assert not [line for line in found.faults if not line.startswith("Rows are scored by version ")]


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(ROOT / "results" / "robustness-small", tmp_path / "robustness-small"))


def rewritten(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    """The faults of a published folder whose table was changed."""
    change(pd.read_csv(folder / "scores.csv.xz")).to_csv(folder / "scores.csv.xz", index=False)
    return faults(folder)


def test_a_published_value_without_its_outcomes_is_refused(copy) -> None:
    assert faults(copy) == []

    def better(frame: pd.DataFrame) -> pd.DataFrame:
        own = (frame["metric"] == "cross_coherence") & (frame["variant"] == "micro") & (frame["label"] == "mvae")
        assert own.any()
        return frame.assign(value=frame["value"].where(~own, frame["value"] + 0.1))

    lines = rewritten(copy, better)
    assert lines
    assert all("cross_coherence/micro" in line and line.endswith("is not the mean of its outcomes.") for line in lines)


def test_a_published_table_without_a_seed_is_refused(copy) -> None:
    lines = rewritten(copy, lambda frame: frame[~((frame["seed"] == 2) & (frame["label"] == "mvae"))])
    assert "mvae on mnist_street, none 0 keep, seed 2, tier default: has no rows." in lines
    assert any("environment.json' is of 18 runs, and there are 17." in line for line in lines)


def test_a_seed_that_the_suite_does_not_have_is_refused(copy) -> None:
    def more(frame: pd.DataFrame) -> pd.DataFrame:
        own = frame[(frame["seed"] == 2) & (frame["label"] == "mvae")]
        return pd.concat([frame, own.assign(seed=3)])

    assert "mvae on mnist_street, none 0 keep, seed 3, tier default: is not in the suite." in rewritten(copy, more)


def test_hostile_files_in_a_published_folder_are_sentences(copy, monkeypatch) -> None:
    (copy / "run.sh").write_text("rm")
    (line,) = faults(copy)
    assert "run.sh' does not belong" in line
    (copy / "run.sh").unlink()
    (copy / "environment.json").write_text("[" * 100_000)
    assert invoke("submit", str(copy)).exit_code == 2
    (copy / "environment.json").write_text(json.dumps({"runs": 18}))
    arrays = {"x": np.array([{}], dtype=object)}
    np.savez(copy / "outcomes.npz", **arrays)
    (line,) = faults(copy)
    assert "outcomes.npz' (ValueError)" in line
    monkeypatch.setattr(foreign, "MOST_TEXT", 50_000)
    (line,) = faults(copy)
    assert "scores.csv.xz' is too large when unpacked: at most 50,000 bytes are read." in line
    (copy / "scores.csv.xz").write_bytes(b"cut off")
    (line,) = faults(copy)
    assert "scores.csv.xz' cannot be unpacked" in line
