from collections.abc import Sequence
from importlib.metadata import EntryPoint

import pytest

from mmvae_bench import datasets, models, nets
from mmvae_bench.datasets.base import Built, Dataset, Protocol
from mmvae_bench.errors import BenchError, DataError, Unsupported
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.mmvae import MMVAE
from mmvae_bench.spec import Missing, TrainSpec
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.estimate import estimate, in_words
from mmvae_bench.sweep.plan import Plan, Request, make_plan
from mmvae_bench.types import Modality


class Pairs(Dataset):
    def __init__(self, *, size: int = 4) -> None:
        self.size = size

    modalities = (Modality("left", (4,), "normal", 0.5, 2.0, "float32"), Modality("right", (4,)))
    protocol = Protocol("mlp[hidden=8]", latent_dim=2, epochs=3, batch_size=16, learning_rate=1e-3)

    def build(self, data_dir) -> Built:
        raise NotImplementedError


class Absent(Pairs):
    modalities = (Modality("left", (4,)), Modality("svhn", (4,)))

    def sources(self, data_dir):
        raise DataError(f"put the file at {data_dir}/file")


class Picky(MultimodalVAE):
    def __init__(self, networks, *, beta: float = 1) -> None: ...

    @classmethod
    def unsupported(cls, modalities: Sequence[Modality], missing: Missing) -> str | None:
        return "needs complete rows" if missing.ratio > 0 else None

    def posterior(self, batch): ...
    def loss(self, batch): ...


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.setitem(datasets.registry._loaded, "pairs", Pairs)
    monkeypatch.setitem(datasets.registry._loaded, "absent", Absent)
    monkeypatch.setitem(models.registry._loaded, "picky", Picky)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def plan_of(store: Store, **asked) -> Plan:
    request = Request(**{"models": ("mvae",), "datasets": ("pairs",), **asked})
    return make_plan(request, store, store.root.parent / "data")


def test_specs_are_resolved_from_the_protocol(store):
    (entry,) = plan_of(store, models=("mvae[k=3]",)).entries
    spec = entry.spec
    assert (entry.status, spec.title) == ("to run", "mvae[k=3] on pairs, complete, seed 0")
    assert spec.dataset.options == {"size": 4}
    assert spec.model.options["k"] == 3
    assert spec.model.options["beta"] == 1.0
    assert spec.nets.options == {"hidden": 8, "layers": 2}
    assert (spec.train.epochs, spec.train.batch_size, spec.latent_dim) == (3, 16, 2)
    assert spec.likelihoods["left"] == {"likelihood": "normal", "scale": 0.5, "weight": 2.0}
    assert spec.missing == Missing(0)


def test_the_grid_has_each_run_once_and_ratio_0_once(store):
    asked = {"missing": (0.0, 0.5), "scheme": ("split", "only:left"), "seeds": (0, 1), "models": ("mvae", "mvae[k=1]")}
    plan = plan_of(store, **asked)
    assert len(plan.entries) == 3 * 2  # mvae[k=1] is mvae: its default
    assert [e.spec.missing.text for e in plan.entries[::2]] == ["complete", "split 0.5", "only:left 0.5"]
    assert plan.entries[0].spec.title == "mvae on pairs, complete, seed 0"


def test_a_request_takes_the_protocols_place(store):
    own = {"scales": {"left": 0.3}, "weights": {"right": 2.0}, "learning_rate": 0.5, "optimiser": "amsgrad"}
    own |= {"epochs": 7, "batch_size": 5, "latent_dim": 9, "limit_train": 11, "limit_test": 12, "seeds": (4,)}
    before, after = (plan_of(store, **asked).specs[0] for asked in ({}, own))
    assert after.train == TrainSpec(7, 5, 0.5, "amsgrad")
    assert (after.latent_dim, after.limit_train, after.limit_test, after.seed) == (9, 11, 12, 4)
    assert after.likelihoods["left"] == {**before.likelihoods["left"], "scale": 0.3}
    assert after.likelihoods["right"] == {**before.likelihoods["right"], "weight": 2.0}


