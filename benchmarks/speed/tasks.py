"""The tasks that all sides train: modalities, nets and models by name, equal on every side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmvae_bench import nets
from mmvae_bench.datasets.base import Rows
from mmvae_bench.nets.base import Networks
from mmvae_bench.nets.conv import conv_decoder
from mmvae_bench.nets.mlp import mlp_decoder
from mmvae_bench.types import Modality

LEARNING_RATE = 5e-4
PAIR = (Modality("mnist", (1, 28, 28), "laplace", 0.75), Modality("svhn", (3, 32, 32), "laplace", 0.75))
MANY = tuple(Modality(name, (16,), "normal", 1.0, dtype="float32") for name in "abcdefgh")


def conv(latent_dim: int) -> Networks:
    return nets.registry.get("conv")(PAIR, latent_dim)


def tiny() -> Networks:
    """Return nets 16 -> 32 -> 2 * 8 and back for each of eight modalities."""
    return nets.registry.get("mlp")(MANY, 8, hidden=32, layers=1)


def published() -> Networks:
    """Return the nets of MEME's published training, L = 64, without its two linear layers that compute nothing."""

    def encoder(m: Modality, size: int) -> nn.Module:
        if m.name == "mnist":
            layers = [nn.Linear(784, 512), nn.ELU(), nn.Linear(512, 512), nn.Softplus()]
            return nn.Sequential(nn.Flatten(), *layers, nn.Linear(512, 2 * size))
        layers = []
        for before, after in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        head = [nn.Conv2d(128, 512, 4), nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512, 2 * size)]
        return nn.Sequential(*layers, *head)

    def decoder(m: Modality, size: int) -> nn.Module:
        return mlp_decoder(m, size, [512, 512]) if m.name == "mnist" else conv_decoder(m, size)

    return Networks(PAIR, 64, encoder, decoder)


@dataclass(frozen=True)
class Task:
    """One model with its nets and data.

    Attributes:
        model: Name of our model.
        networks: Function that makes the nets.
        options: Options of our model.
        theirs: Options of multivae's model.
        batch: Rows per step.
        bare: Numbers of encodes and of decodes that the bound needs, per row and modality.
    """

    model: str
    networks: Callable[[], Networks]
    options: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 128
    bare: tuple[int, int] = (0, 0)


NORMAL = "prior_and_posterior_dist"
DREG = {"K": 10, "loss": "dreg_looser", NORMAL: "normal", "learn_prior": False}
OWN = {"mnist": 10, "svhn": 10}  # private latents
PLUS = {
    "loss": "dreg_looser", NORMAL: "normal", "learn_shared_prior": False, "learn_modality_prior": True,
    "modalities_specific_dim": 10,
}  # fmt: skip
TASKS = {
    "mvae": Task("mvae", lambda: conv(20), theirs={"warmup": 0, "beta": 1.0}, bare=(1, 2)),
    "mopoe": Task("mopoe", lambda: conv(20), theirs={"beta": 1.0}, bare=(1, 1)),
    "mmvae-k10": Task("mmvae", lambda: conv(20), {"estimator": "dreg", "k": 10}, DREG, bare=(1, 20)),
    "mvtcae": Task("mvtcae", lambda: conv(20), theirs={"beta": 1.0, "alpha": 5 / 6}),
    "jmvae": Task("jmvae", lambda: conv(20), theirs={"warmup": 1}),
    "crmvae": Task("crmvae", lambda: conv(20), theirs={"beta": 1.0}),
    "dmvae": Task("dmvae", lambda: conv(20), {"private": 0.5}, {"beta": 1.0, "modalities_specific_dim": OWN}),
    "mmvaeplus": Task("mmvaeplus", lambda: conv(20), theirs={"K": 1, **PLUS}, bare=(1, 2)),
    "mmvaeplus-k10": Task("mmvaeplus", lambda: conv(20), {"k": 10}, {"K": 10, **PLUS}),
    "mopoe-m8": Task("mopoe", tiny, theirs={"beta": 1.0}, batch=64),
    "meme-published-nets": Task("meme", published, {"k": 10}),
    "meme-conv": Task("meme", lambda: conv(64), {"k": 10}),
}


def rows(modalities: tuple[Modality, ...], n: int) -> Rows:
    """Return n random rows as a data set stores them."""
    rng = np.random.default_rng(0)

    def entries(m: Modality) -> Any:
        if m.dtype == "uint8":
            return rng.integers(256, size=(n, *m.shape), dtype=np.uint8)
        return rng.standard_normal((n, *m.shape), dtype=np.float32)

    return Rows({m.name: entries(m) for m in modalities})


def floats(networks: Networks, n: int) -> dict[str, Tensor]:
    """Return one batch as float tensors."""
    stored = {name: torch.from_numpy(values) for name, values in rows(networks.modalities, n).x.items()}
    return {name: x.float() / 255 if x.dtype == torch.uint8 else x for name, x in stored.items()}
