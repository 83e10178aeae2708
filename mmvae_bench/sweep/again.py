"""A run again from its record alone: ``run.json`` has the whole specification, and the settings that move its bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmvae_bench import datasets, metrics, models, nets
from mmvae_bench.code import REGISTRIES, differs
from mmvae_bench.errors import BenchError, in_a_line
from mmvae_bench.options import as_typed
from mmvae_bench.priors import installed
from mmvae_bench.registry import Registry
from mmvae_bench.spec import TIERS, Component, RunSpec
from mmvae_bench.store.run import parts, read_record
from mmvae_bench.sweep.environment import NUMERIC, processor, versions
from mmvae_bench.sweep.request import Request

FLAGS = {"scales": "scale", "weights": "weight"}  # of keys of a suite's file that the command calls otherwise


@dataclass(frozen=True)
class Recorded:
    """What a record says of its run."""

    spec: RunSpec  # specification, with the labels that stand for its options
    metrics: tuple[str, ...]  # names of the metrics that scored it and are known here; empty if it failed
    priors: tuple[str, ...]  # learned priors that they scored and that are known here
    settings: dict[str, Any]  # device, CPU threads, and whether its steps were compiled; empty if it failed
    warning: str  # what may move its bits and is different now, in a sentence; empty if nothing is known to be

    def request(self, name: str, scored: Sequence[str] | None) -> Request:
        """Return what was asked for then, under a plan's ``name``, to be scored by the named metrics or as it was."""
        spec, own = self.spec, self.spec.likelihoods
        hole, train = spec.missing, spec.train
        return Request(
            name=name, models=(spec.model.label,), datasets=(spec.dataset.label,),
            nets=spec.nets.label, missing=(hole.ratio,), scheme=(hole.scheme,), incomplete=(hole.incomplete,),
            seeds=(spec.seed,), epochs=train.epochs, batch_size=train.batch_size, learning_rate=train.learning_rate,
            optimiser=train.optimiser, latent_dim=spec.latent_dim, limit_train=spec.limit_train,
            limit_test=spec.limit_test, precision=spec.precision, metrics=tuple(scored or self.metrics),
            priors=self.priors,
            scales={m: float(own[m]["scale"]) for m in own},  # type: ignore[arg-type]
            weights={m: float(own[m]["weight"]) for m in own},  # type: ignore[arg-type]
        )  # fmt: skip


def recorded(path: Path, asked: Mapping[str, Any]) -> Recorded:
    """Read a ``run.json``, or that of a run's folder.

    Args:
        path: the file or the folder.
        asked: what else is asked for, by the keys of a suite's file and ``suite``; None is nothing.

    Raises:
        BenchError: If it cannot be read, or if something is asked for that the record has.
    """
    if given := [f"--{FLAGS.get(key, key).replace('_', '-')}" for key, value in asked.items() if value is not None]:
        raise BenchError(f"--from has the whole specification of its run. Leave out {', '.join(given)}.")
    record = read_record(path)
    try:
        spec = _labelled(RunSpec.from_dict(record["spec"]))
        tier, rule = record.get("tier", "default"), str(record.get("rule", ""))
        if tier not in TIERS:
            raise BenchError(f"there is no tier '{tier}'")
        known = tuple(name for name in record.get("metrics", {}) if name in metrics.registry.names())
        learned = tuple(installed(label for own in record.get("priors", {}).values() for label in own))
        settings = {key: kind(record[key]) for key, kind in (("device", str), ("threads", int)) if key in record}
        settings["compiled"] = str(record.get("engine")).startswith("compiled")
        return Recorded(replace(spec, tier=tier, rule=rule), known, learned, settings, _warning(record))
    except (BenchError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise BenchError(f"'{path}' has no run that is known here: {in_a_line(error)}. Check its plug-ins.") from error


def _warning(record: Mapping[str, Any]) -> str:
    """Say which code, package versions and hardware of a record are different now."""
    other = [f"the code of the {REGISTRIES[part.kind].kind} '{part.name}'" for part in parts(record) if differs(part)]
    then, now = record.get("versions", {}), versions(NUMERIC)
    other += [f"{name} {then[name]} (now {now[name]})" for name in now if then.get(name, now[name]) != now[name]]
    hardware = record.get("hardware", processor())
    if record.get("device") == "cpu" and hardware != processor():
        other.append(f"{hardware} (now {processor()})")
    return f"The record's bits may not come again; it was made with {', '.join(other)}." if other else ""


def _labelled(spec: RunSpec) -> RunSpec:
    """Return a spec whose labels stand for its options."""

    def labelled(registry: Registry[Any], part: Component) -> Component:
        return replace(part, label=as_typed(registry.get(part.name), part.name, part.options).label)

    return replace(
        spec, dataset=labelled(datasets.registry, spec.dataset), model=labelled(models.registry, spec.model),
        nets=labelled(nets.registry, spec.nets),
    )  # fmt: skip
