"""A plan: every run of a request, with its status in the store, and why some are skipped."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain, product
from pathlib import Path
from typing import Any

from mmvae_bench import datasets, models, nets
from mmvae_bench.code import SCORES, describe, differs
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.errors import BenchError, DataError, NewerSchema, Unsupported, in_a_line
from mmvae_bench.options import Named, parse_named, resolve
from mmvae_bench.spec import Component, Missing, RunSpec, RunStatus, Tier, TrainSpec
from mmvae_bench.store.run import Part, StoredRun, parts, run_checksum, steadily
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.request import MOST_RUNS, SEARCH_SEED, Overwrite, Request
from mmvae_bench.sweep.search import Searched, draw, score

REPEATED: dict[Overwrite, set[RunStatus]] = {  # statuses that each value of --overwrite trains
    "never": {RunStatus.TO_RUN},
    "failed": {RunStatus.TO_RUN, RunStatus.FAILED, RunStatus.BROKEN},
    "changed": {RunStatus.TO_RUN, RunStatus.FAILED, RunStatus.BROKEN},  # and what is outdated
    "always": {RunStatus.TO_RUN, RunStatus.FAILED, RunStatus.BROKEN, RunStatus.DONE},
}


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan."""

    spec: RunSpec  # full description; of a model that cannot be imported only its name, with version 0
    status: RunStatus  # state of the run
    reason: str = ""  # text that says why it is skipped, failed or broken
    impossible: bool = False  # True if it is skipped because model, data and scheme do not go together
    # Checksum of the stored result, taken before its status was read. Only that result may be replaced.
    checksum: str = ""
    tiers: tuple[Tier, ...] = ()  # tiers that report it; none for a trial of a search
    metrics: tuple[str, ...] = ()  # metrics of a trial; empty means those that were asked for
    changed: tuple[Part, ...] = ()  # parts of a stored run whose code is different now

    @property
    def outdated(self) -> bool:
        """True if a stored run was trained by different code; a metric is scored again without training."""
        return any(part.kind not in SCORES for part in self.changed)


