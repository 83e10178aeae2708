"""The runs and rows of a report, and their names."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench import datasets, metrics
from mmvae_bench.errors import BenchError, counted
from mmvae_bench.metrics import DEAD, UNDESCRIBED, Description, is_blind, score_key
from mmvae_bench.models import registry as models
from mmvae_bench.spec import TIERS, canonical_json
from mmvae_bench.store.run import NUMBERS, OUTCOMES, StoredRun
from mmvae_bench.store.store import Store

LONGEST = 200  # bytes of a file's name


@dataclass(frozen=True)
class Run(StoredRun):
    """A stored run with its names in the report."""

    label: str  # label of the model; different configurations have different labels
    subset: str  # note of the data set on the rows used, empty if all official ones
    group: str = ""  # title of the data set, and of the tier where there are several
    tier: str = ""  # tier in which it is reported, empty where there is only one

    @property
    def train_seconds(self) -> float | None:
        """Seconds of training, if recorded."""
        return self.phases.get("train")

    @property
    def may_be_shown(self) -> bool:
        """Whether pictures of its data may be published; not if its data set is no longer known here."""
        data = self.spec.dataset
        try:
            return bool(datasets.made(data.name, data.options).may_be_shown)
        except (BenchError, TypeError):  # a plug-in that is not installed, or whose options have changed
            return False


def slugs(titles: Iterable[str]) -> dict[str, str]:
    """Return a short file name for each title, numbered where two would be the same."""
    found: dict[str, str] = {}
    for title in dict.fromkeys(titles):
        name = plain = re.sub(r"\W+", "_", title).strip("_") or "x"
        number = 1
        while name in found.values():
            number += 1
            name = f"{plain}_{number}"
        found[title] = name
    return found


def file_name(text: str) -> str:
    """Return a safe file name of a text, another for each: a text that is changed or cut off gets a hash."""
    safe = re.sub(r"[^\w.+-]|^\.", "_", text)
    if safe == text and len(safe.encode()) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{safe.encode()[:LONGEST].decode(errors='ignore')}-{digest}"


def name_groups(runs: list[Run]) -> list[Run]:
    """Title each data set by its name, tier, the options that differ between data sets of that name, and its subset."""
    differing = _differing([run.spec.dataset.name for run in runs], [_data(run) for run in runs])
    return [replace(run, group=_title(run, extra)) for run, extra in zip(runs, differing, strict=True)]


def _title(run: Run, extra: list[str]) -> str:
    """A data set's title: ``mnist_svhn (tuned, svhn 8000+2000)``."""
    limits = {"train": run.spec.limit_train, "test": run.spec.limit_test}
    rows = [counted(n, f"{part} row") for part, n in limits.items() if n is not None and not extra]
    inside = ", ".join(filter(None, [run.tier, *extra, run.subset, *rows]))
    return run.spec.dataset.name + (f" ({inside})" if inside else "")


def name_models(runs: list[Run]) -> list[Run]:
    """Append to a label shared by several configurations the options that differ between them."""
    typed: dict[str, str] = {}  # one configuration may have been typed in two ways; the first counts
    facts = [_model(run) for run in runs]
    labels = [typed.setdefault(r.group + canonical_json(f), r.label) for r, f in zip(runs, facts, strict=True)]
    differing = _differing([f"{run.group}/{label}" for run, label in zip(runs, labels, strict=True)], facts)
    return [
        replace(run, label=label + (f" ({', '.join(extra)})" if extra else ""))
        for run, label, extra in zip(runs, labels, differing, strict=True)
    ]


def _differing(names: list[str], facts: list[dict[str, Any]]) -> list[list[str]]:
    """Return for each run ``key=value`` of the facts that differ between the runs of its name."""
    texts = pd.DataFrame([{key: canonical_json(value) for key, value in fact.items()} for fact in facts])
    kinds = texts.fillna("null").groupby(np.array(names, dtype=object)).nunique()
    return [[f"{key}={fact[key]}" for key in fact if kinds[key][n] > 1] for n, fact in zip(names, facts, strict=True)]


def _data(run: Run) -> dict[str, Any]:
    """Return the facts that distinguish data sets of one name."""
    data, limits = run.spec.dataset, {"limit_train": run.spec.limit_train, "limit_test": run.spec.limit_test}
    return {**data.options, "version": data.version, **limits}


