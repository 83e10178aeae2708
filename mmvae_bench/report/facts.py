"""Facts for the page, read from the runs' records: settings, costs, skipped and failed runs, provenance."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, product
from statistics import median
from typing import Any

import pandas as pd

from mmvae_bench.code import describe
from mmvae_bench.errors import counted
from mmvae_bench.report.averaging import HASHES
from mmvae_bench.report.select import Run, Selection
from mmvae_bench.report.statistics import MIN_SEEDS
from mmvae_bench.spec import TIERS, Component
from mmvae_bench.store.run import parts


def setting(selection: Selection) -> dict[str, str]:
    """Return the settings of the experiment: heading -> text."""
    runs, frame = selection.runs, selection.frame
    tiers = list(dict.fromkeys(run.tier for run in runs))
    budget = _each(
        f"{train.epochs} epochs, batch {train.batch_size}, {train.optimiser} {train.learning_rate:g}"
        for train in (run.spec.train for run in runs)
    )
    steps = _each(f"{run.record['steps']:,}" for run in runs if run.record.get("steps"))
    return {
        "Data sets": "; ".join(selection.groups),
        "Models": ", ".join(selection.labels),
        "Missing in training": _each(run.spec.missing.text for run in runs),
        "Tiers": "; ".join(f"{tier}: {TIERS[tier]}" for tier in tiers) if len(tiers) > 1 else "",  # type: ignore[index]
        "Chosen by": _each(str(search["rule"]) for search in selection.searches),
        "Seeds": _each(sorted({run.spec.seed for run in runs})),
        "Budget": budget + (f"; {steps} steps" if steps else ""),
        "Networks": _each(component(run.spec.nets) for run in runs),
        "Latent size": _each(run.spec.latent_dim for run in runs),
        "Likelihoods": _each(_likelihoods(run.spec.likelihoods) for run in runs),
        "Precision, engine": "; ".join(_each(frame[column]) for column in ("precision", "engine")),
        "Devices": _each(_device(run) for run in runs),
        "Versions": _each(f"{k} {v}" for run in runs for k, v in dict(run.record.get("versions") or {}).items()),
    }


def warnings(selection: Selection, skipped: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences above the numbers: subsets of data, changed code, differences, few seeds, absent runs."""
    found = [
        f"{run.spec.dataset.name} is not the official data, or not known to be: {run.subset}."
        for run in selection.runs
        if run.subset
    ]
    found += [
        f"On {group} {remark}: its scores say nothing, and means over directions with other judges leave them out."
        for (group, _), remark in selection.blind.items()
    ]
    found += describe(chain.from_iterable(parts(run.record) for run in selection.runs))
    found += [f"Pictures of {group} may not be published and are left out." for group in selection.hidden]
    for column in ("precision", "engine", "package_version", "device"):
        found += _differ("Runs", column, selection.frame)
    for group, rows in selection.frame.groupby("group", sort=False):
        found += _differ(f"On {group} runs", "steps", rows)
        seeds = rows.groupby(["missing", "entrant"], sort=False)["seed"].apply(frozenset)
        if (seeds.groupby(level=0, sort=False).nunique() > 1).any():
            found.append(f"On {group} models were run with different seeds: no best value is marked where they differ.")
        tasks = rows[rows["status"] == "ok"].groupby(["metric", "variant", "given", "target"])
        found += [
            f"On {group} models differ in {column}: no best value is marked in those columns."
            for column in HASHES
            if (tasks[column].nunique() > 1).any()
        ]
    count = len({run.spec.seed for run in selection.runs})
    if 0 < count < MIN_SEEDS:
        found.append(f"{counted(count, 'seed')} only: no intervals, and no order is claimed.")
    counts = {"failed": len(selection.failed), "skipped": len(skipped), "not done": len(selection.absent)}
    short = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    found += [f"Planned runs without scores: {short}; the reasons are under 'Not scored' on the page."] if short else []
    return list(dict.fromkeys(found))


def _differ(what: str, column: str, frame: pd.DataFrame) -> list[str]:
    kinds = sorted({str(value) for value in frame[column] if value != ""})
    return [f"{what} differ in {column.replace('_', ' ')}: {', '.join(kinds)}."] if len(kinds) > 1 else []


def costs(selection: Selection) -> list[dict[str, str]]:
    """Return the cost of each model on each data set, as means over its runs."""
    rows, frame = [], selection.frame
    for group, label in product(selection.groups, selection.labels):
        if runs := [run for run in selection.runs if (run.group, run.label) == (group, label)]:
            rows_of = frame[(frame["group"] == group) & (frame["entrant"] == label) & (frame["n_params"] != "")]
            rows.append({
                "data set": group,
                "model": label,
                "runs": str(len(runs)),
                "parameters": _each(f"{int(n):,}" for n in rows_of["n_params"]),
                "training [s]": _mean((run.train_seconds for run in runs), 1),
                "rows/s": _mean((run.record.get("rate") for run in runs), 0),
                "peak memory [MB]": _mean((run.record.get("peak_memory_mb") for run in runs), 0),
            })  # fmt: skip
    return rows


