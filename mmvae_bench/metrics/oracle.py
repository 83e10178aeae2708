"""The oracles that judge: classifiers trained on single true entries, cached by the content of their data."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmvae_bench.datasets.base import Judge
from mmvae_bench.datasets.cache import Data
from mmvae_bench.datasets.repeated import Repeated
from mmvae_bench.errors import BenchError
from mmvae_bench.metrics.classifier import CHUNK, VERSION, Entries, Oracle, is_picture, to_device, train_oracle
from mmvae_bench.types import Modality

__all__ = ["Oracle", "accuracy_on", "is_picture", "load_oracles", "to_device", "train_oracle"]


def accuracy_on(oracle: Oracle, entries: Entries, labels: NDArray[np.int64], seen: NDArray[np.int64]) -> float | None:
    """Share of entries predicted rightly, over rows of the classes ``seen`` in training; None where there are none."""
    known = np.flatnonzero(np.isin(labels, seen))
    parts = np.split(known, range(CHUNK, len(known), CHUNK))
    right = [oracle.predict(to_device(entries[rows], torch.device("cpu"))) == labels[rows] for rows in parts]
    return float(np.mean(np.concatenate(right))) if len(known) else None


def array_hash(*arrays: Entries | NDArray[np.int64]) -> str:
    """SHA-256 of shapes, types and values."""
    digest = hashlib.sha256()
    for array in chain.from_iterable((a.entries, a.index) if isinstance(a, Repeated) else (a,) for a in arrays):
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_oracles(
    data: Data,
    dataset_name: str,
    modalities: Sequence[Modality],
    cache_dir: Path,
    *,
    judges: Mapping[str, Judge] | None = None,
    seed: int = 0,
) -> dict[str, Judge]:
    """The judges of a data set: exact ones, and oracles from the cache or trained into it; empty without labels.

    The key is the content of the training and test entries: limits, masks and the data set's other options do not
    matter, and data sets that share a modality share its oracle.

    Args:
        data: Base rows, and ``singles`` where the oracle should train on more or less than the pairs.
        dataset_name: For messages of the lock's owner; not part of the key.
        modalities: With their vocabularies.
        cache_dir: Weights go to ``oracles/``, locks to ``locks/``.
        judges: Exact ones, in place of oracles.
        seed: Of the training.
    """  # fmt: skip
    train, test = (rows.label if rows.attributes is None else rows.attributes for rows in (data.train, data.test))
    if train is None or test is None:
        return {}
    singles, exact = data.singles or {}, judges or {}
    return {
        m.name: exact.get(m.name) or _load_or_train(
            m, *singles.get(m.name, (data.train.x[m.name], train)), data.test.x[m.name], test,
            cache_dir, dataset_name, seed,
        )
        for m in modalities
    }  # fmt: skip


def _load_or_train(
    m: Modality, entries: Entries, labels: NDArray[np.int64], test_entries: Entries, test_labels: NDArray[np.int64],
    cache_dir: Path, dataset_name: str, seed: int,
) -> Oracle:  # fmt: skip
    name, words = m.name, len(m.vocabulary)
    content = array_hash(entries, labels, test_entries, test_labels)
    key = hashlib.sha256(f"{VERSION}:{name}:{seed}:{content}".encode()).hexdigest()[:16]
    weights = cache_dir / "oracles" / f"{key}.safetensors"
    for folder in (weights.parent, cache_dir / "locks"):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / "locks" / f"oracle-{key}.lock"):
        stored = _read(weights, entries.shape[1:], words)
        if stored:
            return stored
        oracle = train_oracle(entries, labels, name, seed, words)
        seen, known = (a.reshape(len(a), -1)[:, 0] for a in (labels, test_labels))
        accuracy = accuracy_on(oracle, test_entries, known, np.unique(seen))
        _store(oracle, weights, {"dataset": dataset_name, "modality": name, "accuracy": accuracy})
        made = _read(weights, entries.shape[1:], words)
    if made is None:
        raise BenchError(f"what was just written to {weights} cannot be read back; choose another --cache-dir")
    return made


def _store(oracle: Oracle, weights: Path, meta: Mapping[str, object]) -> None:
    """Write under temporary names and rename; the ``.json`` comes last: where it is, the oracle is complete."""
    draft = weights.with_suffix(f".{os.getpid()}.tmp")
    save_file({name: value.contiguous() for name, value in oracle.state_dict().items()}, draft)
    draft.replace(weights)
    draft.write_text(json.dumps({**meta, "heads": oracle.heads, "version": VERSION}) + "\n")
    draft.replace(weights.with_suffix(".json"))


def _read(weights: Path, shape: Sequence[int], words: int) -> Oracle | None:
    """The stored oracle, or None if it is absent or damaged: it is then trained again."""
    try:
        meta = json.loads(weights.with_suffix(".json").read_text())
        oracle = Oracle(shape, meta["heads"], words)
        oracle.load_state_dict(load_file(weights))
        oracle.accuracy, oracle.hash = meta["accuracy"], hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
        return None
    return oracle.eval()
