"""benchmarks/publish.py: what goes into the repository, and what is refused."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mmvae_bench import load_scores
from mmvae_bench.errors import BenchError
from mmvae_bench.report.select import select
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.suites import load_suite
from tests.helpers import benchmark

READ = ["run_id", "seed", "metric", "variant", "given", "target", "value", "se", "n", "chance", "tier", "rule", "split"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("publish")


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch, script: ModuleType, no_figures: None) -> None:
    """No figures, and a plan that is not a suite's."""
    monkeypatch.setattr(script, "load_suite", lambda name: name)
    monkeypatch.setattr(script, "make_plan", lambda name, store, data_dir: Planned(store.read_plan(name)))


class Planned:
    """What a suite plans: what is stored."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.entries = [SimpleNamespace(spec=SimpleNamespace(run_id=run_id)) for run_id in plan["run_ids"]]


def stored(
    factory: Any, root: Path, coherence: float, *, models: tuple[str, ...] = ("mvae", "mopoe"), ceiling: float = 1.0
) -> Store:
    """Two models of a coherence, chance .1, planned as the suite ``toy``."""
    store = Store(root)
    store.check_writable()
    runs = [factory.spec(name, seed=seed) for name in models for seed in range(3)]
    for run in runs:
        where = {"given": "mnist", "target": "street", "variant": "micro", "chance": 0.1, "se": 0.001, "n": 1000}
        where["ceiling"] = ceiling
        factory.publish(store, run, [factory.row(run, "cross_coherence", coherence + run.seed / 1000, **where)])
    store.write_plan("toy", factory.make_plan(runs, name="toy", title="A toy"))
    return store


def test_results_their_environment_and_tables_with_the_command_are_written(script, factory, tmp_path) -> None:
    results, report = script.publish(stored(factory, tmp_path / "r", 0.5), "toy", tmp_path)
    names = ["environment.json", "outcomes.npz", "runs.csv.xz", "scores.csv.xz"]
    assert sorted(path.name for path in results.iterdir()) == names
    assert json.loads((results / "environment.json").read_text())["runs"] == 6
    page = (report / "README.md").read_text()
    assert page.startswith("# A toy") and "0.501" in page
    tables = list((report / "tables").iterdir())
    assert tables
    for table in tables:
        assert "`mmvae-bench run --suite toy && mmvae-bench report --suite toy`" in table.read_text()


def test_the_hours_of_a_run_of_two_tiers_are_counted_once(script, tuned) -> None:
    found = script.environment(select(tuned.store, tuned.plan))
    seconds = {"mvae": 82.0, "mmvae": 94.0}
    assert (found["runs"], found["hours"]) == (9, round((3 * seconds["mvae"] + 6 * seconds["mmvae"]) / 3600, 2))


def test_published_scores_are_read_as_stored_ones(script, factory, tmp_path) -> None:
    store = stored(factory, tmp_path / "r", 0.5)
    results, _ = script.publish(store, "toy", tmp_path)
    ours, theirs = (
        f.sort_values(["run_id", "metric"], ignore_index=True) for f in (store.scores(), load_scores(results))
    )
    pd.testing.assert_frame_equal(ours[READ], theirs[READ])
    (results / "scores.csv.xz").write_bytes(b"cut off")
    with pytest.raises(BenchError, match="is not a table of published scores"):
        load_scores(results)


def test_what_is_within_5_points_of_chance_is_no_comparison(script, factory, tmp_path) -> None:
    with pytest.raises(BenchError, match=r"0\.041 above chance \(ceiling 1\), too close to chance"):
        script.publish(stored(factory, tmp_path / "r", 0.14), "toy", tmp_path)
    assert not (tmp_path / "results").exists()
    script.publish(stored(factory, tmp_path / "c", 0.14, ceiling=0.5), "toy", tmp_path)  # 8 hundredths of the ceiling


def test_chance_controls_do_not_make_a_comparison(script, factory, tmp_path) -> None:
    store = stored(factory, tmp_path / "r", 0.14)
    run = factory.spec("unimodal")
    where = {"given": "mnist", "target": "street", "variant": "micro", "chance": 0.1, "control": True}
    factory.publish(store, run, [factory.row(run, "cross_coherence", 0.9, **where)])
    plan = store.read_plan("toy")
    store.write_plan("toy", {**plan, "run_ids": [*plan["run_ids"], run.run_id]})
    with pytest.raises(BenchError, match="too close to chance"):
        script.publish(store, "toy", tmp_path)


@pytest.mark.parametrize("change", [lambda ids: ids[1:], lambda ids: [*ids[1:], "0" * 16]])
def test_a_plan_with_other_runs_than_the_suites_is_refused(script, monkeypatch, tmp_path, change) -> None:
    monkeypatch.undo()
    store = Store(tmp_path / "r")
    plan = make_plan(load_suite("quick"), store, tmp_path).record()
    script.refuse_other_runs(plan, "quick", store)
    with pytest.raises(BenchError, match=r"'quick' is not the suite's\. Run it: mmvae-bench run --suite quick"):
        script.refuse_other_runs({**plan, "run_ids": change(plan["run_ids"])}, "quick", store)


def test_an_unfinished_suite_is_refused(script, factory, tmp_path) -> None:
    store = stored(factory, tmp_path / "r", 0.5)
    plan = store.read_plan("toy")
    store.write_plan("toy", {**plan, "run_ids": [*plan["run_ids"], "0" * 16]})
    with pytest.raises(BenchError, match="1 run of 'toy' not done"):
        script.publish(store, "toy", tmp_path)


def test_published_values_stand_beside_ours_with_the_reason_why_not(script, factory, tmp_path) -> None:
    store = Store(tmp_path / "r")
    store.check_writable()
    known = {"names": ("mnist", "svhn"), "options": {"beta": 1.0}}
    runs = [factory.spec("meme", "mnist_svhn", seed=seed, **known) for seed in range(3)]
    where = {"given": "mnist", "target": "svhn", "chance": 0.2}
    for run in runs:
        both = [factory.row(run, "cross_coherence", 0.5, variant=v, **where) for v in ("micro", "agreement")]
        factory.publish(store, run, both)
    store.write_plan("toy", factory.make_plan(runs, name="toy"))
    page = (script.publish(store, "toy", tmp_path)[1] / "README.md").read_text()
    (line,) = [line for line in page.splitlines() if "| 0.625 ± 0.007 |" in line]
    assert line.startswith("| meme | complete | Cross-coherence (agreement), mnist → svhn | 0.500 |")
    assert line.endswith("| Joy et al. 2022 (MEME), Table 3 | A | none: (1) |")
    assert "\n1. " in page
    assert "nets mlp instead of conv" in page
    assert "mmvae-bench run --suite toy --data-dir DIR" in page
