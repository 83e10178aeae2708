"""A world of captioned pictures whose scores are known: six traits of three values; a picture is their linear image,
a caption one word a trait. Used by the tests of CCA, retrieval and the quality of captions."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmvae_bench.datasets.base import Repeated, Rows
from mmvae_bench.datasets.words import EOS, SPECIALS
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import Modality, MultimodalBatch

TRAITS, VALUES, WIDTH, T = 6, 3, 12, 8
RNG = np.random.default_rng(0)
WORDS = tuple("".join(RNG.choice(list("abcdefghijklmnopqrstuvwxyz"), 5)) for _ in range(TRAITS * VALUES))
VOCABULARY = (*SPECIALS, *WORDS)
MAP = RNG.normal(size=(TRAITS, WIDTH)).astype(np.float32)


def written(z: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Captions [N, T] of traits z in -1, 0, 1, [N, 6]: in order, or in a random one."""
    ids = len(SPECIALS) + VALUES * np.arange(TRAITS) + np.clip(np.round(z), -1, 1).astype(np.int64) + 1
    if rng is not None:
        ids = rng.permuted(ids, axis=1)
    return np.concatenate([ids, np.full((len(z), 1), EOS), np.zeros((len(z), T - TRAITS - 1), np.int64)], 1)


def read(ids: np.ndarray) -> np.ndarray:
    """The traits of captions."""
    z = np.zeros((len(ids), TRAITS), np.float32)
    rows, at = np.nonzero(ids >= len(SPECIALS))
    word = ids[rows, at] - len(SPECIALS)
    z[rows, word // VALUES] = word % VALUES - 1
    return z


def rows(z: np.ndarray, captions: int, seed: int) -> Rows:
    """Each of the pictures with that many captions."""
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(len(z)), captions)
    pictures = (z @ MAP + 0.05 * rng.normal(size=(len(z), WIDTH))).astype(np.float32)
    x = {"picture": Repeated(pictures, item), "caption": written(z[item], rng).astype(np.int16)}
    return Rows(x, item % 5, item)


class Knowing(nn.Module):
    """Reads the traits from either side, and draws and writes them."""

    modalities = (
        Modality("picture", (WIDTH,), "laplace", dtype="float32"),
        Modality("caption", (T,), "categorical", dtype="int16", vocabulary=VOCABULARY),
    )
    names = ("picture", "caption")
    cross_is_chance, joint_posterior = False, True
    latent_parts, no_decoder = {}, None

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        if batch.where("picture").all():
            z = batch.x["picture"] @ torch.linalg.pinv(torch.from_numpy(MAP))
        else:
            z = torch.from_numpy(read(batch.x["caption"].numpy()))
        return DiagonalNormal(z, torch.full_like(z, 0.01))

    def posterior_for(self, target: str, batch: MultimodalBatch) -> DiagonalNormal:
        return self.posterior(batch)

    def decode(self, z: Tensor, names: Any = None) -> dict[str, Tensor]:
        out = {"picture": z @ torch.from_numpy(MAP), "caption": torch.from_numpy(written(z.numpy()))}
        return {name: out[name] for name in names or self.names}

    def sample_prior(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        return self.decode(torch.randn(n, TRAITS, generator=generator))


class Blind(Knowing):
    """Its latents belong to other rows, and its draws to one another not at all."""

    cross_is_chance = True

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        side = int(batch.where("picture").all())
        order = torch.randperm(batch.size, generator=torch.Generator().manual_seed(side))
        return super().posterior(batch)[order]

    def sample_prior(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        raise Undefined("no prior here")


def captioned(model: nn.Module | None = None, cache_dir: Path | None = None, **fields: Any) -> Evaluation:
    """400 training pictures with three captions each and 100 test pictures with four, no traits on both sides."""
    every = np.stack(np.meshgrid(*[[-1, 0, 1]] * TRAITS), -1).reshape(-1, TRAITS)
    every = np.random.default_rng(1).permutation(every)
    train, test = rows(every[:400], 3, 2), rows(every[400:500], 4, 3)
    defaults = {"related": "item", "pairs": train, "cache_dir": cache_dir, "seed": 0, "classes": 5, "dataset": "toy"}
    return Evaluation(model or Knowing(), train, test, {}, **{**defaults, **fields})  # type: ignore[arg-type]
