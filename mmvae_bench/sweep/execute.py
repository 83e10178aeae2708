"""One run, from its spec to its result: data, model, training, evaluation."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmvae_bench import datasets, models, nets
from mmvae_bench.code import code_of, metric_codes
from mmvae_bench.datasets.base import Dataset, Judge, Rows, validation_split
from mmvae_bench.datasets.cache import Data, load
from mmvae_bench.datasets.rules import check_labels, check_modalities, check_rows, check_singles
from mmvae_bench.engine.checkpoint import UNPROMISED, Keeper
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.layers import speed_up
from mmvae_bench.engine.mode import choose_mode
from mmvae_bench.engine.share import RandomState
from mmvae_bench.engine.train import Progress, train
from mmvae_bench.errors import BenchError, Broken, Stopped
from mmvae_bench.metrics.artifacts import artifacts
from mmvae_bench.metrics.base import Evaluation, Score
from mmvae_bench.metrics.classes import blind_judges
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.oracle import load_oracles
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.presence import Presence
from mmvae_bench.priors import installed
from mmvae_bench.seeds import seed_for
from mmvae_bench.spec import Missing, RunSpec
from mmvae_bench.store.run import OUTCOMES, OWN, RunResult, StoredRun
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.records import conditions, environment, pace, provenance, row, scored_by, unscored
from mmvae_bench.types import Modality


@dataclass(frozen=True)
class Material:
    """The data of a run: data set, rows after limits and the validation split, and which entries are present."""

    dataset: Dataset
    data: Data
    train: Rows
    test: Rows  # rows that are scored: of the test split, or of a trial the validation rows
    presence: Presence
    modalities: tuple[Modality, ...]

    def judges(self, name: str, cache_dir: Path) -> dict[str, Judge]:
        """Return the judge of each modality, trained on first use; empty where there are no classes."""
        if not self.dataset.classes:
            return {}
        exact = self.dataset.judges({m.name: m.vocabulary for m in self.modalities})
        return load_oracles(self.data, name, self.modalities, cache_dir, judges=exact)


def open_material(spec: RunSpec, data_dir: Path, cache_dir: Path) -> Material:
    """Load a run's rows from the cache (or build it), and draw which entries are present.

    Raises:
        BenchError: If data are absent, corrupt, or cannot be cached.
    """
    dataset = datasets.make(spec.dataset.name, spec.dataset.options)
    data = load(dataset, spec.dataset.name, spec.dataset.options, data_dir, cache_dir)
    kept, validation = validation_split(data.train, spec.dataset.name)
    train_rows = data.train.take(np.sort(_first(kept, spec.limit_train, spec.dataset.name)))
    scored = data.test if spec.split == "test" else data.train.take(validation)
    test_rows = scored.take(np.sort(_first(np.arange(len(scored)), spec.limit_test, spec.dataset.name)))
    words = data.vocabularies
    modalities = tuple(
        replace(m, vocabulary=words.get(m.name, m.vocabulary), **spec.likelihoods[m.name])  # type: ignore[arg-type]
        for m in dataset.modalities
    )
    names = tuple(m.name for m in modalities)
    return Material(dataset, data, train_rows, test_rows, draw_presence(spec, train_rows, names), modalities)


def draw_presence(spec: RunSpec, rows: Rows, names: tuple[str, ...]) -> Presence:
    """Draw which entries of a run's training rows are present.

    Raises:
        BenchError: If some modality is present in none of them.
    """
    presence = Presence(spec.missing, names, len(rows), spec.dataset.name, spec.seed, rows.item)
    if not len(presence.trained()) or not presence.ever().any(1).all():
        raise BenchError("Some modality is present in no training row. Lower --missing or raise --limit-train.")
    return presence


def prepare_data(specs: Sequence[RunSpec], data_dir: Path, cache_dir: Path) -> dict[str, str]:
    """Build the cache of a data set, check its rules and train its oracles, once for all runs on it.

    Returns:
        By id, why runs are impossible.

    Raises:
        BenchError: If its files are absent or damaged, or it is not what it declares.
    """
    first, impossible = specs[0], dict[str, str]()
    dataset, name = datasets.make(first.dataset.name, first.dataset.options), first.dataset.name
    try:
        check_modalities(dataset)  # whose names are names of the cache's files
        material = open_material(replace(first, missing=Missing()), data_dir, cache_dir)
        for check in (check_rows, check_labels, check_singles):
            check(dataset, material.data)
    except Broken as rule:
        raise BenchError(f"'{name}' breaks a rule: {rule}. To check all rules: mmvae-bench check {name}") from rule
    material.judges(name, cache_dir)
    for spec in specs:
        try:
            draw_presence(spec, material.train, tuple(m.name for m in material.modalities))
        except BenchError as error:
            impossible[spec.run_id] = str(error)
    return impossible


def _first(rows: np.ndarray[Any, np.dtype[np.intp]], limit: int | None, name: str) -> Any:
    """Return ``limit`` of the rows in an order that depends on the data set alone, or all of them."""
    order = np.random.default_rng(seed_for("limit", name)).permutation(len(rows))
    return rows if limit is None else rows[order[:limit]]


def build_model(spec: RunSpec, modalities: Sequence[Modality], device: torch.device) -> MultimodalVAE:
    """Return the untrained model, initialised by ``seed_for("init", dataset, seed)``, with fast layers.

    The nets are made first, so that equal nets start from equal weights whatever the model.
    """
    torch.manual_seed(seed_for("init", spec.dataset.name, spec.seed))
    networks = nets.registry.get(spec.nets.name)(modalities, spec.latent_dim, **spec.nets.options)
    model = models.registry.get(spec.model.name)(networks, **spec.model.options)  # type: ignore[arg-type]
    speed_up(model.networks, device)
    return model.to(device)


def ready(
    spec: RunSpec, modalities: Sequence[Modality], rows: Rows, presence: Presence, device: torch.device, pairs: int = 1
) -> tuple[MultimodalVAE, Feed]:
    """Return the untrained model and its batches; everything that is drawn before the first step is drawn."""
    model = build_model(spec, modalities, device)
    feed = Feed.load(rows, presence, spec.train.batch_size, device, pairs=pairs, pure=model.batches == "pure")
    model.initialise(feed.draw)
    torch.manual_seed(seed_for("train", spec.dataset.name, spec.seed))
    return model, feed


def run(
    spec: RunSpec, device: torch.device, threads: int, data_dir: Path, cache_dir: Path,
    report: Callable[[Progress], None], keeper: Keeper, metrics: Sequence[str] = (), priors: Sequence[str] = (), *,
    compiled: bool = False,
) -> RunResult:  # fmt: skip
    """Train one model and score it by the named metrics, or by all, with learned priors; bf16 is of training alone.

    Raises:
        BenchError: If the device cannot have the spec's precision.
        TrainingFailed: If a loss or a score is not finite.
        Stopped: If the keeper was told to stop.
    """
    started = time.perf_counter()
    mode, lack = choose_mode(device, spec.precision, compiled)
    material = open_material(spec, data_dir, cache_dir)
    keeper.conditions = conditions(spec, material.data, device, threads)
    random = RandomState(device)
    with random():
        model, feed = ready(
            spec, material.modalities, material.train, material.presence, device, material.dataset.pairs
        )
    loaded = time.perf_counter()
    history = train(model, feed, spec.train, report, mode=mode, random=random, keeper=keeper)
    trained = time.perf_counter()
    ev = evaluation(spec, material, model, device, data_dir, cache_dir, priors)
    scores = _scores(ev, metrics or None, keeper)
    pictures = artifacts(ev) if spec.split == "test" else {}
    seconds = {"load": loaded - started, "warm_up": history.warm_up, "train": history.seconds}
    seconds["evaluate"] = time.perf_counter() - trained
    engine = history.engine + " resumed" * (history.resumed > 0 and any(map(history.engine.__contains__, UNPROMISED)))
    facts = provenance(spec, material.data, material.presence, ev, threads, feed.steps, engine)
    weights = {name: value.contiguous().cpu().numpy() for name, value in model.state_dict().items()}
    remark = model.remark_if_complete if spec.missing.scheme == "none" else ""
    lacks = " ".join(part for part in (lack, history.lack) if part)
    info = {**facts, "remark": remark, "engine_remark": lacks, **environment(device), **pace(history, seconds, device)}
    info |= {**(known := scored_by(metrics, priors)), "resumed": history.resumed, "tier": spec.tier, "rule": spec.rule}
    info["code"] = {**code_of(spec), "metrics": metric_codes(known["metrics"])}
    info["modalities"] = [asdict(modality) for modality in material.modalities]
    rows = [row(spec, facts, score) for score in scores]
    return RunResult(spec, rows, history.epochs, info, weights, pictures, outcomes(scores))


def outcomes(scores: Sequence[Score]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the outcomes of each score on the test rows, by the score's key: bits where they are 0 or 1."""
    found = {score.key: score.outcomes for score in scores if score.outcomes is not None}
    return {key: x.astype(bool) if np.isin(x, (0, 1)).all() else x.astype(np.float32) for key, x in found.items()}


