"""Fit of learned priors to latents of training rows, and stability of density ratios."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric
from mmvae_bench.metrics.priors import DRAW, encodings, prior_of
from mmvae_bench.priors.ncp import DRAWN, Contrastive


@metric(
    Description(
        "Fit of the prior",
        "Mean log p(z) in nats over latents of training rows to which no prior was fitted; computed only when named.",
        {
            "ess": "effective sample size of draws of p(z) under the learned ratio r, by their number",
            "ess least": "what the bound B of |log r| guarantees, 1 / cosh(B)^2",
            "loss": "cross-entropy of the classifier on such latents and on draws of p(z), in nats",
            "log_z": "log of the normaliser Z = E_p[r]",
            "acceptance": "share of the proposals of Langevin chains that were accepted",
        },
        unranked=("",),
        drawn=("", "ess", "loss"),
    ),
    of_priors=True,
)
@torch.no_grad()
def prior_fit(ev: Evaluation) -> Iterator[Score]:
    """Mean log p(z) of the model's own and of each learned prior on latents that were held out.

    Of ``ncp`` also what its density ratio shows; the error of its log Z is in the standard error. Values of models with
    different latents are not comparable. The aggregate prior is left out: held-out rows are among its components.
    """
    for prior in ("model", *ev.priors):
        row = Score(None, prior=prior)
        try:
            p = prior_of(ev, prior) or ev.model.prior()
            score = row.mean_of_draws(p.log_prob(encodings(ev).held).mean(0).cpu().numpy())
        except Undefined as reason:
            yield replace(row, reason=str(reason))
            continue
        if isinstance(p, Contrastive):
            yield replace(score, se=math.hypot(score.se or 0.0, p.log_z_error))
            yield from _ratio(ev, row, p)
        else:
            yield score


def _ratio(ev: Evaluation, row: Score, p: Contrastive) -> Iterator[Score]:
    """Yield what the density ratio of a prior shows."""
    generator, q = ev.generator("prior_fit", row.prior), encodings(ev).held.flatten(0, 1)
    loss = float(p.ratio.loss(q, p.base.rsample(len(q), generator)[:, 0]))
    yield replace(row, value=p.ess, variant="ess", n=DRAWN)
    yield replace(row, value=p.least_ess, variant="ess least")
    yield replace(row, value=loss, variant="loss", chance=math.log(2), n=len(q))
    yield replace(row, value=p.log_z, variant="log_z", se=p.log_z_error, n=DRAWN)
    if p.sampler == "langevin":
        accepted = float(p.chains(DRAW, generator).acceptance.mean())
        yield replace(row, value=accepted, variant="acceptance", n=DRAW)
