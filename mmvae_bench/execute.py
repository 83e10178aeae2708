"""One run, from its spec to its result: data, model, training, evaluation. A straight line, no plumbing."""

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmvae_bench import __version__, datasets, metrics, models, nets
from mmvae_bench.datasets.base import Dataset, Rows
from mmvae_bench.datasets.cache import Data, load, validation_split
from mmvae_bench.engine.device import peak_memory_mb
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.train import History, Progress, train
from mmvae_bench.errors import BenchError
from mmvae_bench.metrics.artifacts import artifacts
from mmvae_bench.metrics.base import Evaluation, Score
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.oracle import load_oracles
from mmvae_bench.missing import Presence
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.seeds import seed_for
from mmvae_bench.spec import RunSpec, canonical_json
from mmvae_bench.store import SCHEMA, RunResult, Store, read_run
from mmvae_bench.types import Modality

ENGINE = "eager"  # the engine mode, recorded with every row


@dataclass(frozen=True)
class Material:
    """What a run reads: its data set, its rows after limits and the validation split, and its holes."""

    dataset: Dataset
    data: Data
    train: Rows
    test: Rows
    presence: Presence
    modalities: tuple[Modality, ...]


def open_material(spec: RunSpec, data_dir: Path, cache_dir: Path) -> Material:
    """Load a run's rows from the cache (or build it) and draw its holes.

    Raises:
        BenchError: If data are absent, corrupt, or cannot be cached.
    """
    dataset = datasets.registry.get(spec.dataset.name)(**spec.dataset.options)
    data = load(dataset, spec.dataset.name, spec.dataset.options, data_dir, cache_dir)
    kept, _ = validation_split(len(data.train), spec.dataset.name)
    train_rows = data.train.take(np.sort(_first(kept, spec.limit_train, spec.dataset.name)))
    test_rows = data.test.take(np.sort(_first(np.arange(len(data.test)), spec.limit_test, spec.dataset.name)))
    modalities = tuple(replace(m, **spec.likelihoods[m.name]) for m in dataset.modalities)  # type: ignore[arg-type]
    presence = Presence(
        spec.missing, tuple(m.name for m in modalities), len(train_rows), spec.dataset.name, spec.seed
    )  # fmt: skip
    return Material(dataset, data, train_rows, test_rows, presence, modalities)


def _first(rows: np.ndarray[Any, np.dtype[np.intp]], limit: int | None, name: str) -> Any:
    """``limit`` of the rows in an order that depends on the data set alone, or all of them."""
    order = np.random.default_rng(seed_for("limit", name)).permutation(len(rows))
    return rows if limit is None else rows[order[:limit]]


def build_model(spec: RunSpec, modalities: Sequence[Modality], device: torch.device) -> MultimodalVAE:
    """The untrained model, initialised by ``seed_for("init", model, dataset, seed)``."""
    torch.manual_seed(seed_for("init", spec.model.name, spec.dataset.name, spec.seed))
    networks = nets.registry.get(spec.nets.name)(modalities, spec.latent_dim, **spec.nets.options)
    return models.registry.get(spec.model.name)(networks, **spec.model.options).to(device)  # type: ignore[arg-type]


def run(
    spec: RunSpec, device: torch.device, threads: int, data_dir: Path, cache_dir: Path,
    report: Callable[[Progress], None],
) -> RunResult:  # fmt: skip
    """Train and score one model.

    Raises:
        TrainingFailed: If a loss or a score is not finite.
    """
    started = time.perf_counter()
    material = open_material(spec, data_dir, cache_dir)
    model = build_model(spec, material.modalities, device)
    feed = Feed.load(
        material.train, material.presence, spec.train.batch_size, device,
        pairs=material.dataset.pairs, pure=model.batches == "pure",
    )  # fmt: skip
    model.initialise(feed.draw)
    torch.manual_seed(seed_for("train", spec.dataset.name, spec.seed))
    loaded = time.perf_counter()
    history = train(model, feed, spec.train, report)
    trained = time.perf_counter()
    ev = evaluation(spec, material, model, device, cache_dir)
    scores, pictures = evaluate(ev), artifacts(ev)
    seconds = {"load": loaded - started, "train": history.seconds, "evaluate": time.perf_counter() - trained}
    facts = provenance(spec, material, ev, device, threads, feed.steps)
    weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    info = {**facts, **environment(device), **_pace(history, seconds, device), "metrics": metric_versions()}
    rows = [row(spec, facts, score) for score in scores]
    return RunResult(spec, rows, history.epochs, info, weights, pictures)


