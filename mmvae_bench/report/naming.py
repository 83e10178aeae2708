"""How data sets and models are called, so that two different ones never have one name."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from mmvae_bench.report.runs import Run
from mmvae_bench.spec import canonical_json


def slug(text: str) -> str:
    """A file name of a title."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "x"


def file_name(text: str) -> str:
    """The text as the name of a file in its folder, whatever the metrics and modalities in it are called."""
    return re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII)[:200]


def name_groups(runs: list[Run]) -> list[Run]:
    """Title each data set by its name, the options in which it differs from others of that name, and its subset."""
    differing = _differing(runs, lambda run: str(run.spec["dataset"]["name"]), _data)
    return [replace(run, group=_title(run, extra)) for run, extra in zip(runs, differing, strict=True)]


def _title(run: Run, extra: list[str]) -> str:
    """A data set's title: ``mnist_svhn (svhn 8000+2000)``."""
    limits = [f"{n} {part} rows" for part in ("train", "test") if (n := run.spec[f"limit_{part}"]) is not None]
    inside = [*extra, *([run.subset] if run.subset else []), *([] if extra else limits)]
    return str(run.spec["dataset"]["name"]) + (f" ({', '.join(inside)})" if inside else "")


def tell_models_apart(runs: list[Run]) -> list[Run]:
    """Append to labels that stand for several configurations what differs between these."""
    typed: dict[str, str] = {}  # one configuration may have been typed in two ways: the first counts
    facts = [run.group + canonical_json(_model(run)) for run in runs]
    runs = [replace(run, label=typed.setdefault(fact, run.label)) for run, fact in zip(runs, facts, strict=True)]
    differing = _differing(runs, lambda run: f"{run.group}/{run.label}", _model)
    return [
        replace(run, label=f"{run.label} ({', '.join(extra)})") if extra else run
        for run, extra in zip(runs, differing, strict=True)
    ]


def _differing(runs: list[Run], name: Callable[[Run], str], facts: Callable[[Run], dict[str, Any]]) -> list[list[str]]:
    """For each run ``key=value`` of the facts that are not the same in all runs of its name."""
    known = [facts(run) for run in runs]
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    keys = dict.fromkeys(key for fact in known for key in fact)
    for run, fact in zip(runs, known, strict=True):
        for key in keys:
            values[name(run)][key].add(canonical_json(fact.get(key)))
    return [
        [f"{key}={fact[key]}" for key in fact if len(values[name(run)][key]) > 1]
        for run, fact in zip(runs, known, strict=True)
    ]


def _data(run: Run) -> dict[str, Any]:
    """What makes a data set another one."""
    spec = run.spec
    limits = {f"limit_{part}": spec[f"limit_{part}"] for part in ("train", "test")}
    return {**spec["dataset"]["options"], "version": spec["dataset"]["version"], **limits}


def _model(run: Run) -> dict[str, Any]:
    """The spec without what a table has columns for, flat."""
    rest = {key: value for key, value in run.spec.items() if key not in ("seed", "missing", "dataset")}
    flat = _flatten({key: value for key, value in rest.items() if not key.startswith("limit_")})
    return {key.removeprefix("model.options."): value for key, value in flat}


def _flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key in value for pair in _flatten(value[key], f"{prefix}.{key}" if prefix else str(key))]
