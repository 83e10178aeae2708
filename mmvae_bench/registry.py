"""A lazy registry of models, data sets, nets, metrics or likelihoods by name.

In-tree entries are ``name -> "module:attribute"`` and are imported when first used. Plug-ins are entry points of the
registry's group: they are listed from package metadata, and imported when they are named (or by ``all``). ::

    registry = Registry("model", {"mvae": "mmvae_bench.models.mvae:MVAE"}, group="mmvae_bench.models")

    @registry.register("mine")
    class Mine(MultimodalVAE): ...
"""

import ast
import hashlib
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import decode_source, find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

from mmvae_bench.errors import BenchError, BenchWarning, in_a_line, near_hint

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries of one kind by name.

    Args:
        kind: the kind in the singular, for messages: ``model``.
        builtin: name -> ``module:attribute`` of the in-tree entries.
        group: group of entry points that plug-ins use, or None.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._lazy = dict(builtin)
        self._loaded: dict[str, T] = {}
        self._code: dict[str, str] = {}  # code of what was imported, as it was then: a later edit is not in use here

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group) if self.group else ():
            taken = self._lazy.get(point.name) or (found[point.name].value if point.name in found else None)
            if taken and taken != point.value:
                warnings.warn(
                    f"The {self.kind} '{point.name}' of {point.value} is ignored: {taken} has that name already. "
                    "Rename one of them or uninstall its package.",
                    BenchWarning,
                    stacklevel=2,
                )
            else:
                found[point.name] = point
        return found

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a class or function under ``name``.

        Raises:
            BenchError: If the name is taken. The message names both.
        """

        def enter(item: T) -> T:
            point = self._plugins.get(name)
            taken = self._loaded.get(name) or self._lazy.get(name) or (point.value if point else None)
            origin = f"{getattr(item, '__module__', '?')}:{getattr(item, '__qualname__', '?')}"
            if taken is not None and taken != origin:
                raise BenchError(f"The {self.kind} name '{name}' is taken by {taken}. Choose another for {origin}.")
            self._loaded[name] = item
            self._code[name] = self._read_code(name)
            return item

        return enter

    def names(self) -> list[str]:
        """Return all names: in-tree ones, those registered in this process, plug-ins. Imports nothing."""
        return list(dict.fromkeys([*self._lazy, *self._loaded, *self._plugins]))

    def plugin(self, name: str) -> str | None:
        """Return the ``module:attribute`` of a plug-in, or None for any other entry. Imports nothing."""
        point = self._plugins.get(name)
        return point.value if point and not self.in_tree(name) else None

    def in_tree(self, name: str) -> bool:
        """Return True for an entry of this package, False for plug-ins and for entries of a user's own code."""
        return name in self._lazy

    def own(self) -> dict[str, tuple[T, str]]:
        """Entries that a user's script or notebook registered, and their code: other processes must be told of them."""
        names = self._loaded.keys() - {*self._lazy, *self._plugins}
        return {name: (self._loaded[name], self.code(name)) for name in names}

    def adopt(self, entries: Mapping[str, tuple[T, str]]) -> None:
        """Take over the :meth:`own` entries of another process."""
        for name, (item, code) in entries.items():
            if self._loaded.get(name) is not item:  # else the process is this one
                self._loaded[name], self._code[name] = item, code

    def code(self, name: str) -> str:
        """Return 16 hex digits of the SHA-256 of the code that defines an entry; empty where it cannot be read.

        It is the code of an in-tree entry's module, of a plug-in's package, or of a module that registers itself; in a
        script or notebook cell, the definition and what it uses there. Comments, docstrings and layout do not count.
        Nothing is imported. What this process has imported is as it was then.
        """
        return self._code[name] if name in self._code else self._read_code(name)

    def _read_code(self, name: str) -> str:
        """Return :meth:`code` as it is on disk."""
        if name in self._lazy:
            return _hash(_module(self._lazy[name].partition(":")[0]))
        if name in self._plugins:
            return _hash(_package(self._plugins[name].value.partition(":")[0]))
        return _hash_own(self._loaded[name]) if name in self._loaded else ""

    def summary(self, name: str) -> str:
        """Return one sentence about an entry, from source text or package metadata; imports nothing.

        In-tree, it is a class's attribute ``summary``, or the first sentence of a function's docstring or of a class's
        module (which names the paper). For a plug-in it is the summary of its distribution or, once it is imported,
        the first sentence of its docstring.
        """
        if name in self._lazy:
            return _summary(self._lazy[name])
        own = first_sentence(getattr(self._loaded.get(name), "__doc__", None))
        dist = self._plugins[name].dist if name in self._plugins else None
        return own or str(dist.metadata.json.get("summary", "") if dist else "")

    def check(self, name: str) -> str:
        """Return ``name`` if it is registered, without importing it.

        Raises:
            BenchError: If it is unknown. The message suggests near names and lists all.
        """
        if name in self.names():
            return name
        raise BenchError(f"No {self.kind} '{name}'; {near_hint(name, self.names())}Known: {', '.join(self.names())}.")

    def get(self, name: str) -> T:
        """Return the entry of ``name``, importing it on first use.

        Raises:
            BenchError: If the name is unknown, or if its module cannot be imported.
        """
        if self.check(name) not in self._loaded:
            target = self._lazy.get(name)
            try:
                if target is None:
                    self._loaded[name] = self._plugins[name].load()
                else:
                    module, _, attribute = target.partition(":")
                    self._loaded[name] = getattr(import_module(module), attribute)
            except BenchError:
                raise
            except Exception as error:  # a plug-in may raise anything at import
                where = target or self._plugins[name].value
                raise BenchError(
                    f"The {self.kind} '{name}' cannot be imported from {where}: {in_a_line(error)}."
                ) from error
            self._code[name] = self._read_code(name)
        return self._loaded[name]


