"""Which runs and rows a report is about, and how data sets and models are called in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError
from mmvae_bench.models import registry as models
from mmvae_bench.spec import canonical_json
from mmvae_bench.store import NUMBERS, Store, read_run

DROP = " (complete rows only)"


@dataclass(frozen=True)
class Run:
    """A stored run as the report calls it.

    Attributes:
        record: Its ``run.json``.
        label: The model's, told apart from others of the same text; ``group`` is the data set's title.
        subset: The data set's note on which rows are used, empty if all official ones.
    """

    run_id: str
    folder: Path
    record: Mapping[str, Any]
    label: str
    subset: str = ""
    group: str = ""

    @property
    def spec(self) -> Mapping[str, Any]:
        """The run's spec as plain values."""
        spec: Mapping[str, Any] = self.record["spec"]
        return spec

    @property
    def scheme(self) -> str:
        """The missing scheme, with what is done to incomplete rows if that is not to keep them."""
        missing = self.spec["missing"]
        return str(missing["scheme"]) + (DROP if missing["incomplete"] == "drop" else "")

    @property
    def ratio(self) -> float:
        """The missing ratio."""
        return float(self.spec["missing"]["ratio"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.spec["seed"])

    @property
    def failed(self) -> bool:
        """Whether training broke."""
        return bool(self.record["status"] == "failed")

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """The arrays that figures need; empty if none are stored.

        Raises:
            BenchError: If the file cannot be read.
        """
        path = self.folder / "artifacts.npz"
        if not path.exists():
            return {}
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except Exception as error:  # zip, zlib and numpy each raise their own
            raise BenchError(f"cannot read '{path}' ({error}); move its folder away and run the suite again") from error


@dataclass(frozen=True)
class Selection:
    """All that is reported.

    Attributes:
        frame: Tidy rows of finished runs, with ``group``, ``entrant``, ``scheme`` and ``ratio`` added.
        absent: Planned run ids that are not stored.
        labels: Every model's label, in the order of tables and colours.
    """

    frame: pd.DataFrame
    runs: list[Run]
    failed: list[Run] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """Titles of the data sets (with options and subset where needed), in the plan's order."""
        return list(dict.fromkeys(run.group for run in self.runs))


def select(store: Store, plan: Mapping[str, Any]) -> Selection:
    """Read the plan's runs that are stored.

    Raises:
        BenchError: If none is stored, a folder is broken, or two models cannot be told apart.
    """
    wanted = list(dict.fromkeys(plan.get("run_ids", [])))
    folders = {folder.name: folder for folder in store.folders()}
    frame = _plain(store.scores(wanted))
    found = [_run(folders[run_id], frame) for run_id in wanted if run_id in folders]
    if not found:
        raise BenchError(
            f"none of the {len(wanted)} runs of '{plan.get('name', 'this plan')}' is stored under '{store.root}'; "
            "first: mmvae-bench run"
        )
    done = _tell_models_apart(_name_groups([run for run in found if not run.failed]))
    failed = [run for run in found if run.failed]
    absent = [run_id for run_id in wanted if run_id not in folders]
    return Selection(_annotate(frame, done), done, failed, absent, _ordered({run.label: run for run in done}))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Text columns without missing values, so that groups and comparisons never lose a row."""
    text = [column for column in frame if column not in NUMBERS]
    return frame.assign(**{str(c): frame[c].astype(object).where(frame[c].notna(), "") for c in text})


def _run(folder: Path, frame: pd.DataFrame) -> Run:
    rows = frame[frame["run_id"] == folder.name]
    record = read_run(folder)
    label, subset = (str(rows[column].iloc[0]) if len(rows) else "" for column in ("label", "subset"))
    return Run(folder.name, folder, record, label or str(record["spec"]["model"]["name"]), subset)


def _name_groups(runs: list[Run]) -> list[Run]:
    """Title each data set by its name, the options in which it differs from others of that name, and its subset."""
    titled = []
    for run in runs:
        own = _data(run)
        others = [_data(other) for other in runs if other.spec["dataset"]["name"] == run.spec["dataset"]["name"]]
        extra = differences(own, others)
        limits = [f"{n} {part} rows" for part in ("train", "test") if (n := run.spec[f"limit_{part}"]) is not None]
        inside = ", ".join([*extra, *([run.subset] if run.subset else [] if extra else limits)])
        titled.append(replace(run, group=str(run.spec["dataset"]["name"]) + (f" ({inside})" if inside else "")))
    return titled


def _data(run: Run) -> dict[str, Any]:
    spec = run.spec
    limits = {f"limit_{part}": spec[f"limit_{part}"] for part in ("train", "test")}
    return {**spec["dataset"]["options"], "version": spec["dataset"]["version"], **limits}


def _tell_models_apart(runs: list[Run]) -> list[Run]:
    """Append to labels that stand for several configurations what differs between these."""
    return [
        replace(run, label=f"{run.label} ({', '.join(extra)})") if (extra := _model_differences(run, runs)) else run
        for run in runs
    ]


def _model_differences(run: Run, runs: list[Run]) -> list[str]:
    same = [other for other in runs if (other.group, other.label) == (run.group, run.label)]
    return differences(_model(run), [_model(other) for other in same])


def _model(run: Run) -> dict[str, Any]:
    """The spec without what a table has columns for, flat."""
    rest = {key: value for key, value in run.spec.items() if key not in ("seed", "missing", "dataset")}
    return {key.removeprefix("model.options."): value for key, value in _flatten(rest)}


def _flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key in value for pair in _flatten(value[key], f"{prefix}.{key}" if prefix else str(key))]


def differences(own: Mapping[str, Any], others: list[dict[str, Any]]) -> list[str]:
    """``key=value`` of ``own`` for each key whose value is not the same in all ``others``."""
    keys = dict.fromkeys(key for other in others for key in other)
    varied = [key for key in keys if len({canonical_json(other.get(key)) for other in others}) > 1]
    return [f"{key}={own.get(key, 'none')}" for key in varied]


def _annotate(frame: pd.DataFrame, runs: list[Run]) -> pd.DataFrame:
    by_id = {run.run_id: run for run in runs}
    rows = frame[frame["run_id"].isin(list(by_id)) & (frame["metric"] != "")]
    kept = [by_id[run_id] for run_id in rows["run_id"]]
    return rows.assign(
        group=[run.group for run in kept],
        entrant=[run.label for run in kept],
        scheme=[run.scheme for run in kept],
        ratio=[run.ratio for run in kept],
    )


def _ordered(by_label: dict[str, Run]) -> list[str]:
    """Labels in the registry's order of their models, then by text."""
    order = models.names()

    def place(label: str) -> tuple[int, str]:
        name = by_label[label].spec["model"]["name"]
        return (order.index(name) if name in order else len(order), label)

    return sorted(by_label, key=place)
