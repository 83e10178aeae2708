"""Facts for the page, read from the runs' records: settings, costs, skipped and failed runs, provenance."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmvae_bench.report.averaging import HASHES
from mmvae_bench.report.select import Run, Selection
from mmvae_bench.report.statistics import MIN_SEEDS
from mmvae_bench.spec import Missing


def setting(selection: Selection) -> dict[str, str]:
    """Return the settings of the experiment: heading -> text."""
    runs = selection.runs
    budget = _each(_budget(run.spec["train"]) for run in runs)
    steps = _each(f"{run.record['steps']:,}" for run in runs if run.record.get("steps"))
    return {
        "Data sets": "; ".join(selection.groups),
        "Models": ", ".join(selection.labels),
        "Missing in training": _each(run.missing.text for run in runs),
        "Seeds": _each(str(seed) for seed in sorted({run.seed for run in runs})),
        "Budget": budget + (f"; {steps} steps" if steps else ""),
        "Networks": _each(_component(run.spec["nets"]) for run in runs),
        "Latent size": _each(str(run.spec["latent_dim"]) for run in runs),
        "Likelihoods": _each(_likelihoods(run.spec["likelihoods"]) for run in runs),
        "Precision, engine": "; ".join(_each(_column(selection.frame, c)) for c in ("precision", "engine")),
        "Devices": _each(_device(run) for run in runs),
        "Versions": _each(f"{k} {v}" for run in runs for k, v in dict(run.record.get("versions") or {}).items()),
    }


def warnings(selection: Selection, skipped: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences above the numbers: subsets of data, differences between runs, few seeds, absent runs."""
    found = [
        f"{name} is not the official data, or not known to be: {subset}."
        for name, subset in ((r.spec["dataset"]["name"], r.subset) for r in selection.runs)
        if subset
    ]
    found += [f"Pictures of {group} may not be published and are left out." for group in selection.hidden]
    for column in ("precision", "engine", "package_version", "device"):
        found += _differ("Runs", column, _column(selection.frame, column))
    for group in selection.groups:
        rows = selection.frame[selection.frame["group"] == group]
        found += _differ(f"On {group} runs", "steps", _column(rows, "steps"))
        if _different_seeds(run for run in selection.runs if run.group == group):
            found.append(f"On {group} the models were run with different seeds, so no best value is marked.")
        for column in HASHES:
            kinds = rows[rows["status"] == "ok"].groupby(["metric", "variant", "given", "target"])[column].nunique()
            if (kinds > 1).any():
                found.append(f"On {group} models differ in {column}: no best value is marked in those columns.")
    seeds = len({run.seed for run in selection.runs})
    if 0 < seeds < MIN_SEEDS:
        found.append(f"{seeds} seed{'s' * (seeds > 1)} only: no intervals, and no order is claimed.")
    counts: dict[str, Sequence[object]] = {"failed": selection.failed, "skipped": skipped, "not done": selection.absent}
    short = ", ".join(f"{len(items)} {what}" for what, items in counts.items() if items)
    found += [f"Planned runs without scores: {short}; the reasons are under 'Not scored' on the page."] if short else []
    return list(dict.fromkeys(found))


def _different_seeds(runs: Iterable[Run]) -> bool:
    """Return whether models were run with different seeds under some missing pattern."""
    seeds: dict[Missing, dict[str, set[int]]] = {}
    for run in runs:
        seeds.setdefault(run.missing, {}).setdefault(run.label, set()).add(run.seed)
    return any(len({frozenset(own) for own in models.values()}) > 1 for models in seeds.values())


def _differ(what: str, column: str, values: Sequence[str]) -> list[str]:
    kinds = sorted(set(values))
    return [f"{what} differ in {column.replace('_', ' ')}: {', '.join(kinds)}."] if len(kinds) > 1 else []


def costs(selection: Selection) -> list[dict[str, str]]:
    """Return the cost of each model on each data set, as means over its runs."""
    rows = []
    for group in selection.groups:
        for label in selection.labels:
            runs = [run for run in selection.runs if (run.group, run.label) == (group, label)]
            if runs:
                rows.append({"data set": group, "model": label, "runs": str(len(runs)), **_cost(runs, selection.frame)})
    return rows