def test_all_is_every_registered_model_and_takes_options(store):
    assert [e.spec.model.label for e in plan_of(store, models=("all",)).entries] == models.registry.names()
    planned = plan_of(store, models=("all[beta=2]",)).entries
    assert {e.spec.model.options["beta"] for e in planned if e.status != "skipped"} == {2.0}
    without = {e.spec.model.name: e.reason for e in planned if e.status == "skipped"}
    assert set(without) == {"regressor", "contrastive", "csvae"} and "has no option 'beta'" in without["regressor"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"datasets": ("pairs[side=1]",)}, "'pairs' has no option 'side'. Its options are size"),
        ({"scales": {"top": 0.5}}, "The scale of 'top' names no modality of the data. pairs has left, right"),
        ({"weights": {"top": 2.0}}, "The weight of 'top' names no modality"),
        ({"metrics": ("linear_probe",), "priors": ("gmm",)}, "No metric that is asked for scores priors. Add one to"),
        ({"priors": ("gm",)}, "No prior 'gm'; did you mean gmm"),
        ({"optimiser": "sgd"}, "No optimiser 'sgd'. Write one of adam, amsgrad"),
    ],
)
def test_bad_input_is_one_sentence(store, asked, sentence):
    with pytest.raises(BenchError, match=sentence):
        plan_of(store, **asked)


def test_a_model_that_cannot_is_skipped_with_its_reason(store):
    plan = plan_of(store, models=("picky",), missing=(0.0, 0.5))
    assert [(e.status, e.reason) for e in plan.entries] == [("to run", ""), ("skipped", "needs complete rows")]
    assert plan.exit_code() == 0
    assert plan.record()["skipped"] == [
        {"dataset": "pairs", "label": "picky", "missing": "split 0.5", "seed": 0, "reason": "needs complete rows"}
    ]
    first = plan.entries[0].spec
    assert plan.record()["run_ids"] == [first.run_id]
    assert plan.record()["titles"] == {first.run_id: "picky on pairs, complete, seed 0"}


def test_a_scheme_of_some_data_sets_skips_the_others(store):
    plan = plan_of(store, datasets=("absent", "pairs"), scheme=("only:svhn",), missing=(0.0, 0.5))
    reasons = [e.reason for e in plan.entries if e.spec.dataset.label == "pairs"]
    assert reasons == ["", "'pairs' has no modality 'svhn'; it has left, right"]


@pytest.mark.parametrize(
    ("place", "thing", "why"),
    [
        ("_plugins", EntryPoint("odd", "no_such_module:X", "mmvae_bench.models"), "be imported from no_such_module:X"),
        *(("_loaded", thing, "the options of 'odd' cannot be read") for thing in (pytest, 5, "text")),
    ],
)
def test_a_broken_plugin_is_skipped_by_all_and_an_error_by_name(store, monkeypatch, place, thing, why):
    monkeypatch.setitem(getattr(models.registry, place), "odd", thing)
    plan = plan_of(store, models=("all",), missing=(0.0, 0.5), seeds=(0, 1))
    odd = [entry for entry in plan.entries if entry.spec.model.label == "odd"]
    assert [entry.status for entry in odd] == ["skipped"] * 4 and why in odd[0].reason
    assert len(plan.record()["skipped"]) == 4 + 4 + 2  # and csvae's, and picky's
    with pytest.raises(BenchError, match=why):
        plan_of(store, models=("odd",))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda *_: True, "unsupported() of 'odd' returned True, and a sentence or None says whether it can be"),
        (lambda *_: {}["x"], "'odd' cannot say what it supports (KeyError: 'x')"),
        (lambda: None, "'odd' cannot say what it supports (TypeError: "),
    ],
)
def test_a_model_whose_unsupported_is_wrong_is_skipped_alone(store, monkeypatch, answer, reason):
    monkeypatch.setitem(models.registry._loaded, "odd", type("Odd", (Picky,), {"unsupported": staticmethod(answer)}))
    plan = plan_of(store, models=("odd", "mvae"))
    assert [entry.status for entry in plan.entries] == ["skipped", "to run"]
    assert plan.entries[0].reason.startswith(reason)
    store.check_writable()
    store.write_plan(plan.name, plan.record())
    assert store.read_plan(plan.name)["skipped"][0]["reason"].startswith(reason)


