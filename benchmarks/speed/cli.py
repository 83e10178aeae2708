"""How long the commands take that train nothing: --help, list, and a report of 500 stored runs.

    .venv/bin/python benchmarks/speed/cli.py

Two runs are trained for an epoch (seconds; the classifiers that judge are built on first use, a minute, and then come
from the user's cache) and rewritten to 500 in a temporary folder: other models, missing patterns and seeds, and other
values. The commands are real ones, in processes of their own, as wall seconds.
"""

import random
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from mmvae_bench.report.select import Run
from mmvae_bench.spec import Missing, RunSpec
from mmvae_bench.store.run import OWN
from mmvae_bench.store.store import RunResult, Store, read_run

COMMAND = [sys.executable, "-m", "mmvae_bench"]
TRAINED = "--models mopoe --datasets mnist_street captioned_shapes --epochs 1 --limit-train 500 --limit-test 500"
MODELS = {"mvae": 0.8, "mmvae": 0.85, "mopoe": 0.9, "meme": 1.0, "mmvm": 0.95}  # what a trained run's scores are times
MISSING = [
    Missing(),
    *(Missing(ratio, "split") for ratio in (0.125, 0.25, 0.5, 0.75, 0.875)),
    *(Missing(ratio, "independent") for ratio in (0.125, 0.25, 0.5, 0.75)),
]
SEEDS = range(5)
NOISY = ("tsne/xy", "w2class/")  # what of the arrays behind the figures is made to differ
ANSWER, REPORT = 0.5, 20.0  # seconds: what is aimed at
REPEATS = 5


def measure() -> list[dict[str, Any]]:
    """Return a row a command: ``what``, ``seconds`` (a median), ``aim`` and ``met`` (None for the reference)."""
    with TemporaryDirectory() as folder:
        count = make_store(Path(folder))
        report = [*COMMAND, "report", "--results-dir", folder, "--out", f"{folder}/reports"]
        timed = [
            ("python -c pass", [sys.executable, "-c", "pass"], REPEATS, None),
            ("mmvae-bench --help", [*COMMAND, "--help"], REPEATS, ANSWER),
            ("mmvae-bench list models", [*COMMAND, "list", "models"], REPEATS, ANSWER),
            (f"mmvae-bench report, {count} runs", report, 2, REPORT),
        ]
        rows = []
        for what, command, repeats, aim in timed:
            seconds = median(wall_seconds(command) for _ in range(repeats))
            rows.append({"what": what, "seconds": seconds, "aim": aim, "met": None if aim is None else seconds < aim})
    return rows


def wall_seconds(command: list[str]) -> float:
    """Run a command that must succeed."""
    begin = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - begin


def make_store(root: Path) -> int:
    """Fill a results folder, and return how many runs it holds."""
    train = [*COMMAND, "run", *TRAINED.split(), "--results-dir", root / "trained"]
    subprocess.run(train, check=True, stdout=sys.stderr)
    trained, store = Store(root / "trained"), Store(root)
    made = [run for folder in trained.folders() for run in variations(read_result(trained, folder))]
    for run in made:
        store.publish(run)
    store.write_plan("speed", {**trained.read_plan(), "name": "speed", "run_ids": [run.spec.run_id for run in made]})
    return len(made)


def read_result(store: Store, folder: Path) -> RunResult:
    """A stored run as what was published, less its weights: a report does not read them."""
    record = read_run(folder)
    return RunResult(
        RunSpec.from_dict(record["spec"]),
        store.rows(folder),
        store.history(folder),
        {key: value for key, value in record.items() if key not in OWN},
        artifacts=Run(folder.name, folder, record, "").artifacts(),
    )


def variations(run: RunResult) -> list[RunResult]:
    """The same run as each model, under each missing pattern, with each seed."""
    return [_variation(run, *which) for which in product(MODELS, MISSING, SEEDS)]


def _variation(run: RunResult, model: str, missing: Missing, seed: int) -> RunResult:
    spec = replace(run.spec, model=replace(run.spec.model, name=model), missing=missing, seed=seed)
    draw = random.Random(spec.run_id)
    complete = 1 - missing.ratio
    own = {"run_id": spec.run_id, "config_id": spec.config_id, "model": model, "label": model, "seed": seed,
           "missing_scheme": missing.scheme, "missing_ratio": missing.ratio, "complete_fraction": complete}  # fmt: skip

    def factor() -> float:
        return MODELS[model] * (1 - 0.3 * missing.ratio) * draw.uniform(0.97, 1)

    rows = [{**row, **own, "value": row["value"] and row["value"] * factor()} for row in run.rows]
    seconds = {**run.info["seconds"], "train": run.info["seconds"]["train"] / factor()}
    artifacts = {key: values * factor() if key.startswith(NOISY) else values for key, values in run.artifacts.items()}
    info = {**run.info, "complete_fraction": complete, "seconds": seconds}
    return replace(run, spec=spec, rows=rows, info=info, artifacts=artifacts)


def main() -> None:
    rows = measure()
    print("| command | seconds | aim | met |\n|---|---:|---:|---|")
    for row in rows:
        aim, met = ("", "") if row["aim"] is None else (f"< {row['aim']:g}", "yes" if row["met"] else "no")
        print(f"| `{row['what']}` | {row['seconds']:.2f} | {aim} | {met} |")


if __name__ == "__main__":
    main()
