"""A plan: every run that was asked for, with what is stored already and what is skipped and why."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from mmvae_bench import datasets, models, nets
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.errors import BenchError, DataError, NewerSchema, Unsupported, in_a_line
from mmvae_bench.options import Named, parse_named, resolve
from mmvae_bench.spec import Component, Missing, RunSpec, TrainSpec, grid
from mmvae_bench.store.run import StoredRun, run_checksum
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.request import MOST_RUNS, Overwrite, Request

Status = Literal["to run", "stored", "failed before", "broken", "skipped", "other shard"]


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan.

    Attributes:
        dataset: As typed, with its options; ``label`` is the model, likewise.
        status: ``broken`` is a folder that was cut off or edited.
        reason: Why it is skipped, failed or broken.
        spec: None only where the model cannot be imported (the run is then skipped).
        checksum: checksum of the stored result, taken before its status was read. Only that result may be replaced.
    """

    dataset: str
    label: str
    missing: Missing
    seed: int
    status: Status
    reason: str = ""
    spec: RunSpec | None = None
    checksum: str = ""

    @property
    def title(self) -> str:
        """A short text for people: ``mopoe on mnist_street, split 0.5, seed 0``."""
        return f"{self.label} on {self.dataset}, {self.missing.text}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """The runs of a request, each once, in a fixed order: by data set, model, missing pattern and seed."""

    name: str
    title: str
    command: str
    entries: list[PlannedRun]

    @property
    def specs(self) -> list[RunSpec]:
        """Every run that is not skipped."""
        return [entry.spec for entry in self.entries if entry.spec and entry.status != "skipped"]

    def todo(self, overwrite: Overwrite = "failed") -> list[RunSpec]:
        """The runs to train now; what is stored, failed or broken is repeated as ``overwrite`` says."""
        repeated: dict[str, set[Status]] = {
            "never": {"to run"},
            "failed": {"to run", "failed before", "broken"},
            "always": {"to run", "failed before", "broken", "stored"},
        }
        return [entry.spec for entry in self.entries if entry.spec and entry.status in repeated[overwrite]]

    @property
    def own(self) -> list[RunSpec]:
        """Every run that is not skipped and not another shard's."""
        return [entry.spec for entry in self.entries if entry.spec and entry.status not in ("skipped", "other shard")]

    def shard(self, number: int, count: int) -> "Plan":
        """The same plan, of which only every run whose id falls to shard ``number`` of ``count`` is to be run.

        Which shard a run falls to depends on its id alone: machines that know nothing of each other do all runs, once.

        Args:
            number: From 1 to ``count``.
            count: How many shards there are.
        """

        def placed(entry: PlannedRun) -> PlannedRun:
            own = not entry.spec or entry.status == "skipped" or int(entry.spec.run_id, 16) % count == number - 1
            return entry if own else replace(entry, status="other shard", reason="")

        return replace(self, entries=[placed(entry) for entry in self.entries])

    @property
    def counts(self) -> Counter[Status]:
        """How many runs have each status."""
        return Counter(entry.status for entry in self.entries)

    def exit_code(self, overwrite: Overwrite = "failed") -> int:
        """What a run of this plan exits with if nothing fails: 0, 1 (failed runs are left), 2 (nothing can run)."""
        if not self.specs or (overwrite == "never" and self.counts["broken"]):
            return 2
        return int(overwrite == "never" and self.counts["failed before"] > 0)

    def record(self) -> dict[str, Any]:
        """What the store keeps of the plan: identities, and the skipped runs with their reasons."""
        skipped = [
            {
                "dataset": entry.dataset,
                "label": entry.label,
                "missing": entry.missing.text,
                "seed": entry.seed,
                "reason": entry.reason,
            }
            for entry in self.entries
            if entry.status == "skipped"
        ]
        return {
            "name": self.name,
            "title": self.title,
            "command": self.command,
            "run_ids": [spec.run_id for spec in self.specs],
            "titles": {spec.run_id: spec.title for spec in self.specs},  # for people, while a run is not stored
            "skipped": skipped,
        }


@dataclass(frozen=True)
class _Model:
    """A model of the request; without a component where it cannot be used, and why."""

    label: str
    component: Component | None = None
    factory: Any = None
    broken: str = ""


