"""Log-likelihoods of test rows by importance sampling (Burda et al. 2016, Eq. 8). Protocol 18."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric
from mmvae_bench.metrics.priors import PRIORS, Prior, aggregate_prior
from mmvae_bench.probability.bounds import Estimate

MOST, LEAST = 256, 64  # rows
ELEMENTS = 2**20  # in them, where they are more than LEAST: 85 rows with a 64x64 colour picture
SAMPLES = 100  # K a row
ENOUGH = 10  # mean effective sample size from which an estimate is ranked (protocol 18)
ROUNDING = 1e-3  # nats that rounding may add to log 1
CHUNK = 8  # rows at a time: K x 8 latents are decoded at once, which stays below 500 MB for a caption of 32 words too

Names = tuple[str, ...]


def quantities(names: Names) -> list[tuple[Names, Names]]:
    """Return pairs (given, target): the joint, each marginal, each conditional of one t given one s.

    For M > 3 a conditional is given all the others, or the rows would grow with M^2.
    """
    conditionals: list[tuple[Names, Names]] = [((s,), (t,)) for s in names for t in names if s != t]
    if len(names) > 3:
        conditionals = [(tuple(n for n in names if n != t), (t,)) for t in names]
    return [((), names), *(((), (m,)) for m in names), *conditionals]


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
    version=2,
)
def log_likelihood(ev: Evaluation) -> Iterator[Score]:
    """log p(x_T) and log p(x_t | x_A) in nats, mean over test rows: variant ``iw100`` with K = 100 samples.

    256 rows, down to 64 where entries are large. Beside each stands ``ess100``, the mean effective sample size in
    [1, K]: where it is below 10, the estimate is marked as a bound. A probability of words above 1 is refused.
    ``prior`` is the model's own or the aggregate one (protocol 17).
    """
    words = {m.name for m in ev.model.modalities if m.likelihood == "categorical"}
    for prior in PRIORS:
        for given, target in quantities(ev.names):
            met = prior == "model" and not given  # else one latent stands for several modalities, or none for the given
            control = ev.model.cross_is_chance and not met and len(given + target) > 1
            row = Score(None, f"iw{SAMPLES}", prior, "+".join(given), "+".join(target), control=control)
            try:
                log_p, ess = (x.numpy().astype(np.float64) for x in estimate(ev, given, target, prior))
                if words.issuperset(target) and log_p.mean() > ROUNDING:
                    raise Undefined(f"{log_p.mean():+.1f} nats would be a probability of words above 1")
            except Undefined as reason:
                yield replace(row, reason=str(reason))
                continue
            yield replace(row, bound=bool(ess.mean() < ENOUGH)).mean(log_p)
            yield replace(row, value=float(ess.mean()), variant=f"ess{SAMPLES}", n=len(ess))


@torch.no_grad()
def estimate(ev: Evaluation, given: Names, target: Names, prior: Prior) -> Estimate:
    """Return log p(target | given) and effective sample sizes of the chosen rows, each [n].

    Raises:
        Undefined: If the model does not define the quantity.
    """
    p = aggregate_prior(ev) if prior == "aggregate" else None
    generator = ev.generator("log_likelihood", prior, "+".join(given), "+".join(target))
    size = sum(math.prod(m.shape) * max(len(m.vocabulary), 1) for m in ev.model.modalities)
    rows = ev.test.take(ev.draw("log_likelihood", min(MOST, max(LEAST, ELEMENTS // size)), len(ev.test)))
    parts = []
    for batch in ev.chunks(rows, CHUNK):
        if given:
            parts.append(ev.model.log_conditional(batch, given, target[0], SAMPLES, generator, p))
        else:
            parts.append(ev.model.log_likelihood(batch.given(*target), SAMPLES, generator, p))
    return Estimate(torch.cat([e.log_p for e in parts]).cpu(), torch.cat([e.ess for e in parts]).cpu())
