"""A world whose scores are known: entries are their class in one-hot form with a little noise, latents are entries."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmvae_bench.datasets.base import Rows
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.distributions import Posterior
from mmvae_bench.probability.fusion import Experts, Mixture
from mmvae_bench.types import Loss, Modality, MultimodalBatch

C = 10
NAMES = ("a", "b", "c")


class Wide(nn.Module):
    """loc = x, raw scale = -10, so that the posterior has scale 1.5e-4."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.full_like(x, -10.0)], -1)


class Copy(MultimodalVAE):
    """A perfect multimodal VAE of this world: z = x_m, x_t = z."""

    def __init__(self, modalities: int = 2, size: int = C) -> None:
        parts = [Modality(name, (size,), "normal", 1.0, dtype="float32") for name in NAMES[:modalities]]
        super().__init__(Networks(parts, size, lambda m, size: Wide(), lambda m, size: nn.Identity()))
        self.dummy = nn.Parameter(torch.zeros(1))

    def posterior(self, batch: MultimodalBatch) -> Posterior:
        return Mixture(self.encode(batch))

    def loss(self, batch: MultimodalBatch) -> Loss:
        raise NotImplementedError


class Shuffled(Copy):
    """Its latents belong to other rows."""

    def posterior(self, batch: MultimodalBatch) -> Posterior:
        experts = self.encode(batch)
        order = torch.randperm(batch.size, generator=torch.Generator().manual_seed(7))
        return Mixture(Experts(experts.q[:, order], experts.present[:, order]))


class Perfect:
    """The oracle that is never wrong here."""

    accuracy, hash = 1.0, "perfect"

    def predict(self, x: Tensor) -> np.ndarray:
        return x.argmax(-1).numpy()

    def features(self, x: Tensor) -> np.ndarray:
        return x.numpy()


def rows(n: int, modalities: int = 2, seed: int = 0) -> Rows:
    """Balanced classes in a seeded order, entries one-hot + N(0, 0.1^2)."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % C)
    x = {name: np.eye(C)[label] + 0.1 * rng.normal(size=(n, C)) for name in NAMES[:modalities]}
    return Rows({name: value.astype(np.float32) for name, value in x.items()}, label.astype(np.int64))


@pytest.fixture
def world() -> Callable[..., Evaluation]:
    """``world(model, n_test=..., **fields)`` is an evaluation of it; ``world("shuffled")`` names one of the above."""

    def make(model: MultimodalVAE | str = "copy", n_test: int = 500, n_train: int = 600, **fields: Any) -> Evaluation:
        if isinstance(model, str):
            model = {"copy": Copy, "shuffled": Shuffled}[model](fields.pop("modalities", 2))
        m = len(model.names)
        train, test = rows(n_train, m, 1), rows(n_test, m, 2)
        oracles = {name: Perfect() for name in model.names}
        defaults = {"train": train, "test": test, "oracles": oracles, "dataset": "world", "seed": 0, "classes": C}
        return Evaluation(model.eval(), **{**defaults, **fields})

    return make
