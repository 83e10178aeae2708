"""A plan: every run of a request, with its status in the store, and why some are skipped."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from mmvae_bench import datasets, models, nets
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.errors import BenchError, DataError, NewerSchema, Unsupported, in_a_line
from mmvae_bench.options import Named, parse_named, resolve
from mmvae_bench.spec import Component, Missing, RunSpec, RunStatus, TrainSpec, grid
from mmvae_bench.store.run import StoredRun, run_checksum
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.request import MOST_RUNS, Overwrite, Request

REPEATED: dict[Overwrite, set[RunStatus]] = {  # statuses that each value of --overwrite trains
    "never": {RunStatus.TO_RUN},
    "failed": {RunStatus.TO_RUN, RunStatus.FAILED, RunStatus.BROKEN},
    "always": {RunStatus.TO_RUN, RunStatus.FAILED, RunStatus.BROKEN, RunStatus.DONE},
}


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan.

    Attributes:
        dataset: Name and options of the data set, as typed.
        label: Name and options of the model, as typed.
        missing: What is hidden in training.
        seed: Seed of the run.
        status: State of the run.
        reason: Why it is skipped, failed or broken.
        spec: Full description; None only if the model cannot be imported (the run is then skipped).
        checksum: Checksum of the stored result, taken before its status was read. Only that result may be replaced.
    """

    dataset: str
    label: str
    missing: Missing
    seed: int
    status: RunStatus
    reason: str = ""
    spec: RunSpec | None = None
    checksum: str = ""

    @property
    def title(self) -> str:
        """Short text for people: ``mopoe on mnist_street, split 0.5, seed 0``."""
        return f"{self.label} on {self.dataset}, {self.missing.text}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """Runs of a request, each once, ordered by data set, model, missing pattern and seed."""

    name: str
    title: str
    command: str
    entries: list[PlannedRun]

    @property
    def specs(self) -> list[RunSpec]:
        """Specs of all runs that are not skipped."""
        return self._with(set(RunStatus) - {RunStatus.SKIPPED})

    def todo(self, overwrite: Overwrite = "failed") -> list[RunSpec]:
        """Return the specs of the runs to train now; ``overwrite`` says which stored, failed or broken ones."""
        return self._with(REPEATED[overwrite])

    @property
    def own(self) -> list[RunSpec]:
        """Specs of all runs that are neither skipped nor another shard's."""
        return self._with(set(RunStatus) - {RunStatus.SKIPPED, RunStatus.OTHER_SHARD})

    def _with(self, statuses: Collection[RunStatus]) -> list[RunSpec]:
        return [entry.spec for entry in self.entries if entry.spec and entry.status in statuses]

    def shard(self, number: int, count: int) -> "Plan":
        """Return the same plan with only the runs of one shard left to run.

        The shard of a run depends on its id alone, so machines that do not communicate run everything exactly once.

        Args:
            number: Number of the shard, from 1 to ``count``.
            count: Number of shards.
        """

        def placed(entry: PlannedRun) -> PlannedRun:
            own = (
                not entry.spec or entry.status == RunStatus.SKIPPED or int(entry.spec.run_id, 16) % count == number - 1
            )
            return entry if own else replace(entry, status=RunStatus.OTHER_SHARD, reason="")

        return replace(self, entries=[placed(entry) for entry in self.entries])

    @property
    def counts(self) -> Counter[RunStatus]:
        """Number of runs with each status."""
        return Counter(entry.status for entry in self.entries)

    def exit_code(self, overwrite: Overwrite = "failed") -> int:
        """Return the exit code if no run fails: 0, 1 (failed runs are left as they are) or 2 (nothing can run)."""
        if not self.specs or (overwrite == "never" and self.counts[RunStatus.BROKEN]):
            return 2
        return int(overwrite == "never" and self.counts[RunStatus.FAILED] > 0)

    def record(self) -> dict[str, Any]:
        """Return what the store keeps of the plan: ids and titles of runs, and skipped runs with their reasons."""
        skipped = [
            {
                "dataset": entry.dataset,
                "label": entry.label,
                "missing": entry.missing.text,
                "seed": entry.seed,
                "reason": entry.reason,
            }
            for entry in self.entries
            if entry.status == RunStatus.SKIPPED
        ]
        return {
            "name": self.name,
            "title": self.title,
            "command": self.command,
            "run_ids": [spec.run_id for spec in self.specs],
            "titles": {spec.run_id: spec.title for spec in self.specs},  # for people, until a run is stored
            "skipped": skipped,
        }


