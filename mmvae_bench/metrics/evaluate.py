"""Run metrics: the only reader of the test split."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from threadpoolctl import threadpool_limits

from mmvae_bench.errors import BenchError, TrainingFailed, Undefined, in_a_line
from mmvae_bench.metrics import registry, usual
from mmvae_bench.metrics.base import Evaluation, Score


def evaluate(
    ev: Evaluation, names: Sequence[str] | None = None, begin: Callable[[str], None] = lambda _: None
) -> list[Score]:
    """Return the scores of the named metrics, or of the usual ones (None), in order.

    Where the model or the data do not define a metric, a skipped row with the reason ends its scores. ``begin`` is
    called with the name of each metric before it is computed. BLAS and OpenMP get as many threads as PyTorch has, in
    this process for good.

    Raises:
        BenchError: If a name is unknown.
        TrainingFailed: If a value of a metric of ours is not finite.
    """
    scores: list[Score] = []
    for name in usual() if names is None else names:
        begin(name)
        registry.check(name)
        try:
            metric = registry.get(name)  # imports BLAS and OpenMP libraries, which can be limited only then
            threadpool_limits(torch.get_num_threads())  # their results depend on the number of threads, as PyTorch's
            for score in metric.compute(ev):
                for number in (score.value, score.se):
                    if number is not None and not math.isfinite(number):
                        where = " ".join(filter(None, (score.variant, score.prior, score.given, "->", score.target)))
                        raise TrainingFailed(f"metric {name} gave a value that is not finite ({number}) for {where}")
                scores.append(replace(score, metric=name))
        except (Undefined, BenchError) as reason:
            scores.append(Score(None, reason=str(reason), metric=name))
        except Exception as error:  # of a plug-in, it is not a fault of the training
            if registry.in_tree(name) or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
                raise
            scores.append(Score(None, reason=in_a_line(error), metric=name))
    return scores
