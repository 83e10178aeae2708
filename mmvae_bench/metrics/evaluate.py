"""Run metrics: the only reader of the test split."""

import math
from collections.abc import Callable, Iterator, Sequence

from mmvae_bench.errors import BenchError, TrainingFailed, Undefined
from mmvae_bench.metrics import registry
from mmvae_bench.metrics.base import Evaluation, Score


def evaluate(
    ev: Evaluation, names: Sequence[str] | None = None, begin: Callable[[str], None] = lambda _: None
) -> list[Score]:
    """The scores of the named metrics, or of all registered ones, in order.

    A metric that the model or the data do not define becomes one skipped row with its reason.

    Args:
        ev: What is scored.
        names: Of metrics; None is all.
        begin: Told the name of each before it is computed.

    Raises:
        BenchError: If a name is unknown.
        TrainingFailed: If a value is not finite.
    """
    scores: list[Score] = []
    for name in registry.names() if names is None else names:
        begin(name)
        scores += map(checked, scores_of(name, ev))
    return scores


def scores_of(name: str, ev: Evaluation) -> Iterator[Score]:
    """The scores of one metric; what it raises as :class:`Undefined` ends them with a skipped row."""
    registry.check(name)
    try:
        yield from registry.get(name).compute(ev)
    except (Undefined, BenchError) as reason:  # a plug-in that cannot be imported costs no training
        yield Score(name, None, reason=str(reason))


def checked(score: Score) -> Score:
    """The score itself, if its value and standard error are finite.

    Raises:
        TrainingFailed: Otherwise.
    """
    for number in (score.value, score.se):
        if number is not None and not math.isfinite(number):
            where = " ".join(filter(None, (score.variant, score.prior, score.given, "->", score.target)))
            raise TrainingFailed(f"metric {score.metric} gave a value that is not finite ({number}) for {where}")
    return score
