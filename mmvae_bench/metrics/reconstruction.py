"""How much of an entry passes through its own latent: the rule that tells a branch that was never trained."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Rows
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric
from mmvae_bench.metrics.description import DEAD
from mmvae_bench.metrics.relatedness import ROWS


@metric(
    Description(
        "Reconstruction gain",
        "Log-likelihood (nats) of a test entry decoded from its own posterior, less that decoded from another entry's: "
        f"a branch is dead, and its run with it, where this is not above 0 by {DEAD} standard errors.",
        unranked=("",),
        drawn=(),
    )
)
def reconstruction_gain(ev: Evaluation) -> Iterator[Score]:
    """log p(x_m | z_m) - log p(x_m | z_m') for each modality: z_m ~ q(z | x_m), and z_m' that of another test item.

    Of at most 1,000 test items, in nats, mean over rows; the others are the same for every run.
    """
    rows = ev.test.take(ev.item_rows(ROWS))
    if len(rows) < 2:
        return
    order = ev.order("reconstruction", len(rows))
    for name in ev.names:
        yield Score(None, given=name, target=name, chance=0.0).mean(_gain(ev, name, rows.take(order)))


@torch.no_grad()
def _gain(ev: Evaluation, name: str, rows: Rows) -> NDArray[np.float32]:
    """Return the gain of each row, its other item being the row before it, [N]."""
    generator, gains, last = ev.generator("reconstruction", name), [], ev.batch(rows, len(rows) - 1)
    before = ev.model.posterior_for(name, last.given(name)).rsample(generator=generator)
    for batch in ev.chunks(rows):
        z = ev.model.posterior_for(name, batch.given(name)).rsample(generator=generator)
        both = torch.stack([z, torch.cat([before, z[:-1]])])
        log_p = ev.model.log_px_of(name, both, batch, weighted=False)
        gains.append(log_p[0] - log_p[1])
        before = z[-1:]
    return torch.cat(gains).cpu().numpy()
