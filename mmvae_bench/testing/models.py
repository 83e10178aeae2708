"""Checks of a model when it is trained: protocol 6 and 8, and that it learns from every row, by way of z."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product

import torch
from torch import Tensor, nn
from torch.optim import Adam

import mmvae_bench.testing.examples as examples
from mmvae_bench.errors import must
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.bounds import log_mean_exp
from mmvae_bench.probability.distributions import DiagonalNormal, Posterior, kl
from mmvae_bench.testing.answers import decoding, exact, finite, generators, log_likelihood, parts, posterior, prior
from mmvae_bench.testing.examples import LATENT, ROWS, Case, Factory, example_batch, same_step, spoiled, step, total
from mmvae_bench.testing.rules import Check
from mmvae_bench.types import Loss, MultimodalBatch

SEEDS = 12  # of noise
STEPS, RATE = 40, 2e-2  # of Adam
DRAWS = 50  # of z
FEW = 3  # modalities: a wrong sign shows there
TIMES, GROWTH = 300, 5  # as many entries; losses of ours grow by 20 of the old likelihoods or more, means by 1
NOISES = (2, 3, 4)  # seeds: terms of a bound with weights may cancel under one noise, under three hardly
LITTLE, LARGE = 1e-3, 10.0  # beta
SLACK = 5.0  # nats: with a large beta ours end nearer to p(z), a wrong sign 100 further, an entropy alone 17


# Checks that a model without decoders is not asked
OF_DECODERS = {
    "gradient by z", "decoding", "learning", "bound", "log-likelihood", "exact likelihood", "generators",
    "weights and beta",
}  # fmt: skip


def model_checks(
    factory: Factory, kinds: Sequence[str] = ("pixels", "mixed"), m: Sequence[int] = (2, 5), latent_dim: int = LATENT
) -> list[Check]:
    """Return the checks of :func:`mmvae_bench.testing.check_model`, in the order that explains a broken model best."""
    tried = f"{' and '.join(map(str, m))} modalities; {', '.join(kinds)}"
    rules: list[tuple[str, str, Callable[[Case], None]]] = [
        ("construction", f"it can be made ({tried}); what it refuses, it refuses in a sentence", _construction),
        ("loss", "finite under every pattern of absence that it takes, with a gradient for every parameter", _loss),
        ("repeatable", "the same noise gives the same loss and gradient", _repeatable),
        ("gradient by z", "likelihoods train what z is drawn from: a pathwise gradient", pathwise),
        ("hidden values", "NaN, infinity and 1e30 behind a hidden entry reach neither loss nor gradient", _hidden),
        ("empty rows", "if nothing is present, loss and gradient are zero", _nothing),
        ("mean over rows", "the loss is the mean of what each row with something present gives alone", mean),
        ("posterior", "a density for every subset, which depends on it alone, and on no other row", posterior),
        ("parts", "private latents: the prior's where nothing is given, and read by their own decoder alone", parts),
        ("decoding", "every target from every subset, in the shape of its entries, by what is given", decoding),
        ("prior", "draws in the shapes of the entries, or a sentence why there is no prior", prior),
        ("learning", "new noise in each step, and steps make rows likelier given z", learning),
        ("bound", "likelihoods are summed over entries, and beta draws q to p(z)", bound),
        ("log-likelihood", "finite, at most what likelihoods can give, under any prior; or why not", finite),
        ("exact likelihood", "that of linear decoders, b given a too, is the closed form", exact),
        ("generators", "scores draw from the generator they are given, and from nothing else", generators),
        ("weights and beta", "a modality's weight, and beta, change the loss and no score", _weights),
        ("saved weights", "loaded into another model they give the same loss and posterior", _saved),
    ]

    @cache  # made in the first check, which says why they cannot be
    def made() -> list[Case]:
        known = {f"{kind} x {n}": examples.example_modalities(kind, n) for kind, n in product(kinds, m)}
        taken = {where: data for where, data in known.items() if examples.accepts(factory, data)}
        must(taken, f"unsupported() refuses complete rows of every example: {' or '.join(known)}")
        return [Case(factory, where, data, latent_dim) for where, data in taken.items()]

    def each(name: str, rule: Callable[[Case], None]) -> None:
        for case in filter(partial(_is_asked, name), made()):
            rule(case)

    return [Check(name, covers, partial(each, name, rule)) for name, covers, rule in rules]


def _is_asked(name: str, case: Case) -> bool:
    """Return whether a check is asked of a model, which may declare that it has no decoders, or compares rows."""
    decoded, separate = case.model.no_decoder is None, not case.model.rows_meet
    return (decoded or name not in OF_DECODERS) and (separate or name != "mean over rows")


def _construction(case: Case) -> None:
    model = case.model
    must(isinstance(model, MultimodalVAE), f"{type(model).__name__} is not derived from MultimodalVAE")
    must(any(p.requires_grad for p in model.parameters()), "the model has no parameter to train")
    must(model.batches in ("mixed", "pure"), f"batches is 'mixed' or 'pure', not {model.batches!r}")
    reasons: dict[str, object] = {"no_prior": model.no_prior, "no_decoder": model.no_decoder}
    for what, missing, _ in examples.patterns(len(case.modalities)):
        reasons[f"unsupported() of {what}"] = model.unsupported(case.modalities, missing)
    for what, reason in reasons.items():
        sentence = reason is None or (isinstance(reason, str) and reason.strip() and "\n" not in reason)
        must(sentence, f"{what} is None or a sentence on one line, not {reason!r}")


def _repeatable(case: Case) -> None:
    why = "draw from PyTorch's generator alone, and keep nothing between steps"
    same = same_step(case.model, case.complete, case.complete)
    must(same, f"two steps on the same noise differ: {why}: {case.where}")


def _loss(case: Case) -> None:
    found = case.model.train().loss(case.complete)
    must(isinstance(found, Loss), f"loss() returns a Loss, not {type(found).__name__}: {case.where}")
    must(found.total.shape == (), f"the total of a loss is a scalar, not {list(found.total.shape)}: {case.where}")
    must(not any(term.requires_grad for term in found.terms.values()), f"terms of the loss are detached: {case.where}")
    terms = {tuple(case.model.loss(replace(case.complete, phase=p)).terms) for p in range(len(case.model.phases))}
    must(len(terms) == 1, f"all phases log the same terms: {case.where}")
    left = {name for name, p in case.model.named_parameters() if p.requires_grad and p.numel()}
    for where, batch in case.batches():
        loss, gradient = step(case.model, batch)
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(gradient).all())
        must(finite, f"loss or gradient is not finite: {where}")
        left -= {name for name, p in case.model.named_parameters() if p.grad is not None and p.grad.any()}
    must(not left, f"{min(left, default='')} has no gradient under any pattern of absence: {case.where}")


def _hidden(case: Case) -> None:
    for where, batch in case.batches():
        same = batch.present.all() or same_step(case.model, batch, spoiled(batch))
        must(same, f"a hidden value (NaN, infinity or 1e30) reached the loss or the gradient: {where}")


def _nothing(case: Case) -> None:
    for rows in (1, ROWS):
        batch = example_batch(case.modalities, torch.zeros(len(case.modalities), rows, dtype=torch.bool))
        for phase in range(len(case.model.phases)):
            loss, gradient = step(case.model, replace(batch, phase=phase))
            must(loss == 0 and not gradient.any(), f"rows with nothing present add to the loss: {case.where}")


def _weights(case: Case) -> None:
    """Check protocol 13 and 18: weights and beta belong to the training objective; scores use 1."""
    changed = {}
    for m in case.modalities:
        others = [replace(n, weight=3.0) if n is m else n for n in case.modalities]
        changed[f"the weight of {m.name} is"] = replace(case, modalities=others)
    if case.has_beta:
        changed["beta is"] = replace(case, factory=partial(case.factory, beta=3.0))
    loss, score = total(case.model, case.complete), log_likelihood(case, case.complete)
    for what, other in changed.items():
        must(total(other.model, case.complete) != loss, f"{what} not in the loss: {case.where}")
        same = torch.equal(log_likelihood(other, case.complete).log_p, score.log_p)
        must(same, f"{what} in log_likelihood(), which is of p(x) itself: {case.where}")


def _saved(case: Case) -> None:
    """Check weights as runs store and read them: through NumPy, without :meth:`initialise`."""
    stored = {name: value.contiguous().cpu().numpy() for name, value in case.model.state_dict().items()}
    other = case.untrained(seed=5)
    other.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in stored.items()})
    same = torch.equal(total(other, case.complete), total(case.model, case.complete))
    must(same, f"saved weights give another loss: keep what changes it in parameters or buffers: {case.where}")
    with torch.no_grad():
        q, p = other.eval().posterior(case.complete), case.model.eval().posterior(case.complete)
    must(torch.equal(q.mean, p.mean), f"saved weights give another posterior: {case.where}")


def mean(case: Case) -> None:
    """Check n L(batch) = sum over rows of L(that row, the others hidden), n = rows with something present.

    On the same noise it holds exactly; if a model draws noise only for what is present, it holds on average.
    """
    for where, tried in case.batches():
        keep = torch.ones(tried.size, dtype=torch.bool)
        if case.model.batches == "pure" and not tried.present.all():  # complete and incomplete rows never meet
            keep = ~tried.present.all(0)
        batch = replace(tried, present=tried.present & keep)
        rows = [batch.present & (torch.arange(batch.size) == b) for b in batch.present.any(0).nonzero().flatten()]
        if batch.size < ROWS or len(rows) < 2:
            continue
        parts = [(len(rows), batch), *((-1, replace(batch, present=present)) for present in rows)]
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


def _drawn_to_prior(model: MultimodalVAE, q: Posterior) -> dict[str, float]:
    """Return of each part of z the KL of a Normal with the moments of q from N(0, I), the mean over rows."""
    z, sd = q.mean, q.stddev
    each = {part: kl(DiagonalNormal(z[:, own], sd[:, own])) for part, own in model.latent_parts.items()}
    return {part: float(value.mean()) for part, value in each.items()}


class _Cut(nn.Module):
    """Passes no gradient on to what is before it. (A hook would not be seen by a compiled loss.)"""

    def forward(self, z: Tensor) -> Tensor:
        return z.detach()


def pathwise(case: Case) -> None:
    """Check that the gradient of log p(x | z) passes z: it changes if decoders pass none on to their input."""
    decoders = case.model.networks.decoders
    whole = dict(decoders.items())
    _, gradient = step(case.model, case.complete)
    decoders.update({name: nn.Sequential(_Cut(), decoder) for name, decoder in whole.items()})
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


@torch.no_grad()
def _log_px(case: Case, name: str) -> float:
    """Mean over rows of the weighted log p(x_m | z), z ~ q(z | all)."""
    torch.manual_seed(2)
    z = case.model.posterior_for(name, case.complete).rsample()
    return float(case.model.log_px_of(name, z, case.complete).mean())


def bound(case: Case) -> None:
    """Check two rules of any bound: rows' likelihoods are products over entries, and beta multiplies every KL."""
    for m in (m for m in case.modalities if m.kind != "symbol"):  # whose places have meanings
        modalities = [replace(n, shape=(TIMES * n.shape[0], *n.shape[1:])) if n is m else n for n in case.modalities]
        if examples.accepts(case.factory, modalities):
            other = replace(case, modalities=modalities)
            pairs = [(total(other.model, other.complete, n), total(case.model, case.complete, n)) for n in NOISES]
            times = max(abs(float((new - old) / _log_px(case, m.name))) for new, old in pairs)
            grown = (
                f"with {TIMES} times the entries of {m.name} the loss changes by {times:.1f} times their log p(x | z)"
            )
            must(times > GROWTH, f"{grown}: is it a mean over entries, not their sum? {case.where}")
    if case.has_beta and case.model.no_prior is None and len(case.modalities) <= FEW:
        distances = []  # KL(q(z | x) || p(z)) after some steps, estimated, the mean over rows
        private = []  # the same of each part of z
        for beta in (LITTLE, LARGE):
            other = replace(case, factory=partial(case.factory, beta=beta))
            train(other.model, other.complete)
            with torch.no_grad():
                q = other.model.eval().posterior(other.complete)
                z = q.rsample(DRAWS)
                distances.append(float((q.log_prob(z) - other.model.prior().log_prob(z)).mean()))
                private.append(_drawn_to_prior(other.model, q))
        little, large = distances
        further = f"{STEPS} steps at beta {LARGE:g} end {large - little:.1f} nats further from p(z) than at {LITTLE:g}"
        must(large <= little + SLACK, f"{further}: does the KL have a wrong sign, or no log p(z)? {case.where}")
        for part, free in private[0].items():
            drawn = private[1][part] < free / 2
            must(drawn, f"the {part} part of z is drawn to its prior by no beta: is its KL forgotten? {case.where}")
