"""``run --from``: a run again, from its record alone."""

import json
from dataclasses import replace
from importlib.metadata import version

import pytest

from mmvae_bench import datasets, models, nets
from mmvae_bench.errors import BenchError
from mmvae_bench.options import as_typed, parse_named, resolve
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.again import Recorded, recorded
from mmvae_bench.sweep.environment import processor
from mmvae_bench.sweep.plan import make_plan, plan_again
from mmvae_bench.sweep.request import Request
from tests.helpers import invoke
from tests.sweep.test_runner import run

OWN = Request(
    models=("mopoe[beta=2.5]",), datasets=("linear_gaussian[rows=120]",), missing=(0.25,), scheme=("only:x0",),
    incomplete=("drop",), seeds=(7,), nets="mlp[hidden=9]", epochs=2, batch_size=30, learning_rate=2e-3,
    optimiser="amsgrad", latent_dim=3, scales={"x1": 0.3}, weights={"x0": 2.0}, limit_train=70, limit_test=20,
    precision="fp32",
)  # fmt: skip


def stored(root, spec: RunSpec, **info):
    folder = Store(root).publish(RunResult(spec, [], info={"metrics": {"linear_probe": 2, "gone": 1}, **info}))
    assert folder
    return folder


def again(path, **asked):
    """The one run of its plan, and what the record says."""
    known: Recorded = recorded(path, asked)
    plan = plan_again(known.spec, known.request("custom", None), Store(path / "nowhere"), path)
    (entry,) = plan.entries
    return entry, known


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_record_is_the_same_run_with_its_label_tier_and_settings(split, tmp_path):
    (spec,) = make_plan(OWN, Store(tmp_path), tmp_path).specs
    spec = replace(spec, split=split, tier="tuned", rule="best of 8")
    folder = stored(tmp_path, spec, tier="tuned", rule="best of 8", device="cpu", threads=3, engine="compiled resumed")
    entry, known = again(folder)
    assert entry.spec == spec and entry.spec.title == spec.title
    assert (entry.spec.run_id, entry.spec.tier, entry.spec.rule) == (spec.run_id, "tuned", "best of 8")
    assert entry.tiers == (("tuned",) if split == "test" else ())
    assert known.metrics == ("linear_probe",)
    assert known.settings == {"device": "cpu", "threads": 3, "compiled": True}
    assert recorded(folder / "run.json", {}) == known


def test_learned_priors_of_a_record_come_again_but_for_those_that_are_gone(tmp_path):
    (spec,) = make_plan(OWN, Store(tmp_path), tmp_path).specs
    priors = {"log_likelihood": {"gmm": "a", "gone[k=2]": "b"}, "frechet": {"ncp[bound=2]": "c", "gmm": "a"}}
    _, known = again(stored(tmp_path, spec, priors=priors, device="cpu", threads=1, engine="eager"))
    assert known.priors == ("gmm", "ncp[bound=2]")
    assert known.request("custom", ["frechet"]).priors == known.priors


@pytest.mark.parametrize("registry", [models.registry, datasets.registry, nets.registry], ids=lambda each: each.kind)
def test_options_are_typed_again_as_they_were(registry):
    for name in registry.names():
        factory = registry.get(name)
        typed = parse_named("authors[of=meme]" if name == "authors" else name)
        assert as_typed(factory, name, resolve(factory, typed)) == typed
    typed = parse_named("mmvae[estimator=iwae,k=30]")
    assert as_typed(models.registry.get("mmvae"), "mmvae", resolve(models.registry.get("mmvae"), typed)) == typed


def test_what_would_be_another_run_is_refused(tmp_path, monkeypatch):
    (spec,) = make_plan(OWN, Store(tmp_path), tmp_path).specs
    folder = stored(tmp_path, spec)
    with monkeypatch.context() as patch:
        patch.setattr(models.registry.get("mopoe"), "version", 99, raising=False)
        with pytest.raises(BenchError, match="This version would run something else: model would not be"):
            again(folder)
    old = stored(tmp_path, replace(spec, protocol=1))
    with pytest.raises(BenchError, match="something else: protocol would not be"):
        again(old)
    unknown = stored(tmp_path, replace(spec, model=replace(spec.model, name="theirs")))
    with pytest.raises(BenchError, match=r"has no run that is known here: No model 'theirs'.*Check its plug-ins"):
        again(unknown)
    record = json.loads((folder / "run.json").read_text())
    record["spec"]["seed"] = 8
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(BenchError, match="was changed after it was written"):
        again(folder)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            "--from {} --models mvae --epochs 3 --scale x0=1 --suite quick",
            "Leave out --models, --scale, --epochs, --s",
        ),
        ("--from absent.json", "does not exist"),
        ("--from {}/scores.jsonl", "Name the run.json of a stored run, or its folder."),
        ("--from {} --name a/b", "A plan's name consists of"),
        ("--from {} --threads 0", "--threads is at least 1"),
    ],
)
def test_what_contradicts_the_record_is_one_sentence(typed, sentence, tmp_path):
    (spec,) = make_plan(OWN, Store(tmp_path), tmp_path).specs
    folder = stored(tmp_path, spec)
    result = invoke("run", *typed.format(folder).split(), "--results-dir", str(tmp_path / "new"), "--dry-run")
    assert result.exit_code == 2 and sentence in result.stderr and result.stderr.count("Error: ") == 1


def test_what_may_move_the_bits_and_is_different_now_is_said(tmp_path):
    (spec,) = make_plan(OWN, Store(tmp_path), tmp_path).specs
    made = {"model": "0" * 16, "metrics": {"gone": "1" * 16}}
    then = {"versions": {"torch": "1.0"}, "device": "cpu", "hardware": "Abacus", "code": made}
    folder = stored(tmp_path, spec, **then)
    result = invoke("run", "--from", str(folder), "--results-dir", str(tmp_path / "new"), "--dry-run")
    assert (
        "The record's bits may not come again; it was made with the code of the model 'mopoe', "
        f"torch 1.0 (now {version('torch')}), Abacus (now {processor()})." in result.stderr.replace("\n", " ")
    )


def test_a_record_alone_gives_the_same_bits(settings, tmp_path):
    _, store = run(settings, models=("mvae[beta=0.5]",), missing=(0.5,), seeds=(3,))
    (folder,) = store.folders()
    assert not recorded(folder, {}).warning
    (tmp_path / "kept.json").write_bytes((folder / "run.json").read_bytes())
    flags = f"--from {tmp_path / 'kept.json'} --cache-dir {settings.cache_dir} --results-dir {tmp_path / 'new'}"
    assert invoke("run", *flags.split(), "--jobs", "1").exit_code == 0
    (other,) = Store(tmp_path / "new").folders()
    assert other.name == folder.name
    for name in ("model.safetensors", "scores.jsonl"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()
