"""``mmvae-bench submit``: check results that somebody wants to publish against their suite. Writes nothing."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.code import describe
from mmvae_bench.disk import read_json
from mmvae_bench.errors import BenchError, counted, in_a_line, near_hint
from mmvae_bench.metrics import score_key
from mmvae_bench.spec import RunStatus, canonical_json
from mmvae_bench.store.check import check_results
from mmvae_bench.store.foreign import RESULTS, RUNS, foreign
from mmvae_bench.store.run import OUTCOMES, StoredRun
from mmvae_bench.store.store import PUBLISHED, Store, read_published
from mmvae_bench.sweep.plan import Plan, PlannedRun, make_plan
from mmvae_bench.sweep.records import known_metric, scored_by, unscored
from mmvae_bench.sweep.request import Request
from mmvae_bench.sweep.suites import list_suites, load_suite

TOLERANCE = 1e-6  # of a value and the mean of its outcomes, which are stored with 7 digits
DATA = ["dataset", "dataset_options"]
HASHES = {"dataset_hash": DATA, "oracle_hash": DATA, "embedding_hash": [*DATA, "metric", "variant", "given", "target"]}
GRID = [*DATA, "label", "missing_scheme", "missing_ratio", "incomplete", "seed", "tier"]
WAY_OUT = "Name the folder of the runs, with 'runs' and 'plans' in it, or a published one, with 'scores.csv.xz'."
CHECKLIST = """
For the pull request (docs/submit.md says why):
- [ ] the line above is in its text, and the notes are answered
- [ ] python benchmarks/publish.py {suite} --results-dir {folder}
- [ ] git add -f results/{suite} reports/{suite}; nothing else is changed
- [ ] hardware and hours are those of results/{suite}/environment.json
- [ ] settings are the suite's, and nothing was chosen by scores of test rows
- [ ] the run folders are kept where a reviewer can get them, and the text says where"""


@dataclass
class Submission:
    """What was found."""

    suite: str
    runs: int = 0  # number of runs
    rows: int = 0  # number of rows of scores
    faults: list[str] = field(default_factory=list)  # sentences, each a reason not to publish
    notes: list[str] = field(default_factory=list)  # sentences that a reviewer should read
    published: bool = False  # True for a published folder

    def checklist(self, folder: Path) -> str:
        """Return what else a pull request needs."""
        lines = [line for line in CHECKLIST.splitlines() if not (self.published and "publish.py" in line)]
        return "\n".join(lines).format(suite=self.suite, folder=folder)


def check_submission(folder: Path, suite: str | None = None) -> Submission:
    """Check a folder of stored runs, or a published one, against its suite.

    Args:
        folder: Folder after ``mmvae-bench run --suite``, or one that ``benchmarks/publish.py`` wrote.
        suite: Name of the suite. Default: that of the only plan, or of the published folder.

    Raises:
        BenchError: If the folder is neither, its suite is not known, or a record was made by hand.
    """
    if not folder.is_dir():
        raise BenchError(f"'{folder}' is not a folder. An archive must be unpacked first. {WAY_OUT}")
    if not (published := (folder / PUBLISHED).is_file()) and not (folder / "runs").is_dir():
        raise BenchError(f"There are no results in '{folder}'. {WAY_OUT}")
    if strange := foreign(folder, RESULTS if published else RUNS):
        return Submission(suite or "", faults=strange, notes=["Nothing was read, because of these faults."])
    try:
        return _published(folder, suite) if published else _runs(folder, suite)
    except (BenchError, OSError):
        raise
    except Exception as error:  # checksums do not tell who wrote a record
        raise BenchError(f"'{folder}' has a record that mmvae-bench did not write ({in_a_line(error)}).") from error


def _runs(folder: Path, suite: str | None) -> Submission:
    """Check stored runs."""
    store, plans = Store(folder), sorted(path.stem for path in folder.glob("plans/*.json"))
    if suite is None and len(plans) != 1:
        have = f"the plans {', '.join(plans)}" if plans else "no plan"
        raise BenchError(f"'{folder}' has {have}. Name the suite with --suite.")
    name = _known(suite or plans[0])
    found, request = check_results(folder), load_suite(name)
    plan = make_plan(request, store, Path())
    others = [folder / "plans" / f"{other}.json" for other in plans if other != name]
    faults = [*found.faults, *(f"'{other}' is not the plan of '{name}'. Move it elsewhere." for other in others)]
    faults += [*_not_there(plan), *_contents(store, plan, request)]
    frame = store.scores(faults=[])  # those are among the faults already
    notes = [*found.notes, *describe(found.parts.elements()), *_remarks(frame)]
    return Submission(name, found.runs, found.rows, [*faults, *_mixed(frame)], notes)


def _contents(store: Store, plan: Plan, request: Request) -> Iterator[str]:
    """Yield a sentence for each run that is not the suite's, and for each fault of the scores of one that is."""
    own = {entry.spec.run_id: entry for entry in plan.entries}
    wrong: Counter[tuple[str, Any, int]] = Counter()
    for path in store.folders():
        try:
            run = StoredRun.read(path)
            rows, outcomes = run.rows(), run.arrays(OUTCOMES)
        except BenchError:  # which is among the faults already
            continue
        if path.name not in own:
            yield _other(run, plan)
        elif run.done:
            now = scored_by(own[path.name].metrics or request.metrics, request.priors)
            stored, versions = dict(run.record["metrics"]), now["metrics"]
            wrong.update((m, stored.get(m), versions[m]) for m in unscored(run.record, now, changed=False))
            yield from _means(str(run), rows, outcomes)
    yield from _versions(wrong)