@dataclass(frozen=True)
class _Model:
    """A model of the request. If it cannot be used, ``component`` is None and ``broken`` says why."""

    label: str
    component: Component | None = None
    factory: Any = None
    broken: str = ""


class _Data:
    """A data set of the request. Its files may be absent."""

    def __init__(self, text: str, data_dir: Path) -> None:
        named = parse_named(text)
        factory = datasets.registry.get(named.name)
        self.component = component(named, factory)
        self.dataset = datasets.make(named.name, self.component.options)
        self.modalities = self.dataset.modalities
        self.names = [m.name for m in self.modalities]
        self._data_dir = data_dir
        self._unmade: dict[str, str] = {}  # model, or "" for the nets alone -> why it cannot be made

    @cached_property
    def absent(self) -> str:
        """The data set's own sentence about a missing file, or empty."""
        try:
            self.dataset.sources(self._data_dir)
        except DataError as error:
            return str(error)
        except Exception as error:  # a plug-in may raise anything
            return f"'{self.component.label}' cannot name its files ({in_a_line(error)})"
        return ""

    def base(self, model: Component, request: Request) -> RunSpec:
        """Return the spec of the first missing pattern and seed: the data set's protocol with the request's changes."""
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

    def obstacle(self, model: _Model, spec: RunSpec) -> str:
        """Return why a run is impossible, or an empty text."""
        missing = spec.missing
        if missing.modality and missing.modality not in self.names:
            return f"'{self.component.label}' has no modality '{missing.modality}'; it has {', '.join(self.names)}"
        if self.absent:
            return self.absent
        if "" not in self._unmade:
            self._unmade[""] = self._try_nets(spec)
        return self._unmade[""] or self._refusal(model, missing) or self._unmakable(model, spec)

    def _networks(self, spec: RunSpec) -> Any:
        """Networks on torch's meta device, without memory for their weights."""
        import torch

        known = [replace(m, vocabulary=m.vocabulary or SPECIALS) for m in self.modalities]
        with torch.device("meta"):
            return nets.registry.get(spec.nets.name)(known, spec.latent_dim, **spec.nets.options)

    def _try_nets(self, spec: RunSpec) -> str:
        """Return why the nets cannot take these modalities, or an empty text."""
        try:
            self._networks(spec)
        except Unsupported as reason:
            return f"'{self.component.label}': {reason}"
        except BenchError:
            raise
        except Exception as error:  # torch's own, about impossible sizes
            why = (str(error).splitlines() or [""])[0]
            return f"'{self.component.label}': '{spec.nets.label}' cannot be made ({why})"
        return ""

    def _unmakable(self, model: _Model, spec: RunSpec) -> str:
        """Return why the model cannot be made with these nets, or an empty text; tried once per model."""
        if model.label not in self._unmade:
            self._unmade[model.label] = self._try_model(model, spec)
        return self._unmade[model.label]

    def _try_model(self, model: _Model, spec: RunSpec) -> str:
        import torch

        networks = self._networks(spec)
        try:
            with torch.device("meta"):
                model.factory(networks, **spec.model.options)
        except (Unsupported, BenchError) as reason:
            return f"'{self.component.label}', '{model.label}': {reason}"
        except Exception as error:  # a plug-in may raise anything
            if "meta" in str(error):  # it reads values, which no tensor has there: only the run itself can tell
                return ""
            return f"'{self.component.label}': '{model.label}' cannot be made ({in_a_line(error)})"
        return ""

    def _refusal(self, model: _Model, missing: Missing) -> str:
        """Return why the model does not take these modalities with this missing pattern, or an empty text."""
        try:
            reason = model.factory.unsupported(self.modalities, missing)
        except Exception as error:  # a plug-in may raise anything
            return f"'{model.label}' cannot say what it supports ({in_a_line(error)})"
        if reason is None or isinstance(reason, str):
            return reason or ""
        return f"unsupported() of '{model.label}' returned {reason!r}, and a sentence or None says whether it can be"


