"""A made-up store: four models on three data sets, at two missing ratios."""

import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmvae_bench.spec import Component, Missing, RunSpec
from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.records import scored_by
from tests import stored

MODELS = ("meme", "mvae", "mmvae", "unimodal")
DATA = {"mnist_street": ("mnist", "street"), "captioned_shapes": ("image", "caption"), "cub": ("image", "caption")}
SKILL = {"meme": 0.6, "mvae": 0.25, "mmvae": 0.55, "mopoe": 0.5, "mmvm": 0.58, "unimodal": 0.1}
CLASSES = 10
ROWS = 200  # test rows of scores that are means over them


def spec(model: str, dataset: str = "mnist_street", ratio: float = 0.0, seed: int = 0, **changes: Any) -> RunSpec:
    """A run; ``changes`` are fields of the spec, or ``label`` and ``options`` of the model, ``scheme``."""
    label, options = changes.pop("label", model), changes.pop("options", {})
    missing = Missing(ratio, changes.pop("scheme", "split"), changes.pop("incomplete", "keep"))
    names = changes.pop("names", DATA.get(dataset, ("a", "b")))
    made = replace(
        stored.spec(seed),
        dataset=Component(dataset, 1, {}, dataset),
        model=Component(model, 1, options, label),
        likelihoods={name: {"likelihood": "laplace", "scale": 1.0, "weight": 1.0} for name in names},
        missing=missing,
    )
    return replace(made, **changes)


def row(run: RunSpec, metric: str = "", value: float | None = None, **fields: Any) -> dict[str, Any]:
    """A tidy row."""
    known: dict[str, Any] = {
        "config_id": run.config_id, "dataset_options": {}, "subset": "", "model_options": dict(run.model.options),
        "missing_scheme": run.missing.scheme, "missing_ratio": run.missing.ratio, "incomplete": run.missing.incomplete,
        "complete_fraction": 1 - run.missing.ratio, "metric_version": 1, "given": "", "target": "", "n": 1000,
        "split": run.split, "tier": run.tier, "rule": run.rule, "higher_is_better": True, "control": False,
        "bound": False, "sampled": "", "reason": "", "oracle_hash": "o" * 16, "n_params": 1234567, "steps": 780,
    }  # fmt: skip
    return stored.row(run, metric, value, **{**known, **fields})


def scores(run: RunSpec) -> list[dict[str, Any]]:
    """Plausible rows of one run."""
    if run.dataset.name == "cub":
        return caption_scores(run)
    rows = class_scores(run)
    return rows + attribute_scores(run) if run.dataset.name == "captioned_shapes" else rows


def class_scores(run: RunSpec) -> list[dict[str, Any]]:
    """Those of data with classes."""
    rng = np.random.default_rng(int(run.run_id[:8], 16))
    skill = SKILL[run.model.name] * (1 - 0.4 * run.missing.ratio)
    names, rows = list(run.likelihoods), []
    control = run.model.name == "unimodal"

    def near(value: float) -> float:
        return float(np.clip(value + 0.02 * rng.standard_normal(), 0.02, 0.99))

    for (a, b), variant in product([names, names[::-1]], ("micro", "macro")):
        level = near(0.1 if control else 0.2 + skill * (1.1 if a == names[-1] else 0.8))
        rows.append(row(run, "cross_coherence", level, variant=variant, given=a, target=b, chance=0.113, ceiling=0.97,
                        control=control, sampled="rows" if variant == "micro" else ""))  # fmt: skip
        rows.append(row(run, "self_coherence", near(0.9), variant=variant, given=a, target=a, chance=0.113))
    for name in names:
        rows.append(row(run, "oracle_accuracy", 0.97, target=name, chance=0.113))
        for variant in ("mean", "sample"):
            rows.append(row(run, "linear_probe", near(0.6 + 0.4 * skill), variant=variant, given=name, chance=0.113))
    both = "+".join(names)
    for prior in ("model", "aggregate"):
        if run.model.name == "meme" and prior == "model":
            why = {"status": "skipped", "reason": "MEME's prior depends on the row"}
            rows.append(row(run, "joint_coherence", None, prior=prior, target=both, **why))
            continue
        rows.append(row(run, "joint_coherence", near(0.5 * skill + 0.1), prior=prior, target=both, chance=near(0.12),
                        sampled="draws", control=control))  # fmt: skip
        rows.append(row(run, "joint_coherence", near(0.9), prior=prior, variant="entropy", target=names[0]))
        rows.append(
            row(run, "log_likelihood", -1500 + 900 * skill + 5 * near(0), variant="iw100", prior=prior, target=both)
        )
        rows.append(row(run, "log_likelihood", 20 + 30 * near(0.5), variant="ess100", prior=prior, target=both))
    pair = {"given": names[0], "target": names[1], "control": control}
    rows.append(row(run, "relatedness_auroc", near(0.5 + 0.4 * skill), chance=0.5, **pair))
    rows.append(row(run, "relatedness_contrast", near(skill), **pair))
    return rows


