"""Metric: a function of an :class:`Evaluation` that yields scores. Its mathematics is a function of arrays."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from itertools import combinations
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench.datasets.base import Judge, Rows
from mmvae_bench.errors import TrainingFailed, Undefined
from mmvae_bench.metrics.description import UNDESCRIBED, Description, score_key
from mmvae_bench.metrics.oracle import CPU, Judged, judged, to_device
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.seeds import seed_for
from mmvae_bench.types import MultimodalBatch

Made = TypeVar("Made")
Args = ParamSpec("Args")


def mean_and_error(values: NDArray[Any]) -> tuple[float, float | None]:
    """Return the mean of values [n] and its standard error sd / sqrt n; None for one value."""
    values, n = values.astype(np.float64), len(values)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None


@dataclass(frozen=True)
class Score:
    """One number: a row of the results."""

    value: float | None  # None for a skipped row
    variant: str = ""  # form of the metric, such as ``micro``
    prior: str = ""  # where the score is of some p(z) (protocol 17): ``model``, ``aggregate``, or a learned one
    given: str = ""  # modalities conditioned on, joined by ``+`` in the data set's order
    target: str = ""  # modalities scored, joined in the same way
    se: float | None = None  # standard error of the value over test rows, where it is a mean
    n: int | None = None  # number of test rows
    chance: float | None = None  # score of a model without any skill
    ceiling: float | None = None  # best possible score, such as the oracle's accuracy
    control: bool = False  # a chance control, of latents that never met in training: shown, but never ranked
    bound: bool = False  # a bound and not an estimate of what it is called: shown, but never ranked
    # What the value is a mean of, beside seeds: test ``rows``, the same for every run, ``draws``, new ones for each
    # seed, or neither of them (empty)
    sampled: Literal["", "rows", "draws"] = ""
    reason: str = ""  # why a row is skipped, or a remark on a value
    embedding_hash: str = ""  # of the word vectors and picture features: different ones are never averaged
    metric: str = ""  # registered name, filled in by :func:`mmvae_bench.metrics.evaluate.evaluate`
    # Outcome of each test row, if ``sampled`` is rows
    outcomes: NDArray[Any] | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """Name of the score among those of a run: its metric, variant, prior, given and target."""
        return score_key(self)

    def mean(self, outcomes: NDArray[Any]) -> "Score":
        """Return the score whose value is the mean of one outcome per test row: 0 or 1, or any number, [n]."""
        value, se = mean_and_error(outcomes)
        return replace(self, value=value, se=se, n=len(outcomes), sampled="rows", outcomes=outcomes)

    def mean_of_draws(self, outcomes: NDArray[Any]) -> "Score":
        """Return the score whose value is the mean of one outcome per draw, [n]; each seed has draws of its own."""
        return replace(self.mean(outcomes), sampled="draws", outcomes=None)


def or_reason(rows: Iterable[Score], scores: Callable[[], Iterable[Score]]) -> Iterator[Score]:
    """Yield the scores, or ``rows`` without value, skipped with the reason if the model does not define them."""
    try:
        yield from scores()
    except Undefined as reason:
        yield from (replace(row, reason=str(reason)) for row in rows)


Compute = Callable[["Evaluation"], Iterable[Score]]


@dataclass(frozen=True)
class Metric:
    """A metric: a function that yields the scores of a run, and its description."""

    compute: Compute
    about: Description
    version: int = 1
    of_priors: bool = False  # True if it has scores of each prior: a prior that is new in a run is scored by it again


def metric(
    about: Description = UNDESCRIBED, *, version: int = 1, of_priors: bool = False
) -> Callable[[Compute], Metric]:
    """Return a decorator that turns a generator function of an :class:`Evaluation` into a :class:`Metric`.

    Its definition is by default the first line of the function's docstring. The version is raised whenever the metric's
    numbers change; stored runs are then scored again.
    """

    def make(compute: Compute) -> Metric:
        definition = about.definition or (compute.__doc__ or "").partition("\n")[0]
        return Metric(compute, replace(about, definition=definition), version, of_priors)

    return make


__all__ = ["Description", "Evaluation", "Metric", "Score", "metric"]  # for plug-ins
CHUNK = 512  # rows encoded or decoded at a time; a constant, because the noise is drawn chunk by chunk
PROBE_ROWS = 4000  # complete training rows encoded to fit classifiers on latents, the same for all models


def once(
    compute: Callable[Concatenate["Evaluation", Args], Made],
) -> Callable[Concatenate["Evaluation", Args], Made]:
    """Return the function with a memory: an evaluation computes what it returns once for the same arguments."""

    @wraps(compute)
    def remembered(ev: "Evaluation", /, *args: Args.args, **named: Args.kwargs) -> Made:
        key = (compute, args, *named.items())
        if key not in ev.cache:
            ev.cache[key] = compute(ev, *args, **named)
        found: Made = ev.cache[key]
        return found

    return remembered


def one_each(item: NDArray[np.int64], n: int, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return one row of each of at most n items, the first in ``order`` (a permutation of the rows), sorted."""
    first = np.sort(np.unique(item[order], return_index=True)[1])
    return np.sort(order[first[:n]])


