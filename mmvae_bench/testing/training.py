"""Checks of what training needs: protocol 8, and that a model learns from every row, by way of z."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.bounds import log_mean_exp
from mmvae_bench.testing.examples import ROWS, Case, accepts, step, total
from mmvae_bench.testing.rules import must
from mmvae_bench.types import MultimodalBatch

SEEDS = 12  # of noise
STEPS, RATE = 40, 2e-2  # of Adam
DRAWS = 50  # of z
FEW = 3  # modalities: a wrong sign shows there
TIMES, GROWTH = 300, 5  # as many entries; a loss of ours is 20 times as large or more, one of means over entries 1 time
LITTLE, LARGE = 1e-3, 10.0  # beta
SLACK = 5.0  # nats: with a large beta ours end nearer to p(z), a wrong sign 100 further, an entropy alone 17


def mean(case: Case) -> None:
    """Check n L(batch) = sum over rows of L(that row, the others hidden), n = rows with something present.

    On the same noise it holds exactly; if a model draws noise only for what is present, it holds on average.
    """
    for where, tried in case.batches():
        keep = torch.ones(tried.size, dtype=torch.bool)
        if case.model.batches == "pure" and not tried.present.all():  # complete and incomplete rows never meet
            keep = ~tried.present.all(0)
        batch = MultimodalBatch(tried.x, tried.present & keep)
        rows = [batch.present & (torch.arange(batch.size) == b) for b in batch.present.any(0).nonzero().flatten()]
        if batch.size < ROWS or len(rows) < 2:
            continue
        parts = [(len(rows), batch), *((-1, MultimodalBatch(batch.x, present)) for present in rows)]
        difference, scale = [], 0.0
        for seed in range(SEEDS):
            terms = torch.stack([count * total(case.model, part, seed) for count, part in parts])
            difference.append(terms.sum())
            scale = max(scale, float(terms.abs().max()))
            if seed == 0 and abs(float(terms.sum())) <= 1e-4 * scale:
                break  # exact: no average is needed
        found = torch.stack(difference)
        holds = abs(float(found.mean())) <= 0.01 * scale + 6 * float(found.std(correction=0)) / len(found) ** 0.5
        must(holds, f"the loss is not the mean of what each row alone gives, as row_mean() is: {where}")


class _Cut(nn.Module):
    """A decoder that passes no gradient on to its input. (A hook would not be seen by a compiled loss.)"""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor) -> Tensor:
        theta: Tensor = self.decoder(z.detach())
        return theta


def pathwise(case: Case) -> None:
    """Check that the gradient of log p(x | z) passes z: it changes if decoders pass none on to their input."""
    decoders = case.model.networks.decoders
    whole = dict(decoders.items())
    _, gradient = step(case.model, case.complete)
    decoders.update({name: _Cut(decoder) for name, decoder in whole.items()})
    _, without = step(case.model, case.complete)
    decoders.update(whole)
    passes = not torch.equal(gradient, without)
    must(passes, f"no likelihood has a gradient by way of z: draw z by rsample(), and detach it nowhere: {case.where}")


def learning(case: Case) -> None:
    """Check that noise is drawn anew, and that some steps make entries likelier given their z."""
    same = torch.equal(total(case.model, case.complete, 2), total(case.model, case.complete, 3))
    must(not same, f"the loss is the same on any noise: draw from PyTorch's generator, and never seed it: {case.where}")
    if len(case.modalities) > FEW:
        return
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    explained = _explained(case)
    train(case.model, case.complete)
    after = _explained(case)
    case.model.load_state_dict(before)
    must(after > explained, f"{STEPS} steps make rows less likely given z, not more: is a sign wrong? {case.where}")


def train(model: MultimodalVAE, batch: MultimodalBatch) -> None:
    """Take some steps of Adam on seeded noise."""
    torch.manual_seed(2)
    optimiser = Adam(model.parameters(), RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        model.train().loss(batch).total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@torch.no_grad()
def _explained(case: Case) -> float:
    """Mean over rows of sum over m of log (1/K) sum_k p(x_m | z_k), z_k ~ q(z | all)."""
    torch.manual_seed(2)
    model, batch = case.model.eval(), case.complete
    z = {name: model.posterior_for(name, batch).rsample(DRAWS) for name in model.names}
    log_px = [log_mean_exp(model.log_px_of(name, z[name], batch, weighted=False)) for name in model.names]
    return float(torch.stack(log_px).sum(0).mean())


def bound(case: Case) -> None:
    """Check two rules of any bound: rows' likelihoods are products over entries, and beta multiplies every KL."""
    before = total(case.model, case.complete)
    for m in case.modalities:
        modalities = [replace(n, shape=(TIMES * n.shape[0], *n.shape[1:])) if n is m else n for n in case.modalities]
        if accepts(case.factory, modalities):
            other = replace(case, modalities=modalities)
            times = float(total(other.model, other.complete) / before)
            grown = f"with {TIMES} times the entries of {m.name} the loss is {times:.1f} times as large"
            must(abs(times) > GROWTH, f"{grown}: is log p(x | z) a mean over entries, not their sum? {case.where}")
    if case.has_beta and case.model.no_prior is None and len(case.modalities) <= FEW:
        little, large = (_distance(replace(case, factory=partial(case.factory, beta=b))) for b in (LITTLE, LARGE))
        further = f"{STEPS} steps at beta {LARGE:g} end {large - little:.1f} nats further from p(z) than at {LITTLE:g}"
        must(large <= little + SLACK, f"{further}: does the KL have a wrong sign, or no log p(z)? {case.where}")


def _distance(case: Case) -> float:
    """KL(q(z | x) || p(z)) after some steps, estimated, the mean over rows."""
    train(case.model, case.complete)
    with torch.no_grad():
        q = case.model.eval().posterior(case.complete)
        z = q.rsample(DRAWS)
        return float((q.log_prob(z) - case.model.prior().log_prob(z)).mean())
