"""The tier ``tuned``: equal trials for every model, a winner by the stated rule, and its runs over the seeds."""

import numpy as np
import pytest

from mmvae_bench import api, models
from mmvae_bench.errors import BenchError
from mmvae_bench.models.meme import MEME
from mmvae_bench.models.mopoe import MoPoE
from mmvae_bench.options import parse_named
from mmvae_bench.spec import RunStatus
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.request import SEARCH_SEED, Request, Search
from mmvae_bench.sweep.search import draw
from mmvae_bench.sweep.suites import load_suite
from tests.stored import row

SEARCH = Search(trials=4, missing=(0.0, 0.5), learning_rate=(1e-4, 1e-2))
ASKED = Request(
    models=("mvae", "mopoe[beta=2]", "unimodal"), datasets=("linear_gaussian[rows=120]",), missing=(0.0,), seeds=(0, 1),
    tiers=("default", "tuned"), search=SEARCH,
)  # fmt: skip


def plan(store: Store, asked: Request = ASKED):
    return make_plan(asked, store, store.root)


def score(store: Store, spec, value: float) -> None:
    """Store a run whose score of the rule is a number, beside scores that the rule does not read."""
    names = {"variant": "micro", "prior": ""}
    others = [row(spec, "cross_coherence", 0.9, **names, chance=0.2, ceiling=0.19)]  # by a judge at chance
    others += [row(spec, "cross_coherence", 1.0, variant="macro", prior=""), row(spec, "self_coherence", 1.0, **names)]
    store.publish(RunResult(spec, [row(spec, "cross_coherence", value, **names), *others]))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def test_models_share_the_draws_of_what_they_have_in_common_and_keep_what_was_typed():
    meme, mopoe = draw(SEARCH, MEME, parse_named("meme")), draw(SEARCH, MoPoE, parse_named("mopoe"))
    assert len(meme) == len(mopoe) == 4
    assert [dict(trial.options) for trial in (meme[0], mopoe[0])] == [{}, {}]
    assert [trial.options["beta"] for trial in meme[1:]] == [trial.options["beta"] for trial in mopoe[1:]]
    assert [trial.learning_rate for trial in meme] == [trial.learning_rate for trial in mopoe]
    assert all(trial.options.keys() == {"beta", "supervision"} for trial in meme[1:])
    assert all("beta" not in trial.options for trial in draw(SEARCH, MoPoE, parse_named("mopoe[beta=2]")))


def test_draws_are_log_uniform_in_the_declared_range():
    trials = draw(Search(trials=1000), MoPoE, parse_named("mopoe"))[1:]
    x = np.log([float(trial.options["beta"]) for trial in trials])
    low, high = np.log([0.05, 5.0])
    assert low <= x.min() and x.max() <= high
    assert abs(x.mean() - (low + high) / 2) < 5 * (high - low) / np.sqrt(12 * len(x))


def test_trials_are_ordinary_runs_on_validation_rows_and_winners_wait_for_them(store):
    found = plan(store)
    trials = [entry for entry in found.entries if entry.spec.split == "validation"]
    assert len(trials) == 2 * 4 * 2  # two models, four trials, two patterns
    assert {entry.spec.seed for entry in trials} == {SEARCH_SEED} and {entry.metrics for entry in trials} == {
        ("cross_coherence",)
    }
    assert not any(entry.tiers for entry in trials)
    assert found.waiting == 2
    reported = [entry for entry in found.entries if entry.tiers]
    tiers = {(entry.spec.model.name, entry.tiers) for entry in reported}
    assert tiers == {("mvae", ("default",)), ("mopoe", ("default",)), ("unimodal", ("default", "tuned"))}