def _model(run: Run) -> dict[str, Any]:
    """Return the flat spec without seed, missing pattern and data set, which tables have columns for."""
    named = ("seed", "missing", "dataset", "limit_train", "limit_test")
    rest = {key: value for key, value in run.record["spec"].items() if key not in named}
    return {key.removeprefix("model.options."): value for key, value in _flatten(rest)}


def _flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:  # json_normalize would change the order
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key in value for pair in _flatten(value[key], f"{prefix}.{key}" if prefix else str(key))]


@dataclass(frozen=True)
class Selection:
    """Runs and rows of a report."""

    rows: pd.DataFrame  # tidy rows of all stored runs
    frame: pd.DataFrame  # rows of finished runs, with ``group``, ``entrant`` and ``missing`` added
    runs: list[Run]
    failed: list[Run]
    absent: list[str]  # planned run ids that are not stored
    labels: list[str]  # labels of all models, in the order of tables and colours
    metrics: Mapping[str, Description]  # description of every metric in ``frame``
    searches: Sequence[Mapping[str, Any]] = ()  # the plan's record of how settings were chosen
    public: bool = False  # True leaves out pictures that may not be published

    def of(self, group: str) -> "Selection":
        """Return the part of one data set, by its title."""
        runs = [run for run in self.runs if run.group == group]
        return replace(self, frame=self.frame[self.frame["group"] == group], runs=runs)

    @cached_property
    def hidden(self) -> list[str]:
        """Titles of data sets whose pictures are left out."""
        one_each = {run.group: run for run in self.runs} if self.public else {}
        return [group for group, run in one_each.items() if not run.may_be_shown]

    @cached_property
    def blind(self) -> dict[tuple[str, str], str]:
        """Remark on each judge that is at chance, by data set and modality."""
        rows: Iterable[Any] = self.frame[
            (self.frame["status"] == "ok") & (self.frame["variant"] == "micro")
        ].itertuples()
        return {
            (row.group, row.target): f"the judge of {row.target} is at chance (accuracy {row.ceiling:.3f}, "
            f"chance {row.chance:.3f})"
            for row in rows
            if is_blind(row.ceiling, row.chance, row.n)
        }

    @cached_property
    def _outcomes(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Arrays of each run."""
        return {run.run_id: run.arrays(OUTCOMES) for run in self.runs}

    def outcomes(self, row: Any) -> NDArray[Any] | None:
        """Return the outcomes on test rows of a row of ``frame``, or None where none are stored."""
        return self._outcomes[row.run_id].get(score_key(row))

    @cached_property
    def _dead(self) -> dict[str, dict[str, set[str]]]:
        """Modalities of each run whose encoders (``given``) and decoders (``target``) were never trained."""
        gains = self.frame[(self.frame["metric"] == "reconstruction_gain") & (self.frame["status"] == "ok")]
        gains = gains.assign(alive=gains["value"] > DEAD * gains["se"])
        found: dict[str, dict[str, set[str]]] = {}
        for side in ("given", "target"):
            alive = gains.groupby(["run_id", side])["alive"].any()
            for run_id, name in alive.index[~alive]:
                found.setdefault(run_id, {}).setdefault(side, set()).add(name)
        return found

    def dead(self, row: Any) -> bool:
        """Return whether a row of ``frame`` is a score of an encoder or decoder that was never trained.

        See the metric ``reconstruction_gain``.
        """
        of_run = self._dead.get(row.run_id, {})
        sides = ("given", "given" if self.metrics[row.metric].encodes_target else "target")
        names = [set(text.split("+")) for text in (row.given, row.target)]
        return any(own & of_run.get(side, set()) for own, side in zip(names, sides, strict=True))

    @property
    def groups(self) -> list[str]:
        """Titles of the data sets (with options and subset where needed), in the plan's order."""
        return list(dict.fromkeys(run.group for run in self.runs))


def select(store: Store, plan: Mapping[str, Any], *, public: bool = False) -> Selection:
    """Read the plan's runs that are stored.

    Raises:
        BenchError: If none is stored or a folder is broken.
    """
    tiers = {run_id: plan.get("tiers", {}).get(run_id, ["default"]) for run_id in plan.get("run_ids", [])}
    wanted = [run_id for run_id, own in tiers.items() if own]  # trials of a search belong to none
    folders = {folder.name: folder for folder in store.folders()}
    place = {run_id: number for number, run_id in enumerate(wanted)}
    frame = plain(store.scores(wanted))
    frame = frame.sort_values("run_id", key=lambda ids: ids.map(place), kind="stable", ignore_index=True)
    firsts = frame.drop_duplicates("run_id").set_index("run_id")[["label", "subset"]].T.to_dict("list")
    found = [_run(folders[run_id], *firsts.get(run_id, ("", ""))) for run_id in wanted if run_id in folders]
    if not found:
        raise BenchError(_nothing(wanted, str(plan.get("name", "")), store))
    searches = plan.get("searches", [])
    whole = assemble(frame, found, tiers, {str(search["rule"]) for search in searches})
    absent = [run_id for run_id in wanted if run_id not in folders]
    return replace(whole, absent=absent, searches=searches, public=public)


def assemble(
    frame: pd.DataFrame, found: Sequence[Run], tiers: Mapping[str, Sequence[str]], rules: set[str]
) -> Selection:
    """Name runs and their rows.

    Args:
        frame: rows of the runs, each run's once.
        found: the runs.
        tiers: tiers that report each run, by its id.
        rules: rules by which settings of the tier ``tuned`` were chosen.
    """
    several = len({tier for own in tiers.values() for tier in own}) > 1
    order = [str(tier) for tier in TIERS]
    shown = [replace(run, tier=tier) for run in found if run.done for tier in tiers[run.run_id]]
    shown = sorted(shown, key=lambda run: order.index(run.tier)) if several else [replace(r, tier="") for r in shown]
    done = name_models(name_groups(shown))
    failed = [run for run in found if not run.done]
    labels = _ordered({run.label: run for run in done})
    rows = _annotate(frame, done, rules)
    scored = rows[(rows["metric"] != "") & (rows["group"] != "")]
    described = {name: _described(name, done) for name in scored["metric"].unique()}
    return Selection(rows, scored, done, failed, [], labels, described)


def _nothing(wanted: Sequence[str], name: str, store: Store) -> str:
    """Return why there is nothing to report, and what to do."""
    if not wanted:
        return f"The plan '{name}' has no runs to report, perhaps because no model is tuned yet. Run it again."
    return (
        f"No run of '{name}' is stored under '{store.root}' (planned: {len(wanted)}). "
        f"For the command that runs them: mmvae-bench status --suite {name}"
    )


def _described(metric: str, runs: list[Run]) -> Description:
    """Return the description that a run stored; for older runs that of the registered metric, or its bare name."""
    for run in runs:
        if metric in run.record.get("descriptions", {}):
            return Description(**run.record["descriptions"][metric]).named(metric)
    try:
        return metrics.registry.get(metric).about.named(metric)
    except BenchError:
        return UNDESCRIBED.named(metric)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill missing values of text columns, so that groups and comparisons never lose a row."""
    text = [column for column in frame if column not in NUMBERS]
    return frame.assign(**{str(c): frame[c].astype(object).where(frame[c].notna(), "") for c in text})


def _run(folder: Path, label: str, subset: str) -> Run:
    """A stored run, with what its rows say of it."""
    stored = StoredRun.read(folder)
    return Run(folder, stored.record, stored.checksum, str(label) or stored.spec.model.name, str(subset))


def _annotate(frame: pd.DataFrame, runs: list[Run], rules: set[str]) -> pd.DataFrame:
    """Add ``group``, ``entrant`` and ``missing``, and a copy of its rows for each further tier of a run."""
    names = [(run.run_id, run.group, run.label, run.spec.missing, run.tier or "default") for run in runs]
    added = pd.DataFrame(names, columns=["run_id", "group", "entrant", "missing", "tier"], dtype=object)
    added["rule"] = [" ".join(sorted(rules)) if tier == "tuned" else "" for tier in added["tier"]]
    rows = frame.merge(added, on="run_id", how="left", suffixes=("_stored", ""))
    known = {name: rows[name].fillna(rows[f"{name}_stored"]) for name in ("tier", "rule")}  # failed runs are not added
    known |= {name: rows[name].fillna("") for name in ("group", "entrant")}
    return rows.assign(**known).drop(columns=["tier_stored", "rule_stored"])


def _ordered(by_label: dict[str, Run]) -> list[str]:
    """Sort labels in the registry's order of models, then by text with numbers in it as numbers: k=3 before k=10."""
    order = models.names()

    def place(label: str) -> tuple[int, list[str | int]]:
        name = by_label[label].spec.model.name
        parts = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label)]
        return (order.index(name) if name in order else len(order), parts)

    return sorted(by_label, key=place)
