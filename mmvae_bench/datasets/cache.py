"""Base rows on disk: built once, checked, memory-mapped by every run."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets import registry
from mmvae_bench.datasets.base import FACTS, Built, Dataset, Entries, Repeated, Rows
from mmvae_bench.datasets.download import sha256
from mmvae_bench.disk import built_once
from mmvae_bench.options import Scalar
from mmvae_bench.spec import canonical_json

LAYOUT = 2  # version of the cache folder's layout, part of the key


@dataclass(frozen=True)
class Data(Built):
    """A data set's arrays, read-only and memory-mapped."""

    hash: str = ""  # SHA-256 of all arrays and vocabularies, recorded with every score


def load(dataset: Dataset, name: str, options: Mapping[str, Scalar], data_dir: Path, cache_dir: Path) -> Data:
    """Return the arrays of ``dataset``, built on first use and when its code or a source file's content has changed.

    ``options`` are all its options, resolved. The arrays are in ``datasets/<name>-<key>/`` below ``cache_dir``.

    Raises:
        DataError: If source files are absent or corrupt.
        BenchError: If the cache cannot be written.
    """
    code = registry.code(name)
    identity = {"layout": LAYOUT, "name": name, "version": dataset.version, "code": code, "options": dict(options)}
    content = []  # nothing else of a file counts: a moved one is the same
    for path in dataset.sources(data_dir):
        if path.is_dir():  # reading thousands of files before every run would be slow: names, sizes and times instead
            files = [(file, file.stat()) for file in sorted(path.rglob("*")) if file.is_file()]
            facts = [[file.relative_to(path).as_posix(), stat.st_size, stat.st_mtime_ns] for file, stat in files]
            content.append(hashlib.sha256(canonical_json({"files": facts}).encode()).hexdigest())
        else:
            content.append(sha256(path))
    key = hashlib.sha256(canonical_json({**identity, "sources": content}).encode()).hexdigest()[:16]
    folder = cache_dir / "datasets" / f"{name}-{key}"
    return built_once(
        cache_dir, folder, partial(_read, folder), partial(dataset.build, data_dir), partial(_store, folder)
    )


def _flat(built: Built) -> dict[str, NDArray[Any]]:
    """Return all arrays by the names of their files."""
    arrays: dict[str, NDArray[Any]] = {}
    for split, rows in (("train", built.train), ("test", built.test)):
        for name, x in rows.x.items():
            arrays[f"{split}.x.{name}"] = x.entries if isinstance(x, Repeated) else x
            arrays |= {f"{split}.index.{name}": x.index} if isinstance(x, Repeated) else {}
        facts = {fact: getattr(rows, fact) for fact in FACTS}
        arrays |= {f"{split}.{fact}": values for fact, values in facts.items() if values is not None}
    for name, (x, label) in (built.singles or {}).items():
        arrays |= {f"singles.x.{name}": x, f"singles.label.{name}": label}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _store(folder: Path, built: Built) -> None:
    """Write ``folder`` under a temporary name, then rename it; the caller holds its lock."""
    arrays = _flat(built)
    facts = {name: {"dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()}
    words = {name: list(vocabulary) for name, vocabulary in built.vocabularies.items()}
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    if words:
        digest.update(canonical_json(words).encode())
    meta = {"hash": digest.hexdigest(), "subset": built.subset, "arrays": facts, "vocabularies": words}
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    try:
        part.mkdir()
        for name, array in arrays.items():
            with (part / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())  # else a power cut could leave the right size and wrong bytes
        (part / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
        if folder.exists():  # damaged, or it would have been read
            shutil.rmtree(folder)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(folder: Path) -> Data | None:
    """Memory-map a cache folder, or return None where it is absent or broken."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        arrays: dict[str, NDArray[Any]] = {}
        for name, facts in meta["arrays"].items():
            array = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)  # torch warns of "r"
            if array.dtype.str != facts["dtype"] or list(array.shape) != facts["shape"]:
                return None
            arrays[name] = array
        names = [name.removeprefix("singles.x.") for name in arrays if name.startswith("singles.x.")]
        singles = {name: (arrays[f"singles.x.{name}"], arrays[f"singles.label.{name}"]) for name in names}
        words = {name: tuple(vocabulary) for name, vocabulary in meta["vocabularies"].items()}
        train, test = _rows("train", arrays), _rows("test", arrays)
        return Data(train, test, str(meta["subset"]), singles or None, words, str(meta["hash"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None  # it will be built again


def _rows(split: str, arrays: Mapping[str, NDArray[Any]]) -> Rows:
    prefix = f"{split}.x."
    x: dict[str, Any] = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    if not x:
        raise ValueError(f"no arrays of {split}")
    for name, entries in x.items():
        if (index := arrays.get(f"{split}.index.{name}")) is not None:
            x[name] = Repeated(entries, index)
    return Rows(x, **{fact: arrays.get(f"{split}.{fact}") for fact in FACTS})


def array_hash(*arrays: Entries | NDArray[np.int64]) -> str:
    """Return the SHA-256 of shapes, types and values."""
    digest = hashlib.sha256()
    for array in chain.from_iterable((a.entries, a.index) if isinstance(a, Repeated) else (a,) for a in arrays):
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
