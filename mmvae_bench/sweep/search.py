"""The tier ``tuned``: a random search of equal size for every model, chosen on validation rows by one stated rule."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mmvae_bench.metrics import is_blind
from mmvae_bench.options import Named, Range, ranges
from mmvae_bench.seeds import seed_for
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.run import StoredRun, steadily
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.request import Search

DIGITS = 3  # of a drawn value


class Trial(NamedTuple):
    """Settings that a search tries: options beside those that were typed, and a learning rate (None: the suite's)."""

    options: Mapping[str, str]
    learning_rate: float | None


def draw(search: Search, factory: Callable[..., Any], named: Named) -> list[Trial]:
    """Return the trials of a model: first nothing, then log-uniform draws of all options that declare a range.

    An option that was typed stays as it is. A draw depends on the option's name and the trial's number alone:
    models share the draws of what they have in common.
    """
    known = {name: span for name, span in ranges(factory, named.name).items() if name not in named.options}
    found = [Trial({}, None)]
    for number in range(1, search.trials):
        options = {name: f"{_draw(name, number, span):g}" for name, span in known.items()}
        rate = _draw("learning rate", number, Range(*search.learning_rate)) if search.learning_rate else None
        found.append(Trial(options, rate))
    return found


def score(search: Search, specs: Sequence[RunSpec], store: Store) -> float | None:
    """Return the score of a trial's runs, -inf where one failed or has no such score; None if one is not stored."""
    values = []
    for spec in specs:
        run = steadily(store.folder(spec), StoredRun.read) if store.folder(spec).exists() else None
        if run is None:
            return None
        values.append(_mean(search, run.rows()))
    return float(np.mean(values))


def _mean(search: Search, rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean of the rule's scores in a run's rows, over given sets and targets; -inf if there is none.

    Scores by a judge that is at chance are left out.
    """
    own = [
        row["value"]
        for row in rows
        if (row["metric"], row["variant"], row["prior"], row["status"]) == (search.metric, search.variant, "", "ok")
        and not _is_blind(row)
    ]
    return float(np.mean(own)) if own else -np.inf


def _is_blind(row: Mapping[str, Any]) -> bool:
    """Return whether the judge of a score is at chance; False where it is not known."""
    known = [row[name] for name in ("ceiling", "chance", "n")]
    return None not in known and is_blind(*known)


@dataclass(frozen=True)
class Searched:
    """The search of a model's settings on a data set."""

    dataset: str  # label
    model: str  # label
    rule: str
    trials: list[Trial]
    specs: list[list[RunSpec]]  # runs of each trial
    scores: list[float | None]  # of each trial; None until all its runs are stored

    @property
    def winner(self) -> int | None:
        """Number of the best trial, the first of equals; None while a score is unknown, or if all failed."""
        best = -math.inf if self.waits else max(score for score in self.scores if score is not None)
        return self.scores.index(best) if math.isfinite(best) else None

    @property
    def waits(self) -> bool:
        """Return whether a trial is not stored."""
        return None in self.scores

    def record(self) -> dict[str, Any]:
        """Return what the plan's record keeps of it."""
        trials = [
            {
                "options": dict(trial.options),
                "learning_rate": own[0].train.learning_rate,
                "score": score if score is not None and math.isfinite(score) else None,
                "run_ids": [spec.run_id for spec in own],
            }
            for trial, own, score in zip(self.trials, self.specs, self.scores, strict=True)
        ]
        return {
            "dataset": self.dataset,
            "label": self.model,
            "rule": self.rule,
            "winner": self.winner,
            "trials": trials,
        }


def _draw(name: str, number: int, span: Range) -> float:
    """Return a number that is log-uniform in a range, of :data:`DIGITS` significant digits."""
    u = np.random.default_rng(seed_for("search", name, number)).random()
    return float(f"{span.low * (span.high / span.low) ** u:.{DIGITS}g}")
