from typing import Annotated, Literal

import pytest
from annotated_types import Gt, Interval, Lt
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.errors import BenchError
from mmvae_bench.options import Named, Positive, Weight, coerce, parse_named, resolve, split_list

WORD = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
VALUE = st.from_regex(r"[a-z0-9.]{1,5}", fullmatch=True)
NAMED = st.builds(Named, WORD, st.dictionaries(WORD, VALUE, max_size=3))


class Thing:
    def __init__(
        self,
        first: int = 0,
        *,
        k: int = 10,
        beta: float = 1,
        looser: bool = True,
        estimator: Literal["iwae", "dreg"] = "dreg",
        limit: int | None = None,
        text: str = "a",
        least: Positive = 1,
        weight: Weight = 1,
        share: Annotated[float, Gt(0), Lt(1)] | None = None,
        level: Annotated[int, Interval(ge=1, le=5)] = 1,
    ) -> None: ...


class Needy:
    def __init__(self, *, k: int) -> None: ...


@pytest.mark.parametrize(
    "text", ["mmvae[estimator=iwae,k=30]", "mmvae:estimator=iwae:k=30", " mmvae[ k = 30 ,estimator=iwae] "]
)
def test_both_forms_say_the_same(text):
    assert parse_named(text) == Named("mmvae", {"k": "30", "estimator": "iwae"})


@pytest.mark.parametrize(
    "text", ["", "mmvae[", "mmvae[k]", "mmvae[k=]", "mmvae:k", "a b", "mmvae[k=1]x", "pkg.mod:Class"]
)
def test_what_cannot_be_read_is_said(text):
    with pytest.raises(BenchError, match="Cannot read"):
        parse_named(text)


def test_an_option_given_twice_is_refused():
    with pytest.raises(BenchError, match="'k' is given twice"):
        parse_named("mmvae[k=1,k=2]")


@given(NAMED)
def test_the_label_is_read_back(named):
    assert parse_named(named.label) == named


@given(st.lists(NAMED, min_size=1, max_size=4), st.data())
def test_commas_split_outside_brackets_only(named, data):
    labels = [n.label for n in named]
    cut = data.draw(st.integers(0, len(labels)))
    assert split_list((",".join(labels[:cut]), ", ".join(labels[cut:]))) == labels


def test_defaults_are_resolved_and_given_options_coerced():
    defaults = {"k": 10, "beta": 1.0, "looser": True, "estimator": "dreg", "limit": None, "text": "a"}
    defaults |= {"least": 1, "weight": 1.0, "share": None, "level": 1}
    assert repr(resolve(Thing, Named("thing"))) == repr(defaults)  # types are equal, too: 1 is not 1.0
    typed = Named("thing", {"k": "3", "beta": "2", "looser": "no", "estimator": "iwae", "limit": "none", "text": "1",
                            "share": "0.5", "level": "5"})  # fmt: skip
    changed = {"k": 3, "beta": 2.0, "looser": False, "estimator": "iwae", "text": "1", "share": 0.5, "level": 5}
    assert repr(resolve(Thing, typed)) == repr(defaults | changed)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("k", "1" + 19 * "0", "takes a whole number"),
        ("k", "1.5", r"thing\[k\] takes a whole number, not '1.5'"),
        ("beta", "x", "takes a number"),
        ("beta", "nan", "takes a number"),
        ("beta", "inf", "takes a number"),
        ("looser", "maybe", "takes true or false"),
        ("least", "0", r"thing\[least\] must be at least 1, not '0'"),
        ("weight", "-0.1", "must be at least 0.0"),
        ("weight", "nan", "takes a number"),
        ("share", "0", r"thing\[share\] must be more than 0, not '0'"),
        ("share", "1.0", "must be less than 1, not '1.0'"),
        ("level", "0", "must be at least 1"),
        ("level", "6", "must be at most 5, not '6'"),
        ("estimator", "x", "must be one of iwae, dreg, not 'x'"),
        ("limit", "x", "takes a whole number"),
        ("first", "1", "has no option 'first'. Its options are k, beta"),
    ],
)
def test_a_wrong_option_is_one_sentence(option, value, sentence):
    with pytest.raises(BenchError, match=sentence):
        resolve(Thing, Named("thing", {option: value}))


def test_an_option_without_default_must_be_given():
    assert resolve(Needy, Named("needy", {"k": "1"})) == {"k": 1}
    with pytest.raises(BenchError, match=r"Write 'needy\[k=\.\.\.\]'"):
        resolve(Needy, Named("needy"))


def test_classes_without_options_resolve():
    class Bare: ...

    assert resolve(Bare, Named("bare")) == {}
    with pytest.raises(BenchError, match="It has no options"):
        resolve(Bare, Named("bare", {"k": "1"}))


@given(st.one_of(st.booleans(), st.integers(1 - 2**63, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)))
def test_what_is_printed_is_coerced_back(value):
    assert coerce(str(value), type(value), "x") == value
