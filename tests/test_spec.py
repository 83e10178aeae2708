import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.errors import BenchError
from mmvae_bench.spec import Component, Missing, RunSpec, TrainSpec, canonical_json

SCHEMES = st.sampled_from(["split", "split:fixed", "only:svhn", "independent", "independent:keep=mnist"])
RATIOS = st.floats(0, 1, exclude_max=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def make_spec(**changes) -> RunSpec:
    spec = RunSpec(
        dataset=Component("mnist_street", 1, {"level": "easy"}, "street"),
        model=Component("mmvae", 1, {"k": 10, "beta": 1.0}, "mmvae"),
        nets=Component("mlp", 1, {"hidden": 256}),
        latent_dim=16,
        likelihoods={"mnist": {"likelihood": "laplace", "scale": 1.0, "weight": 1.0}},
        train=TrainSpec(2, 128, 1e-3),
        missing=Missing(0.5, "split"),
        seed=0,
    )
    return replace(spec, **changes)


def test_the_identity_is_what_it_was():
    """A change here makes every stored result a stranger: bump PROTOCOL and say so in the CHANGELOG."""
    assert make_spec().run_id == "7213e2a58a746aa1"
    assert make_spec().config_id == "5d7e71020465acf5"


def test_labels_and_types_of_numbers_do_not_enter_the_identity():
    other = make_spec(model=Component("mmvae", 1, {"beta": 1.0, "k": 10}, "mmvae[k=10]"))
    assert other.run_id == make_spec().run_id
    assert other == make_spec()
    assert make_spec(train=TrainSpec(1, 1, 1)).run_id == make_spec(train=TrainSpec(1, 1, 1.0)).run_id
    assert "label" not in canonical_json(other.to_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"latent_dim": 8},
        {"limit_train": 100},
        {"precision": "bf16"},
        {"protocol": 1},
        {"split": "validation"},
        {"train": TrainSpec(3, 128, 1e-3)},
        {"missing": Missing(0.5, "split", "drop")},
        {"model": Component("mmvae", 2, {"k": 10, "beta": 1.0})},
        {"model": Component("mmvae", 1, {"k": 11, "beta": 1.0})},
        {"likelihoods": {"mnist": {"likelihood": "laplace", "scale": 0.5, "weight": 1.0}}},
    ],
    ids=str,
)
def test_whatever_changes_numbers_changes_the_identity(change):
    assert make_spec(**change).run_id != make_spec().run_id


def test_why_it_has_its_settings_does_not_enter_the_identity():
    tuned = make_spec(tier="tuned", rule="the best of 8 trials")
    assert (tuned, tuned.run_id) == (make_spec(), make_spec().run_id)
    assert not {"tier", "rule"} & set(tuned.to_dict())
    assert tuned.title.endswith("seed 0 (tuned)") and make_spec(split="validation").title.endswith(
        "(trial, rate 0.001)"
    )


def test_the_configuration_is_the_identity_without_the_seed():
    assert make_spec(seed=7).config_id == make_spec().config_id
    assert make_spec(latent_dim=8).config_id != make_spec().config_id


@given(JSON)
def test_canonical_json_reads_back_and_does_not_depend_on_order(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


@given(SCHEMES, st.sampled_from(["keep", "drop"]))
def test_ratio_0_is_canonical(scheme, incomplete):
    assert Missing(0, scheme, incomplete) == Missing(0.0, "none") == Missing()
    assert canonical_json(Missing(-0.0, scheme).ratio) == "0.0"
    assert Missing(0, scheme).text == "complete"


@given(RATIOS, SCHEMES)
def test_missing_text_says_ratio_and_scheme(ratio, scheme):
    hole = Missing(ratio, scheme)
    assert isinstance(hole.ratio, float)
    assert hole.text == (f"{scheme} {ratio:g}" if ratio else "complete")
    assert Missing(hole.ratio, hole.scheme, hole.incomplete) == hole


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 2, float("nan"), float("inf")])
def test_ratios_lie_in_0_1(ratio):
    with pytest.raises(BenchError, match=r"lie in \[0, 1\)"):
        Missing(ratio)


@pytest.mark.parametrize("scheme", ["", "half", "only:", "only", "split:x", "independent:svhn", "split\n", "none"])
def test_unknown_schemes_list_the_known_and_none_hides_nothing(scheme):
    with pytest.raises(BenchError, match="hides nothing" if scheme == "none" else "Write one of split"):
        Missing(0.5, scheme)


@pytest.mark.parametrize("values", [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, float("nan")), (1, 1, float("inf"))])
def test_budgets_are_positive(values):
    with pytest.raises(BenchError, match="at least 1"):
        TrainSpec(*values)


def test_a_spec_is_read_back_from_its_record():
    spec = make_spec(limit_train=5, precision="bf16")
    read = RunSpec.from_dict(json.loads(canonical_json(spec.to_dict())))
    assert (read, read.run_id) == (spec, spec.run_id)
    assert read.title == "mmvae on mnist_street, split 0.5, seed 0"


@pytest.mark.parametrize("change", [{"colour": 1}, {"model": {}}, {"train": 5}, {"missing": {"ratio": "x"}}])
def test_what_is_no_spec_is_said_to_be_none(change):
    with pytest.raises(BenchError, match="not the spec of a run"):
        RunSpec.from_dict(make_spec().to_dict() | change)