def _cost(runs: Sequence[Run], frame: pd.DataFrame) -> dict[str, str]:
    sizes = {str(n) for n in frame.loc[frame["run_id"].isin([run.run_id for run in runs]), "n_params"] if n != ""}
    seconds = [s for run in runs if (s := run.train_seconds) is not None]
    rates, peaks = ([run.record[k] for run in runs if run.record.get(k)] for k in ("rate", "peak_memory_mb"))
    return {
        "parameters": _each(f"{int(float(n)):,}" for n in sorted(sizes)),
        "training [s]": _mean(seconds, 1),
        "rows/s": _mean(rates, 0),
        "peak memory [MB]": _mean(peaks, 0),
    }


def not_done(selection: Selection, skipped: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return every planned run without scores and the reason; runs with the same reason share a line."""
    runs = [
        (str(s.get("dataset", "")), str(s.get("label", "")), str(s.get("missing", "")), str(s.get("seed", "")),
         "skipped", str(s.get("reason", ""))) for s in skipped
    ] + [
        (str(run.spec["dataset"]["name"]), run.label, run.missing.text, str(run.seed), "failed",
         str(run.record.get("error") or "no reason was recorded")) for run in selection.failed
    ]  # fmt: skip
    lines: dict[tuple[str, ...], tuple[dict[str, None], dict[str, None]]] = {}
    for dataset, label, missing, seed, status, reason in runs:
        holes, seeds = lines.setdefault((dataset, label, status, reason), ({}, {}))
        holes[missing] = seeds[seed] = None
    names = ("dataset", "label", "status", "reason")
    found = [
        {**dict(zip(names, key, strict=True)), "missing": ", ".join(holes), "seeds": ", ".join(seeds)}
        for key, (holes, seeds) in lines.items()
    ]
    if selection.absent:
        ids = f"run ids {', '.join(selection.absent)}"
        count = f"{len(selection.absent)} runs"
        found.append(dict(zip(names, ("", count, "not done", ids), strict=True)) | {"missing": "", "seeds": ""})
    return found


def undefined(selection: Selection) -> list[dict[str, str]]:
    """Return the scores that finished runs lack and the reason; models with the same reason share a line."""
    rows = selection.frame[selection.frame["status"] != "ok"]
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for group, metric, variant, prior, reason, label in zip(
        *(rows[name] for name in ("group", "metric", "variant", "prior", "reason", "entrant")), strict=True
    ):
        found.setdefault((group, selection.metrics[metric].title_of(variant, prior), reason), {})[label] = None
    return [
        {"data set": group, "score": score, "models": ", ".join(labels), "reason": reason}
        for (group, score, reason), labels in found.items()
    ]


def provenance(selection: Selection) -> list[dict[str, str]]:
    """Return hashes of data, oracles and embeddings and the package's version for each data set."""
    names = [n for n in (*HASHES, "subset", "package_version") if _column(selection.frame, n)]
    return [
        {"data set": str(group), **{name.replace("_", " "): _each(_column(rows, name)) for name in names}}
        for group, rows in selection.frame.groupby("group", sort=False)
    ]


def _column(frame: pd.DataFrame, name: str) -> list[str]:
    return [str(value) for value in frame[name].unique() if value != ""]


def _each(texts: Iterable[str]) -> str:
    """Distinct texts, in order."""
    return ", ".join(dict.fromkeys(texts))


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{float(np.mean(values)):,.{digits}f}" if values else "-"


def _budget(train: Mapping[str, Any]) -> str:
    return f"{train['epochs']} epochs, batch {train['batch_size']}, {train['optimiser']} {train['learning_rate']:g}"


def _device(run: Run) -> str:
    """``cuda (NVIDIA H100)``."""
    device, hardware = (str(run.record.get(name) or "") for name in ("device", "hardware"))
    return (device or "not recorded") + (f" ({hardware})" if hardware else "")


def _component(part: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in part["options"].items())
    return str(part["name"]) + (f"[{inside}]" if inside else "")


def _likelihoods(parts: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(f"{name}: {', '.join(f'{k} {v}' for k, v in part.items())}" for name, part in parts.items())