def test_the_best_mean_over_patterns_wins_and_is_trained_over_the_seeds(store):
    search = plan(store).searches[0]
    for number, specs in enumerate(search.specs):
        for spec, value in zip(specs, (0.2, 0.9 if number == 2 else 0.3), strict=True):
            score(store, spec, value)
    found = plan(store)
    assert found.waiting == 1
    assert found.searches[0].winner == 2
    assert found.searches[0].scores == pytest.approx([0.25, 0.25, 0.55, 0.25])
    tuned = [entry for entry in found.entries if entry.tiers == ("tuned",)]
    assert [entry.spec.seed for entry in tuned] == [0, 1]
    won = draw(SEARCH, models.registry.get("mvae"), parse_named("mvae"))[2]
    assert {f"{entry.spec.model.options['beta']:g}" for entry in tuned} == {won.options["beta"]}
    assert {entry.spec.train.learning_rate for entry in tuned} == {won.learning_rate}
    assert {entry.spec.rule for entry in tuned} == {SEARCH.rule}
    assert {entry.spec.tier for entry in tuned} == {"tuned"}
    record = found.record()
    assert record["searches"][0]["winner"] == 2
    store.write_plan(found.name, record)
    assert store.read_plan(found.name)["searches"] == record["searches"]


def test_where_the_default_settings_win_their_runs_serve_both_tiers(store):
    for specs in plan(store).searches[0].specs:
        for spec in specs:
            score(store, spec, 0.5)
    mvae = [entry for entry in plan(store).entries if entry.spec.model.name == "mvae" and entry.tiers]
    assert [entry.tiers for entry in mvae] == [("default", "tuned")] * 2


def test_a_trial_that_failed_counts_as_the_worst_and_all_failed_choose_nothing(store):
    search = plan(store).searches[0]
    for specs in search.specs:
        for spec in specs:
            store.publish(RunResult(spec, [row(spec, "", None, status="failed", reason="NaN")], error="NaN"))
    found = plan(store).searches[0]
    assert (found.waits, found.winner) == (False, None)
    (sentence,) = plan(store).untuned  # the other model's trials are not stored yet
    assert sentence.startswith(
        "'mvae' has no tuned runs on linear_gaussian[rows=120]: none of its trials has the score"
    )
    score(store, search.specs[3][0], 0.1)
    score(store, search.specs[3][1], 0.1)
    assert plan(store).searches[0].winner == 3


def test_authors_settings_are_those_of_the_model_under_what_was_typed(store):
    asked = Request(models=("meme[k=3]", "mopoe"), datasets=("linear_gaussian",), tiers=("authors",))
    meme, mopoe = (entry.spec for entry in plan(store, asked).entries)
    wanted = {"supervision": 10.0, "directions": "sum", "batches": "pure", "k": 3}
    assert wanted.items() <= meme.model.options.items()
    assert mopoe.model.options["beta"] == 2.5
    assert meme.model.label == "meme[k=3]"


def test_a_command_goes_on_to_the_winners_by_itself(tmp_path, monkeypatch):
    """Its second plan has them, since the first one stored the trials."""
    planned = []

    def pretend(found, settings) -> int:
        planned.append(found)
        for entry in found.entries:
            if entry.status == RunStatus.TO_RUN:
                score(Store(settings.results_dir), entry.spec, entry.spec.train.learning_rate)
        return 0

    monkeypatch.setattr("mmvae_bench.sweep.runner.run_plan", pretend)
    flags = {
        "models": ["mvae"],
        "datasets": ["linear_gaussian"],
        "results_dir": tmp_path / "results",
        "tiers": ["tuned"],
    }
    api.run(**flags)
    assert [found.waiting for found in planned] == [1, 0]
    assert not [entry for entry in planned[0].entries if entry.tiers]
    assert {entry.tiers for entry in planned[1].entries} == {(), ("tuned",)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[search]\ntrails = 3", "'search' is a table of trials"),
        ("[search]\ntrials = 2.5", "wrong type of value in trials"),
        ("[search]\nmetric = 'cross'", "No metric 'cross'"),
        ("[search]\nlearning_rate = [1e-2, 1e-3]", "least and its greatest"),
        ("[search]\ntrials = 0", "from 1 to 1,000 trials"),
        ("tiers = 'best'", "No tier 'best'"),
    ],
)
def test_a_wrong_search_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BenchError, match=says):
        load_suite(str(path))
