"""``mmvae-bench check``: a line for each check, every broken rule, and one exit code."""

from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint

import pytest
from click.testing import Result

from mmvae_bench import datasets, models, testing
from mmvae_bench.datasets.base import Dataset
from mmvae_bench.datasets.linear_gaussian import LinearGaussian
from mmvae_bench.errors import BenchError, DataError
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.mvae import MVAE
from mmvae_bench.testing import dataset_checks, declared_checks, model_checks
from mmvae_bench.types import Loss
from tests.helpers import invoke


@dataclass(frozen=True, kw_only=True)
class Small(LinearGaussian):
    """Twenty rows."""

    rows: int = 20


def call(*args: str) -> Result:
    return invoke("check", *args)


@pytest.fixture(autouse=True)
def one_example(monkeypatch):
    """Models are tried on two modalities of pixels alone."""
    monkeypatch.setattr(testing, "model_checks", partial(model_checks, kinds=["pixels"], m=[2]))


def test_a_model_that_conforms_has_a_line_for_each_check():
    result = call("mvae[k=2]", "--latent-dim", "5")
    assert result.exit_code == 0, result.output
    *lines, last = result.output.splitlines()
    assert last == f"mvae[k=2] conforms: {len(lines)} checks"
    names = [check.name for check in (*declared_checks(MVAE, MultimodalVAE), *model_checks(MVAE))]
    assert [line[: len(name)] for line, name in zip(lines, names, strict=True)] == names


def test_a_name_of_both_kinds_is_checked_as_both(monkeypatch, tmp_path):
    monkeypatch.setitem(models.registry._loaded, "twice", MVAE)
    monkeypatch.setitem(datasets.registry._loaded, "twice", Small)
    result = call("twice", "--data-dir", str(tmp_path))
    both = [*declared_checks(MVAE, MultimodalVAE), *model_checks(MVAE)]
    both += [*declared_checks(Small, Dataset), *dataset_checks(Small, tmp_path)]
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, f"twice conforms: {len(both)} checks")


class FiveOnly(MVAE):
    """Takes five latent dimensions, and breaks two rules."""

    def __init__(self, networks):
        if networks.latent_dim != 5:
            raise ValueError("five only")
        super().__init__(networks)

    def loss(self, batch):
        loss = super().loss(batch)
        return Loss(loss.total + 0 * batch.x["a"].sum(), loss.terms)

    def sample_prior(self, n, generator=None):
        return super().sample_prior(n)


def test_every_broken_rule_is_reported_and_the_code_is_1(monkeypatch):
    monkeypatch.setitem(models.registry._loaded, "leaky", FiveOnly)
    result = call("leaky", "--latent-dim", "5")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("Error: leaky does not conform: hidden values: a hidden value (NaN, infinity or 1e30)")
    assert second.startswith("Error: leaky does not conform: generators: sample_prior() draws from another generator")
    assert result.stdout.splitlines()[-1] == "leaky does not conform: 2 of 20 checks fail"
    assert "saved weights " in result.stdout


def test_a_fault_of_all_checks_is_printed_once(monkeypatch):
    monkeypatch.setitem(models.registry._loaded, "five", FiveOnly)
    result = call("five")
    assert result.exit_code == 1
    assert result.stderr == "Error: five does not conform: construction: ValueError: five only\n"
    assert result.stdout.splitlines()[-1] == "five does not conform: 18 of 20 checks fail"


class Crashes(MVAE):
    """Fails in training."""

    def loss(self, batch):
        raise ZeroDivisionError("of rows\nby zero")


class Unreadable(Small):
    """Fails when it is built."""

    def build(self, data_dir):
        raise KeyError("rows")


@pytest.mark.parametrize(
    ("kind", "entry", "sentence"),
    [
        (models, Crashes, "theirs does not conform: loss: ZeroDivisionError: of rows by zero"),
        (datasets, Unreadable, "theirs does not conform: sources: KeyError: 'rows'"),
        (models, call, "theirs does not conform: declaration: <function call"),
    ],
)
def test_what_a_plugin_raises_is_a_sentence_and_code_1(monkeypatch, kind, entry, sentence, tmp_path):
    monkeypatch.setitem(kind.registry._loaded, "theirs", entry)
    result = call("theirs", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {sentence}")
    assert all(line.startswith("Error: theirs does not conform: ") for line in result.stderr.splitlines())


class Absent(Small):
    """Lacks a file."""

    def sources(self, data_dir):
        raise DataError(f"put it at {data_dir}/absent.bin")


class Wordless(Absent):
    __doc__ = ""


def test_a_missing_file_after_a_broken_rule_is_code_1(monkeypatch):
    monkeypatch.setitem(datasets.registry._loaded, "wordless", Wordless)
    result = call("wordless")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert "declaration: Wordless has no docstring" in first
    assert second == "Error: The other checks of wordless cannot be made: put it at data/absent.bin"


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("mvea", "no model or data set 'mvea'. Did you mean mvae or mmvae"),
        ("mnist_stret", "Did you mean mnist_street"),
        ("zzz", "no model or data set 'zzz'. Known models: "),
        ("linear_gaussian[m=9]", "linear_gaussian[m] must be one of 2, 3, 4, 5, not '9'"),
        ("linear_gaussian --latent-dim 2", "is a data set, which has no latent dimensions"),
        ("absent", "put it at data/absent.bin"),
        ("bad", "The model 'bad' cannot be imported from no_such_module:X: ModuleNotFoundError"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(monkeypatch, typed, sentence):
    monkeypatch.setitem(datasets.registry._loaded, "absent", Absent)
    monkeypatch.setitem(models.registry._plugins, "bad", EntryPoint("bad", "no_such_module:X", "mmvae_bench.models"))
    result = call(*typed.split())
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert sentence in result.stderr


def test_errors_of_ours_pass_through_the_functions_too():
    with pytest.raises(BenchError):
        dataset_checks(lambda: LinearGaussian(latent=0), None)[0].run()
