"""The code of what makes a run: hashes that are stored with the run, and whether they are different now."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from mmvae_bench import datasets, metrics, models, nets, priors
from mmvae_bench.probability import likelihoods
from mmvae_bench.registry import Registry
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.run import Part

REGISTRIES: dict[str, Registry[Any]] = {
    "model": models.registry,
    "nets": nets.registry,
    "dataset": datasets.registry,
    "metric": metrics.registry,
    "prior": priors.registry,
    "likelihood": likelihoods,
}

SCORES = ("metric", "prior")  # kinds of what scores a run, and does not train it


def code_of(spec: RunSpec) -> dict[str, Any]:
    """Return the hashes of the code of a run's model, nets, data set and likelihoods of plug-ins, for ``run.json``."""
    parts = {"model": spec.model, "nets": spec.nets, "dataset": spec.dataset}
    code: dict[str, Any] = {kind: REGISTRIES[kind].code(part.name) for kind, part in parts.items()}
    names = {str(own["likelihood"]) for own in spec.likelihoods.values()}
    others = {name: likelihoods.code(name) for name in sorted(names) if not likelihoods.in_tree(name)}
    return {**code, "likelihoods": others} if others else code


def metric_codes(names: Iterable[str]) -> dict[str, str]:
    """Return the hashes of the code of metrics, for ``run.json``."""
    return {name: metrics.registry.code(name) for name in names}


def differs(part: Part) -> bool:
    """Return True if the code of a part of a stored run is different now, where both are known."""
    now = REGISTRIES[part.kind].code(part.name)
    return bool(part.code and now and now != part.code)


def describe(parts: Iterable[Part]) -> list[str]:
    """Return a sentence for each model, nets preset, data set, likelihood, metric or prior whose code is different.

    Args:
        parts: parts of stored runs, each as often as it made a run.
    """
    runs = Counter(parts)
    counts: Counter[tuple[str, str]] = Counter()
    for part in filter(differs, runs):
        counts[part.kind, part.name] += runs[part]
    return [_sentence(kind, name, count) for (kind, name), count in counts.items()]


def _sentence(kind: str, name: str, count: int) -> str:
    made, again = ("scored", "scores") if kind in SCORES else ("made", "trains")
    runs, them = ("1 stored run was", "it") if count == 1 else (f"{count:,} stored runs were", "them")
    what = f"the {REGISTRIES[kind].kind} '{name}'"
    return f"{runs} {made} by different code of {what}; --overwrite changed {again} {them} again."
