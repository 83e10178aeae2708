"""Log-likelihoods of test rows by importance sampling (Burda et al. 2016, Eq. 8). Protocol 18."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once
from mmvae_bench.metrics.priors import prior_of
from mmvae_bench.models.draws import Proposals
from mmvae_bench.priors import OWN
from mmvae_bench.probability.bounds import Estimate
from mmvae_bench.probability.distributions import Prior

MOST, LEAST, FEWEST = 256, 64, 16  # rows
ELEMENTS = 2**20  # in them, where they are more than LEAST: 85 rows with a 64x64 colour picture
SHARE = 8  # test rows for one that is estimated, where that leaves FEWEST
SAMPLES = 100  # K a row
ENOUGH = 10  # mean effective sample size from which an estimate is ranked (protocol 18)
ROUNDING = 1e-3  # nats that rounding may add to log 1
CHUNK = 8  # rows at a time: K x 8 latents are decoded at once, which stays below 500 MB for a caption of 32 words too

Names = tuple[str, ...]
Asked = tuple[str, Names, Names]  # prior, given, target


def quantities(names: Names) -> list[tuple[Names, Names]]:
    """Return pairs (given, target): the joint, each marginal, each conditional of one t given one s.

    For M > 3 a conditional is given all the others, or the rows would grow with M^2.
    """
    conditionals: list[tuple[Names, Names]] = [((s,), (t,)) for s in names for t in names if s != t]
    if len(names) > 3:
        conditionals = [(tuple(n for n in names if n != t), (t,)) for t in names]
    return [((), names), *(((), (m,)) for m in names), *conditionals]


def estimated_rows(ev: Evaluation, most: int = MOST) -> Rows:
    """Return the test rows whose likelihoods are estimated, the same for every run."""
    size = sum(math.prod(m.shape) * max(len(m.vocabulary), 1) for m in ev.model.modalities)
    n = min(most, max(LEAST, ELEMENTS // size), max(FEWEST, len(ev.test) // SHARE))
    return ev.test.take(ev.draw("log_likelihood", n, len(ev.test)))


@metric(
    Description(
        "Log-likelihood",
        "Importance-weighted estimate in nats, mean over test rows; of a conditional, with self-normalised weights.",
        {
            "iw": f"a bound, which is never ranked, where the effective sample size (table ess) is below {ENOUGH}",
            "ess": "effective sample size of the importance weights, mean over test rows",
        },
        unranked=("ess",),
        drawn=("iw",),
        columns="density",
    ),
    version=3,
    of_priors=True,
)
def log_likelihood(ev: Evaluation) -> Iterator[Score]:
    """log p(x_T) and log p(x_t | x_A) in nats, mean over test rows: variant ``iw100`` with K = 100 samples.

    An eighth of the test rows, at most 256, fewer where entries are large. Beside each stands ``ess100``, the mean
    effective sample size in [1, K]: where it is below 10, the estimate is marked as a bound. A probability of words
    above 1 is refused. ``prior`` is the model's own, the aggregate or a learned one; all share draws.
    """
    for (prior, given, target), found in estimates(ev).items():
        row = asked_row(ev, prior, given, target, f"iw{SAMPLES}")
        yield from likelihood_scores(ev, row, found, f"ess{SAMPLES}")


def asked_row(ev: Evaluation, prior: str, given: Names, target: Names, variant: str) -> Score:
    """Return a score without value of log p(x_T | x_A)."""
    met = prior == "model" and not given  # else one latent stands for several modalities, or none for the given
    control = ev.model.cross_is_chance and not met and len(given + target) > 1
    return Score(None, variant, prior, "+".join(given), "+".join(target), control=control)


def likelihood_scores(ev: Evaluation, row: Score, found: Estimate | Undefined, ess: str) -> Iterator[Score]:
    """Yield an estimate, and its effective sample size as variant ``ess``; or the reason why there is none."""
    words = {m.name for m in ev.model.modalities if m.likelihood == "categorical"}
    if isinstance(found, Undefined):
        yield replace(row, reason=str(found))
        return
    log_p, size = (x.numpy().astype(np.float64) for x in found)
    if words.issuperset(row.target.split("+")) and log_p.mean() > ROUNDING:
        yield replace(row, reason=f"{log_p.mean():+.1f} nats would be a probability of words above 1")
        return
    yield replace(row, bound=bool(size.mean() < ENOUGH)).mean(log_p)
    yield replace(row, value=float(size.mean()), variant=ess, n=len(size))


@once
@torch.no_grad()
def estimates(ev: Evaluation) -> dict[Asked, Estimate | Undefined]:
    """Return log p(target | given) and effective sample sizes of the chosen rows, each [n], or why there are none."""
    asked: list[Asked] = [(prior, *pair) for prior in (*OWN, *ev.priors) for pair in quantities(ev.names)]
    priors = dict[str, Prior | None]()
    none = dict[Asked, Undefined]()
    for prior in (*OWN, *ev.priors):
        try:
            priors[prior] = prior_of(ev, prior)
        except Undefined as reason:
            none |= {key: reason for key in asked if key[0] == prior}
    generators = {given: ev.generator("log_likelihood", "+".join(given)) for given in ev.subsets}
    drawn_by = [p for p in [priors.get("aggregate")] if p]  # beside q and the model's own; others need no draws
    batches = ev.chunks(estimated_rows(ev), CHUNK)
    proposals = (Proposals(ev.model, batch, SAMPLES, generators.__getitem__, drawn_by) for batch in batches)
    return answered(ev, asked, proposals, priors, none)


def answered(
    ev: Evaluation, asked: Sequence[Asked], batches: Iterable[Proposals],
    priors: Mapping[str, Prior | None] | None = None, none: Mapping[Asked, Undefined] | None = None,
) -> dict[Asked, Estimate | Undefined]:  # fmt: skip
    """Return the model's answers on all batches, or why it has none; what is in ``none`` already is not asked."""
    parts, reasons = {key: list[Estimate]() for key in asked}, dict(none or {})
    for proposals in batches:
        for key in [key for key in asked if key not in reasons]:
            prior, given, target = key
            p = (priors or {}).get(prior)
            try:
                if given:
                    parts[key].append(ev.model.log_conditional(proposals, given, target[0], p))
                else:
                    parts[key].append(ev.model.log_likelihood(proposals, target, p))
            except Undefined as reason:
                reasons[key] = reason
    return {key: reasons.get(key) or joined(parts[key]) for key in asked}


def joined(parts: list[Estimate]) -> Estimate:
    """Return the estimates of all rows, on the CPU."""
    return Estimate(torch.cat([e.log_p for e in parts]).cpu(), torch.cat([e.ess for e in parts]).cpu())
