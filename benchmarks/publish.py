"""Put a suite's results into the repository: results/<suite>/, reports/<suite>/.

    .venv/bin/python benchmarks/publish.py mnist_street captioned_shapes [--results-dir results]

All planned runs must be stored. ``results/<suite>/`` gets ``scores.csv.xz``, ``outcomes.npz`` (of each test row, of the
scores of the summary and of attacks), ``runs.csv.xz`` (each run's spec and times, which ``mmvae-bench board`` shows)
and ``environment.json`` (what it was computed with). ``reports/<suite>/`` gets a page in Markdown, tables and key
figures, without pictures of data that may not be published; the command that makes each table is printed under it.

A data set on which no model is clearly above chance is refused:
the best model on complete rows must exceed the class prior by 5 points (for a score with a ceiling, such as CCA, by 5
hundredths of the ceiling).
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mmvae_bench.cli.options import results_option
from mmvae_bench.errors import BenchError, counted
from mmvae_bench.report.build import ReportResult, build_report
from mmvae_bench.report.facts import searches, setting, trials
from mmvae_bench.report.published import Beside
from mmvae_bench.report.render import markdown
from mmvae_bench.report.select import Selection, select
from mmvae_bench.report.summary import PARTS, SummaryTable, summarise_groups
from mmvae_bench.spec import canonical_json
from mmvae_bench.store.store import COLUMNS, PUBLISHED, RECORDS, Store
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.suites import load_suite

MARGIN = 0.05  # above the class prior
RECORDED = ("spec", "steps", "seconds", "rate", "peak_memory_mb", "device", "hardware")  # of a run's record
ROOT = Path(__file__).parent.parent


def publish(store: Store, suite: str, root: Path) -> list[Path]:
    """Write a suite's results and report below ``root``.

    Raises:
        BenchError: If the plan is not the suite's, a run is not stored or failed, or nothing is above chance.
    """
    plan = store.read_plan(suite)
    refuse_other_runs(plan, suite, store)
    selection = select(store, plan, public=True)
    if absent := len(selection.absent) + len(selection.failed):
        what = f"{counted(absent, 'run')} of '{suite}' not done"
        raise BenchError(f"There is nothing to publish yet: {what}. Continue with: mmvae-bench run --suite {suite}")
    summaries = summarise_groups(selection)
    for summary in summaries:
        refuse_chance(summary)
    files = " --data-dir DIR" if selection.hidden else ""
    command = f"`mmvae-bench run --suite {suite}{files} && mmvae-bench report --suite {suite}`."
    results, report = root / "results" / suite, root / "reports" / suite
    with tempfile.TemporaryDirectory() as scratch:
        built = build_report(store, plan, Path(scratch), public=True)
        for folder in (results, report):  # what is published stays until there is something in its place
            shutil.rmtree(folder, ignore_errors=True)
        results.mkdir(parents=True)
        made = built.page.parent
        selection.rows[list(COLUMNS)].to_csv(results / PUBLISHED, index=False)
        np.savez_compressed(results / "outcomes.npz", **outcomes(selection))  # type: ignore[arg-type]
        records(selection).to_csv(results / RECORDS, index=False)
        figures = {picture.png for picture in built.pictures if picture.key}
        tables = {p for p in built.files if p.suffix == ".md" or p.name in ("comparisons.csv", "published.csv")}
        kept = [p for p in built.files if p in figures | tables]
        for path in kept:
            target = report / path.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            if path.suffix == ".png":
                shrink(target)
            if path.suffix == ".md":
                target.write_text(f"{path.read_text(encoding='utf-8')}\nMade by {command}\n", encoding="utf-8")
    text = json.dumps(environment(selection), indent=1, sort_keys=True)
    (results / "environment.json").write_text(text + "\n", encoding="utf-8")
    names = sorted(path.name for path in kept if path.suffix == ".md")
    lines = page(plan, selection, built, command, names)
    (report / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [results, report]


def records(selection: Selection) -> pd.DataFrame:
    """Return the id of each run, and as JSON the part of its record that is published."""
    kept = {run.run_id: {key: run.record[key] for key in RECORDED if key in run.record} for run in selection.runs}
    return pd.DataFrame([(run_id, canonical_json(own)) for run_id, own in kept.items()], columns=["run_id", "record"])


def outcomes(selection: Selection) -> dict[str, NDArray[Any]]:
    """Return the outcomes on test rows [runs, N] by data set and score, and the runs.

    They are of the summary's scores, and of those that have a figure against a number.
    """
    parts = {(part.metric, part.variant, part.prior) for line in PARTS for part in line}
    frame = selection.frame.drop_duplicates(["run_id", "metric", "variant", "prior", "given", "target"])
    drawn = {name for name, about in selection.metrics.items() if about.against}
    keys = zip(frame["metric"], frame["variant"], frame["prior"], strict=True)
    frame = frame[[key in parts or key[0] in drawn for key in keys]]
    arrays: dict[str, NDArray[Any]] = {}
    where = ["dataset", "metric", "variant", "prior", "given", "target"]
    for key, rows in frame.groupby(where, sort=False):
        known = [(row.run_id, x) for row in rows.itertuples() if (x := selection.outcomes(row)) is not None]
        if known and len({len(x) for _, x in known}) == 1:
            name = "/".join(map(str, key))
            arrays[name] = np.stack([x for _, x in known])
            arrays[f"{name}/run_id"] = np.array([run_id for run_id, _ in known])
    return arrays


def shrink(path: Path) -> None:
    """Reduce a figure to a palette of 256 colours, a third of the size."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def refuse_other_runs(plan: dict[str, Any], suite: str, store: Store) -> None:
    """Refuse a plan whose runs are not the suite's, because the suite's command is printed under its tables."""
    entries = make_plan(load_suite(suite), store, Path()).entries
    own = {entry.spec.run_id for entry in entries}
    if not own.issuperset(plan["run_ids"]) or len(plan["run_ids"]) + len(plan["skipped"]) != len(entries):
        raise BenchError(f"The stored plan '{suite}' is not the suite's. Run it: mmvae-bench run --suite {suite}.")


