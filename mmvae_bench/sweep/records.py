"""The record of a run: its tidy rows, their provenance, and how long the run took."""

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mmvae_bench import __version__, metrics
from mmvae_bench.code import code_of, differs
from mmvae_bench.datasets.cache import Data
from mmvae_bench.engine.device import peak_memory_mb
from mmvae_bench.engine.train import History
from mmvae_bench.errors import BenchError, described
from mmvae_bench.metrics.base import Evaluation, Metric, Score
from mmvae_bench.options import parse_named
from mmvae_bench.presence import Presence
from mmvae_bench.priors import registry
from mmvae_bench.spec import RunSpec, canonical_json
from mmvae_bench.store.run import SCHEMA, RunResult, scorers
from mmvae_bench.sweep.environment import NUMERIC, processor, versions

# Variables that change how libraries round.
SWITCHES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE")

PACKAGE = Path(__file__).parents[1]


def failed(spec: RunSpec, error: Exception) -> RunResult:
    """Return the record of a failed run: one row with the reason, never taken for a result."""
    reason = described(error)
    return RunResult(spec, [row(spec, {}, Score(None, reason=reason), status="failed")], error=reason)


def scored_by(names: Sequence[str] = (), priors: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return ``metrics`` (versions), ``descriptions`` and ``priors`` (learned ones, by their code) of metrics."""
    known = {name: metric for name in names or metrics.usual() if (metric := known_metric(name))}
    versions = {name: metric.version for name, metric in known.items()}
    descriptions = {name: asdict(metric.about) for name, metric in known.items()}
    codes = {label: registry.code(parse_named(label).name) for label in priors}
    of_priors = {name: codes for name, metric in known.items() if metric.of_priors and codes}
    return {"metrics": versions, "descriptions": descriptions, "priors": of_priors}


def unscored(record: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]], *, changed: bool) -> list[str]:
    """Return which metrics a stored run lacks, has in a different version, or has without a prior that is asked for.

    Args:
        record: the run's record.
        now: :func:`scored_by` of what is asked for.
        changed: True adds metrics whose code, or that of a prior they scored, is different now.
    """
    stored = record.get("metrics", {})
    return [
        name
        for name, version in now["metrics"].items()
        if stored.get(name) != version
        or not now["priors"].get(name, {}).keys() <= record.get("priors", {}).get(name, {}).keys()
        or (changed and any(map(differs, scorers(record, name))))
    ]


def known_metric(name: str) -> Metric | None:
    """Return a registered metric, or None if it cannot be imported."""
    try:
        return metrics.registry.get(name)
    except BenchError:
        return None


def row(spec: RunSpec, facts: Mapping[str, Any], score: Score, status: str = "") -> dict[str, Any]:
    """Return one tidy row: the run, the score and its provenance, with the columns of ``store.COLUMNS``."""
    known = known_metric(score.metric) if score.metric else None
    return {
        "schema": SCHEMA,
        "run_id": spec.run_id,
        "config_id": spec.config_id,
        "dataset": spec.dataset.name,
        "dataset_options": canonical_json(dict(spec.dataset.options)),
        "model": spec.model.name,
        "model_options": canonical_json(dict(spec.model.options)),
        "label": spec.model.label,
        "missing_scheme": spec.missing.scheme,
        "missing_ratio": spec.missing.ratio,
        "incomplete": spec.missing.incomplete,
        "seed": spec.seed,
        "precision": spec.precision,
        "epochs": spec.train.epochs,
        "split": spec.split,
        "tier": spec.tier,
        "rule": spec.rule,
        **facts,
        **{name: value for name, value in vars(score).items() if name != "outcomes"},
        "metric_version": known.version if known else None,
        "higher_is_better": known.about.higher_is_better if known else None,
        "status": status or ("skipped" if score.value is None else "ok"),
    }


def provenance(
    spec: RunSpec, data: Data, presence: Presence, ev: Evaluation, threads: int, steps: int, engine: str
) -> dict[str, Any]:
    """Return what a number depends on beside its spec; recorded in every row."""
    return {
        "subset": data.subset,
        "complete_fraction": float(presence.complete.mean()),
        "dataset_hash": data.hash[:16],
        "oracle_hash": "+".join(oracle.hash for oracle in ev.oracles.values()),
        "device": ev.device.type,
        "engine": engine,
        "threads": threads,
        "package_version": __version__,
        "n_params": sum(p.numel() for p in ev.model.parameters()),
        "steps": steps * spec.train.epochs,
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions and machine, for ``run.json``."""
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "versions": {"python": platform.python_version(), **versions(NUMERIC)},
        "platform": platform.platform(),
        "hardware": model,
    }


def conditions(spec: RunSpec, data: Data, device: torch.device, threads: int) -> dict[str, str]:
    """Return what two processes must share, beside the engine, for one to resume the other's checkpoint."""
    known = environment(device)
    return {
        "run": spec.run_id,
        "data": data.hash[:16],
        "code": _code(spec),
        "device": device.type,
        "hardware": known["hardware"],
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(threads),
        **{name: known["versions"][name] for name in ("python", "torch", "numpy")},
        **{name: os.environ[name] for name in SWITCHES if name in os.environ},
    }


def _code(spec: RunSpec) -> str:
    """Return a hash of this package's sources and of the code of a plug-in's model, nets and data set."""
    digest = hashlib.sha256(canonical_json(code_of(spec)).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def pace(history: History, seconds: Mapping[str, float], device: torch.device) -> dict[str, Any]:
    """Return seconds per phase, training rows per second and peak memory: these may differ between equal runs."""
    rate = history.rows / history.seconds if history.seconds else 0.0
    return {
        "seconds": {phase: round(value, 3) for phase, value in seconds.items()},
        "rate": round(rate, 1),
        "peak_memory_mb": round(peak_memory_mb(device), 1),
    }
