"""What every model must hold when it is trained: protocol 6 and 8, for every pattern of absence that it takes."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.testing.answers import Rule, answer_rules, log_likelihood, spoiled
from mmvae_bench.testing.check import Check, must
from mmvae_bench.testing.examples import ROWS, Case, Factory, Trial, example_batch, example_model, patterns, untrained
from mmvae_bench.types import Loss, MultimodalBatch

HIDDEN = ((float("nan"), -1), (float("inf"), 2**40), (1e30, 1))  # values, and what stands for them among word ids
SEEDS = 6  # of noise


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
        ("repeatable", "the same noise gives the same loss and gradient", _repeatable),
        ("loss", "finite, with a finite gradient, under every pattern of absence that it takes", _loss),
        ("hidden values", "NaN, infinity and 1e30 behind a hidden entry reach neither loss nor gradient", _hidden),
        ("empty rows", "where nothing is present, loss and gradient are zero", _nothing),
        ("mean over rows", "the loss is the mean over the rows in which something is present", _mean),
        ("weights and beta", "a modality's weight, and beta, change the loss and no score", partial(_weights, factory)),
        ("saved weights", "loaded into another model they give the same loss and posterior", partial(_saved, factory)),
    ]
    rules += answer_rules()
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
    loss, gradient = _step(case.model, case.complete)
    again = _step(case.model, case.complete)
    same = torch.equal(loss, again[0]) and torch.equal(gradient, again[1])
    why = "draw from PyTorch's generator alone, and keep nothing between steps"
    must(same, f"two steps on the same noise differ: {why}: {case.where}")


def _loss(case: Case) -> None:
    loss = case.model.train().loss(case.complete)
    must(isinstance(loss, Loss), f"loss() returns a Loss, not {type(loss).__name__}: {case.where}")
    must(loss.total.shape == (), f"the total of a loss is a scalar, not {list(loss.total.shape)}: {case.where}")
    must(not any(term.requires_grad for term in loss.terms.values()), f"terms of the loss are detached: {case.where}")
    must(_step(case.model, case.complete)[1].any(), f"the loss of complete rows has no gradient: {case.where}")
    for where, batch in case.batches():
        total, gradient = _step(case.model, batch)
        finite = bool(torch.isfinite(total)) and bool(torch.isfinite(gradient).all())
        must(finite, f"loss or gradient is not finite: {where}")


def _hidden(case: Case) -> None:
    for where, batch in case.batches():
        if batch.present.all():
            continue
        loss, gradient = _step(case.model, batch)
        for value, word in HIDDEN:
            again = _step(case.model, spoiled(batch, value, word))
            same = torch.equal(loss, again[0]) and torch.equal(gradient, again[1])
            must(same, f"a hidden {value} reached the loss or the gradient: {where}")


def _nothing(case: Case) -> None:
    for rows in (1, ROWS):
        batch = example_batch(case.modalities, torch.zeros(len(case.modalities), rows, dtype=torch.bool))
        loss, gradient = _step(case.model, batch)
        must(loss == 0 and not gradient.any(), f"rows with nothing present add to the loss: {case.where}")


def _mean(case: Case) -> None:
    """B L(all) = |S| L(S) + |T| L(T), S and T being the rows left when the others are hidden: 4 and 2 of 6.

    On the same noise it holds exactly; of a model that draws noise for what is present alone it holds on average.
    """
    every = torch.ones(len(case.modalities), ROWS, dtype=torch.bool)
    first = every & (torch.arange(ROWS) < 4)
    parts = [(ROWS, every), (-4, first), (-2, every & ~first)]
    batches = [(count, example_batch(case.modalities, present)) for count, present in parts]
    difference, scale = [], 0.0
    for seed in range(SEEDS):
        terms = torch.stack([count * _total(case.model, batch, seed) for count, batch in batches])
        difference.append(terms.sum())
        scale = max(scale, float(terms.abs().max()))
    found = torch.stack(difference)
    holds = abs(float(found.mean())) <= 0.01 * scale + 6 * float(found.std()) / SEEDS**0.5
    must(holds, f"the loss is no mean over the rows with something present, as objectives.row_mean is: {case.where}")


def _weights(factory: Factory, case: Case) -> None:
    """Protocol 13 and 18: weights and beta are of the training objective; a score's are 1."""
    changed = {
        "the modalities' weights are": partial(
            example_model, factory, [replace(m, weight=3.0) for m in case.modalities]
        )
    }
    if "beta" in _options(factory):
        changed["beta is"] = partial(example_model, partial(factory, beta=3.0), case.modalities)
    loss, score = _total(case.model, case.complete), log_likelihood(case.model, case.complete)
    for what, make in changed.items():
        other = make()
        must(_total(other, case.complete) != loss, f"{what} not in the loss: {case.where}")
        same = torch.equal(log_likelihood(other, case.complete).log_p, score.log_p)
        must(same, f"{what} in log_likelihood(), which is of p(x) itself: {case.where}")


def _options(factory: Factory) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(factory).parameters


def _saved(factory: Factory, case: Case) -> None:
    """As runs store weights, and read them to score a run again: through NumPy, without :meth:`initialise`."""
    stored = {name: value.contiguous().cpu().numpy() for name, value in case.model.state_dict().items()}
    other = untrained(factory, case.modalities, seed=5)
    other.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in stored.items()})
    same = torch.equal(_total(other, case.complete), _total(case.model, case.complete))
    must(same, f"saved weights give another loss: keep what changes it in parameters or buffers: {case.where}")
    with torch.no_grad():
        q, p = other.eval().posterior(case.complete), case.model.eval().posterior(case.complete)
    must(torch.equal(q.mean, p.mean), f"saved weights give another posterior: {case.where}")


def _total(model: MultimodalVAE, batch: MultimodalBatch, seed: int = 2) -> Tensor:
    """The loss on fixed noise."""
    torch.manual_seed(seed)
    return model.train().loss(batch).total.detach()


def _step(model: MultimodalVAE, batch: MultimodalBatch) -> tuple[Tensor, Tensor]:
    """Loss and gradient on fixed noise; zeros where a parameter has no gradient."""
    torch.manual_seed(2)
    model.train().zero_grad()
    total = model.loss(batch).total
    if total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return total.detach(), torch.cat([g.flatten() for g in grads])