def refuse_chance(summary: SummaryTable) -> None:
    """Refuse a data set on which no model's coherence, complete rows, is 5 points above the class prior."""
    _, table = summary.parts[0]  # cross-coherence, or its exact form
    gaps = [
        (cell.summary.mean - table.chance[column][1]) / table.ceiling.get(column, (1.0, 1.0))[1]
        for row in table.cells.values()
        for column, cell in row.items()
        if cell.summary and not cell.control and column.missing.ratio == 0 and column in table.chance
    ]
    if not gaps or max(gaps) < MARGIN:
        best = f"{max(gaps):.3f} above chance (ceiling 1)" if gaps else "not scored"
        raise BenchError(f"The best model on {summary.group} is {best}, too close to chance to compare. Train longer.")


def environment(selection: Selection) -> dict[str, Any]:
    """Return versions, machines and settings of the runs (each value that occurs), and the hours of all of them."""
    records = [run.record for run in {run.run_id: run for run in selection.runs}.values()]  # some are of two tiers
    plain = ("device", "hardware", "platform", "engine", "threads", "package_version", "dataset_hash", "oracle_hash")
    found: dict[str, Any] = {name: sorted({str(record.get(name, "")) for record in records}) for name in plain}
    found["versions"] = {
        name: sorted({record["versions"][name] for record in records if name in record["versions"]})
        for name in dict.fromkeys(name for record in records for name in record["versions"])
    }
    found["subset"] = sorted({run.subset for run in selection.runs})
    found["runs"] = len(records)
    found["hours"] = round(sum(sum(record["seconds"].values()) for record in records) / 3600, 2)
    return found


def page(
    plan: dict[str, Any], selection: Selection, built: ReportResult, command: str, tables: Sequence[str]
) -> Iterator[str]:
    """Yield the lines of the report's Markdown."""
    yield f"# {plan['title'] or plan['name']}\n"
    yield f"Made by {command}"
    yield f"All scores: `results/{plan['name']}/{PUBLISHED}`, computed with `environment.json` beside them.\n"
    yield from (f"- {what}: {text}" for what, text in setting(selection).items() if text and what != "Versions")
    for subset in sorted({run.subset for run in selection.runs} - {""}):
        yield f"- Files: {subset}, not the official set, with which the same command gives another table"
    yield f"\n## Main scores\n\n```\n{built.summary}\n```\n\nMade by {command}\n"
    if tuned := searches(selection):
        yield "## How settings were tuned\n\nScores of trials are of validation rows.\n"
        yield from markdown_table(tuned)
        yield "\n### All trials\n"
        yield from markdown_table(trials(selection))
        yield f"\nMade by {command}\n"
    yield from published_beside([one for section in built.published for one in section.beside], command)
    yield "## Figures\n"
    for picture in (picture for picture in built.pictures if picture.key):
        shown = f"![{picture.title}](figures/{quote(picture.png.name)})"
        yield f"### {picture.title}: {picture.group}\n\n{shown}\n\n{picture.caption}\n"
    yield "## Tables\n"
    yield from (f"- [{name.removesuffix('.md')}](tables/{quote(name)})" for name in tables)


def markdown_table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a table of texts."""
    yield f"| {' | '.join(rows[0])} |"
    yield f"| {' | '.join('---' for _ in rows[0])} |"
    yield from (f"| {' | '.join(map(markdown, row.values()))} |" for row in rows)


def published_beside(shown: Sequence[Beside], command: str) -> Iterator[str]:
    """Yield a table of published numbers beside ours, with the difference or the number of the reason against one."""
    if not shown:
        return
    reasons = list(dict.fromkeys(one.why for one in shown if one.why))
    yield "## Published values beside ours\n"
    ours = "mean ± half width of the 95 % interval over seeds and test rows, none where a seed is dead"
    yield f"Ours: {ours}. Theirs: as printed.\n"
    yield "| model | missing | score | ours | published | source | confidence | difference |"
    yield "| --- | --- | --- | ---: | ---: | --- | --- | --- |"
    for one in shown:
        p, ours = one.published, one.show(one.ours.mean, one.ours.half_width)
        difference = f"none: ({reasons.index(one.why) + 1})" if one.difference is None else one.show(one.difference)
        cells = [one.run.label, one.run.spec.missing.text, one.score, ours, one.show(p.value, p.sd)]
        yield f"| {' | '.join([*cells, f'{p.paper}, {p.table}', p.confidence, difference])} |"
    yield "\nNo difference is taken where the settings are not the same:\n"
    yield from (f"{number}. {reason}." for number, reason in enumerate(reasons, 1))
    yield f"\nMade by {command}\n"


@click.command()
@click.argument("suites", nargs=-1, required=True)
@results_option
def main(suites: tuple[str, ...], results_dir: Path) -> None:
    """Publish each of SUITES."""
    for suite in suites:
        try:
            for folder in publish(Store(results_dir), suite, ROOT):
                click.echo(folder)
        except BenchError as error:
            raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