@dataclass(frozen=True)
class Latents:
    """Moments and a draw of q(z | x_A) on N rows, [N, L] on the CPU; of a mixture its own, not a component's."""

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]  # standard deviation
    sample: NDArray[np.float32]  # one draw

    def part(self, *dimensions: slice) -> "Latents":
        """Return some dimensions of z, side by side."""
        return Latents(*(np.concatenate([array[:, d] for d in dimensions], 1) for array in vars(self).values()))


@torch.no_grad()
def encode(model: MultimodalVAE, batches: Iterable[MultimodalBatch], generator: torch.Generator) -> Latents:
    """Return q(z | x_A) of the N rows of all batches, A being what is present in each row."""
    parts = []
    for batch in batches:
        q = model.posterior(batch)
        parts.append((q.mean, q.stddev, q.rsample(generator=generator)))
    return Latents(*(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)))


@torch.no_grad()
def generate(
    model: MultimodalVAE, batches: Iterable[MultimodalBatch], target: str, generator: torch.Generator,
    k: int | None = None,
) -> Tensor:  # fmt: skip
    """Return E[x_t | z], one z a row from q(z | x_A): [N, *shape] on the CPU; with k draws a row, [k, N, *shape]."""
    parts = []
    for batch in batches:
        z = model.posterior_for(target, batch).rsample(k, generator)
        parts.append(model.decode(z, [target])[target].cpu())
    return torch.cat(parts, 0 if k is None else 1)