def _known(name: str) -> str:
    """Return the name of a suite of this version.

    Raises:
        BenchError: If there is none.
    """
    if name not in (known := list_suites()):
        hint = near_hint(name, known)
        raise BenchError(
            f"'{name}' is not a suite of mmvae-bench; {hint}only results of suites are published. "
            f"Known: {', '.join(known)}. A new suite comes with its file, in mmvae_bench/suites/."
        )
    return name


def _not_there(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each run of the suite without a result."""
    for entry in plan.entries:
        run, why = f"{entry.spec.title} ({entry.spec.run_id})", f": {entry.reason}" if entry.reason else ""
        if entry.status == RunStatus.FAILED:
            yield f"{run} failed{why}."
        elif entry.status in (RunStatus.TO_RUN, RunStatus.SKIPPED) and not entry.impossible:
            yield f"{run} is not stored."
    if plan.waiting:
        yield f"The trials of {counted(plan.waiting, 'model')} are not all stored, nor can runs of their winners be."


def _other(run: StoredRun, plan: Plan) -> str:
    """Return in what a run that is not the suite's differs from the suite's run of the same name."""
    spec = run.record["spec"]

    def place(known: Mapping[str, Any]) -> str:
        named = (known["dataset"]["name"], known["model"]["name"], known["missing"], known["seed"], known.get("tier"))
        return canonical_json({"place": named})

    twins = [own for entry in plan.entries if place(own := entry.spec.to_dict()) == place(spec)]
    differing = min(([key for key in own if own[key] != spec.get(key)] for own in twins), key=len, default=[])
    what = f": it differs in {', '.join(differing)}" if differing else ""
    return f"'{run.folder}' is not a run of '{plan.name}' in this version{what}. Move it elsewhere."


def _versions(wrong: Counter[tuple[str, Any, int]]) -> Iterator[str]:
    """Yield a sentence for each metric that runs lack, or have in a different version."""
    for (name, stored, version), count in wrong.items():
        runs = "1 run was" if count == 1 else f"{count:,} runs were"
        how = f"without {name}" if stored is None else f"by version {stored} of {name}, and this is version {version}"
        yield f"{runs} scored {how}. Run the suite again: it scores stored runs without training."


def _means(what: str, rows: Iterable[Mapping[str, Any]], arrays: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield a sentence for each row whose value is not the mean of its outcomes, or which lacks them."""
    for row in rows:
        if row["status"] == "ok" and row["sampled"] == "rows":
            key = score_key(SimpleNamespace(**row))
            if (outcomes := arrays.get(key)) is None:
                yield f"{what} has no outcomes of {key}."
            elif len(outcomes) != row["n"] or not agrees(row["value"], outcomes):
                yield f"{what}: {key} is {row['value']!r}, and the mean of its {len(outcomes):,} outcomes is another."


def agrees(value: float, outcomes: NDArray[Any]) -> bool:
    """Return whether a value is the mean of outcomes, but for their rounding."""
    return bool(abs(float(outcomes.mean(dtype=np.float64)) - value) <= TOLERANCE * max(1.0, abs(value)))


def _mixed(frame: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each data set whose runs differ in data, judges or embeddings."""
    ok = frame[frame["status"] == "ok"]
    for column, place in HASHES.items():
        kinds = ok.groupby(place)[column].nunique()
        for name in dict.fromkeys(kinds[kinds > 1].index.get_level_values("dataset")):
            yield f"Scores on {name} differ in {column}: they are of different data, judges or embeddings."


def _remarks(frame: pd.DataFrame) -> list[str]:
    """Return what a reviewer should know: subsets, and versions of the package."""
    own = frame[frame["subset"] != ""].drop_duplicates(["dataset", "subset"])
    found = [
        f"{name} is not the official data, or not known to be: {subset}."
        for name, subset in zip(own["dataset"], own["subset"], strict=True)
    ]
    versions = sorted(set(map(str, frame["package_version"])) - {""})
    return [*found, *([f"Runs are of several package versions: {', '.join(versions)}."] if len(versions) > 1 else [])]


def _published(folder: Path, suite: str | None) -> Submission:
    """Check a published folder."""
    name = _known(suite or folder.resolve().name)
    frame = read_published(folder / PUBLISHED)
    ids = frame["run_id"].nunique()
    faults = [*_grid(frame, make_plan(load_suite(name), Store(folder), Path())), *_mixed(frame)]
    faults += [
        f"Rows are scored by version {version:g} of {metric}, and this mmvae-bench has {known.version}."
        for metric, version in frame[["metric", "metric_version"]].dropna().drop_duplicates().itertuples(index=False)
        if (known := known_metric(metric)) and known.version != version
    ]
    try:
        with np.load(folder / OUTCOMES, allow_pickle=False) as stored:
            faults += _published_means(frame, {key: stored[key] for key in stored.files})
    except (OSError, ValueError) as error:
        faults.append(f"Cannot read '{folder / OUTCOMES}' ({type(error).__name__}). Make it again.")
    record = read_json(folder / "environment.json", "Publish the suite again.")
    if record.get("runs") != ids:
        faults.append(f"'{folder / 'environment.json'}' is of {record.get('runs')} runs, and there are {ids}.")
    return Submission(name, ids, len(frame), faults, _remarks(frame), published=True)


def _grid(frame: pd.DataFrame, plan: Plan) -> Iterator[str]:
    """Yield a sentence for each place of the suite without rows, and for each place of the rows that is not in it."""
    tuned = {(search.dataset, search.model) for search in plan.searches}
    wanted = {
        place
        for entry in plan.entries
        if not entry.impossible
        for tier in _tiers(entry, tuned)
        for place in [_place(entry, tier)]
    }
    found = set(frame[GRID].itertuples(index=False, name=None))
    lacking, extra = wanted - found, found - wanted
    for place in sorted(lacking | extra):
        what = "has no rows" if place in lacking else "is not in the suite"
        data, _, label, scheme, ratio, incomplete, seed, tier = place
        yield f"{label} on {data}, {scheme} {ratio:g} {incomplete}, seed {seed}, tier {tier}: {what}."


def _tiers(entry: PlannedRun, tuned: Collection[tuple[str, str]]) -> Iterator[str]:
    """Yield the tiers that report a run, and the tuned one where its winner is not known here."""
    yield from entry.tiers
    if "default" in entry.tiers and (entry.spec.dataset.label, entry.spec.model.label) in tuned:
        yield "tuned"


def _place(entry: PlannedRun, tier: str) -> tuple[Any, ...]:
    """Return where a run stands in the grid of a suite, as the columns :data:`GRID` of its rows."""
    spec = entry.spec
    data = (spec.dataset.name, canonical_json(dict(spec.dataset.options)))
    return (*data, spec.model.label, spec.missing.scheme, spec.missing.ratio, spec.missing.incomplete, spec.seed, tier)


def _published_means(frame: pd.DataFrame, arrays: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield a sentence for each published value that is not the mean of its outcomes."""
    ok = frame[frame["status"] == "ok"]
    parts = ok[["dataset", "metric", "variant", "prior", "given", "target"]]
    keys = ["/".join(row) for row in parts.itertuples(index=False)]
    values = dict(zip(zip(ok["run_id"], keys, strict=True), ok["value"], strict=True))
    for key in (key for key in arrays if not key.endswith("/run_id")):
        for run_id, outcomes in zip(arrays[f"{key}/run_id"], arrays[key], strict=True):
            if not agrees(values.get((str(run_id), key), np.nan), outcomes):
                yield f"{key} of the run {run_id} is not the mean of its outcomes."
