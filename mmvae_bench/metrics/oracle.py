"""The oracles that judge: classifiers trained on single true entries, cached by the content of their data."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmvae_bench.datasets.cache import Data
from mmvae_bench.errors import BenchError
from mmvae_bench.metrics.classifier import CHUNK, VERSION, Entries, Oracle, is_picture, to_float, train_oracle

__all__ = ["Oracle", "accuracy_on", "is_picture", "load_oracles", "to_float", "train_oracle"]


def accuracy_on(oracle: Oracle, entries: Entries, labels: NDArray[np.int64], seen: NDArray[np.int64]) -> float | None:
    """Share of entries predicted rightly, over rows of the classes ``seen`` in training; None where there are none."""
    known = np.flatnonzero(np.isin(labels, seen))
    parts = np.split(known, range(CHUNK, len(known), CHUNK))
    right = [oracle.predict(to_float(entries[rows], torch.device("cpu"))) == labels[rows] for rows in parts]
    return float(np.mean(np.concatenate(right))) if len(known) else None


def array_hash(*arrays: Entries | NDArray[np.int64]) -> str:
    """SHA-256 of shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_oracles(
    data: Data, dataset_name: str, modalities: Sequence[str], cache_dir: Path, seed: int = 0
) -> dict[str, Oracle]:
    """The oracles of a data set, from the cache or trained into it; empty where rows have no labels.

    The key is the content of the training and test entries: limits, masks and the data set's other options do not
    matter, and data sets that share a modality share its oracle.

    Args:
        data: Base rows, and ``singles`` where the oracle should train on more than the pairs.
        dataset_name: For messages of the lock's owner; not part of the key.
        modalities: Names.
        cache_dir: Weights go to ``oracles/``, locks to ``locks/``.
        seed: Of the training.
    """
    if data.train.label is None or data.test.label is None:
        return {}
    singles = data.singles or {}
    return {
        name: _load_or_train(
            name, *singles.get(name, (data.train.x[name], data.train.label)), data.test.x[name], data.test.label,
            cache_dir, dataset_name, seed,
        )
        for name in modalities
    }  # fmt: skip


def _load_or_train(
    name: str, entries: Entries, labels: NDArray[np.int64], test_entries: Entries, test_labels: NDArray[np.int64],
    cache_dir: Path, dataset_name: str, seed: int,
) -> Oracle:  # fmt: skip
    content = array_hash(entries, labels, test_entries, test_labels)
    key = hashlib.sha256(f"{VERSION}:{name}:{seed}:{content}".encode()).hexdigest()[:16]
    weights = cache_dir / "oracles" / f"{key}.safetensors"
    for folder in (weights.parent, cache_dir / "locks"):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / "locks" / f"oracle-{key}.lock"):
        stored = _read(weights, entries.shape[1:])
        if stored:
            return stored
        oracle = train_oracle(entries, labels, name, seed)
        accuracy = accuracy_on(oracle, test_entries, test_labels, np.unique(labels))
        _store(oracle, weights, {"dataset": dataset_name, "modality": name, "accuracy": accuracy})
        made = _read(weights, entries.shape[1:])
    if made is None:
        raise BenchError(f"what was just written to {weights} cannot be read back; choose another --cache-dir")
    return made


def _store(oracle: Oracle, weights: Path, meta: Mapping[str, object]) -> None:
    """Write under temporary names and rename; the ``.json`` comes last: where it is, the oracle is complete."""
    draft = weights.with_suffix(f".{os.getpid()}.tmp")
    save_file({name: value.contiguous() for name, value in oracle.state_dict().items()}, draft)
    draft.replace(weights)
    draft.write_text(json.dumps({**meta, "classes": oracle.classes, "version": VERSION}) + "\n")
    draft.replace(weights.with_suffix(".json"))


def _read(weights: Path, shape: Sequence[int]) -> Oracle | None:
    """The stored oracle, or None if it is absent or damaged: it is then trained again."""
    try:
        meta = json.loads(weights.with_suffix(".json").read_text())
        oracle = Oracle(shape, meta["classes"])
        oracle.load_state_dict(load_file(weights))
        oracle.accuracy, oracle.hash = meta["accuracy"], hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
        return None
    return oracle.eval()