class _Data:
    """A data set of the request, with its declared facts; its files may be absent."""

    def __init__(self, text: str, data_dir: Path) -> None:
        named = parse_named(text)
        factory = datasets.registry.get(named.name)
        self.component = component(named, factory)
        self.dataset = datasets.make(named.name, self.component.options)
        self.modalities = self.dataset.modalities
        self.names = [m.name for m in self.modalities]
        self._data_dir = data_dir
        self._unfit: str | None = None

    @cached_property
    def absent(self) -> str:
        """The sentence that helps, if a file is not there; else empty."""
        try:
            self.dataset.sources(self._data_dir)
        except DataError as error:
            return str(error)
        except Exception as error:  # a plug-in may raise anything
            return f"'{self.component.label}' cannot name its files ({in_a_line(error)})"
        return ""

    def base(self, model: Component, request: Request) -> RunSpec:
        """The common protocol with the request's changes: a spec for the first pattern and seed."""
        protocol = self.dataset.protocol
        preset = parse_named(request.nets or protocol.nets)
        epochs, batch_size = request.epochs or protocol.epochs, request.batch_size or protocol.batch_size
        return RunSpec(
            dataset=self.component,
            model=model,
            nets=component(preset, nets.registry.get(preset.name)),
            latent_dim=request.latent_dim or protocol.latent_dim,
            likelihoods={
                m.name: {
                    "likelihood": m.likelihood,
                    "scale": float(request.scales.get(m.name, m.scale)),
                    "weight": float(request.weights.get(m.name, m.weight)),
                }
                for m in self.modalities
            },
            train=TrainSpec(epochs, batch_size, request.learning_rate or protocol.learning_rate, request.optimiser),
            missing=request.holes[0],
            seed=request.seeds[0],
            limit_train=request.limit_train,
            limit_test=request.limit_test,
            precision=request.precision,
        )

    def unfit(self, spec: RunSpec) -> str:
        """Why the nets cannot take these modalities, or empty: they are made without memory for their weights."""
        import torch

        if self._unfit is None:
            known = [replace(m, vocabulary=m.vocabulary or SPECIALS) for m in self.modalities]
            try:
                with torch.device("meta"):
                    nets.registry.get(spec.nets.name)(known, spec.latent_dim, **spec.nets.options)
                self._unfit = ""
            except Unsupported as reason:
                self._unfit = f"'{self.component.label}': {reason}"
            except BenchError:
                raise
            except Exception as error:  # torch's own, of sizes that it cannot have
                why = (str(error).splitlines() or [""])[0]
                self._unfit = f"'{self.component.label}': '{spec.nets.label}' cannot be made ({why})"
        return self._unfit

    def obstacle(self, model: _Model, spec: RunSpec) -> str:
        """Why a run cannot be, or empty."""
        missing = spec.missing
        if missing.modality and missing.modality not in self.names:
            return f"'{self.component.label}' has no modality '{missing.modality}'; it has {', '.join(self.names)}"
        return self.absent or self.unfit(spec) or self._refusal(model, missing)

    def _refusal(self, model: _Model, missing: Missing) -> str:
        """Why the model does not take these modalities with these holes, or empty."""
        try:
            reason = model.factory.unsupported(self.modalities, missing)
        except Exception as error:  # a plug-in may raise anything
            return f"'{model.label}' cannot say what it supports ({in_a_line(error)})"
        if reason is None or isinstance(reason, str):
            return reason or ""
        return f"unsupported() of '{model.label}' returned {reason!r}, and a sentence or None says whether it can be"


def component(named: Named, factory: Callable[..., Any]) -> Component:
    """Return a registered thing with its version and all its options.

    Raises:
        BenchError: If an option is unknown or does not fit.
    """
    return Component(named.name, getattr(factory, "version", 1), resolve(factory, named), named.label)


def make_plan(request: Request, store: Store, data_dir: Path) -> Plan:
    """Resolve a request against the registries, the data on disk and the results stored.

    Raises:
        BenchError: If a name, an option or a scheme's modality is unknown.
    """
    chosen = _choose_models(request.models)
    data = [_Data(text, data_dir) for text in request.datasets]
    _check_modalities(request, data)
    if (runs := len(chosen) * len(data) * len(request.holes) * len(request.seeds)) > MOST_RUNS:
        raise BenchError(f"one command plans at most {MOST_RUNS:,} runs, not {runs:,}; ask for some of them at a time")
    entries: dict[object, PlannedRun] = {}
    for d, model in product(data, chosen):
        for entry in _runs(request, d, model, store):
            entries.setdefault(_identity(entry), entry)  # the same run under two labels is one run
    return Plan(request.name, request.title, request.command, list(entries.values()))


def _identity(entry: PlannedRun) -> object:
    return entry.spec.run_id if entry.spec else (entry.dataset, entry.label, entry.missing, entry.seed)


def _choose_models(texts: Sequence[str]) -> list[_Model]:
    """The models named; of ``all``, those that cannot be imported are kept to be skipped with the reason."""
    chosen: list[_Model] = []
    for named in map(parse_named, texts):
        everything = named.name == "all"
        for each in [Named(name, named.options) for name in models.registry.names()] if everything else [named]:
            try:
                factory = models.registry.get(each.name)
                chosen.append(_Model(each.label, component(each, factory), factory))
            except BenchError as error:
                if not everything:
                    raise
                chosen.append(_Model(each.label, broken=str(error)))
    return chosen


def _check_modalities(request: Request, data: Sequence[_Data]) -> None:
    """Refuse a scheme, a scale or a weight whose modality no data set has."""
    named = {f"the scheme '{scheme}'": Missing(0.5, scheme).modality for scheme in request.schemes if scheme != "none"}
    named |= {f"the scale of '{name}'": name for name in request.scales}
    named |= {f"the weight of '{name}'": name for name in request.weights}
    for what, name in named.items():
        if name and not any(name in d.names for d in data):
            have = "; ".join(f"{d.component.label} has {', '.join(d.names)}" for d in data)
            raise BenchError(f"{what} names no modality of the data: {have}")


def _runs(request: Request, data: _Data, model: _Model, store: Store) -> Iterator[PlannedRun]:
    """The runs of one model on one data set."""
    label = data.component.label
    if model.component is None:
        for hole in request.holes:
            for seed in request.seeds:
                yield PlannedRun(label, model.label, hole, seed, "skipped", model.broken)
        return
    for spec in grid([data.base(model.component, request)], request.holes, request.seeds):
        checksum = run_checksum(store.folder(spec))  # first: only the result seen here may be replaced
        status, reason = _stored(spec, store)
        obstacle = "" if status == "stored" else data.obstacle(model, spec)
        if obstacle:
            status, reason = "skipped", obstacle
        yield PlannedRun(label, model.label, spec.missing, spec.seed, status, reason, spec, checksum)


def _stored(spec: RunSpec, store: Store) -> tuple[Status, str]:
    """What the store has of a run, and why it is no result."""
    found = store.status(spec)
    if found == "absent":
        return "to run", ""
    try:
        run = StoredRun.read(store.folder(spec))
    except NewerSchema as error:
        return "skipped", str(error)
    except BenchError as error:
        return "broken", str(error)
    return ("stored", "") if found == "done" else ("failed before", run.error)
