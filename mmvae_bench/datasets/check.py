"""The report of ``mmvae-bench data check`` on a data set's files."""

import warnings
from pathlib import Path

import numpy as np

from mmvae_bench.datasets.base import Dataset, Rows
from mmvae_bench.datasets.download import UNVERIFIED
from mmvae_bench.errors import DataError


def check(dataset: Dataset, name: str, data_dir: Path) -> list[str]:
    """Return lines on a data set: its files, their subset if they are not official, rows per class; or what is missing.

    Raises:
        DataError: If a file is damaged.
    """
    try:
        sources = dataset.sources(data_dir)
    except DataError as missing:
        return [f"{name}: incomplete", f"  {missing}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a subset: the first line states it
        built = dataset.build(data_dir)
    what = f"not the official data but the subset {built.subset}" if built.subset else "complete and official"
    if built.subset.endswith(UNVERIFIED):
        what = "complete, not verified"
    lines = [f"{name}: {what}" if sources else f"{name}: generated, no files"]
    for path in sources:
        files = path.rglob("*") if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files if file.is_file())
        lines.append(f"  found {path} ({size / 1e6:,.1f} MB)")
    lines += [f"  {split}: {_count(dataset, rows)}" for split, rows in (("train", built.train), ("test", built.test))]
    lines += [f"  {modality}: {len(words):,} words" for modality, words in built.vocabularies.items()]
    return lines


def _count(dataset: Dataset, rows: Rows) -> str:
    text = f"{len(rows):,} rows"
    if rows.label is None or not dataset.classes:
        return text
    if rows.item is not None:
        text += f" of {len(np.unique(rows.item)):,} items"
    counts = np.bincount(rows.label, minlength=len(dataset.classes))
    if len(counts) > 20:  # too many to be listed one by one
        there = counts[counts > 0]
        return f"{text}; {len(there)} of {len(counts)} classes, {there.min()} to {there.max()} rows each"
    return f"{text}; by class: " + ", ".join(f"{c} {n}" for c, n in zip(dataset.classes, counts, strict=True))
