"""Each check of a model finds what it is for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch

from mmvae_bench import datasets, models
from mmvae_bench.datasets.base import Dataset
from mmvae_bench.datasets.linear_gaussian import LinearGaussian
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.dmvae import DMVAE
from mmvae_bench.models.mvae import MVAE
from mmvae_bench.models.private import SharedAndPrivate, beside
from mmvae_bench.models.unimodal import Unimodal
from mmvae_bench.options import Positive, Weight
from mmvae_bench.probability.bounds import Estimate, log_mean_exp, row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl, standard
from mmvae_bench.probability.fusion import Experts, product
from mmvae_bench.testing import Broken, Check, check_model, declared_checks, model_checks
from mmvae_bench.types import Loss


def broken(checks: Sequence[Check]) -> dict[str, str]:
    """The checks that fail, and their sentences."""
    found = {}
    for check in checks:
        try:
            check.run()
        except Broken as rule:
            found[check.name] = str(rule)
    return found


def first_broken(checks: Sequence[Check]) -> dict[str, str]:
    """The first check that fails, and its sentence."""
    return next((found for check in checks if (found := broken([check]))), {})


def with_(base: type[MultimodalVAE] = MVAE, **members) -> type[MultimodalVAE]:
    """A model that differs from MVAE, or from another, in these members."""
    return type("Changed", (base,), members)


def loss_plus(term, **members) -> type[MVAE]:
    """MVAE with a term added to its loss."""

    def loss(self, batch):
        found = MVAE.loss(self, batch)
        return Loss(found.total + term(self, batch), found.terms)

    return with_(loss=loss, **members)


def loss_times(factor) -> type[MVAE]:
    def loss(self, batch):
        found = MVAE.loss(self, batch)
        return Loss(found.total * factor(batch), found.terms)

    return with_(loss=loss)


def posterior(change) -> type[MVAE]:
    """MVAE with a posterior changed from q."""
    return with_(posterior=lambda self, batch: change(MVAE.posterior(self, batch), batch))


def scored(change) -> type[MVAE]:
    """MVAE with log p(x) changed from what it estimates; K and prior are given."""

    def log_likelihood(self, proposals, given=None, prior=None):
        found = MVAE.log_likelihood(self, proposals, given, prior)
        return Estimate(change(self, found.log_p, proposals.k, prior), found.ess)

    return with_(log_likelihood=log_likelihood)


def conditional(answer) -> type[MVAE]:
    """MVAE with another log p(x_t | x_A)."""
    return with_(
        log_conditional=lambda self, proposals, given, target, prior=None: answer(self, proposals, given, target, prior)
    )


def likelihood(change) -> type[MVAE]:
    """MVAE with log p(x_m | z) changed from a function that gives it for z."""

    def log_px_of(self, name, z, batch, *, weighted=True, where=None):
        def ask(z, weighted=weighted):
            return MVAE.log_px_of(self, name, z, batch, weighted=weighted, where=where)

        return change(ask, z, name, weighted, batch.x[name][0].numel())

    return with_(log_px_of=log_px_of)


def bounded(divergence) -> type[MVAE]:
    """A model of one ELBO, with that in place of the KL; its posterior is MVAE's."""

    def loss(self, batch):
        q = self.posterior(batch)
        z = q.rsample()
        return row_mean(self.log_px(z, batch).sum(0) - self.beta * divergence(q, z), batch.present)

    return with_(loss=loss)


def of_all(batch):
    return replace(batch, present=torch.ones_like(batch.present))


class Counting(MVAE):
    steps = 0

    def loss(self, batch):
        self.steps += 1
        loss = super().loss(batch)
        return Loss(loss.total + self.steps * batch.present.any(), loss.terms)


class NoBeta(MVAE):
    def __init__(self, networks, *, beta: Weight = 1.0):
        super().__init__(networks)


class NotSaved(MVAE):
    def __init__(self, networks):
        super().__init__(networks)
        self.shift = torch.randn(())

    def loss(self, batch):
        loss = super().loss(batch)
        return Loss(loss.total + self.shift * batch.present.any(), loss.terms)


def loss_of_rows(self, batch):
    loss = MVAE.loss(self, batch)
    object.__setattr__(loss, "total", loss.total.expand(4))  # tests check types, and would refuse a Loss(...) of it
    return loss