def evaluation(
    spec: RunSpec, material: Material, model: MultimodalVAE, device: torch.device, cache_dir: Path
) -> Evaluation:
    """The trained model on its test split, with the data set's oracles."""
    name, classes = spec.dataset.name, material.dataset.classes
    oracles = load_oracles(material.data, name, model.names, cache_dir) if classes else {}
    ever = material.presence.ever()
    return Evaluation(
        model.eval(), material.train, material.test, oracles, name, spec.seed, len(classes or ()), device, present=ever
    )


def evaluate_again(spec: RunSpec, store: Store, device: torch.device, data_dir: Path, cache_dir: Path) -> RunResult:
    """Score a stored run by the metrics registered since, from its weights, without training; keep its other rows."""
    from safetensors.numpy import load_file

    folder = store.folder(spec)
    record = read_run(folder)
    material = open_material(spec, data_dir, cache_dir)
    model = build_model(spec, material.modalities, device)
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    ev = evaluation(spec, material, model, device, cache_dir)
    current, stored = metric_versions(), record["metrics"]
    new = [name for name in current if stored.get(name) != current[name]]
    facts = provenance(spec, material, ev, device, record["threads"], record["steps"] // spec.train.epochs)
    old = [r for r in store.rows(folder) if r["metric"] in current and r["metric"] not in new]
    info = {key: value for key, value in record.items() if key not in ("schema", "status", "spec", "files")}
    with np.load(folder / "artifacts.npz", allow_pickle=False) as pictures:
        kept = {name: pictures[name] for name in pictures.files}
    rows = [*old, *(row(spec, facts, score) for score in evaluate(ev, new))]
    return RunResult(spec, rows, store.history(folder), {**info, "metrics": current}, weights, kept)


def failed(spec: RunSpec, error: Exception) -> RunResult:
    """The record of a run that broke: one row with the reason, never taken for a result."""
    message = str(error) if isinstance(error, BenchError) or not str(error) else f"{type(error).__name__}: {error}"
    reason = message or type(error).__name__
    return RunResult(spec, [row(spec, {}, Score("", None, reason=reason), status="failed")], error=reason)


def metric_versions() -> dict[str, int]:
    """Name and version of every registered metric."""
    return {name: metrics.registry.get(name).version for name in metrics.registry.names()}


def row(spec: RunSpec, facts: Mapping[str, Any], score: Score, status: str = "") -> dict[str, Any]:
    """One tidy row: what was run, what was scored, where it comes from. Columns as in ``store.COLUMNS``."""
    known = metrics.registry.get(score.metric) if score.metric else None
    return {
        "schema": SCHEMA,
        "run_id": spec.run_id,
        "config_id": spec.config_id,
        "dataset": spec.dataset.name,
        "dataset_options": canonical_json(dict(spec.dataset.options)),
        "model": spec.model.name,
        "model_options": canonical_json(dict(spec.model.options)),
        "label": spec.model.label,
        "missing_scheme": spec.missing.scheme + ("" if spec.missing.incomplete == "keep" else ",drop"),
        "missing_ratio": spec.missing.ratio,
        "seed": spec.seed,
        "precision": spec.precision,
        "epochs": spec.train.epochs,
        **facts,
        **asdict(score),
        "metric_version": known.version if known else None,
        "higher_is_better": known.higher_is_better if known else None,
        "status": status or ("skipped" if score.value is None else "ok"),
    }


def provenance(
    spec: RunSpec, material: Material, ev: Evaluation, device: torch.device, threads: int, steps: int
) -> dict[str, Any]:
    """What a number depends on beside its spec, recorded in every row."""
    return {
        "subset": material.data.subset,
        "complete_fraction": float(material.presence.complete.mean()),
        "dataset_hash": material.data.hash[:16],
        "oracle_hash": "+".join(oracle.hash for oracle in ev.oracles.values()),
        "device": device.type,
        "engine": ENGINE,
        "threads": threads,
        "package_version": __version__,
        "n_params": sum(p.numel() for p in ev.model.parameters()),
        "steps": steps * spec.train.epochs,
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and machine, for ``run.json``."""
    names = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "POT")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"versions": {"python": platform.python_version(), **found}, "platform": platform.platform(), "hardware": model}


def _pace(history: History, seconds: Mapping[str, float], device: torch.device) -> dict[str, Any]:
    rate = history.rows / history.seconds if history.seconds else math.inf
    return {
        "seconds": {phase: round(value, 3) for phase, value in seconds.items()},
        "rate": round(rate, 1),
        "peak_memory_mb": round(peak_memory_mb(device), 1),
    }
