"""Checks of a model when it is trained: protocol 6 and 8, for every pattern of absence that it takes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import torch

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.testing.answers import decoding, generators, posterior, prior
from mmvae_bench.testing.examples import (
    LATENT,
    ROWS,
    Case,
    Factory,
    cases,
    example_batch,
    patterns,
    same_step,
    spoiled,
    step,
    total,
)
from mmvae_bench.testing.likelihood import exact, finite, log_likelihood
from mmvae_bench.testing.rules import Check, must
from mmvae_bench.testing.training import bound, learning, mean, pathwise
from mmvae_bench.types import Loss


def model_checks(
    factory: Factory, kinds: Sequence[str] = ("pixels", "mixed"), m: Sequence[int] = (2, 5), latent_dim: int = LATENT
) -> list[Check]:
    """Return the checks of :func:`mmvae_bench.testing.check_model`, which explains the arguments.

    They are in the order in which a broken model is best understood.
    """
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
    made = cache(partial(cases, factory, kinds, m, latent_dim))  # in the first check, which says why it cannot be

    def each(rule: Callable[[Case], None]) -> None:
        for case in made():
            rule(case)

    return [Check(name, covers, partial(each, rule)) for name, covers, rule in rules]


def _construction(case: Case) -> None:
    model = case.model
    must(isinstance(model, MultimodalVAE), f"{type(model).__name__} is not derived from MultimodalVAE")
    must(any(p.requires_grad for p in model.parameters()), "the model has no parameter to train")
    must(model.batches in ("mixed", "pure"), f"batches is 'mixed' or 'pure', not {model.batches!r}")
    reasons: list[tuple[str, object]] = [("no_prior", model.no_prior)]
    for what, missing, _ in patterns(len(case.modalities)):
        reasons.append((f"unsupported() of {what}", model.unsupported(case.modalities, missing)))
    for what, reason in reasons:
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
    left = {name for name, p in case.model.named_parameters() if p.requires_grad}
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
        loss, gradient = step(case.model, batch)
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
