import fractions
import linecache
import sys
import warnings
from collections import ChainMap
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

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


MODULE = '''"""A module."""

HALF = 0.5  # as in the paper


class Edited:
    """A thing."""

    def share(self):
        """Return half."""
        return (HALF,
                "half")
'''
TIDY = "HALF = 0.5\nclass Edited:\n    def share(self):\n        return HALF, 'half'\n"


@pytest.fixture
def plugs(tmp_path, monkeypatch):
    """A folder of plug-ins and a registry that has them."""
    monkeypatch.syspath_prepend(tmp_path)
    points = ("single", "alone:Edited"), ("packed", "packed.inner.things:Edited"), ("shared", "shared.mine:Edited")
    registry = plugged(monkeypatch, *points, ("gone", "not_installed:Edited"))
    return tmp_path, registry


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_comments_docstrings_and_layout_are_no_code(plugs):
    folder, registry = plugs
    write(folder / "alone.py", MODULE)
    before = registry.code("single")
    assert len(before) == 16 and "alone" not in sys.modules
    write(folder / "alone.py", TIDY)
    assert registry.code("single") == before
    for edited in (TIDY.replace("0.5", "0.4"), TIDY.replace("'half'", "'HALF'"), TIDY.replace("share", "part")):
        write(folder / "alone.py", edited)
        assert registry.code("single") != before
    write(folder / "alone.py", "class Edited(")  # not even Python
    assert len(registry.code("single")) == 16


def test_a_plug_ins_code_is_that_of_its_package(plugs):
    folder, registry = plugs
    for name in ("packed/__init__.py", "packed/inner/__init__.py", "packed/nets.py", "shared/theirs.py"):
        write(folder / name, "")
    for name in ("packed/inner/things.py", "shared/mine.py"):
        write(folder / name, TIDY)
    packed, shared = registry.code("packed"), registry.code("shared")
    write(folder / "packed" / "nets.py", "WIDTH = 64")
    write(folder / "shared" / "theirs.py", "WIDTH = 64")  # another distribution's
    assert registry.code("packed") != packed and registry.code("shared") == shared
    write(folder / "shared" / "mine.py", TIDY.replace("0.5", "0.4"))
    assert registry.code("shared") != shared


def test_what_has_no_source_has_no_code(plugs, registry):
    assert plugs[1].code("gone") == plugs[1].code("unknown") == registry.code("broken") == ""
    assert registry.register("made")(type("Made", (), {"__module__": "nowhere"}))
    assert registry.register("number")(5) == 5
    assert registry.code("made") == registry.code("number") == ""


def test_what_is_imported_has_the_code_it_was_imported_with(plugs, registry, monkeypatch):
    folder, registry_of_plugs = plugs
    write(folder / "alone.py", MODULE)
    registry_of_plugs.get("single")
    before = registry_of_plugs.code("single")
    write(folder / "alone.py", MODULE.replace("0.5", "0.4"))  # this process goes on with what it has
    assert registry_of_plugs.code("single") == before
    monkeypatch.delitem(sys.modules, "alone")
    assert registry.code("ratio") == Registry("thing", {"other": "fractions:Rational"}).code("other")
    assert registry.get("ratio") is fractions.Fraction


SCRIPT = """
from mmvae_bench import run
HALF = 0.5

def share():
    return HALF

@things.register("mine")
class Mine:
    def share(self):
        return share()

class Other:
    width = 64

scores = run(epochs=1)
if __name__ == "__main__":
    run(epochs=2)
"""


def of_script(text: str, file: str | None, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry after a script or a cell has run, which registers ``mine``."""
    main, things = ModuleType("__main__"), Registry("thing", {})
    vars(main).update({"things": things} | ({"__file__": file} if file else {}))
    monkeypatch.setitem(sys.modules, "__main__", main)
    name = file or "/tmp/ipykernel_1/2.py"
    if file:
        Path(file).write_text(text)
    else:
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
    exec(compile(text.partition("scores =")[0].replace("from mmvae_bench import run", ""), name, "exec"), vars(main))
    return things


@pytest.mark.parametrize("where", ["script", "cell"])
def test_of_a_script_and_a_cell_counts_what_the_definition_uses(tmp_path, monkeypatch, where):
    file = str(tmp_path / "mine.py") if where == "script" else None
    before = of_script(SCRIPT, file, monkeypatch).code("mine")
    for same in (("epochs=1", "epochs=9"), ("epochs=2", "epochs=9"), ("width = 64", "width = 32")):
        assert of_script(SCRIPT.replace(*same), file, monkeypatch).code("mine") == before
    edits = ("HALF = 0.5", "HALF = 0.4"), ("return HALF", "return 2 * HALF"), ("return share()", "return 1")
    codes = {of_script(SCRIPT.replace(*edit), file, monkeypatch).code("mine") for edit in edits}
    assert len(codes - {before, ""}) == 3


def test_another_process_is_told_the_code_of_a_users_own_entries(tmp_path, monkeypatch):
    here, there = of_script(SCRIPT, str(tmp_path / "mine.py"), monkeypatch), Registry("thing", {})
    code = here.code("mine")
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))  # a worker has a script of its own
    there.adopt(here.own())
    assert there.code("mine") == code and there.get("mine") is here.get("mine")