def searches(selection: Selection) -> list[dict[str, str]]:
    """Return what a search chose for each tuned model, and how much that matters: scores on validation rows."""
    rows = []
    for search in selection.searches:
        scores = [trial["score"] for trial in search["trials"] if trial["score"] is not None]
        if search["winner"] is None or not scores:
            continue
        won = search["trials"][search["winner"]]
        rows.append({
            "data set": search["dataset"],
            "model": search["label"],
            "chosen": trial_text(won),
            "its score": f"{won['score']:.3f}",
            "default settings": "-" if (first := search["trials"][0]["score"]) is None else f"{first:.3f}",
            "second best": f"{sorted(scores)[-2]:.3f}" if len(scores) > 1 else "-",
            "median": f"{median(scores):.3f}",
            "worst": f"{min(scores):.3f}",
        })  # fmt: skip
    return rows


def trials(selection: Selection) -> list[dict[str, str]]:
    """Return every trial of the searches: settings and score on validation rows."""
    return [
        {
            "data set": search["dataset"],
            "model": search["label"],
            "trial": str(number) + " (chosen)" * (number == search["winner"]),
            "settings": trial_text(trial),
            "score": "failed, or not scored" if trial["score"] is None else f"{trial['score']:.3f}",
        }
        for search in selection.searches
        for number, trial in enumerate(search["trials"])
    ]


def trial_text(trial: Mapping[str, Any]) -> str:
    """Return the settings of a trial: options that differ from the default ones, and the learning rate."""
    options = [f"{name} {value}" for name, value in trial["options"].items()]
    return ", ".join([*(options or ["default"]), f"rate {trial['learning_rate']:g}"])


def not_done(selection: Selection, skipped: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return every planned run without scores and the reason; runs with the same reason share a line."""
    names = ["dataset", "label", "status", "reason", "missing", "seeds"]
    rows: list[dict[str, Any]] = [{**row, "status": "skipped", "seeds": row.get("seed", "")} for row in skipped]
    for run in selection.failed:
        spec, reason = run.spec, run.error or "no reason was recorded"
        what = {"dataset": spec.dataset.name, "label": run.label, "missing": spec.missing.text, "seeds": spec.seed}
        rows.append({**what, "status": "failed", "reason": reason})
    if selection.absent:
        ids = f"run ids {', '.join(selection.absent)}"
        rows.append({"label": counted(len(selection.absent), "run"), "status": "not done", "reason": ids})
    return _joined(pd.DataFrame(rows, columns=names, dtype=object).fillna(""), names[:4])


def undefined(selection: Selection) -> list[dict[str, str]]:
    """Return the scores that finished runs lack and the reason; models with the same reason share a line."""
    rows = selection.frame[selection.frame["status"] != "ok"]
    of = zip(rows["metric"], rows["variant"], rows["prior"], strict=True)
    scores = [selection.metrics[metric].title_of(variant, prior) for metric, variant, prior in of]
    named = {"data set": rows["group"], "score": scores, "models": rows["entrant"], "reason": rows["reason"]}
    return _joined(pd.DataFrame(named), ["data set", "score", "reason"])


def provenance(selection: Selection) -> list[dict[str, str]]:
    """Return hashes of data, oracles and embeddings and the package's version for each data set."""
    names = [n for n in (*HASHES, "subset", "package_version") if _each(selection.frame[n])]
    rows = selection.frame[["group", *names]].rename(columns=lambda name: name.replace("_", " "))
    return _joined(rows.rename(columns={"group": "data set"}), ["data set"])


def _joined(rows: pd.DataFrame, by: list[str]) -> list[dict[str, str]]:
    """Return a line for each combination of ``by``, with the distinct texts of the other columns."""
    lines = rows.groupby(by, sort=False).agg(_each).reset_index()[list(rows)]
    return [{str(name): str(text) for name, text in line.items()} for line in lines.to_dict("records")]


def _each(values: Iterable[object]) -> str:
    """Distinct texts, in order."""
    return ", ".join(dict.fromkeys(str(value) for value in values if value != ""))


def _mean(values: Iterable[float | None], digits: int) -> str:
    known = [value for value in values if value]
    return f"{sum(known) / len(known):,.{digits}f}" if known else "-"


def _device(run: Run) -> str:
    """``cuda (NVIDIA H100)``."""
    device, hardware = (str(run.record.get(name) or "") for name in ("device", "hardware"))
    return (device or "not recorded") + (f" ({hardware})" if hardware else "")


def component(part: Component) -> str:
    """Return ``mlp[hidden=256, layers=2]``."""
    inside = ", ".join(f"{key}={value}" for key, value in part.options.items())
    return part.name + (f"[{inside}]" if inside else "")


def _likelihoods(parts: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(f"{name}: {', '.join(f'{k} {v}' for k, v in part.items())}" for name, part in parts.items())
