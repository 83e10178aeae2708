"""A lazy registry of models, data sets, nets, metrics or likelihoods by name.

In-tree entries are ``name -> "module:attribute"`` and are imported when first used. Plug-ins are entry points of the
registry's group: they are listed from package metadata, and imported when they are named (or by ``all``). ::

    registry = Registry("model", {"mvae": "mmvae_bench.models.mvae:MVAE"}, group="mmvae_bench.models")

    @registry.register("mine")
    class Mine(MultimodalVAE): ...
"""

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

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

    def own(self) -> dict[str, T]:
        """The entries that a user's script or notebook registered: other processes must be told of them."""
        return {name: item for name, item in self._loaded.items() if name not in {*self._lazy, *self._plugins}}

    def adopt(self, entries: Mapping[str, T]) -> None:
        """Take over the :meth:`own` entries of another process."""
        self._loaded |= entries

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
    source = Path(found.origin).read_text() if found and found.origin else ""
    tree = ast.parse(source)
    node = next(node for node in tree.body if getattr(node, "name", "") == name)
    if isinstance(node, ast.FunctionDef):
        return first_sentence(ast.get_docstring(node))
    stated = re.search(r'^    summary\b.* = "(.*)"$', ast.get_source_segment(source, node) or "", re.MULTILINE)
    return stated[1] if stated else first_sentence(ast.get_docstring(tree))