def attached(self, batch):
    loss = MVAE.loss(self, batch)
    return Loss(loss.total, {"total": loss.total})


def seeding(self, batch):
    torch.manual_seed(0)
    return MVAE.loss(self, batch)


def untrained(self, batch):
    with torch.no_grad():
        return MVAE.encode(self, batch)


def unmasked(self, batch):
    experts = MVAE.encode(self, batch)
    return Experts(experts.q, torch.ones_like(experts.present))


@dataclass(frozen=True)
class Unnormalised(DiagonalNormal):
    def log_prob(self, z):
        return super().log_prob(z) + 0.5


@dataclass(frozen=True)
class VarianceForScale(DiagonalNormal):
    def rsample(self, k=None, generator=None):
        return DiagonalNormal(self.loc, self.scale**2).rsample(k, generator)


@dataclass(frozen=True)
class OneDraw(DiagonalNormal):
    def rsample(self, k=None, generator=None):
        z = super().rsample(generator=generator)
        return z if k is None else z.expand(k, *z.shape)


def noise_of_the_second(self, n, generator=None):
    found = MVAE.sample_prior(self, n, generator)
    return {**found, "b": found["b"] + torch.rand(())}


def target_seen(self, target, batch):
    own = torch.tensor([name == target for name in self.names])[:, None]
    return self.posterior(replace(batch, present=own.expand_as(batch.present)))


def proposal_of_all(self, proposals, given=None, prior=None):
    seen = replace(proposals, batch=of_all(proposals.batch), made={})
    draws = replace(seen.given(*self.names), batch=proposals.batch)
    return draws.weighted(prior).evidence()


def conditional_of_all(self, proposals, given, target, prior):
    z = self.posterior(of_all(proposals.batch)).rsample(proposals.k, proposals.generator(()))
    log_w = self.log_px_of(target, z, proposals.batch, weighted=False)
    return Estimate(log_mean_exp(log_w), torch.ones(z.shape[1]))


def conditional_without_weights(self, proposals, given, target, prior):
    z = self.posterior(proposals.batch.given(*given)).rsample(proposals.k, proposals.generator(()))
    log_w = self.log_px_of(target, z, proposals.batch, weighted=False)
    return Estimate(log_mean_exp(log_w), torch.ones(z.shape[1]))


def joint_as_conditional(self, proposals, given, target, prior):
    return self.log_likelihood(proposals, [*given, target], prior)


def impossible(self, proposals, given, target, prior):
    found = MVAE.log_conditional(self, proposals, given, target, prior)
    return found if prior else Estimate(found.log_p + 600, found.ess)


def bound_of_the_own_prior(self, proposals, given=None, prior=None):
    if prior:
        return MVAE.log_likelihood(self, proposals, given, prior)
    batch = proposals.batch
    q = self.posterior(batch)
    log_px = self.log_px(q.rsample(proposals.k, proposals.generator(())), batch, weighted=False).sum(0)
    return Estimate(log_px.mean(0) - kl(q), torch.ones(batch.size))


def noise_of_its_own(self, proposals, given, target, prior):
    return MVAE.log_conditional(self, replace(proposals, generator=lambda _: None, made={}), given, target, prior)


OF_ALL = conditional(conditional_of_all)
LINEAR = "real x 2, linear in z ~ N(0, 1^2), is off"
WRONG = "does the KL have a wrong sign, or no log p(z)?"


def private_kl_forgotten(self, batch):
    """DMVAE's joint ELBO with the KL of the shared latent alone."""
    experts, w = self.encode_parts(batch)
    u = product(experts, prior=True)
    z = beside(u, self.given_or_prior(w, experts)).rsample()
    return row_mean(self.log_px(z, batch).sum(0) - self.beta * kl(u), batch.present)


def wide_where_absent(self, w, experts):
    found = SharedAndPrivate.given_or_prior(self, w, experts)
    absent = (~experts.present).T.repeat_interleave(self.own, 1)
    return DiagonalNormal(found.loc, found.scale * (1 + absent))


