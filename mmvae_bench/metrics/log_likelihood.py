"""Log-likelihoods of test rows by importance sampling (Burda et al. 2016, Eq. 8). Protocol 18."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Evaluation, Score, described, once
from mmvae_bench.metrics.priors import PRIORS, Prior, aggregate_prior
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.bounds import Estimate

MOST, LEAST = 256, 64  # rows
ELEMENTS = 2**20  # in them, where they are more than LEAST: 85 rows with a 64x64 colour picture
SAMPLES = 100  # K a row
CHUNK = 8  # rows at a time: K x 8 latents are decoded at once, which stays below 500 MB for a caption of 32 words too

Names = tuple[str, ...]


def mean_and_error(values: torch.Tensor) -> tuple[float, float | None]:
    """Return the mean of n values and its standard error sd / sqrt n; None for one value."""
    values = values.double()
    return float(values.mean()), float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None


def quantities(names: Names) -> list[tuple[Names, Names]]:
    """Return pairs (given, target): the joint, each marginal, each conditional of one t given one s.

    For M > 3 a conditional is given all the others, or the rows would grow with M^2.
    """
    conditionals: list[tuple[Names, Names]] = [((s,), (t,)) for s in names for t in names if s != t]
    if len(names) > 3:
        conditionals = [(tuple(n for n in names if n != t), (t,)) for t in names]
    return [((), names), *(((), (m,)) for m in names), *conditionals]


@described(
    "Log-likelihood",
    "Importance-weighted estimate in nats, mean over test rows.",
    {
        "iw": "loose where the effective sample size (table ess) is a few: then orders are of bounds as much as of"
        " likelihoods",
        "ess": "effective sample size of the importance weights: a low one makes the estimate a loose lower bound",
    },
    unranked=("ess",),
    drawn=("iw",),
    columns="density",
)
def log_likelihood(ev: Evaluation) -> Iterator[Score]:
    """log p(x_T) and log p(x_t | x_A) in nats, mean over test rows: variant ``iw100`` with K = 100 samples.

    256 rows, down to 64 where entries are large. Beside each ``ess100``, the mean effective sample size in [1, K]:
    near 1, the estimate is a loose lower bound. ``prior`` is the model's own or the aggregate one (protocol 17).
    """
    for prior in PRIORS:
        for given, target in quantities(ev.names):
            row = Score(None, f"iw{SAMPLES}", prior, "+".join(given), "+".join(target))
            try:
                log_p, ess = estimate(ev, given, target, prior)
            except Undefined as reason:
                yield replace(row, reason=str(reason))
                continue
            value, se = mean_and_error(log_p)
            yield replace(row, value=value, se=se, n=len(log_p))
            yield replace(row, value=mean_and_error(ess)[0], variant=f"ess{SAMPLES}", n=len(ess))


@once
@torch.no_grad()
def estimate(ev: Evaluation, given: Names, target: Names, prior: Prior) -> Estimate:
    """Return log p(target | given) and effective sample sizes of the chosen rows, each [n], computed once.

    A conditional under ``model`` is the model's own. Under ``aggregate``, and where it is the base class's, it is
    joint - marginal (protocol 18), and these are the estimates of their own rows.

    Raises:
        Undefined: If the model does not define the quantity.
    """
    if given and (prior == "aggregate" or type(ev.model).log_conditional is MultimodalVAE.log_conditional):
        both = tuple(name for name in ev.names if name in given + target)
        joint, marginal = estimate(ev, (), both, prior), estimate(ev, (), given, prior)
        return Estimate(joint.log_p - marginal.log_p, torch.minimum(joint.ess, marginal.ess))
    p = aggregate_prior(ev) if prior == "aggregate" else None
    generator = ev.generator("log_likelihood", prior, "+".join(given), "+".join(target))
    size = sum(math.prod(m.shape) * max(len(m.vocabulary), 1) for m in ev.model.modalities)
    rows = ev.test.take(ev.draw("log_likelihood", min(MOST, max(LEAST, ELEMENTS // size)), len(ev.test)))
    parts = []
    for batch in ev.chunks(rows, CHUNK):
        if given:
            parts.append(ev.model.log_conditional(batch, given, target[0], SAMPLES, generator))
        else:
            parts.append(ev.model.log_likelihood(batch.given(*target), SAMPLES, generator, p))
    return Estimate(torch.cat([e.log_p for e in parts]).cpu(), torch.cat([e.ess for e in parts]).cpu())