@dataclass(eq=False)
class Evaluation:
    """One trained model on its test split, as the metrics read it. Each quantity is computed once.

    Evaluation noise comes from ``seed_for("eval", dataset, seed)``: the same for every model of a seed.
    """

    model: MultimodalVAE  # in eval mode, on ``device``
    train: Rows  # complete training rows (to fit probes), whatever the run's mask
    test: Rows  # complete test rows
    oracles: Mapping[str, Judge]  # modality -> trained classifier or exact reader; empty where there are no classes
    dataset: str  # registered name
    seed: int  # of the run
    classes: int  # number of classes C, or 0
    device: torch.device = CPU  # of the model
    related: Literal["class", "item"] = "class"  # what related rows share: a class, or the item (picture) they show
    ordered: Literal["", "line", "circle"] = ""  # the classes are bins of a line or a circle, in their order
    present: NDArray[np.bool_] | None = None  # Bool[M, N] of the entries of ``train`` that the run saw; None: all
    attributes: Mapping[str, tuple[str, ...]] | None = None  # attribute -> its values, where rows have them
    pairs: Rows | None = None  # all true training pairs, whatever the limits, to fit what a data set's runs share
    cache_dir: Path | None = None  # folder that keeps it; None keeps nothing
    data_dir: Path | None = None  # user's files, such as the weights of a public feature extractor
    priors: tuple[str, ...] = ()  # learned ones that are scored beside the model's own and the aggregate
    cache: dict[Hashable, Any] = field(default_factory=dict)  # of :func:`once`

    def row(self, given: Sequence[str], target: str, variant: str = "") -> Score:
        """Return a score without value of x_t given x_A; a control if the model's cross-modal scores are chance."""
        control = self.model.cross_is_chance and target not in given
        return Score(None, variant, given="+".join(given), target=target, control=control)

    def check_decoders(self) -> None:
        """Raise :class:`Undefined` if the model generates nothing: a score of generations is then one skipped row."""
        if self.model.no_decoder:
            raise Undefined(self.model.no_decoder)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Modalities, in order."""
        return self.model.names

    @cached_property
    def subsets(self) -> list[tuple[str, ...]]:
        """All non-empty subsets of the modalities, small ones first, each in the data set's order."""
        return [a for k in range(1, len(self.names) + 1) for a in combinations(self.names, k)]

    def generator(self, *parts: str) -> torch.Generator:
        """Return a generator on the device, seeded by its purpose, the same for every model of a seed."""
        return torch.Generator(self.device).manual_seed(seed_for("eval", self.dataset, self.seed, *parts))

    def order(self, what: str, total: int) -> NDArray[np.intp]:
        """Return a permutation of ``total`` rows that depends on the data set alone, the same for every run."""
        return np.random.default_rng(seed_for("eval", self.dataset, what)).permutation(total)

    def draw(self, what: str, n: int, total: int) -> NDArray[np.intp]:
        """Return the first n of :meth:`order`, sorted."""
        return np.sort(self.order(what, total)[:n])

    def item_rows(self, n: int) -> NDArray[np.intp]:
        """Return a test row of each of at most n items (one caption per picture), the same for every run, sorted."""
        return one_each(self.test.items, n, self.order("relatedness", len(self.test)))

    @property
    def judged_rows(self) -> NDArray[np.intp]:
        """Test rows on which classes and attributes are judged: one of each item, so that they are independent."""
        return self.item_rows(len(self.test))

    @property
    def judged(self) -> Rows:
        """Rows of :attr:`judged_rows`."""
        return self.test if self.test.item is None else self.test.take(self.judged_rows)

    @cached_property
    def probe_rows(self) -> Rows:
        """At most :data:`PROBE_ROWS` complete training rows: the ``train`` of :meth:`latents`."""
        return self.train.take(self.draw("probe", PROBE_ROWS, len(self.train)))

    def batch(self, rows: Rows, start: int = 0, stop: int | None = None) -> MultimodalBatch:
        """Return rows start..stop as a complete batch on the device, pixels scaled to [0, 1]."""
        x = {name: to_device(values[start:stop], self.device) for name, values in rows.x.items()}
        size = len(next(iter(x.values())))
        return MultimodalBatch(x, torch.ones(len(x), size, dtype=torch.bool, device=self.device))

    def chunks(self, rows: Rows, size: int = CHUNK) -> Iterable[MultimodalBatch]:
        """Yield all rows in batches of ``size``."""
        for start in range(0, len(rows), size):
            yield self.batch(rows, start, start + size)

    @once
    def latents(self, given: tuple[str, ...], split: Literal["train", "test"] = "test") -> Latents:
        """Return q(z | x_A) of the test rows or of :attr:`probe_rows`, finite."""
        rows = self.probe_rows if split == "train" else self.test
        batches = (batch.given(*given) for batch in self.chunks(rows))
        found = encode(self.model, batches, self.generator("latents", "+".join(given), split))
        if not all(np.isfinite(array).all() for array in vars(found).values()):
            raise TrainingFailed(f"the posterior given {'+'.join(given)} has values that are not finite")
        return found

    def shared(self, given: tuple[str, ...]) -> Latents:
        """Return :meth:`latents` of the test rows in what modalities share: all of z, or less where some is private."""
        found, parts = self.latents(given, "test"), self.model.latent_parts
        return found.part(parts["shared"]) if parts else found

    def generate(self, rows: Rows, given: tuple[str, ...], target: str) -> Tensor:
        """Return E[x_t | z] for one z per row from q(z | x_A): [N, *shape] on the CPU."""
        generator = self.generator("latents", "+".join(given), "test")  # of all test rows: the latents' samples
        return generate(self.model, (batch.given(*given) for batch in self.chunks(rows)), target, generator)

    def verdict(self, name: str, x: Tensor) -> Judged:
        """Return what the judge of a modality says of entries: classes, attributes where there are any, features."""
        return judged(self.oracles[name], x, attributes=self.attributes is not None)

    @once
    def of_generated(self, given: tuple[str, ...], target: str) -> Judged:
        """Return the verdict on E[x_t | z] of the judged rows, one z per row from q(z | x_A)."""
        return replace(self.verdict(target, self.generate(self.judged, given, target)), features=None)

    @once
    def of_true(self, name: str) -> Judged:
        """Return the verdict on the true entries of the judged rows."""
        return replace(self.verdict(name, to_device(self.judged.x[name], CPU)), features=None)

    def predicted(self, given: tuple[str, ...], target: str) -> NDArray[np.int64]:
        """Return the oracle's classes of the generated entries, [N]."""
        return self.of_generated(given, target).classes

    def recognised(self, name: str) -> NDArray[np.int64]:
        """Return the oracle's classes of :attr:`judged` entries, [N]."""
        return self.of_true(name).classes