def _scores(ev: Evaluation, metrics: Sequence[str] | None, keeper: Keeper) -> list[Score]:
    """Return the scores of the named metrics, or of all; log judges that are at chance, and each metric."""
    for remark in blind_judges(ev).values():
        keeper.say(f"{remark}: no mean over directions contains its scores")
    return evaluate(ev, metrics, partial(_begin, keeper))


def _begin(keeper: Keeper, metric: str) -> None:
    """Log the next metric, or stop: scoring can be stopped between two metrics."""
    if why := keeper.halt():
        raise Stopped(why)
    keeper.say(f"scoring: {metric}")


def evaluation(
    spec: RunSpec, material: Material, model: MultimodalVAE, device: torch.device, data_dir: Path, cache_dir: Path,
    priors: Sequence[str] = (),
) -> Evaluation:  # fmt: skip
    """Return the trained model on its test split, with the data set's judges."""
    name, dataset = spec.dataset.name, material.dataset
    return Evaluation(
        model.eval(), material.train, material.test, material.judges(name, cache_dir), name, spec.seed,
        len(dataset.classes or ()), device, related=dataset.related, ordered=dataset.ordered,
        present=material.presence.ever(), attributes=dataset.attributes, pairs=material.data.train,
        cache_dir=cache_dir, data_dir=data_dir, priors=tuple(priors),
    )  # fmt: skip


