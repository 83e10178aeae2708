"""Every registered model with every option, and generated data sets, conform."""

from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from mmvae_bench import datasets, models
from mmvae_bench.testing import KINDS, check_dataset, check_model
from tests.helpers import MOST, NAMES

OPTIONS = {
    "mmvae": [
        {},
        {"estimator": "iwae"},
        {"estimator": "dreg"},
        {"estimator": "elbo"},
        {"looser": False},
        {"family": "laplace"},
    ],
    "mopoe": [{}, {"prior_expert": "always"}, {"prior_expert": "never"}],
    "mmvm": [{}, {"bound": "monte_carlo"}, {"alone": "nothing"}],
    "meme": [{"pseudo": 4, "k": 2}, {"pseudo": 4, "k": 2, "combine": "product"}],
    "mvae": [{}, {"subsampling": False}, {"k": 3}],
    "mmvaeplus": [{"k": 2}, {"estimator": "iwae", "family": "laplace"}, {"private": 0.0}],
    "jnf": [{"hidden": 8, "transforms": 2}],
    "dmvae": [{}, {"joint": False}],
}
QUICKLY = {*NAMES, "mmvaeplus", "jmvae"}  # one of each family; the others of it are slow tests
PLAIN = [name for name in models.registry.names() if name != "csvae"]  # which needs a symbol: a mixture of all kinds
CASES = [(name, options) for name in PLAIN for options in OPTIONS.get(name, [{}])]


SLOWLY = {name: () if name in QUICKLY else (pytest.mark.slow,) for name in models.registry.names()}
KINDS_OF = [pytest.param(name, "mixed", len(KINDS), marks=marks) for name, marks in SLOWLY.items()]
ONE_EACH = zip(PLAIN, cycle(KINDS), strict=False)
KINDS_OF += [pytest.param(*case, 3, marks=pytest.mark.slow) for case in ONE_EACH]


@pytest.mark.parametrize(("name", "kind", "m"), KINDS_OF)
def test_models_conform_on_every_kind_of_data(name, kind, m):
    """Mixed modalities are of all kinds."""
    options = OPTIONS.get(name, [{}])[0]
    check_model(partial(models.registry.get(name), **options), kinds=[kind], m=[2 if name in MOST else m])


@pytest.mark.parametrize("m", [2, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_models_conform_with_every_option(name, options, m):
    check_model(partial(models.registry.get(name), **options), kinds=["pixels"], m=[min(m, MOST.get(name, m))])


@pytest.mark.parametrize("name", ["mvae", "mmvae"])
def test_models_conform_with_other_latent_dimensions(name):
    check_model(models.registry.get(name), kinds=["pixels"], m=[2], latent_dim=8)


@pytest.mark.parametrize("name", ["linear_gaussian", pytest.param("mnist_street", marks=pytest.mark.slow)])
def test_generated_data_sets_conform(name, tmp_path: Path):
    check_dataset(datasets.registry.get(name)(), tmp_path)