@dataclass(frozen=True)
class Plan:
    """Runs of a request, each once, ordered by data set, model, missing pattern and seed."""

    name: str
    title: str
    command: str
    entries: list[PlannedRun]
    searches: list[Searched] = field(default_factory=list)  # one per tuned model and data set

    @property
    def waiting(self) -> int:
        """Number of searches whose trials are not all stored: the runs of their winners are not planned yet."""
        return sum(search.waits for search in self.searches)

    @property
    def specs(self) -> list[RunSpec]:
        """Specs of all runs that are not skipped."""
        return self.having(set(RunStatus) - {RunStatus.SKIPPED})

    @property
    def own(self) -> list[RunSpec]:
        """Specs of all runs that are neither skipped nor another shard's."""
        return self.having(set(RunStatus) - {RunStatus.SKIPPED, RunStatus.OTHER_SHARD})

    def todo(self, overwrite: Overwrite = "failed") -> list[RunSpec]:
        """Return the specs of the runs to train now; ``overwrite`` says which stored, failed or broken ones."""
        changed = overwrite == "changed"
        return [e.spec for e in self.entries if e.status in REPEATED[overwrite] or (changed and e.outdated)]

    def having(self, statuses: Collection[RunStatus]) -> list[RunSpec]:
        """Return the specs of the runs with one of the statuses."""
        return [entry.spec for entry in self.entries if entry.status in statuses]

    def shard(self, number: int, count: int) -> "Plan":
        """Return the same plan with only the runs of shard ``number``, from 1 to ``count``, left to run.

        The shard of a run depends on its id alone, so machines that do not communicate run everything exactly once.
        """
        entries = [
            entry
            if entry.status == RunStatus.SKIPPED or int(entry.spec.run_id, 16) % count == number - 1
            else replace(entry, status=RunStatus.OTHER_SHARD, reason="", changed=())
            for entry in self.entries
        ]
        return replace(self, entries=entries)

    def skipping(self, reasons: Mapping[str, str]) -> "Plan":
        """Return the same plan in which the runs of those ids are skipped, each for its reason."""
        entries = [
            replace(entry, status=RunStatus.SKIPPED, reason=why) if (why := reasons.get(entry.spec.run_id)) else entry
            for entry in self.entries
        ]
        return replace(self, entries=entries)

    @property
    def counts(self) -> Counter[RunStatus]:
        """Number of runs with each status."""
        return Counter(entry.status for entry in self.entries)

    @property
    def changes(self) -> list[str]:
        """A sentence for each thing whose code is different from that of stored runs."""
        return describe(chain.from_iterable(entry.changed for entry in self.entries))

    def exit_code(self, overwrite: Overwrite = "failed") -> int:
        """Return the exit code if no run fails: 0, 1 (failed runs are left as they are) or 2 (nothing can run)."""
        if not self.specs or (overwrite == "never" and self.counts[RunStatus.BROKEN]):
            return 2
        return int(overwrite == "never" and self.counts[RunStatus.FAILED] > 0)

    @property
    def refusal(self) -> str:
        """A sentence on why nothing of the plan is run, where the exit code is 2."""
        if not self.specs:
            return "Nothing could run; the reasons are above."
        return "Nothing was run: stored runs are broken (see above), and --overwrite never keeps them so. Leave it out."

    @property
    def untuned(self) -> list[str]:
        """A sentence for each search of which no trial has a score."""
        return [
            f"'{search.model}' has no tuned runs on {search.dataset}: none of its trials has the score of the search."
            for search in self.searches
            if search.winner is None and not search.waits
        ]

    def record(self) -> dict[str, Any]:
        """Return what the store keeps of the plan: ids and titles of runs, and skipped runs with their reasons."""
        skipped = [
            {
                "dataset": spec.dataset.label,
                "label": spec.model.label,
                "missing": spec.missing.text,
                "seed": spec.seed,
                "reason": reason,
            }
            for spec, reason in ((e.spec, e.reason) for e in self.entries if e.status == RunStatus.SKIPPED)
        ]
        return {
            "name": self.name,
            "title": self.title,
            "command": self.command,
            "run_ids": [spec.run_id for spec in self.specs],
            "titles": {spec.run_id: spec.title for spec in self.specs},  # for people, until a run is stored
            "skipped": skipped,
            "tiers": {entry.spec.run_id: list(entry.tiers) for entry in self.entries},
            "searches": [search.record() for search in self.searches],
        }


@dataclass(frozen=True)
class _Model:
    """A model of the request; ``broken`` says why it cannot be used."""

    component: Component
    factory: Any = None
    broken: str = ""
    named: Named = field(default_factory=lambda: Named(""))  # as it was typed

    def having(self, options: Mapping[str, str]) -> Component:
        """Return the model with further options, which never replace one that was typed."""
        return component(Named(self.named.name, {**options, **self.named.options}), self.factory)