def evaluate_again(
    spec: RunSpec, store: Store, device: torch.device, data_dir: Path, cache_dir: Path, keeper: Keeper,
    metrics: Sequence[str] = (), priors: Sequence[str] = (), *, changed: bool = False,
) -> RunResult:  # fmt: skip
    """Score a stored run by those ``metrics`` (or all) that are :func:`unscored`, from its weights; keep other rows."""
    run = StoredRun.read(store.folder(spec))
    record = run.record
    material = open_material(spec, data_dir, cache_dir)
    model = build_model(spec, material.modalities, device)
    weights = run.arrays("model.safetensors")
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    new = unscored(record, scored_by(metrics, priors), changed=changed)
    stored = [label for name in new for label in record.get("priors", {}).get(name, ())]
    gone = {*stored}.difference(here := installed(stored))
    priors = list(dict.fromkeys([*here, *priors]))
    ev = evaluation(spec, material, model, device, data_dir, cache_dir, priors)
    now = scored_by(new, priors) if new else {}
    if record["dataset_hash"] != material.data.hash[:16]:
        raise BenchError("The data differ from those that the run was trained on. Retrain it with --overwrite always.")
    facts = provenance(
        spec, material.data, material.presence, ev, record["threads"], record["steps"] // spec.train.epochs,
        record["engine"],
    )  # fmt: skip
    old = [r for r in run.rows() if r["metric"] not in new or r["prior"] in gone]
    info = {key: value for key, value in record.items() if key not in OWN}
    scores = _scores(ev, new, keeper)
    rows = [*old, *(row(spec, facts, score) for score in scores)]
    kept = {key: x for key, x in run.arrays(OUTCOMES).items() if key.partition("/")[0] not in new}
    info |= {key: {**record.get(key, {}), **own} for key, own in now.items()}
    code = record.get("code", {})
    info["code"] = {**code, "metrics": {**code.get("metrics", {}), **metric_codes(new)}}
    pictures = run.arrays("artifacts.npz")
    return RunResult(spec, rows, run.history(), info, weights, pictures, {**kept, **outcomes(scores)}, log=run.log)