def test_a_data_set_that_raises_is_a_sentence(store, monkeypatch):
    def raises(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(datasets.registry._loaded, "odd", type("Odd", (Pairs,), {"sources": raises}))
    plan = plan_of(store, datasets=("odd", "pairs"))
    assert plan.entries[0].reason == "'odd' cannot name its files (ZeroDivisionError: division by zero)"
    assert plan.entries[1].status == "to run"
    monkeypatch.setitem(datasets.registry._loaded, "odd", type("Odd", (Pairs,), {"modalities": property(raises)}))
    with pytest.raises(BenchError, match="The data set 'odd' cannot be made: ZeroDivisionError: division by zero"):
        plan_of(store, datasets=("odd",))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 50])
def test_shards_together_are_the_plan_and_no_run_is_in_two(store, count):
    plan = plan_of(store, models=("mvae", "picky"), seeds=tuple(range(6)), missing=(0.0, 0.5))
    publish(store, plan, 0)
    plan = plan_of(store, models=("mvae", "picky"), seeds=tuple(range(6)), missing=(0.0, 0.5))
    shards = [plan.shard(number, count) for number in range(1, count + 1)]
    parts = [spec.run_id for shard in shards for spec in shard.todo()]
    assert sorted(parts) == sorted(spec.run_id for spec in plan.todo())
    assert len(set(parts)) == len(parts) == 17
    for shard in shards:
        assert shard.record() == plan.record()
        assert shard.exit_code() == 0  # also where nothing falls to it
        assert {spec.run_id for spec in shard.todo()} <= {spec.run_id for spec in shard.own}


def publish(store: Store, plan: Plan, index: int = 0, **more) -> None:
    store.publish(RunResult(plan.entries[index].spec, [], **more))


def test_what_is_stored_is_not_run_again(store):
    asked = {"seeds": (0, 1, 2, 3)}
    before = plan_of(store, **asked)
    publish(store, before, 0)
    publish(store, before, 1, error="the loss is NaN")
    publish(store, before, 2)
    (store.folder(before.entries[2].spec) / "scores.jsonl").unlink()
    plan = plan_of(store, **asked)
    assert [e.status for e in plan.entries] == ["done", "failed", "broken", "to run"]
    assert plan.entries[1].reason == "the loss is NaN"
    assert "scores.jsonl is cut off or missing" in plan.entries[2].reason
    assert [s.seed for s in plan.todo()] == [1, 2, 3]
    assert [s.seed for s in plan.todo("never")] == [3]
    assert [s.seed for s in plan.todo("always")] == [0, 1, 2, 3]
    assert plan.exit_code() == 0
    assert plan.exit_code("never") == 2
    assert len(plan.record()["run_ids"]) == 4


def test_a_failed_run_that_stays_is_exit_code_1(store):
    publish(store, plan_of(store), error="broke")
    assert plan_of(store).exit_code("never") == 1
    assert plan_of(store).exit_code("failed") == 0


def test_stored_results_do_not_need_the_data(store, monkeypatch):
    plan = plan_of(store)
    publish(store, plan)
    monkeypatch.setattr(Pairs, "sources", Absent.sources)
    assert plan_of(store).entries[0].status == "done"


def made_by(**code) -> dict:
    """Record that a run was made by the code there is, but for some."""
    known = {"model": models.registry.code("mvae"), "nets": nets.registry.code("mlp"), "dataset": ""}
    return {"info": {"code": known | code}}


def test_stored_runs_of_different_code_stay_done_and_the_plan_says_of_what(store):
    asked = {"seeds": (0, 1, 2, 3, 4)}
    before, old, both = plan_of(store, **asked), "0" * 16, {"linear_probe": "0" * 16, "gone": "0" * 16}
    for seed, made in enumerate(({"model": old}, {"model": "1" * 16, "nets": old}, {"metrics": both}, {})):
        publish(store, before, seed, **made_by(**made))
    publish(store, before, 4)  # by a version that recorded no code
    plan = plan_of(store, **asked)
    assert set(plan.counts) == {"done"}
    assert plan.changes == [
        "2 stored runs were made by different code of the model 'mvae'; --overwrite changed trains them again.",
        "1 stored run was made by different code of the nets preset 'mlp'; --overwrite changed trains it again.",
        "1 stored run was scored by different code of the metric 'linear_probe'; --overwrite changed scores it again.",
    ]
    assert [s.seed for s in plan.todo("changed")] == [0, 1]
    assert plan.todo() == plan.todo("never") == []
    assert plan.exit_code("changed") == 0
    shards = [plan.shard(number, 2) for number in (1, 2)]
    assert sum(len(shard.todo("changed")) for shard in shards) == 2