def attribute_scores(run: RunSpec) -> list[dict[str, Any]]:
    """Those of data whose attributes are read."""
    skill, (a, b), rows = SKILL[run.model.name] * (1 - 0.4 * run.missing.ratio), run.likelihoods, []
    control = run.model.name == "unimodal"
    for metric, chance in (("attributes_strict", 0.011), ("attributes_features", 0.33)):
        for given, target, level in ((a, b, 0.7), (b, a, 0.9)):
            value = chance if control else chance + level * skill * (1 - chance) + 0.001 * run.seed
            rows.append(row(run, metric, value, given=given, target=target, chance=chance, control=control,
                            sampled="rows"))  # fmt: skip
            rows.append(row(run, metric, 0.9, variant="self", given=target, target=target, chance=chance))
        both = {"target": f"{a}+{b}", "chance": chance, "control": control}
        rows.append(row(run, metric, 0.5 * skill, prior="aggregate", **both))
        why = {"status": "skipped", "reason": "it has no such prior"} if run.model.name == "meme" else {}
        value = None if why else 0.4 * skill
        rows.append(row(run, metric, value, prior="model", **both, **why))
    return rows


def caption_scores(run: RunSpec) -> list[dict[str, Any]]:
    """Those of pictures with captions and no class on both sides."""
    skill, (a, b), rows = SKILL[run.model.name] * (1 - 0.4 * run.missing.ratio), run.likelihoods, []
    control, note = run.model.name == "unimodal", "first reduced by PCA"
    words = {"embedding_hash": "e" * 16}
    for metric in ("cross_coherence", "linear_probe"):
        rows.append(row(run, metric, status="skipped", reason="no class is on both sides of this split"))
    for variant in ("mean oracle", "sif oracle"):
        for given, target, level in ((a, b, 0.3), (b, a, 0.35)):
            value = 0.0 if control else level * skill + 0.002 * run.seed
            where = {"given": given, "target": target, "variant": variant, "control": control, "reason": note, **words}
            rows.append(row(run, "cca", value, chance=0.004, ceiling=0.22, **where))
            rows.append(row(run, "cca_ratio", value / 0.22, ceiling=1.0, **where))
        rows.append(row(run, "cca", 0.2 * skill, variant=variant, prior="aggregate", target=f"{a}+{b}", **words))
        rows.append(row(run, "cca_ground_truth", 0.22, variant=variant, target=f"{a}+{b}", chance=0.004, **words))
    for given, target in ((a, b), (b, a)):
        for k in (1, 5, 10):
            value = k / 1000 if control else k / 1000 + 0.01 * k * skill
            rows.append(row(run, "retrieval_recall", value, variant=str(k), given=given, target=target,
                            chance=k / 1000, control=control))  # fmt: skip
        rows.append(row(run, "retrieval_median_rank", 500 - 400 * skill, given=given, target=target, chance=500.5,
                        higher_is_better=False, control=control))  # fmt: skip
    for variant, value in (("bleu", 0.1), ("chrf", 0.3)):
        rows.append(row(run, "caption_quality", value + 0.1 * skill, variant=variant, given=a, target=b, chance=0.1))
    rows.append(row(run, "relatedness_auroc", 0.5 + 0.4 * skill, given=a, target=b, chance=0.5, control=control))
    return rows


