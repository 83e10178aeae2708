"""What every model must hold when it is trained: protocol 6 and 8, for every pattern of absence that it takes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.testing.answers import decoding, generators, posterior, prior
from mmvae_bench.testing.examples import (
    ROWS,
    Case,
    Factory,
    Rule,
    Trial,
    example_batch,
    example_model,
    has_beta,
    patterns,
    spoiled,
    step,
    total,
    untrained,
)
from mmvae_bench.testing.likelihood import exact, finite, log_likelihood
from mmvae_bench.testing.rules import Check, must
from mmvae_bench.testing.training import bound, learning, mean, pathwise
from mmvae_bench.types import Loss

HIDDEN = ((float("nan"), -1), (float("inf"), 2**40), (1e30, 1))  # values, and what stands for them among word ids


def model_checks(
    factory: Factory, kinds: Sequence[str] = ("pixels", "mixed"), m: Sequence[int] = (2, 5)
) -> list[Check]:
    """The checks of a model on examples, in the order in which a broken one is best understood.

    Args:
        factory: Of networks, perhaps with options by keyword.
        kinds: Of :data:`~mmvae_bench.testing.examples.KINDS`, or ``mixed``.
        m: Numbers of modalities.
    """
    trial = Trial(factory, kinds, m)
    tried = f"{' and '.join(map(str, m))} modalities; {', '.join(kinds)}"
    rules: list[Rule] = [
        ("construction", f"it can be made ({tried}); what it refuses, it refuses in a sentence", _construction),
        ("loss", "finite under every pattern of absence that it takes, with a gradient for every parameter", _loss),
        ("repeatable", "the same noise gives the same loss and gradient", _repeatable),
        ("gradient by z", "likelihoods train what z is drawn from: a pathwise gradient", pathwise),
        ("hidden values", "NaN, infinity and 1e30 behind a hidden entry reach neither loss nor gradient", _hidden),
        ("empty rows", "where nothing is present, loss and gradient are zero", _nothing),
        ("mean over rows", "the loss is the mean of what each row alone has, in which something is present", mean),
        ("posterior", "a density for every subset, which depends on it alone, and on no other row", posterior),
        ("decoding", "every target from every subset, in the shape of its entries, by what is given alone", decoding),
        ("prior", "draws in the shapes of the entries, or a sentence why there is no prior", prior),
        ("learning", "on new noise each step, and its steps make rows likelier given z", learning),
        ("bound", "likelihoods are summed over entries, and beta draws q to p(z)", partial(bound, factory)),
        ("log-likelihood", "finite, no more than the likelihoods can give, under any prior; or a sentence", finite),
        ("exact likelihood", "that of linear decoders, b given a too, is the closed form", partial(exact, factory)),
        ("generators", "what scores draw comes from the generator they give, and from nothing else", generators),
        ("weights and beta", "a modality's weight, and beta, change the loss and no score", partial(_weights, factory)),
        ("saved weights", "loaded into another model they give the same loss and posterior", partial(_saved, factory)),
    ]
    return [Check(name, covers, partial(_each, trial, rule)) for name, covers, rule in rules]


def _each(trial: Trial, rule: Callable[[Case], None]) -> None:
    for case in trial.cases:
        rule(case)


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
    loss, gradient = step(case.model, case.complete)
    again = step(case.model, case.complete)
    same = torch.equal(loss, again[0]) and torch.equal(gradient, again[1])
    why = "draw from PyTorch's generator alone, and keep nothing between steps"
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
        if batch.present.all():
            continue
        loss, gradient = step(case.model, batch)
        for value, word in HIDDEN:
            again = step(case.model, spoiled(batch, value, word))
            same = torch.equal(loss, again[0]) and torch.equal(gradient, again[1])
            must(same, f"a hidden {value} reached the loss or the gradient: {where}")


def _nothing(case: Case) -> None:
    for rows in (1, ROWS):
        batch = example_batch(case.modalities, torch.zeros(len(case.modalities), rows, dtype=torch.bool))
        loss, gradient = step(case.model, batch)
        must(loss == 0 and not gradient.any(), f"rows with nothing present add to the loss: {case.where}")


def _weights(factory: Factory, case: Case) -> None:
    """Protocol 13 and 18: weights and beta are of the training objective; a score's are 1."""
    changed = {}
    for m in case.modalities:
        others = [replace(n, weight=3.0) if n is m else n for n in case.modalities]
        changed[f"the weight of {m.name} is"] = partial(example_model, factory, others)
    if has_beta(factory):
        changed["beta is"] = partial(example_model, partial(factory, beta=3.0), case.modalities)
    loss, score = total(case.model, case.complete), log_likelihood(case.model, case.complete)
    for what, make in changed.items():
        other = make()
        must(total(other, case.complete) != loss, f"{what} not in the loss: {case.where}")
        same = torch.equal(log_likelihood(other, case.complete).log_p, score.log_p)
        must(same, f"{what} in log_likelihood(), which is of p(x) itself: {case.where}")


def _saved(factory: Factory, case: Case) -> None:
    """As runs store weights, and read them to score a run again: through NumPy, without :meth:`initialise`."""
    stored = {name: value.contiguous().cpu().numpy() for name, value in case.model.state_dict().items()}
    other = untrained(factory, case.modalities, seed=5)
    other.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in stored.items()})
    same = torch.equal(total(other, case.complete), total(case.model, case.complete))
    must(same, f"saved weights give another loss: keep what changes it in parameters or buffers: {case.where}")
    with torch.no_grad():
        q, p = other.eval().posterior(case.complete), case.model.eval().posterior(case.complete)
    must(torch.equal(q.mean, p.mean), f"saved weights give another posterior: {case.where}")