def test_a_failed_run_is_repeated_whatever_made_it(store):
    publish(store, plan_of(store), error="broke", **made_by(model="0" * 16))
    plan = plan_of(store)
    assert plan.changes == [] and len(plan.todo("changed")) == 1


PACE = {"rate": 100.0, "steps": 250, "seconds": {"evaluate": 3.0}}  # 250 steps of 16 in 10 epochs: 400 rows


def test_the_estimate_is_a_guess_until_a_run_is_stored(store):
    plan = plan_of(store, epochs=10, seeds=(0, 1))
    guess = estimate(plan.todo(), store)
    publish(store, plan, 0, info=PACE)
    left = estimate(plan_of(store, epochs=10, seeds=(0, 1)).todo(), store)
    assert left == [pytest.approx(10 * 400 / 100 + 3)] and left[0] not in guess
    assert in_words(43, 1) == "about 43 s (a rough estimate)"
    assert in_words(43, 2) == "about 43 s, one run after the other (a rough estimate)"
    assert in_words(43, 2, 2).startswith("about 22 s, 2 runs at a time")


def test_the_guess_follows_other_models_of_the_data_set(store):
    publish(store, plan_of(store, epochs=10), 0, info=PACE)
    other = estimate(plan_of(store, epochs=10, models=("mmvae",)).specs, store)
    assert other == [pytest.approx(10 * 400 / 100 * MMVAE.cost + 3)]


def test_limits_shorten_the_estimate_and_broken_records_do_not_break_it(store):
    plan = plan_of(store, limit_train=100)
    publish(store, plan, 0, info={"rate": "fast"})
    assert estimate(plan.specs, store) < estimate(plan_of(store).specs, store)


def test_nets_are_chosen_for_all_and_what_they_cannot_take_is_skipped(store):
    plan = plan_of(store, nets="mlp[hidden=7]")
    assert plan.entries[0].status == "to run"
    assert plan.entries[0].spec.nets.options["hidden"] == 7
    skipped = plan_of(store, nets="conv").entries[0]
    assert skipped.status == "skipped"
    assert "the conv nets need a picture" in skipped.reason
    with pytest.raises(BenchError, match="did you mean conv"):
        plan_of(store, nets="convv")


class Choosy(Picky):
    """Fails in its constructor, by option."""

    def __init__(self, networks, *, how: str = "fits") -> None:
        super(MultimodalVAE, self).__init__(networks)
        if how == "refuses":
            raise Unsupported("two modalities are too many")
        if how == "conflicts":
            raise BenchError("This option needs another.")
        if how == "fails":
            raise ValueError("bad sizes")
        if how == "reads":
            next(self.parameters()).sum().item()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("fits", ""),
        ("reads", ""),  # without memory a constructor that reads values says nothing about the run
        ("refuses", "'pairs', 'choosy[how=refuses]': two modalities are too many"),
        ("conflicts", "'pairs', 'choosy[how=conflicts]': This option needs another."),
        ("fails", "'pairs': 'choosy[how=fails]' cannot be made (ValueError: bad sizes)"),
    ],
)
def test_a_model_that_cannot_be_made_is_skipped_alone(store, monkeypatch, how, reason):
    monkeypatch.setitem(models.registry._loaded, "choosy", Choosy)
    skipped, other = plan_of(store, models=(f"choosy[how={how}]", "mvae")).entries
    assert (skipped.status, skipped.reason, other.status) == ("skipped" if reason else "to run", reason, "to run")


def test_models_are_tried_without_memory_and_once(store, monkeypatch):
    made = []
    monkeypatch.setitem(models.registry._loaded, "counted", type("Counted", (Choosy,), {"posterior": made.append}))
    monkeypatch.setattr(Choosy, "__init__", lambda self, networks: made.append(networks.encoders["left"][1].weight))
    plan = plan_of(store, models=("counted",), seeds=(0, 1, 2), missing=(0.0, 0.2))
    assert plan.counts == {"to run": 3, "skipped": 3}
    (weight,) = made
    assert weight.device.type == "meta"


def test_sizes_that_no_model_can_have_are_skipped(store):
    (entry,) = plan_of(store, models=(f"meme[pseudo={2**62}]",)).entries
    assert entry.status == "skipped" and "'meme[pseudo=" in entry.reason and "cannot be made" in entry.reason
