"""Tiny stored runs, made by hand."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmvae_bench.spec import Component, Missing, RunSpec, TrainSpec
from mmvae_bench.store.run import SCHEMA, RunResult
from mmvae_bench.store.store import COLUMNS, Store

VERSIONS = {"python": "3.11.7", "torch": "2.11.0"}


def spec(seed: int = 0) -> RunSpec:
    """One of many runs."""
    return RunSpec(
        dataset=Component("pairs", 1, {}, "pairs"),
        model=Component("mvae", 1, {"k": 1}, "mvae[k=1]"),
        nets=Component("mlp", 1, {}, "mlp"),
        latent_dim=2,
        likelihoods={"a": {"likelihood": "laplace", "scale": 1.0, "weight": 1.0}},
        train=TrainSpec(20, 16, 1e-3),
        missing=Missing(),
        seed=seed,
    )


def row(run: RunSpec, metric: str = "accuracy", value: float | None = 0.5, **fields: Any) -> dict[str, Any]:
    """A tidy row."""
    known = dict.fromkeys(COLUMNS) | {
        "schema": SCHEMA, "run_id": run.run_id, "dataset": run.dataset.name, "model": run.model.name,
        "label": run.model.label, "missing_scheme": "none", "missing_ratio": 0.0, "seed": run.seed, "metric": metric,
        "variant": "", "prior": "", "given": "a", "target": "b", "value": value, "n": 10, "status": "ok",
        "dataset_hash": "d" * 16, "oracle_hash": "", "embedding_hash": "", "device": "cpu", "precision": "fp32",
        "engine": "eager", "threads": 1, "package_version": "0.1.0", "epochs": 20,
    }  # fmt: skip
    return {**known, **fields}


def rows(run: RunSpec, value: float = 0.5, **fields: Any) -> list[dict[str, Any]]:
    """Two scores and one that is skipped."""
    skipped = row(run, "retrieval", None, status="skipped", reason="no pairs", **fields)
    return [row(run, value=value, **fields), row(run, "coherence", 0.25, **fields), skipped]


def publish(store: Store, run: RunSpec, some: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """Store a run, whole; ``info`` and ``error`` may be others."""
    info = {"versions": VERSIONS, "hardware": "Xeon", "seconds": {"train": 8.0, "evaluate": 2.0}}
    given = {"info": info | changes.pop("info", {}), "history": [{"epoch": 1, "loss": 2.0}]} | changes
    weights = {"weights": {"w": np.arange(3.0)}, "artifacts": {"grid": np.zeros((2, 2))}}
    folder = store.publish(RunResult(run, rows(run) if some is None else some, **given, **weights))
    assert folder is not None
    return folder


def fail(store: Store, run: RunSpec, why: str = "the loss is NaN") -> Path:
    """Store a failed run."""
    failed = row(run, "", None, status="failed", reason=why)
    folder = store.publish(RunResult(run, [failed], error=why))
    assert folder is not None
    return folder


def plan(store: Store, *runs: RunSpec, name: str = "custom", **more: Any) -> Path:
    """Store a plan of some runs."""
    known = {"title": "", "command": "mmvae-bench run", "run_ids": [run.run_id for run in runs], "skipped": []}
    store.write_plan(name, {**known, "titles": {run.run_id: run.title for run in runs}, **more})
    return store.root / "plans" / f"{name}.json"


def snapshot(root: Path) -> Mapping[str, object]:
    """All that can be seen of a folder: names, times, contents."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [root, *sorted(root.rglob("*"))]
    }


def damage(folder: Path, name: str = "model.safetensors") -> None:
    """Change one byte of a file, not its size."""
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    time = (folder / name).stat().st_mtime_ns
    (folder / name).write_bytes(content)
    os.utime(folder / name, ns=(time, time))