def component(named: Named, factory: Callable[..., Any]) -> Component:
    """Return the component of a registered thing: its version and all its options.

    Raises:
        BenchError: If an option is unknown or does not fit.
    """
    return Component(named.name, getattr(factory, "version", 1), resolve(factory, named), named.label)


def make_plan(request: Request, store: Store, data_dir: Path) -> Plan:
    """Return the plan of a request, given the registries, the files of data sets and the stored results.

    Raises:
        BenchError: If a name, an option or a modality is unknown, or if there are too many runs.
    """
    chosen = _choose_models(request.models)
    data = [_Data(text, data_dir) for text in request.datasets]
    _check_modalities(request, data)
    if (runs := len(chosen) * len(data) * len(request.holes) * len(request.seeds)) > MOST_RUNS:
        raise BenchError(f"One command plans at most {MOST_RUNS:,} runs, not {runs:,}. Split it into several commands.")
    entries: dict[object, PlannedRun] = {}
    for d, model in product(data, chosen):
        for entry in _runs(request, d, model, store):
            entries.setdefault(_identity(entry), entry)  # the same run under two labels is one run
    return Plan(request.name, request.title, request.command, list(entries.values()))


def _identity(entry: PlannedRun) -> object:
    return entry.spec.run_id if entry.spec else (entry.dataset, entry.label, entry.missing, entry.seed)


def _choose_models(texts: Sequence[str]) -> list[_Model]:
    """Return the named models; those of ``all`` that cannot be imported are kept, and skipped with the reason."""
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
    """Refuse a scheme, a scale or a weight whose modality is in no data set."""
    named = {f"The scheme '{scheme}'": Missing(0.5, scheme).modality for scheme in request.schemes if scheme != "none"}
    named |= {f"The scale of '{name}'": name for name in request.scales}
    named |= {f"The weight of '{name}'": name for name in request.weights}
    for what, name in named.items():
        if name and not any(name in d.names for d in data):
            have = "; ".join(f"{d.component.label} has {', '.join(d.names)}" for d in data)
            raise BenchError(f"{what} names no modality of the data. {have}.")


def _runs(request: Request, data: _Data, model: _Model, store: Store) -> Iterator[PlannedRun]:
    """Yield the runs of one model on one data set."""
    label = data.component.label
    if model.component is None:
        for hole in request.holes:
            for seed in request.seeds:
                yield PlannedRun(label, model.label, hole, seed, RunStatus.SKIPPED, model.broken)
        return
    for spec in grid([data.base(model.component, request)], request.holes, request.seeds):
        checksum = run_checksum(store.folder(spec))  # first: only the result seen here may be replaced
        status, reason = _stored(spec, store)
        obstacle = "" if status == RunStatus.DONE else data.obstacle(model, spec)
        if obstacle:
            status, reason = RunStatus.SKIPPED, obstacle
        yield PlannedRun(label, model.label, spec.missing, spec.seed, status, reason, spec, checksum)


def _stored(spec: RunSpec, store: Store) -> tuple[RunStatus, str]:
    """Return the status of a run in the store, and why it failed or cannot be read."""
    found = store.status(spec)
    if found == RunStatus.ABSENT:
        return RunStatus.TO_RUN, ""
    try:
        run = StoredRun.read(store.folder(spec))
    except NewerSchema as error:
        return RunStatus.SKIPPED, str(error)
    except BenchError as error:
        return RunStatus.BROKEN, str(error)
    return (RunStatus.DONE, "") if found == RunStatus.DONE else (RunStatus.FAILED, run.error)
