"""What every bound must hold, whatever it bounds: likelihoods are sums, and beta weighs what draws q(z | x) to p(z)."""

from dataclasses import replace
from functools import partial

import torch

from mmvae_bench.testing.check import must
from mmvae_bench.testing.examples import Case, Factory, accepted, example_batch, example_model, has_beta, total
from mmvae_bench.testing.learning import DRAWS, FEW, STEPS, train

TIMES, GROWTH = 300, 5  # as many entries; a loss of ours is 20 times as large or more, one of means over entries 1 time
LITTLE, LARGE = 1e-3, 10.0  # beta
SLACK = 5.0  # nats: with a large beta ours end nearer to p(z), a wrong sign 100 further, an entropy alone 17


def bound(factory: Factory, case: Case) -> None:
    """Neither is a matter of the paper's formula: rows' likelihoods are products, and beta multiplies every KL."""
    _sums(factory, case)
    if has_beta(factory) and case.model.no_prior is None and len(case.modalities) <= FEW:
        little, large = (_distance(partial(factory, beta=beta), case) for beta in (LITTLE, LARGE))
        further = f"{STEPS} steps at beta {LARGE:g} end {large - little:.1f} nats further from p(z) than at {LITTLE:g}"
        must(large <= little + SLACK, f"{further}: has the KL a wrong sign, or no log p(z)? {case.where}")


def _sums(factory: Factory, case: Case) -> None:
    """The loss grows with the number of entries."""
    before = total(case.model, case.complete)
    for m in case.modalities:
        modalities = [replace(n, shape=(TIMES * n.shape[0], *n.shape[1:])) if n is m else n for n in case.modalities]
        if (model := accepted(factory, modalities)) is None:
            continue
        times = float(total(model, example_batch(modalities, case.complete.present)) / before)
        grown = f"with {TIMES} times the entries of {m.name} the loss is {times:.1f} times as large"
        must(abs(times) > GROWTH, f"{grown}: is a mean over entries taken, where log p(x | z) is a sum? {case.where}")


def _distance(factory: Factory, case: Case) -> float:
    """KL(q(z | x) || p(z)) after some steps, estimated, the mean over rows."""
    model = example_model(factory, case.modalities)
    train(model, case.complete)
    with torch.no_grad():
        q = model.eval().posterior(case.complete)
        z = q.rsample(DRAWS)
        return float((q.log_prob(z) - model.prior().log_prob(z)).mean())
