"""Each check of the conformance suite finds what it is for, and ``mmvae-bench check`` says so in a sentence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import Literal

import pytest
import torch
from click.testing import CliRunner, Result

from mmvae_bench import datasets, models
from mmvae_bench.cli.app import main
from mmvae_bench.datasets.base import Dataset
from mmvae_bench.datasets.linear_gaussian import LinearGaussian
from mmvae_bench.errors import BenchError, DataError
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.mvae import MVAE
from mmvae_bench.models.unimodal import Unimodal
from mmvae_bench.options import Positive, Weight
from mmvae_bench.probability.bounds import Estimate, importance_sample, log_mean_exp, row_mean
from mmvae_bench.probability.distributions import DiagonalNormal, kl, standard
from mmvae_bench.probability.fusion import Experts
from mmvae_bench.testing import Broken, Check, check_model, dataset_checks, declared_checks, model_checks
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


def plus(loss: Loss, term: torch.Tensor | float) -> Loss:
    return Loss(loss.total + term, loss.terms)


# --- models: each breaks one rule, and only the check of that rule says so -------------------------------------------


class EmptyReason(MVAE):
    @classmethod
    def unsupported(cls, modalities, missing):
        return "" if missing.ratio else None


class Alternating(MVAE):
    batches = "alternating"


class Counting(MVAE):
    steps = 0

    def loss(self, batch):
        self.steps += 1
        return plus(super().loss(batch), self.steps * batch.present.any())


class NeedsCompleteRows(MVAE):
    def loss(self, batch):
        lost = batch.present.any() and not batch.present.all(0).any()
        return plus(super().loss(batch), torch.inf if lost else 0.0)


class Attached(MVAE):
    def loss(self, batch):
        loss = super().loss(batch)
        return Loss(loss.total, {"total": loss.total})


class Leaky(MVAE):
    def loss(self, batch):
        return plus(super().loss(batch), 0 * batch.x["a"].sum())


class Constant(MVAE):
    def loss(self, batch):
        return plus(super().loss(batch), 1.0)


class OverAllRows(MVAE):
    def loss(self, batch):
        loss = super().loss(batch)
        return Loss(loss.total * batch.present.any(0).float().mean(), loss.terms)


class SumOfRows(MVAE):
    def loss(self, batch):
        loss = super().loss(batch)
        return Loss(loss.total * batch.present.any(0).sum(), loss.terms)


class NoBeta(MVAE):
    def __init__(self, networks, *, beta: Weight = 1.0):
        super().__init__(networks)


class BetaInScores(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        found = super().log_likelihood(batch, k, generator, prior)
        return Estimate(found.log_p / self.beta, found.ess)


class NotSaved(MVAE):
    def __init__(self, networks):
        super().__init__(networks)
        self.shift = torch.randn(())

    def loss(self, batch):
        return plus(super().loss(batch), self.shift * batch.present.any())


class Neighbours(MVAE):
    def posterior(self, batch):
        q = super().posterior(batch)
        return DiagonalNormal(q.loc - q.loc.mean(0), q.scale)


class Improper(MVAE):
    def posterior(self, batch):
        q = super().posterior(batch)
        return DiagonalNormal(q.loc, q.scale + 0 * sum(x.flatten(1).sum(1, keepdim=True) for x in batch.x.values()))


class NoTarget(MVAE):
    def posterior_for(self, target, batch):
        q = self.posterior(batch)
        return DiagonalNormal(q.loc / 0, q.scale)


class PriorAfterAll(MVAE):
    no_prior = "there is no p(z)"

    def prior(self):
        return DiagonalNormal(torch.zeros(1, 3), torch.ones(1, 3))


class WrongSign(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        found = super().log_likelihood(batch, k, generator, prior)
        return Estimate(-found.log_p, found.ess)


class OwnPriorOnly(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        found = super().log_likelihood(batch, k, generator)
        return Estimate(found.log_p / (prior is None), found.ess)


class OwnNoise(MVAE):
    def sample_prior(self, n, generator=None):
        return super().sample_prior(n)


class NoiseOfTheSecond(MVAE):
    def sample_prior(self, n, generator=None):
        found = super().sample_prior(n, generator)
        return {**found, "b": found["b"] + torch.rand(())}


class ConditionalNoise(MVAE):
    def log_conditional(self, batch, given, target, k, generator=None, prior=None):
        return super().log_conditional(batch, given, target, k, None, prior)


class CompleteRowsAlone(MVAE):
    def loss(self, batch):
        return super().loss(replace(batch, present=batch.present & batch.present.all(0)))


class Untrained(MVAE):
    def encode(self, batch):
        with torch.no_grad():
            return super().encode(batch)


class Detached(MVAE):
    def log_px_of(self, name, z, batch, *, weighted=True, where=None):
        return super().log_px_of(name, z.detach(), batch, weighted=weighted, where=where)


class Seeding(MVAE):
    def loss(self, batch):
        torch.manual_seed(0)
        return super().loss(batch)


class Maximised(MVAE):
    def loss(self, batch):
        loss = super().loss(batch)
        return Loss(-loss.total, loss.terms)


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


def answering(law):
    """A model whose posterior is of that law, in scores; its loss is MVAE's."""

    class Answers(MVAE):
        def posterior(self, batch):
            q = super().posterior(batch)
            return law(q.loc, q.scale)

    return Answers


