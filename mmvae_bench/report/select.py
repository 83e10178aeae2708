"""The runs and rows of a report, and their names."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mmvae_bench import datasets, metrics
from mmvae_bench.errors import BenchError
from mmvae_bench.metrics import UNDESCRIBED, Description
from mmvae_bench.models import registry as models
from mmvae_bench.spec import Missing, canonical_json
from mmvae_bench.store.run import NUMBERS, StoredRun
from mmvae_bench.store.store import Store


@dataclass(frozen=True)
class Run:
    """A stored run with its names in the report.

    Attributes:
        label: Label of the model; different configurations have different labels.
        subset: Note of the data set on the rows used, empty if all official ones.
        group: Title of the data set.
    """

    stored: StoredRun
    label: str
    subset: str = ""
    group: str = ""

    @property
    def run_id(self) -> str:
        """Hash of the run's spec."""
        return self.stored.folder.name

    @property
    def record(self) -> Mapping[str, Any]:
        """Content of ``run.json``."""
        return self.stored.record

    @property
    def spec(self) -> Mapping[str, Any]:
        """The run's spec as plain values."""
        spec: Mapping[str, Any] = self.record["spec"]
        return spec

    @property
    def missing(self) -> Missing:
        """What was hidden in training."""
        return Missing(**self.spec["missing"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.spec["seed"])

    @property
    def train_seconds(self) -> float | None:
        """Seconds of training, if recorded."""
        seconds = self.record.get("seconds")
        return float(seconds["train"]) if isinstance(seconds, dict) and "train" in seconds else None

    @property
    def may_be_shown(self) -> bool:
        """Whether pictures of its data may be published; not if its data set is no longer known here."""
        data = self.spec["dataset"]
        try:
            return bool(datasets.registry.get(data["name"])(**data["options"]).may_be_shown)
        except (BenchError, TypeError):  # a plug-in that is not installed, or whose options have changed
            return False

    @property
    def modalities(self) -> list[str]:
        """Modalities in the data set's order."""
        return list(self.spec["likelihoods"])


def slug(text: str) -> str:
    """Return a file name for a title."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "x"


def file_name(text: str) -> str:
    """Return a safe file name, whatever the metrics and modalities in the text are called."""
    return re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII)[:200]


def name_groups(runs: list[Run]) -> list[Run]:
    """Title each data set by its name, the options that differ between data sets of that name, and its subset."""
    differing = _differing(runs, lambda run: str(run.spec["dataset"]["name"]), _data)
    return [replace(run, group=_title(run, extra)) for run, extra in zip(runs, differing, strict=True)]


def _title(run: Run, extra: list[str]) -> str:
    """A data set's title: ``mnist_svhn (svhn 8000+2000)``."""
    limits = [f"{n} {part} rows" for part in ("train", "test") if (n := run.spec[f"limit_{part}"]) is not None]
    inside = [*extra, *([run.subset] if run.subset else []), *([] if extra else limits)]
    return str(run.spec["dataset"]["name"]) + (f" ({', '.join(inside)})" if inside else "")


def name_models(runs: list[Run]) -> list[Run]:
    """Append to a label shared by several configurations the options that differ between them."""
    typed: dict[str, str] = {}  # one configuration may have been typed in two ways; the first counts
    facts = [run.group + canonical_json(_model(run)) for run in runs]
    runs = [replace(run, label=typed.setdefault(fact, run.label)) for run, fact in zip(runs, facts, strict=True)]
    differing = _differing(runs, lambda run: f"{run.group}/{run.label}", _model)
    return [
        replace(run, label=f"{run.label} ({', '.join(extra)})") if extra else run
        for run, extra in zip(runs, differing, strict=True)
    ]


def _differing(runs: list[Run], name: Callable[[Run], str], facts: Callable[[Run], dict[str, Any]]) -> list[list[str]]:
    """Return for each run ``key=value`` of the facts that differ between the runs of its name."""
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
    """Return the facts that distinguish data sets of one name."""
    spec = run.spec
    limits = {f"limit_{part}": spec[f"limit_{part}"] for part in ("train", "test")}
    return {**spec["dataset"]["options"], "version": spec["dataset"]["version"], **limits}


def _model(run: Run) -> dict[str, Any]:
    """Return the flat spec without seed, missing pattern and data set, which tables have columns for."""
    rest = {key: value for key, value in run.spec.items() if key not in ("seed", "missing", "dataset")}
    flat = _flatten({key: value for key, value in rest.items() if not key.startswith("limit_")})
    return {key.removeprefix("model.options."): value for key, value in flat}


def _flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key in value for pair in _flatten(value[key], f"{prefix}.{key}" if prefix else str(key))]


