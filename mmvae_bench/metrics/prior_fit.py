"""How well priors fit the latents of training rows, and how stable those of a density ratio are."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric
from mmvae_bench.metrics.priors import latents, prior_of
from mmvae_bench.priors import OWN
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
    """Mean log p(z) of each prior on latents that were held out; of ``ncp`` also what its density ratio shows.

    Values of models with different latents are not comparable. Samplers of one density share its scores.
    """
    z, ratios = latents(ev).held, set[int]()  # [K, H, L]
    for prior in (*OWN, *ev.priors):
        row = Score(None, prior=prior)
        try:
            p = prior_of(ev, prior) or ev.model.prior()
            if isinstance(p, Contrastive) and p.acceptances:
                yield replace(row, value=sum(p.acceptances) / len(p.acceptances), variant="acceptance")
            if isinstance(p, Contrastive) and id(p.ratio) in ratios:  # another sampler of the same density
                continue
            yield row.mean_of_draws(p.log_prob(z).mean(0).cpu().numpy())
        except Undefined as reason:
            yield replace(row, reason=str(reason))
            continue
        if isinstance(p, Contrastive):
            ratios.add(id(p.ratio))
            yield replace(row, value=p.ess, variant="ess", n=DRAWN)
            yield replace(row, value=p.least_ess, variant="ess least")
            yield replace(row, value=p.held_loss, variant="loss", chance=math.log(2), n=z.shape[1])
            yield replace(row, value=p.log_z, variant="log_z", se=p.log_z_error, n=DRAWN)