class Deaf(MVAE):
    def posterior(self, batch):
        q = super().posterior(batch)
        return DiagonalNormal(torch.zeros_like(q.loc), q.scale)


class Dropout(MVAE):
    def posterior(self, batch):
        q = super().posterior(batch)
        return DiagonalNormal(torch.nn.functional.dropout(q.loc, 0.3), q.scale)


class Unmasked(MVAE):
    def encode(self, batch):
        experts = super().encode(batch)
        return Experts(experts.q, torch.ones_like(experts.present))


class SumNotMean(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        found = super().log_likelihood(batch, k, generator, prior)
        return Estimate(found.log_p + math.log(k) / 10, found.ess)


class OneWeight(MVAE):
    def log_px_of(self, name, z, batch, *, weighted=True, where=None):
        return super().log_px_of(name, z, batch, weighted=weighted and name == "a", where=where)


class PriorIgnored(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        return super().log_likelihood(batch, k, generator)


class TensorLoss(MVAE):
    def loss(self, batch):
        return super().loss(batch).total


class LossOfRows(MVAE):
    def loss(self, batch):
        loss = super().loss(batch)
        object.__setattr__(loss, "total", loss.total.expand(4))  # tests check types, and would refuse a Loss(...) of it
        return loss


class NotANumber(MVAE):
    def loss(self, batch):
        return plus(super().loss(batch), math.nan)


class TargetSeen(Unimodal):
    def posterior_for(self, target, batch):
        own = torch.tensor([name == target for name in self.names])[:, None]
        return self.posterior(replace(batch, present=own.expand_as(batch.present)))


class TargetOfThePrior(MVAE):
    def posterior_for(self, target, batch):
        return standard(DiagonalNormal, self.posterior(batch).loc)


def of_all(batch):
    return replace(batch, present=torch.ones_like(batch.present))


class ProposalOfAll(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        def log_px(z):
            return self.log_px(z, batch, weighted=False).sum(0)

        return importance_sample(self.posterior(of_all(batch)), prior or self.prior(), log_px, k, generator)


class ConditionalOfAll(MVAE):
    def log_conditional(self, batch, given, target, k, generator=None, prior=None):
        z = self.posterior(of_all(batch)).rsample(k, generator)
        log_w = self.log_px_of(target, z, batch, weighted=False)
        return Estimate(log_mean_exp(log_w), torch.ones(batch.size))


class ConditionalIsTheJoint(MVAE):
    def log_conditional(self, batch, given, target, k, generator=None, prior=None):
        return self.log_likelihood(batch.given(*given, target), k, generator, prior)


class OwnPriorShifted(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        found = super().log_likelihood(batch, k, generator, prior)
        return found if prior else Estimate(found.log_p - 5, found.ess)


class BoundOfTheOwnPrior(MVAE):
    def log_likelihood(self, batch, k, generator=None, prior=None):
        if prior:
            return super().log_likelihood(batch, k, generator, prior)
        q = self.posterior(batch)
        log_px = self.log_px(q.rsample(k, generator), batch, weighted=False).sum(0)
        return Estimate(log_px.mean(0) - kl(q), torch.ones(batch.size))


class MeanOfEntries(MVAE):
    def log_px_of(self, name, z, batch, *, weighted=True, where=None):
        found = super().log_px_of(name, z, batch, weighted=weighted, where=where)
        return found / batch.x[name][0].numel() if weighted else found


def bounded(divergence):
    """A model of one ELBO, with that in place of the KL; its posterior is MVAE's."""

    class Bounded(MVAE):
        def loss(self, batch):
            q = self.posterior(batch)
            z = q.rsample()
            return row_mean(self.log_px(z, batch).sum(0) - self.beta * divergence(q, z), batch.present)

    return Bounded


def log_ratio(q, z):
    return q.log_prob(z) - standard(DiagonalNormal, z).log_prob(z)


@pytest.mark.parametrize(
    ("model", "check", "sentence"),
    [
        (EmptyReason, "construction", "is None or a sentence on one line, not ''"),
        (Alternating, "construction", "batches is 'mixed' or 'pure', not 'alternating'"),
        (NeedsCompleteRows, "loss", "not finite: pixels x 2, split at ratio 0.9375"),
        (Attached, "loss", "terms of the loss are detached"),
        (Leaky, "hidden values", "a hidden nan reached the loss"),
        (Constant, "empty rows", "rows with nothing present add to the loss"),
        (OverAllRows, "mean over rows", "no mean of what each row alone gives"),
        (SumOfRows, "mean over rows", "no mean of what each row alone gives"),
        (NoBeta, "weights and beta", "beta is not in the loss"),
        (BetaInScores, "weights and beta", "beta is in log_likelihood()"),
        (NotSaved, "saved weights", "saved weights give another loss"),
        (Neighbours, "posterior", "depends on its neighbours"),
        (Improper, "posterior", "a hidden value reached q of a"),
        (NoTarget, "decoding", "decoded entries are not finite, a -> a"),
        (PriorAfterAll, "prior", "no_prior says that there is no p(z), but"),
        (WrongSign, "log-likelihood", "exceeds"),
        (OwnPriorOnly, "log-likelihood", "log p(x) is not finite of a under a given prior"),
        (OwnNoise, "generators", "sample_prior() draws from another generator"),
        (NoiseOfTheSecond, "generators", "sample_prior() draws from another generator"),
        (ConditionalNoise, "generators", "log_conditional() draws from another generator"),
        (Counting, "repeatable", "keep nothing between steps"),
        (TensorLoss, "loss", "loss() returns a Loss, not Tensor"),
        (LossOfRows, "loss", "the total of a loss is a scalar, not [4]"),
        (NotANumber, "loss", "loss or gradient is not finite"),
        (TargetSeen, "decoding", "a hidden value reached posterior_for(), a -> b"),
        (TargetOfThePrior, "decoding", "posterior_for() does not depend on what is given, a -> a"),
        (ProposalOfAll, "log-likelihood", "a hidden value reached log p(x) of a under a given prior"),
        (MeanOfEntries, "bound", "is a mean over entries taken, where log p(x | z) is a sum?"),
        (bounded(lambda q, z: -kl(q)), "bound", "has the KL a wrong sign, or no log p(z)?"),
        (bounded(lambda q, z: -log_ratio(q, z)), "bound", "has the KL a wrong sign, or no log p(z)?"),
        (bounded(lambda q, z: -q.log_prob(z)), "bound", "has the KL a wrong sign, or no log p(z)?"),
        (ConditionalIsTheJoint, "exact likelihood", "log p(x) of b given a, real x 2, linear in z ~ N(0, 1^2), is off"),
        (ConditionalOfAll, "exact likelihood", "log p(x) of b given a, real x 2, linear in z ~ N(0, 1^2), is off"),
        (OwnPriorShifted, "exact likelihood", "under its own prior, is 5.00 nats from that where it is given"),
        (BoundOfTheOwnPrior, "exact likelihood", "under its own prior, is"),
        (CompleteRowsAlone, "mean over rows", "no mean of what each row alone gives"),
        (Untrained, "loss", "networks.encoders.a.1.bias has no gradient"),
        (Detached, "gradient by z", "no likelihood has a gradient by way of z"),
        (Seeding, "learning", "the loss is the same on any noise"),
        (Maximised, "learning", "steps make rows less likely given z"),
        (answering(Unnormalised), "posterior", "not of one density of a"),
        (answering(VarianceForScale), "posterior", "not of one density of a"),
        (answering(OneDraw), "posterior", "gives one draw k times"),
        (Deaf, "posterior", "q does not depend on what is given"),
        (Dropout, "posterior", "differs from call to call"),
        (Unmasked, "posterior", "or fuses what is absent in it"),
        (SumNotMean, "exact likelihood", "is off by 0.69 nats"),  # log 1000 / 10
        (PriorIgnored, "exact likelihood", "z ~ N(0.5, 0.5^2), is off by"),
        (OneWeight, "weights and beta", "the weight of b is not in the loss"),
    ],
)
def test_a_broken_model_fails_first_where_the_reason_is_named(model, check, sentence):
    assert sentence in first_broken(model_checks(model, kinds=["pixels"], m=[2]))[check]


def test_a_third_modality_that_is_hidden_reaches_no_conditional():
    found = first_broken(model_checks(ConditionalOfAll, kinds=["pixels"], m=[3]))
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


@pytest.mark.parametrize("model", [CompleteOnly, TwoOnly])
def test_what_a_model_refuses_it_is_not_asked_for(model):
    check_model(model, kinds=["pixels"], m=[2, 3])
    with pytest.raises(AssertionError):
        check_model(type("Claims", (model,), {"unsupported": MVAE.unsupported}), kinds=["pixels"], m=[2])


def test_a_model_that_refuses_everything_does_not_conform():
    with pytest.raises(Broken, match="refuses complete rows of every example: pixels x 3 or 4"):
        check_model(TwoOnly, kinds=["pixels"], m=[3, 4])


# --- what is declared ------------------------------------------------------------------------------------------------


class NoDoc(MVAE):
    __doc__ = ""


class NoVersion(MVAE):
    version = "2"


class NoPosterior(MultimodalVAE):
    """Lacks a formula."""

    def loss(self, batch):
        raise NotImplementedError


class ByPosition(MVAE):
    def __init__(self, networks, k: int = 2):
        super().__init__(networks)


class Anything(MVAE):
    def __init__(self, networks, **options):
        super().__init__(networks)


class Untyped(MVAE):
    def __init__(self, networks, *, k=2):
        super().__init__(networks)


class Listed(MVAE):
    def __init__(self, networks, *, sizes: list[int] = [2]):  # noqa: B006
        super().__init__(networks)


class Half(MVAE):
    def __init__(self, networks, *, k: int = 2.5):
        super().__init__(networks)


class TooSmall(MVAE):
    def __init__(self, networks, *, k: Positive = 0):
        super().__init__(networks)


class NoChoice(MVAE):
    def __init__(self, networks, *, how: Literal["a", "b"] = "c"):
        super().__init__(networks)


class NotNone(MVAE):
    def __init__(self, networks, *, k: int = None):  # noqa: RUF013
        super().__init__(networks)


class Bracketed(MVAE):
    def __init__(self, networks, *, how: str = "a,b"):
        super().__init__(networks)


def a_function(networks):
    return MVAE(networks)


@pytest.mark.parametrize(
    ("entry", "check", "sentence"),
    [
        (a_function, "declaration", "is no class derived from MultimodalVAE"),
        (LinearGaussian, "declaration", "is no class derived from MultimodalVAE"),
        (NoDoc, "declaration", "NoDoc has no docstring"),
        (NoVersion, "declaration", "a whole number from 1 up, not '2'"),
        (NoPosterior, "declaration", "lacks posterior"),
        (ByPosition, "declaration", "takes networks alone by position"),
        (Anything, "declaration", "takes networks alone by position"),
        (Untyped, "options", "option k has no type"),
        (Listed, "options", "which cannot be typed; use bool, int"),
        (Half, "options", "default 2.5, which cannot be typed"),
        (TooSmall, "options", "must be at least 1, not '0'"),
        (NoChoice, "options", "must be one of a, b, not 'c'"),
        (NotNone, "options", "default None, which cannot be typed"),
        (Bracketed, "options", "cannot be typed: Cannot read the option 'b'"),
    ],
)
def test_a_declaration_that_breaks_a_rule_is_found(entry, check, sentence):
    found = broken(declared_checks(entry, MultimodalVAE)[: 1 if check == "declaration" else 2])
    assert list(found) == [check] and sentence in found[check], found


def test_everything_registered_here_is_declared_well():
    for registry, base in ((models.registry, MultimodalVAE), (datasets.registry, Dataset)):
        for name in registry.names():
            assert broken(declared_checks(registry.get(name), base)) == {}, name


# --- the command -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Small(LinearGaussian):
    """Twenty rows."""

    rows: int = 20


def call(*args: str) -> Result:
    return CliRunner().invoke(main, ["check", *args])


@pytest.fixture
def register(monkeypatch):
    def enter(name: str, *, model: object = None, data: object = None) -> None:
        for registry, entry in ((models.registry, model), (datasets.registry, data)):
            if entry is not None:
                monkeypatch.setitem(registry._loaded, name, entry)

    return enter


def test_a_model_that_conforms_has_a_line_for_each_check():
    result = call("mvae[k=2]")
    assert result.exit_code == 0, result.output
    *lines, last = result.output.splitlines()
    assert last == f"mvae[k=2] conforms: {len(lines)} checks"
    names = [check.name for check in (*declared_checks(MVAE, MultimodalVAE), *model_checks(MVAE))]
    assert [line[: len(name)] for line, name in zip(lines, names, strict=True)] == names


def test_a_name_of_both_kinds_is_checked_as_both(register, tmp_path):
    register("twice", model=MVAE, data=Small)
    result = call("twice", "--data-dir", str(tmp_path))
    both = [*declared_checks(MVAE, MultimodalVAE), *model_checks(MVAE)]
    both += [*declared_checks(Small, Dataset), *dataset_checks(Small, tmp_path)]
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, f"twice conforms: {len(both)} checks")


def test_the_first_broken_rule_ends_it_with_code_1(register):
    register("leaky", model=Leaky)
    result = call("leaky")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: leaky does not conform: hidden values: a hidden nan reached the loss")
    assert result.stdout.splitlines()[-1].startswith("gradient by z ") and "conforms" not in result.stdout


class Crashes(MVAE):
    def loss(self, batch):
        raise ZeroDivisionError("of rows\nby zero")


class Asserts(MVAE):
    def __init__(self, networks):
        raise AssertionError


class Unreadable(Small):
    def build(self, data_dir):
        raise KeyError("rows")


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"model": Crashes}, "theirs does not conform: loss: ZeroDivisionError: of rows by zero"),
        ({"model": Asserts}, "theirs does not conform: construction: AssertionError"),
        ({"data": Unreadable}, "theirs does not conform: sources: KeyError: 'rows'"),
        ({"model": a_function}, "theirs does not conform: declaration: <function a_function"),
    ],
)
def test_what_a_plugin_raises_is_one_sentence_and_code_1(register, entries, sentence, tmp_path):
    register("theirs", **entries)
    result = call("theirs", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {sentence}") and result.stderr.count("\n") == 1
    assert isinstance(result.exception, SystemExit)


class Absent(Small):
    def sources(self, data_dir):
        raise DataError(f"put it at {data_dir}/absent.bin")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mvea", "no model or data set 'mvea'; did you mean mvae or mmvae"),
        ("mnist_stret", "did you mean mnist_street"),
        ("zzz", "no model or data set 'zzz'; Known models: "),
        ("mvae[kk=1]", "'mvae' has no option 'kk'"),
        ("mvae[k", "Cannot read 'mvae[k'"),
        ("linear_gaussian[m=9]", "linear_gaussian[m] must lie in 2..5, not 9"),
        ("absent", "put it at data/absent.bin"),
        ("bad", "The model 'bad' cannot be imported from no_such_module:X: ModuleNotFoundError"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(register, monkeypatch, name, sentence):
    register("absent", data=Absent)
    monkeypatch.setitem(models.registry._plugins, "bad", EntryPoint("bad", "no_such_module:X", "mmvae_bench.models"))
    result = call(name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert sentence in result.stderr


def test_errors_of_ours_pass_through_the_functions_too():
    with pytest.raises(BenchError):
        dataset_checks(lambda: LinearGaussian(m=9), None)[0].run()
