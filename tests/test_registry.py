import warnings
from collections import ChainMap
from fractions import Fraction
from importlib.metadata import EntryPoint

import pytest

from mmvae_bench.errors import BenchError, BenchWarning
from mmvae_bench.registry import Registry

GROUP = "mmvae_bench.tests"


@pytest.fixture
def registry() -> Registry:
    return Registry("thing", {"ratio": "fractions:Fraction", "broken": "no_such_module:X"})


def plugged(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> Registry:
    found = [EntryPoint(name, value, GROUP) for name, value in points]
    monkeypatch.setattr("mmvae_bench.registry.entry_points", lambda group: [p for p in found if p.group == group])
    return Registry("thing", {"ratio": "fractions:Fraction"}, group=GROUP)


def test_an_unknown_name_suggests_near_ones_and_lists_all(registry):
    with pytest.raises(BenchError, match=r"No thing 'rato'; did you mean ratio\? Known: ratio, broken\."):
        registry.get("rato")
    with pytest.raises(BenchError, match="No thing 'zzz'; Known"):
        registry.check("zzz")


def test_what_cannot_be_imported_says_from_where_and_why(registry):
    with pytest.raises(BenchError, match="'broken' cannot be imported from no_such_module:X: ModuleNotFoundError"):
        registry.get("broken")
    assert registry.check("broken") == "broken"


def test_registering_twice_names_both(registry):
    @registry.register("mine")
    class Mine: ...

    with pytest.raises(BenchError, match=r"The thing name 'mine' is taken by .*Mine.*. Choose another for .*:.*Other"):

        @registry.register("mine")
        class Other: ...

    assert registry.get("mine") is Mine
    with pytest.raises(BenchError, match="'ratio' is taken by fractions:Fraction"):
        registry.register("ratio")(Mine)


def test_what_is_declared_may_also_decorate_itself(monkeypatch):
    registry = plugged(monkeypatch, ("chain", "collections:ChainMap"))
    assert registry.register("ratio")(Fraction) is registry.get("ratio")
    assert registry.register("chain")(ChainMap) is registry.get("chain")


@pytest.mark.parametrize(
    "points", [[("ratio", "other:Ratio")], [("new", "one:X"), ("new", "two:X")]], ids=["builtin", "plugin"]
)
def test_a_clash_of_names_is_refused_naming_both(monkeypatch, points):
    registry = plugged(monkeypatch, *points)
    with pytest.warns(BenchWarning, match=rf"of {points[-1][1]} is ignored: .*:.* has that name"):
        names = registry.names()
    assert names.count(points[0][0]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.names()  # said once
