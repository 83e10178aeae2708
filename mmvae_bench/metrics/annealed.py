"""Log-likelihoods of a few test rows by annealed importance sampling, and how far they may be from the truth."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric
from mmvae_bench.metrics.log_likelihood import (
    ENOUGH,
    Asked,
    answered,
    asked_row,
    estimated_rows,
    likelihood_scores,
    quantities,
)
from mmvae_bench.models.annealed import AnnealedProposals
from mmvae_bench.probability import likelihoods
from mmvae_bench.probability.bounds import log_mean_exp
from mmvae_bench.types import MultimodalBatch

ROWS = 16
CHAINS = 64  # K a row
BRIDGES = 16  # T on either way; K T decodes and gradients a row and way
CHUNK = 8  # rows at a time


@metric(
    Description(
        "Log-likelihood, annealed",
        "Estimate in nats by annealed importance sampling, mean over a few test rows; computed only when it is named.",
        {
            "ais": f"a bound, which is never ranked, where the effective sample size (table ess) is below {ENOUGH}",
            "ess": "effective sample size of the weights, mean over test rows",
            "gap": "on rows that the model itself draws: a bound of log p(x) from above less one from below, in nats",
        },
        unranked=("ess", "gap"),
        drawn=(),
        columns="density",
    ),
)
def log_likelihood_ais(ev: Evaluation) -> Iterator[Score]:
    """log p(x_T) and log p(x_t | x_A) as :func:`log_likelihood`, under the model's own prior, on 16 of its test rows.

    64 chains a row go from the draws of importance sampling to p(z | x_A), over 16 densities and one step of MALA at
    each, and over 16 more to p(z | x_A, x_t). ``gap``: on rows x ~ p(x | z), z ~ p(z), chains from that z back to
    the start bound log p(x) from above (Grosse et al. 2015), chains forwards from below; the truth lies between.
    """
    ev.check_decoders()
    asked: list[Asked] = [("model", *pair) for pair in quantities(ev.names)]
    generators = {given: ev.generator("annealed", "+".join(given)) for given in ev.subsets}
    proposals = (
        AnnealedProposals(ev.model, batch, CHAINS, generators.__getitem__, bridges=BRIDGES)
        for batch in ev.chunks(estimated_rows(ev, ROWS), CHUNK)
    )
    with torch.no_grad():
        found = answered(ev, asked, proposals)
    for key in asked:
        yield from likelihood_scores(ev, asked_row(ev, *key, "ais"), found[key], "ess")
    yield from _gap(ev)


@torch.no_grad()
def _gap(ev: Evaluation) -> Iterator[Score]:
    """Yield the gap of log p of all modalities, skipped where rows cannot be drawn or z does not connect them."""
    row = asked_row(ev, "model", (), ev.names, "gap")
    try:
        if ev.model.cross_is_chance:
            raise Undefined("its modalities have no latent in common")
        generator = ev.generator("annealed", "gap")
        z = ev.model.prior().rsample(ROWS, generator)[:, 0]
        rows = simulated(ev, z, generator)
        draws = AnnealedProposals(ev.model, rows, CHAINS, lambda _: generator, bridges=BRIDGES).make(ev.names)
        run = draws.run(None)
        up = -log_mean_exp(run.annealing.backwards(z.expand(CHAINS, *z.shape), run.steps, generator))
        yield row.mean_of_draws((up - draws.weighted().evidence().log_p).cpu().numpy())
    except Undefined as reason:
        yield replace(row, reason=str(reason))


def simulated(ev: Evaluation, z: torch.Tensor, generator: torch.Generator) -> MultimodalBatch:
    """Return rows x_m ~ p(x_m | z), [N, *shape].

    Raises:
        Undefined: If a likelihood cannot be drawn from.
    """
    x = {}
    for m in ev.model.modalities:
        if (draw := likelihoods.get(m.likelihood).draw) is None:
            raise Undefined(f"rows cannot be drawn: {m.likelihood} of {m.name} has no draws")
        x[m.name] = draw(ev.model.theta(m.name, z), m.scale, generator)
    return MultimodalBatch(x, torch.ones(len(x), len(z), dtype=torch.bool, device=z.device))