@dataclass(frozen=True)
class Selection:
    """Runs and rows of a report.

    Attributes:
        rows: Tidy rows of all stored runs.
        frame: Rows of finished runs, with ``group``, ``entrant`` and ``missing`` added.
        absent: Planned run ids that are not stored.
        labels: Labels of all models, in the order of tables and colours.
        metrics: Description of every metric in ``frame``.
        public: True leaves out pictures that may not be published.
    """

    rows: pd.DataFrame
    frame: pd.DataFrame
    runs: list[Run]
    failed: list[Run]
    absent: list[str]
    labels: list[str]
    metrics: Mapping[str, Description]
    public: bool = False

    @cached_property
    def hidden(self) -> list[str]:
        """Titles of data sets whose pictures are left out."""
        one_each = {run.group: run for run in self.runs} if self.public else {}
        return [group for group, run in one_each.items() if not run.may_be_shown]

    @property
    def groups(self) -> list[str]:
        """Titles of the data sets (with options and subset where needed), in the plan's order."""
        return list(dict.fromkeys(run.group for run in self.runs))


def select(store: Store, plan: Mapping[str, Any], *, public: bool = False) -> Selection:
    """Read the plan's runs that are stored.

    Raises:
        BenchError: If none is stored or a folder is broken.
    """
    wanted = list(dict.fromkeys(plan.get("run_ids", [])))
    folders = {folder.name: folder for folder in store.folders()}
    place = {run_id: number for number, run_id in enumerate(wanted)}
    frame = _plain(store.scores(wanted))
    frame = frame.sort_values("run_id", key=lambda ids: ids.map(place), kind="stable", ignore_index=True)
    firsts = frame.drop_duplicates("run_id").set_index("run_id")[["label", "subset"]].T.to_dict("list")
    found = [_run(folders[run_id], *firsts.get(run_id, ("", ""))) for run_id in wanted if run_id in folders]
    if not found:
        raise BenchError(
            f"None of the {len(wanted)} runs of '{plan.get('name', 'this plan')}' is stored under '{store.root}'. "
            "Run it first: mmvae-bench run."
        )
    done = name_models(name_groups([run for run in found if run.stored.done]))
    failed = [run for run in found if not run.stored.done]
    absent = [run_id for run_id in wanted if run_id not in folders]
    labels = _ordered({run.label: run for run in done})
    rows = _annotate(frame, done)
    described = {name: _described(name, done) for name in rows["metric"].unique()}
    return Selection(frame, rows, done, failed, absent, labels, described, public)


def _described(metric: str, runs: list[Run]) -> Description:
    """Return the description that a run stored; for older runs that of the registered metric, or its bare name."""
    for run in runs:
        if metric in run.record.get("descriptions", {}):
            return Description(**run.record["descriptions"][metric]).named(metric)
    try:
        return metrics.registry.get(metric).about.named(metric)
    except BenchError:
        return UNDESCRIBED.named(metric)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill missing values of text columns, so that groups and comparisons never lose a row."""
    text = [column for column in frame if column not in NUMBERS]
    return frame.assign(**{str(c): frame[c].astype(object).where(frame[c].notna(), "") for c in text})


def _run(folder: Path, label: str, subset: str) -> Run:
    """A stored run, with what its rows say of it."""
    stored = StoredRun.read(folder)
    return Run(stored, str(label) or str(stored.record["spec"]["model"]["name"]), str(subset))


def _annotate(frame: pd.DataFrame, runs: list[Run]) -> pd.DataFrame:
    by_id = {run.run_id: run for run in runs}
    rows = frame[frame["run_id"].isin(list(by_id)) & (frame["metric"] != "")]
    kept = [by_id[run_id] for run_id in rows["run_id"]]
    return rows.assign(
        group=[run.group for run in kept],
        entrant=[run.label for run in kept],
        missing=pd.Series([run.missing for run in kept], rows.index, dtype=object),
    )


def _ordered(by_label: dict[str, Run]) -> list[str]:
    """Sort labels in the registry's order of models, then by text with numbers in it as numbers: k=3 before k=10."""
    order = models.names()

    def place(label: str) -> tuple[int, list[str | int]]:
        name = by_label[label].spec["model"]["name"]
        parts = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label)]
        return (order.index(name) if name in order else len(order), parts)

    return sorted(by_label, key=place)