def first_sentence(docstring: str | None) -> str:
    """First sentence of a docstring on one line, without markup and without "Return"."""
    text = " ".join((docstring or "").replace("`", "").split())
    if text.startswith("Return "):
        text = text[7:8].upper() + text[8:]
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _summary(target: str) -> str:
    """Summary of ``module:name``, read from the source file."""
    module, _, name = target.partition(":")
    found = find_spec(module)  # imports the packages above it only
    source = decode_source(Path(found.origin).read_bytes()) if found and found.origin else ""
    tree = ast.parse(source)
    node = next(node for node in tree.body if getattr(node, "name", "") == name)
    if isinstance(node, ast.FunctionDef):
        return first_sentence(ast.get_docstring(node))
    stated = re.search(r'^    summary\b.* = "(.*)"$', ast.get_source_segment(source, node) or "", re.MULTILINE)
    return stated[1] if stated else first_sentence(ast.get_docstring(tree))


def _module(name: str) -> dict[str, bytes]:
    """Source of a module, under an empty path; nothing where there is none."""
    with suppress(ImportError, ValueError, OSError):
        found = find_spec(name)
        return {"": Path(found.origin).read_bytes()} if found and found.has_location and found.origin else {}
    return {}


def _package(module: str) -> dict[str, bytes]:
    """Sources of all modules beside a plug-in's, by path: those of the first package above it with an ``__init__.py``.

    Several distributions may share a package without one.
    """
    for name in accumulate(module.split("."), "{}.{}".format):
        with suppress(ImportError, ValueError, OSError):
            found = find_spec(name)
            if found and found.origin and found.submodule_search_locations:
                root = Path(found.origin).parent
                return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.py"))}
    return _module(module)


def _hash_own(item: Any) -> str:
    """Hash the file or notebook cell in which a class, a function, a metric or a likelihood of a user is defined."""
    if not hasattr(item, "__qualname__"):  # a metric and a likelihood have a function
        item = getattr(item, "compute", None) or getattr(item, "log_prob", None)
    name, module = getattr(item, "__qualname__", "").partition(".")[0], getattr(item, "__module__", None)
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file:
        with suppress(OSError):
            return _hash({"": Path(file).read_bytes()}, name if module == "__main__" else "")
    functions = [item, *getattr(item, "__dict__", {}).values()]
    cells = (linecache.getlines(each.__code__.co_filename) for each in functions if hasattr(each, "__code__"))
    cell = "".join(next(filter(None, cells), []))
    return _hash({"": cell.encode()} if cell else {}, name)


def _hash(sources: Mapping[str, bytes], name: str = "") -> str:
    """Hash the code of sources, empty where there are none; with a ``name`` only what its definition uses."""
    digest = hashlib.sha256()
    for path, source in sources.items():
        try:
            body = ast.parse(source).body
            code = _dump(_used(body, name) if name else body).encode()
        except (SyntaxError, ValueError, RecursionError):
            code = source
        digest.update(f"{path} {len(code)} ".encode() + code)
    return digest.hexdigest()[:16] if sources else ""


def _dump(node: Any) -> str:
    """Write a syntax tree without positions, empty fields and statements that do nothing, as docstrings are.

    The tree is hashed and not the text, because no comment and no formatter changes a number. Every version of Python
    must write the same: ``ast.unparse`` and ``ast.dump`` do not, and results of several machines are merged.
    """
    if isinstance(node, list):
        return f"[{', '.join(_dump(each) for each in node if not _does_nothing(each))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [f"{key}={_dump(value)}" for key, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(fields)})"


def _does_nothing(statement: Any) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _used(body: Sequence[ast.stmt], name: str) -> list[ast.stmt]:
    """Return the definition of ``name`` and those that it uses: a script's other statements only run the benchmark."""
    wanted, kept = {name}, list[ast.stmt]()
    while found := [each for each in body if each not in kept and wanted & _bound(each)]:
        kept += found
        wanted |= {node.id for each in found for node in ast.walk(each) if isinstance(node, ast.Name)}
    return [each for each in body if each in kept] or list(body)


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a definition or an assignment at the top of a file binds; blocks and imports do not count."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        return {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return set()
