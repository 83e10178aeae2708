"""Any number of tables of any size is scored: what cannot be has a reason, and everything else is finite."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench import models, nets
from mmvae_bench.datasets.base import Rows
from mmvae_bench.metrics import usual
from mmvae_bench.metrics.base import Evaluation, Score
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.oracle import Oracle
from mmvae_bench.spec import Missing
from mmvae_bench.types import Modality
from tests.helpers import EVERY, MOST, NAMES

NEEDS_PICTURES = {"cca", "cca_ground_truth", "cca_ratio", "caption_quality"}
NEEDS_CLASSES = {"cross_coherence", "self_coherence", "joint_coherence", "oracle_accuracy", "linear_probe"}


def world(model: str, sizes: Sequence[int], classes: int) -> Evaluation:
    """An untrained model of float tables of these sizes, 40 training rows and 20 test rows."""
    parts = [Modality(f"x{i}", (d,), "normal", dtype="float32") for i, d in enumerate(sizes)]
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    made = models.registry.get(model)(nets.registry.get("tabular")(parts, 3, hidden=8, blocks=1))

    def rows(n: int) -> Rows:
        label = np.arange(n) % max(classes, 1)
        x = {m.name: (rng.normal(size=(n, *m.shape)) + label[:, None]).astype(np.float32) for m in parts}
        return Rows(x, label if classes else None)

    train, test = rows(40), rows(20)
    made.initialise(lambda name, n: torch.from_numpy(np.resize(train.x[name], (n, train.x[name].shape[1]))))
    judges = {m.name: Oracle(m.shape, [classes]) for m in parts if classes}
    for judge in judges.values():
        judge.accuracy, judge.hash = 0.5, "untrained"
    return Evaluation(made.eval(), train, test, judges, "tables", 0, classes, pairs=train)


def check(scores: Sequence[Score], classes: int) -> None:
    assert {score.metric for score in scores} == set(usual())
    for score in scores:
        assert math.isfinite(score.value) if score.value is not None else len(score.reason.split()) > 4, score
    skipped = {score.metric: score.reason for score in scores if score.value is None and not score.target}
    assert all("pictures" in skipped[name] for name in NEEDS_PICTURES)
    if not classes:
        assert skipped.keys() >= NEEDS_CLASSES


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    model=st.sampled_from(NAMES),
    sizes=st.lists(st.integers(1, 50), min_size=2, max_size=3),
    classes=st.sampled_from([0, 3]),
)
def test_two_or_three_tables_of_any_size_are_scored(model: str, sizes: list[int], classes: int) -> None:
    check(evaluate(world(model, sizes, classes)), classes)


@pytest.mark.slow
@pytest.mark.parametrize("model", EVERY)
@pytest.mark.parametrize("sizes", [[5, 10], [1, 50, 2, 7, 1]], ids=str)
def test_tables_are_scored_for_every_model(model: str, sizes: list[int]) -> None:
    sizes = sizes[: MOST.get(model, len(sizes))]
    if why := models.registry.get(model).unsupported([Modality("x0", (5,), "normal", dtype="float32")], Missing()):
        pytest.skip(why)
    for classes in (0, 2):
        check(evaluate(world(model, sizes, classes)), classes)
