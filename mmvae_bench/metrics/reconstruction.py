"""Gain of a reconstruction over that of another entry; it shows encoders and decoders that were never trained."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, or_reason
from mmvae_bench.metrics.description import DEAD
from mmvae_bench.metrics.relatedness import ROWS


@metric(
    Description(
        "Reconstruction gain",
        "Log-likelihood (nats) of a test entry decoded from a posterior of its own row, less that decoded from another "
        f"row's. An encoder, or a decoder, is dead where none of its gains is above 0 by {DEAD} standard errors.",
        unranked=("",),
        drawn=(),
    ),
    version=2,
)
def reconstruction_gain(ev: Evaluation) -> Iterator[Score]:
    """log p(x_t | z) - log p(x_t | z') for each pair of modalities: z ~ q(z | x_m), and z' that of another test item.

    Of at most 1,000 test items, in nats, mean over rows; the others are the same for every run.
    """
    ev.check_decoders()
    rows = ev.test.take(ev.item_rows(ROWS))
    if len(rows) < 2:
        raise Undefined("one test item is too few: there is no other to compare its reconstruction with")
    rows = rows.take(ev.order("reconstruction", len(rows)))
    for given in ev.names:
        for target in ev.names:
            yield from or_reason([ev.row((given,), target)], partial(_gains, ev, given, target, rows))


def _gains(ev: Evaluation, given: str, target: str, rows: Rows) -> Iterator[Score]:
    yield replace(ev.row((given,), target), chance=0.0).mean(_gain(ev, given, target, rows))


@torch.no_grad()
def _gain(ev: Evaluation, given: str, target: str, rows: Rows) -> NDArray[np.float32]:
    """Return the gain of each row, its other item being the row before it, [N]."""
    generator, gains, last = ev.generator("reconstruction", given, target), [], ev.batch(rows, len(rows) - 1)
    before = ev.model.posterior_for(target, last.given(given)).rsample(generator=generator)
    for batch in ev.chunks(rows):
        z = ev.model.posterior_for(target, batch.given(given)).rsample(generator=generator)
        both = torch.stack([z, torch.cat([before, z[:-1]])])
        log_p = ev.model.log_px_of(target, both, batch, weighted=False)
        gains.append(log_p[0] - log_p[1])
        before = z[-1:]
    return torch.cat(gains).cpu().numpy()