BROKEN = {  # model, the check that fails first, a part of its sentence
    "empty reason": (
        with_(unsupported=classmethod(lambda cls, modalities, missing: "" if missing.ratio else None)),
        "construction", "is None or a sentence on one line, not ''",
    ),
    "alternating batches": (with_(batches="alternating"), "construction", "'mixed' or 'pure', not 'alternating'"),
    "needs complete rows": (
        loss_plus(lambda _, b: torch.inf if b.present.any() and not b.present.all(0).any() else 0.0),
        "loss", "not finite: pixels x 2, split at ratio 0.9375",
    ),
    "attached terms": (with_(loss=attached), "loss", "terms of the loss are detached"),
    "tensor": (with_(loss=lambda self, b: MVAE.loss(self, b).total), "loss", "loss() returns a Loss, not Tensor"),
    "loss of rows": (with_(loss=loss_of_rows), "loss", "the total of a loss is a scalar, not [4]"),
    "untrained": (with_(encode=untrained), "loss", "networks.encoders.a.1.bias has no gradient"),
    "counting": (Counting, "repeatable", "keep nothing between steps"),
    "detached z": (
        likelihood(lambda ask, z, *_: ask(z.detach())), "gradient by z", "no likelihood has a gradient by way of z"
    ),
    "leak of any value": (loss_plus(lambda _, b: 0 * b.x["a"].sum()), "hidden values", "reached the loss"),
    "leak of large values": (
        loss_plus(lambda _, b: b.x["a"].nan_to_num(0, 0, 0).sum() * b.present.any()), "hidden values", "reached the"
    ),
    "constant": (loss_plus(lambda *_: 1.0), "empty rows", "rows with nothing present add to the loss"),
    "over all rows": (
        loss_times(lambda b: b.present.any(0).float().mean()), "mean over rows", "not the mean of what each row alone"
    ),
    "complete rows alone": (
        with_(loss=lambda self, b: MVAE.loss(self, replace(b, present=b.present & b.present.all(0)))),
        "mean over rows", "not the mean of what each row alone gives",
    ),
    "neighbours": (
        posterior(lambda q, b: DiagonalNormal(q.loc - q.loc.mean(0), q.scale)),
        "posterior", "depends on its neighbours",
    ),
    "leak into q": (
        posterior(lambda q, b: DiagonalNormal(q.loc, q.scale + 0 * sum(b.x.values()).sum((1, 2, 3))[:, None])),
        "posterior", "a hidden value reached q of a",
    ),
    "unnormalised": (posterior(lambda q, b: Unnormalised(q.loc, q.scale)), "posterior", "not of one density of a"),
    "variance": (posterior(lambda q, b: VarianceForScale(q.loc, q.scale)), "posterior", "not of one density of a"),
    "one draw": (posterior(lambda q, b: OneDraw(q.loc, q.scale)), "posterior", "gives one draw k times"),
    "deaf": (
        posterior(lambda q, b: DiagonalNormal(torch.zeros_like(q.loc), q.scale)),
        "posterior", "q does not depend on what is given",
    ),
    "dropout": (
        posterior(lambda q, b: DiagonalNormal(torch.nn.functional.dropout(q.loc, 0.3), q.scale)),
        "posterior", "differs from call to call",
    ),
    "unmasked": (with_(encode=unmasked), "posterior", "or fuses what is absent in it"),
    "no target": (
        with_(posterior_for=lambda self, target, b: DiagonalNormal(self.posterior(b).loc / 0, self.posterior(b).scale)),
        "decoding", "decoded entries are not finite, a -> a",
    ),
    "target seen": (
        with_(Unimodal, posterior_for=target_seen), "decoding", "a hidden value reached posterior_for(), a -> b"
    ),
    "target of the prior": (
        with_(posterior_for=lambda self, target, b: standard(DiagonalNormal, self.posterior(b).loc)),
        "decoding", "posterior_for() does not depend on what is given, a -> a",
    ),
    "prior after all": (
        with_(no_prior="there is no p(z)", prior=lambda self: DiagonalNormal(torch.zeros(1, 3), torch.ones(1, 3))),
        "prior", "no_prior says that there is no p(z), but",
    ),
    "seeding": (with_(loss=seeding), "learning", "the loss is the same on any noise"),
    "maximised": (loss_times(lambda _: -1), "learning", "steps make rows less likely given z"),
    "mean of entries": (
        likelihood(lambda ask, z, name, weighted, size: ask(z) / size if weighted else ask(z)),
        "bound", "is it a mean over entries, not their sum?",
    ),
    "negative KL": (bounded(lambda q, z: -kl(q)), "bound", WRONG),
    "entropy alone": (bounded(lambda q, z: -q.log_prob(z)), "bound", WRONG),
    "wrong sign": (scored(lambda self, log_p, k, prior: -log_p), "log-likelihood", "exceeds"),
    "own prior only": (
        scored(lambda self, log_p, k, prior: log_p / (prior is None)),
        "log-likelihood", "log p(x) is not finite of a under a given prior",
    ),
    "proposal of all": (
        with_(log_likelihood=proposal_of_all),
        "log-likelihood", "a hidden value reached log p(x) of a under a given prior",
    ),
    "conditional of all": (OF_ALL, "exact likelihood", f"log p(x) of b given a, {LINEAR}"),
    "conditional without weights": (
        conditional(conditional_without_weights), "exact likelihood", f"log p(x) of b given a, {LINEAR}"
    ),
    "joint as conditional": (conditional(joint_as_conditional), "exact likelihood", f"log p(x) of b given a, {LINEAR}"),
    "impossible conditional": (conditional(impossible), "log-likelihood", "log p(x) of b given a exceeds"),
    "own prior shifted": (
        scored(lambda self, log_p, k, prior: log_p if prior else log_p - 5),
        "exact likelihood", "under its own prior, is 5.0",
    ),
    "bound of the own prior": (
        with_(log_likelihood=bound_of_the_own_prior), "exact likelihood", "under its own prior, is"
    ),
    "sum, not mean": (
        scored(lambda self, log_p, k, prior: log_p + math.log(k) / 10), "exact likelihood", "is off by 0.7"
    ),  # log 1000 / 10
    "prior ignored": (
        with_(log_likelihood=lambda self, p, given=None, prior=None: MVAE.log_likelihood(self, p, given)),
        "exact likelihood", "z ~ N(0.5, 0.5^2), is off by",
    ),
    "own noise": (
        with_(sample_prior=lambda self, n, generator=None: MVAE.sample_prior(self, n)),
        "generators", "sample_prior() draws from another generator",
    ),
    "noise of the second": (with_(sample_prior=noise_of_the_second), "generators", "sample_prior() draws from another"),
    "conditional noise": (
        conditional(noise_of_its_own), "generators", "log_conditional() draws from another generator",
    ),
    "no beta": (NoBeta, "weights and beta", "beta is not in the loss"),
    "beta in scores": (
        scored(lambda self, log_p, k, prior: log_p / self.beta), "weights and beta", "beta is in log_likelihood()"
    ),
    "one weight": (
        likelihood(lambda ask, z, name, weighted, size: ask(z, weighted and name == "a")),
        "weights and beta", "the weight of b is not in the loss",
    ),
    "private KL forgotten": (
        with_(DMVAE, loss=private_kl_forgotten), "bound", "the a part of z is drawn to its prior by no beta"
    ),
    "private latents of all": (
        with_(DMVAE, theta=lambda self, name, z: MultimodalVAE.theta(self, name, z[..., -3:])),
        "parts", "a decoder reads another modality's private latent",
    ),
    "wide private prior": (
        with_(DMVAE, given_or_prior=wide_where_absent),
        "parts", "of a modality that is not given does not have its prior",
    ),
    "not saved": (NotSaved, "saved weights", "saved weights give another loss"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_fails_first_where_the_reason_is_named(name):
    model, check, sentence = BROKEN[name]
    assert sentence in first_broken(model_checks(model, kinds=["pixels"], m=[2]))[check]


def test_a_third_modality_that_is_hidden_reaches_no_conditional():
    found = first_broken(model_checks(OF_ALL, kinds=["pixels"], m=[3]))
    assert "a hidden value reached log p(x) of c given a" in found["log-likelihood"]


class Tempered(MVAE):
    """A prior far from where its untrained posteriors lie, free nats, and weights of likelihoods are no mistakes."""

    def prior(self):
        p = super().prior()
        return DiagonalNormal(p.loc + 3, 2 * p.scale)

    def loss(self, batch):
        q = self.posterior(batch)
        z = q.rsample()
        divergence = q.log_prob(z) - self.prior().log_prob(z)
        return row_mean(self.log_px(z, batch).sum(0) / 2 - self.beta * divergence.clamp(min=10), batch.present)


def test_another_prior_and_another_bound_are_no_mistakes():
    check_model(Tempered, kinds=["pixels"], m=[2])


class FromZero(MVAE):
    """Last layers that start at zero, as a flow's or a residual net's, are no mistake."""

    def __init__(self, networks):
        super().__init__(networks)
        for net in [*networks.encoders.values(), *networks.decoders.values()]:
            last = [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)][-1]
            torch.nn.init.zeros_(last.weight)


def test_last_layers_that_start_at_zero_are_no_mistake():
    check_model(FromZero, kinds=["pixels"], m=[2])


class CompleteOnly(MVAE):
    """Its loss cannot take rows with a hole, and it says so."""

    @classmethod
    def unsupported(cls, modalities, missing):
        return "complete rows only" if missing.ratio and missing.incomplete == "keep" else None

    def loss(self, batch):
        assert not (batch.present.any(0) & ~batch.present.all(0)).any()
        return super().loss(batch)


class TwoOnly(CompleteOnly):
    """Defined for two modalities; its constructor takes no others."""

    def __init__(self, networks):
        assert len(networks.modalities) == 2
        super().__init__(networks)

    @classmethod
    def unsupported(cls, modalities, missing):
        return "two modalities only" if len(modalities) != 2 else super().unsupported(modalities, missing)


@pytest.mark.parametrize(("model", "m"), [(CompleteOnly, [2]), (TwoOnly, [2, 3])])
def test_what_a_model_refuses_it_is_not_asked_for(model, m):
    check_model(model, kinds=["pixels"], m=m)
    with pytest.raises(AssertionError):
        check_model(type("Claims", (model,), {"unsupported": MVAE.unsupported}), kinds=["pixels"], m=[2])


def test_a_model_that_refuses_everything_does_not_conform():
    with pytest.raises(Broken, match="refuses complete rows of every example: pixels x 3 or pixels x 4"):
        check_model(TwoOnly, kinds=["pixels"], m=[3, 4])


class NoPosterior(MultimodalVAE):
    """Lacks a formula."""

    def loss(self, batch):
        raise NotImplementedError


class Untyped(MVAE):
    def __init__(self, networks, *, k=2):
        super().__init__(networks)


def by_position(self, networks, k: int = 2): ...


def anything(self, networks, **options): ...


def option(hint: object, default: object) -> type[MVAE]:
    """A model with an option of that type and default."""

    def __init__(self, networks, *, k=default): ...  # noqa: N807

    __init__.__annotations__["k"] = hint
    return with_(__init__=__init__)


def a_function(networks):
    return MVAE(networks)


@pytest.mark.parametrize(
    ("entry", "check", "sentence"),
    [
        (a_function, "declaration", "is not a class derived from MultimodalVAE"),
        (LinearGaussian, "declaration", "is not a class derived from MultimodalVAE"),
        (with_(__doc__=""), "declaration", "Changed has no docstring"),
        (with_(version="2"), "declaration", "a whole number from 1 up, not '2'"),
        (NoPosterior, "declaration", "lacks posterior"),
        (with_(__init__=by_position), "declaration", "takes networks alone by position"),
        (with_(__init__=anything), "declaration", "takes networks alone by position"),
        (Untyped, "options", "option k has no type"),
        (option(list[int], [2]), "options", "which cannot be typed; use bool, int"),
        (option(int, 2.5), "options", "default 2.5, which cannot be typed"),
        (option(Positive, 0), "options", "must be at least 1, not '0'"),
        (option(Literal["a", "b"], "c"), "options", "must be one of a, b, not 'c'"),
        (option(int, None), "options", "default None, which cannot be typed"),
        (option(str, "a,b"), "options", "cannot be typed: Cannot read the option 'b'"),
    ],
)
def test_a_declaration_that_breaks_a_rule_is_found(entry, check, sentence):
    checks = {each.name: each for each in declared_checks(entry, MultimodalVAE)}
    assert sentence in broken([checks[check]]).get(check, "")


def test_everything_registered_here_is_declared_well():
    for registry, base in ((models.registry, MultimodalVAE), (datasets.registry, Dataset)):
        for name in registry.names():
            assert broken(declared_checks(registry.get(name), base)) == {}, name