class _Data:
    """A data set of the request. Its files may be absent."""

    def __init__(self, text: str, data_dir: Path) -> None:
        named = parse_named(text)
        version = getattr(datasets.registry.get(named.name), "version", 1)
        self.component = Component(named.name, version, datasets.options(named), named.label)
        self.dataset = datasets.make(named.name, self.component.options)
        self.modalities = self.dataset.modalities
        self.names = [m.name for m in self.modalities]
        self._data_dir = data_dir
        self._unmade: dict[str, str] = {}  # model -> why it or its nets cannot be made, or empty; each is tried once

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
        """Return why a run cannot be made here, or an empty text."""
        return model.broken or self.absent or self.impossible(model, spec)

    def impossible(self, model: _Model, spec: RunSpec) -> str:
        """Return why a model that can be imported has no such run, whatever files there are, or an empty text."""
        named, label = spec.missing.modality, model.component.label
        if named and named not in self.names:
            return f"'{self.component.label}' has no modality '{named}'; it has {', '.join(self.names)}"
        try:
            reason = model.factory.unsupported(self.modalities, spec.missing)
        except Exception as error:  # a plug-in may raise anything
            return f"'{label}' cannot say what it supports ({in_a_line(error)})"
        if not (reason is None or isinstance(reason, str)):
            return f"unsupported() of '{label}' returned {reason!r}, and a sentence or None says whether it can be"
        if reason:
            return reason
        if label not in self._unmade:
            self._unmade[label] = self._try(spec, model)
        return self._unmade[label]

    def _try(self, spec: RunSpec, model: _Model) -> str:
        """Make nets and model on torch's meta device, without memory for their weights; return why they cannot be."""
        import torch

        known = [replace(m, vocabulary=m.vocabulary or SPECIALS) for m in self.modalities]
        what = spec.nets.label
        try:
            with torch.device("meta"):
                networks = nets.registry.get(spec.nets.name)(known, spec.latent_dim, **spec.nets.options)
                what = model.component.label
                model.factory(networks, **spec.model.options)
        except (Unsupported, BenchError) as reason:
            return f"'{self.component.label}', '{what}': {reason}"
        except Exception as error:  # torch's own, about impossible sizes, or anything of a plug-in
            if "meta" not in str(error):  # else it reads values, which no tensor has there; the run will tell
                why = in_a_line(error) if what != spec.nets.label else str(error).partition("\n")[0]
                return f"'{self.component.label}': '{what}' cannot be made ({why})"
        return ""


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
    _check_request(request, data)
    most = len(request.holes) * len(request.seeds) * len(request.tiers)
    most += request.search.trials * len(request.search.missing) * ("tuned" in request.tiers)
    if (runs := len(chosen) * len(data) * most) > MOST_RUNS:
        raise BenchError(f"One command plans at most {MOST_RUNS:,} runs, not {runs:,}. Split it into several commands.")
    entries: dict[str, PlannedRun] = {}
    searches: list[Searched] = []
    changed = cache(differs)  # runs share their parts

    def add(spec: RunSpec, *tiers: Tier, metrics: tuple[str, ...] = ()) -> None:
        if spec.run_id not in entries:  # the same run under two labels or tiers is one run
            entries[spec.run_id] = replace(_planned(spec, d, model, store, changed), metrics=metrics)
        entry = entries[spec.run_id]
        entries[spec.run_id] = replace(entry, tiers=tuple(dict.fromkeys([*entry.tiers, *tiers])))

    for d, model in product(data, chosen):
        base = d.base(model.component, request)
        for tier in request.tiers:
            settings: RunSpec | None = base  # of a control, and of what generates nothing, also where others are tuned
            if tier == "authors" and not model.broken:
                authors = replace(model.having(model.factory.authors), label=model.component.label)
                settings = replace(base, model=authors, tier=tier)
            elif tier == "tuned" and not (model.broken or model.factory.cross_is_chance or model.factory.no_decoder):
                search = _search(base, model, request, store)
                searches.append(search)
                for spec in chain.from_iterable(search.specs):
                    add(spec, metrics=(request.search.metric,))
                settings = _tuned(base, search)
            for hole, seed in product(request.holes, request.seeds):
                if settings:
                    add(replace(settings, missing=hole, seed=seed), tier)
    return Plan(request.name, request.title, request.command, list(entries.values()), searches)


def plan_again(spec: RunSpec, request: Request, store: Store, data_dir: Path) -> Plan:
    """Return the plan of one run that was recorded; ``request`` asks for the same.

    Raises:
        BenchError: If this version would run something else.
    """
    data, (model,) = _Data(request.datasets[0], data_dir), _choose_models(request.models)
    base = data.base(model.component, request)
    again = replace(base, missing=spec.missing, seed=spec.seed, split=spec.split, tier=spec.tier, rule=spec.rule)
    now, then = again.to_dict(), spec.to_dict()
    if other := [key for key in now if now[key] != then.get(key)]:
        raise BenchError(
            f"This version would run something else: {', '.join(other)} would not be the record's. "
            "Install the versions of mmvae-bench and of its plug-ins that made it."
        )
    entry = _planned(again, data, model, store, cache(differs))
    tiers = (spec.tier,) if spec.split == "test" else ()
    return Plan(request.name, request.title, request.command, [replace(entry, tiers=tiers)])


