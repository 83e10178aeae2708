"""Every registered model x kind of data x number of modalities, and every registered data set."""

from functools import partial
from pathlib import Path

import pytest
import torch

from mmvae_bench import datasets, models
from mmvae_bench.models.mvae import MVAE
from mmvae_bench.testing import KINDS, check_dataset, check_model
from mmvae_bench.types import Loss, MultimodalBatch

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
}
CASES = [(name, options) for name in models.registry.names() for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
@pytest.mark.parametrize("name", models.registry.names())
def test_models_conform_on_every_kind_of_data(name, kind):
    options = OPTIONS.get(name, [{}])[0]
    check_model(partial(models.registry.get(name), **options), kinds=[kind])


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_models_conform_with_every_option_and_number_of_modalities(name, options):
    check_model(partial(models.registry.get(name), **options), kinds=["pixels"], m=[2, 3, 4, 5])


class Leaky(MVAE):
    """Reads what is hidden."""

    def loss(self, batch: MultimodalBatch) -> Loss:
        loss = super().loss(batch)
        return Loss(loss.total + 0 * batch.x["a"].sum(), loss.terms)


class CountsEmptyRows(MVAE):
    """Averages over all rows, empty or not."""

    def loss(self, batch: MultimodalBatch) -> Loss:
        return Loss(super().loss(batch).total + self.encode(batch).q.scale.mean(), {})


@pytest.mark.parametrize(("broken", "sentence"), [(Leaky, "hidden"), (CountsEmptyRows, "nothing present")])
def test_the_suite_catches_a_model_that_breaks_a_rule(broken, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_model(broken, kinds=["pixels"], m=[2])


@pytest.mark.parametrize("name", ["mnist_street", "linear_gaussian"])
def test_generated_data_sets_conform(name, tmp_path: Path):
    check_dataset(datasets.registry.get(name)(), tmp_path)


def test_the_suite_catches_a_data_set_that_is_not_repeatable(tmp_path: Path):
    class Restless(datasets.registry.get("linear_gaussian")):
        def build(self, data_dir: Path):
            built = super().build(data_dir)
            built.train.x["x0"][:] += torch.rand(1).item()
            return built

    with pytest.raises(AssertionError, match="differs between two builds"):
        check_dataset(Restless(rows=20), tmp_path)