def gain(run: RunSpec, name: str, value: float) -> dict[str, Any]:
    """What passes through a modality's branch, at a standard error of 0.1: dead up to 0.5."""
    return row(run, "reconstruction_gain", value, given=name, target=name, se=0.1, chance=0.0)


def outcomes(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Outcomes on test rows whose means are the scores: in part the same for all runs of a direction."""
    found = {}
    for one in rows:
        if one["sampled"] == "rows" and one["status"] == "ok":
            key = "/".join(one[name] or "" for name in ("metric", "variant", "prior", "given", "target"))
            shared, own = (np.random.default_rng([len(key), n]).normal(0, 0.3, ROWS) for n in (0, one["seed"] + 1))
            x = shared + own
            found[key] = (one["value"] + x - x.mean()).astype(np.float32)
    return found


def caption(rng: np.random.Generator, label: int) -> str:
    """A caption of a class: short or long."""
    kind = f"{'big' if label % 2 else 'small'} bird number {label}"
    return " ".join([kind, *rng.choice(["with", "a", "yellow", "belly", "and", "wings"], rng.integers(0, 25))])


def picture(rng: np.random.Generator, shape: tuple[int, ...], label: int) -> np.ndarray:
    """A picture of a class: a bright bar at its height, on noise."""
    x = rng.integers(0, 90, shape, dtype=np.uint8)
    x[..., label * shape[-2] // CLASSES : (label + 1) * shape[-2] // CLASSES, :] = 255
    return x


def artifacts(run: RunSpec) -> dict[str, Any]:
    """Plausible arrays of one run."""
    rng = np.random.default_rng(int(run.run_id[:8], 16))
    (a, b), skill = list(run.likelihoods), SKILL[run.model.name] * (1 - 0.5 * run.missing.ratio)
    related, unrelated = rng.gamma(9, 1 - 0.7 * skill, 1000), rng.gamma(9, 1, 9000)
    edges = np.linspace(0, max(related.max(), unrelated.max()), 61)
    centres = rng.normal(0, 1, (CLASSES, 8))
    distance = np.linalg.norm(centres[:, None] - centres[None] - (1 - skill) * rng.normal(0, 1, 8), axis=-1) + 1
    label, modality = rng.integers(0, CLASSES, 600), np.repeat([0, 1], 300)
    xy = 6 * skill * centres[label, :2] + rng.normal(0, 1, (600, 2)) + 12 * (1 - skill) * modality[:, None]
    arrays = {f"w2hist/{a}+{b}/edges": edges, f"w2class/{a}+{b}": distance,
              "tsne/xy": xy, "tsne/label": label, "tsne/modality": modality}  # fmt: skip
    arrays[f"w2hist/{a}+{b}/related"] = np.histogram(related, edges)[0]
    arrays[f"w2hist/{a}+{b}/unrelated"] = np.histogram(unrelated, edges)[0]
    shapes = {a: (1, 28, 28), b: (3, 32, 32)}

    def draw(rng: np.random.Generator, name: str, labels: list[int]) -> np.ndarray:
        if name == "caption":
            return np.array([caption(rng, c) for c in labels])
        return np.stack([picture(rng, shapes[name], c) for c in labels])

    for name in shapes:
        arrays[f"grid/source/{name}"] = draw(np.random.default_rng(0), name, list(range(CLASSES)))
    for given, target in product((a, b, f"{a}+{b}"), shapes):
        drawn = [c if rng.random() < skill + 0.3 else 0 for c in range(CLASSES)]
        arrays[f"grid/{given}/{target}"] = draw(rng, target, drawn)
    return arrays


@dataclass(frozen=True)
class Made:
    """A store with its plan and the specs of its runs."""

    store: Store
    plan: dict[str, Any]
    specs: list[RunSpec]


def publish(store: Store, run: RunSpec, rows: list[dict[str, Any]] | None = None, **more: Any) -> RunSpec:
    """Store a run."""
    info = {
        "device": "cpu", "versions": {"torch": "2.11.0", "numpy": "2.4.6"}, "rate": 5200.0, "peak_memory_mb": 812.0,
        "steps": 780, "seconds": {"train": 60 + 40 * SKILL.get(run.model.name, 0.3), "evaluate": 12.0},
        "descriptions": scored_by()["descriptions"],
    }  # fmt: skip
    rows = scores(run) if rows is None else rows
    more = {"outcomes": outcomes(rows), **more}
    store.publish(RunResult(run, rows, info=info, **more))
    return run


def make_plan(specs: list[RunSpec], **more: Any) -> dict[str, Any]:
    """The plan of some runs."""
    return {"name": "demo", "title": "Demo & more", "run_ids": [run.run_id for run in specs], "skipped": [],
            "command": "mmvae-bench run --suite demo", **more}  # fmt: skip


def make(root: Path, seeds: int = 3, models: tuple[str, ...] = MODELS, data: tuple[str, ...] = tuple(DATA)) -> Made:
    """Publish models x data sets x {0, .5} x seeds."""
    store = Store(root)
    runs = [spec(m, d, ratio, seed) for d, m, ratio, seed in product(data, models, (0.0, 0.5), range(seeds))]
    for run in runs:
        publish(store, run, artifacts=artifacts(run) if run.seed == 0 else {})
    return Made(store, make_plan(runs), runs)


RULE = "best of 4 trials (default settings and random ones) by mean cross_coherence micro on validation rows"

SEARCHED: tuple[dict[str, float], ...] = ({}, {"beta": 3.0}, {"beta": 0.3}, {"beta": 1.5})


def make_tuned(root: Path) -> Made:
    """Publish two models in two tiers: a search left MVAE's settings as they are, and chose MMVAE's beta.

    Of each model's four trials one failed; no other run is a trial.
    """
    store, runs = Store(root), [spec(model, seed=seed) for model in ("mvae", "mmvae") for seed in range(3)]
    tuned = [
        spec("mmvae", seed=seed, options={"beta": 0.3}, label="mmvae", tier="tuned", rule=RULE) for seed in range(3)
    ]
    searches, trials = [], []
    for model, winner, levels in (("mvae", 0, (0.5, None, 0.4, 0.25)), ("mmvae", 2, (0.5, None, 0.625, 0.25))):
        tried = [spec(model, seed=1000, split="validation", options=o) for o in SEARCHED]
        trials += tried
        for trial, level in zip(tried, levels, strict=True):
            if level is None:
                publish(store, trial, [row(trial, status="failed", reason="diverged")], error="diverged")
            else:
                where = {"given": "mnist", "target": "street", "variant": "micro", "split": "validation"}
                publish(store, trial, [row(trial, "cross_coherence", level, **where)])
        searches.append({
            "dataset": "mnist_street", "label": model, "rule": RULE, "winner": winner,
            "trials": [
                {"options": {k: str(v) for k, v in trial.model.options.items()}, "learning_rate": 1e-3, "score": level,
                 "run_ids": [trial.run_id]}
                for trial, level in zip(tried, levels, strict=True)
            ],
        })  # fmt: skip
    for run in [*runs, *tuned]:
        publish(store, run)
    tiers = {run.run_id: ["default", "tuned"] if run.model.name == "mvae" else ["default"] for run in runs}
    tiers |= {run.run_id: ["tuned"] for run in tuned} | {run.run_id: [] for run in trials}
    plan = make_plan([*trials, *runs, *tuned], tiers=tiers, searches=searches)
    return Made(store, plan, [*trials, *runs, *tuned])


@pytest.fixture(scope="session")
def factory() -> Any:
    """This module, for tests that make their own runs."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_tuned(tmp_path_factory.mktemp("tuned"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of everything else: figures take a second or two."""
    monkeypatch.setattr("mmvae_bench.report.build._plots", lambda *_: iter(()))