def _search(base: RunSpec, model: _Model, request: Request, store: Store) -> Searched:
    """Return the search of a model's settings, with the scores of what is stored."""
    search, specs = request.search, []
    trials = draw(search, model.factory, model.named)
    for trial in trials:
        rate = trial.learning_rate or base.train.learning_rate
        settings = replace(base, model=model.having(trial.options), train=replace(base.train, learning_rate=rate))
        holes = search.holes(request.scheme[0], request.incomplete[0])
        specs.append([replace(settings, missing=hole, seed=SEARCH_SEED, split="validation") for hole in holes])
    scores = [score(search, own, store) for own in specs]
    return Searched(base.dataset.label, model.component.label, search.rule, trials, specs, scores)


def _tuned(base: RunSpec, search: Searched) -> RunSpec | None:
    """Return the settings of a search's winner; None while there is none."""
    if search.winner is None:
        return None
    won = search.specs[search.winner][0]
    model = replace(won.model, label=base.model.label)
    return replace(base, model=model, train=won.train, tier="tuned", rule=search.rule)


def _choose_models(texts: Sequence[str]) -> list[_Model]:
    """Return the named models; those of ``all`` that cannot be imported are kept, and skipped with the reason."""
    chosen: list[_Model] = []
    for named in map(parse_named, texts):
        everything = named.name == "all"
        for name in models.registry.names() if everything else [named.name]:
            each = Named(name, named.options)
            try:
                factory = models.registry.get(name)
                chosen.append(_Model(component(each, factory), factory, named=each))
            except BenchError as error:
                if not everything:
                    raise
                chosen.append(_Model(Component(name, 0, {}, each.label), broken=str(error)))
    return chosen


def _check_request(request: Request, data: Sequence[_Data]) -> None:
    """Refuse a scheme, a scale or a weight whose modality is in no data set, and priors that no metric would score."""
    named = {f"The scheme '{scheme}'": Missing(0.5, scheme).modality for scheme in request.scheme if scheme != "none"}
    named |= {f"The scale of '{name}'": name for name in request.scales}
    named |= {f"The weight of '{name}'": name for name in request.weights}
    for what, name in named.items():
        if name and not any(name in d.names for d in data):
            have = "; ".join(f"{d.component.label} has {', '.join(d.names)}" for d in data)
            raise BenchError(f"{what} names no modality of the data. {have}.")
    if request.priors:
        from mmvae_bench.sweep.records import scored_by  # which imports every metric

        if not scored_by(request.metrics, request.priors)["priors"]:
            raise BenchError(
                "No metric that is asked for scores priors. Add one to --metrics, such as joint_coherence."
            )


def _planned(
    spec: RunSpec, data: _Data, model: _Model, store: Store, changed: Callable[[Part], bool]
) -> PlannedRun:  # fmt: skip
    """Return a run with its status in the store, and why it is skipped, failed or broken."""
    folder, run = store.folder(spec), None
    checksum = run_checksum(folder)  # first: only the result seen here may be replaced
    try:
        run = steadily(folder, StoredRun.read) if folder.exists() else None
        status, reason = (RunStatus(run.record["status"]), run.error) if run else (RunStatus.TO_RUN, "")
    except NewerSchema as error:
        status, reason = RunStatus.SKIPPED, str(error)
    except BenchError as error:
        status, reason = RunStatus.BROKEN, str(error)
    if status != RunStatus.DONE and (obstacle := data.obstacle(model, spec)):
        status, reason = RunStatus.SKIPPED, obstacle
    impossible = status == RunStatus.SKIPPED and not model.broken and bool(data.impossible(model, spec))
    made = parts(run.record) if run and status == RunStatus.DONE else ()
    return PlannedRun(spec, status, reason, impossible, checksum, changed=tuple(filter(changed, made)))
