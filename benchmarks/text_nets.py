"""The conv preset's two nets of captions, measured: what a VAE of captions alone says of validation captions.

    .venv/bin/python benchmarks/text_nets.py --data-dir ../shared/data --cache-dir CACHE

One thread. No number here reads a test split.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from mmvae_bench import datasets, models, nets
from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.cache import load
from mmvae_bench.datasets.validation import validation_split
from mmvae_bench.engine.device import prepare
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.train import train
from mmvae_bench.missing import Presence
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.options import parse_named, resolve
from mmvae_bench.seeds import seed_for
from mmvae_bench.spec import Missing, TrainSpec
from mmvae_bench.types import Modality, MultimodalBatch

VALIDATION = 1000  # captions
HEAD = (
    f"{'data set':28} {'nets':30} {'parameters':>10} {'rows/s':>7} {'nats/word':>10} {'bound/word':>11} {'accuracy':>9}"
)


@dataclass(frozen=True)
class Captions:
    """Word ids [N, T] of the training and of the validation part of a training split, and what they are."""

    modality: Modality
    train: Tensor
    validation: Tensor


def read(text: str, rows: int, data_dir: Path, cache_dir: Path) -> tuple[Captions, TrainSpec, int]:
    """Seeded captions of a data set, its batch and learning rate, and its L."""
    named = parse_named(text)
    factory = datasets.registry.get(named.name)
    options = resolve(factory, named)
    dataset = factory(**options)
    data = load(dataset, named.name, options, data_dir, cache_dir)
    m = next(m for m in dataset.modalities if m.is_text)
    m = replace(m, vocabulary=data.vocabularies.get(m.name, m.vocabulary))
    order = np.random.default_rng(seed_for("text_nets", named.name))
    parts = [
        torch.from_numpy(np.asarray(data.train.x[m.name][np.sort(order.permutation(part)[:limit])]))
        for part, limit in zip(validation_split(data.train, named.name), (rows, VALIDATION), strict=True)
    ]
    protocol = dataset.protocol
    return Captions(m, *parts), TrainSpec(1, protocol.batch_size, protocol.learning_rate), protocol.latent_dim


@torch.no_grad()
def score(model: MultimodalVAE, name: str, ids: Tensor) -> tuple[float, float, float]:
    """Nats per word of E_q[log p(x | z)] and of the bound, both with one z a row; and the share of words decoded."""
    model.eval()
    batch = MultimodalBatch({name: ids}, torch.ones(1, len(ids), dtype=torch.bool))
    q = model.encode(batch).q[0]
    z, words = q.rsample(), ids != 0
    log_px = model.log_px_of(name, z, batch, weighted=False)
    bound = log_px + model.prior().log_prob(z) - q.log_prob(z)
    right = (model.decode(q.loc)[name] == ids) & words
    return tuple(float(v.sum() / words.sum()) for v in (log_px, bound, right))  # type: ignore[return-value]


def measure(captions: Captions, preset: str, spec: TrainSpec, latent_dim: int, seed: int) -> str:
    """Train a VAE of captions alone and return its row of the table, from the parameters on."""
    named = parse_named(preset)
    factory = nets.registry.get(named.name)
    m = captions.modality
    torch.manual_seed(seed)
    model = models.registry.get("unimodal")(factory([m], latent_dim, **resolve(factory, named)))
    rows = Rows({m.name: captions.train.numpy()})
    presence = Presence(Missing(scheme="none"), (m.name,), len(rows), "text_nets", seed)
    history = train(model, Feed.load(rows, presence, spec.batch_size, torch.device("cpu")), spec)
    nats, bound, accuracy = score(model, m.name, captions.validation.long())
    parameters = sum(p.numel() for p in model.parameters())
    return f"{parameters:10,} {history.rows / history.seconds:7.0f} {nats:10.3f} {bound:11.3f} {accuracy:9.3f}"


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), required=True)
@click.option("--cache-dir", type=click.Path(path_type=Path), required=True)
@click.option("--data", multiple=True, default=("captioned_shapes[level=5]", "cub"), show_default=True)
@click.option("--nets", "presets", multiple=True, default=("conv[text=conv]", "conv[text=transformer]"))
@click.option("--rows", default=20_000, show_default=True, help="Training captions at most.")
@click.option("--steps", default=1_000, show_default=True, help="Optimiser steps at least, in whole epochs.")
@click.option("--seed", default=0, show_default=True)
def main(
    data_dir: Path, cache_dir: Path, data: tuple[str, ...], presets: tuple[str, ...], rows: int, steps: int, seed: int
) -> None:
    """Print one line for each data set and nets."""
    prepare(threads=1)
    click.echo(HEAD)
    for text, preset in product(data, presets):
        captions, spec, latent_dim = read(text, rows, data_dir, cache_dir)
        epochs = ceil(steps / ceil(len(captions.train) / spec.batch_size))
        line = measure(captions, preset, replace(spec, epochs=epochs), latent_dim, seed)
        click.echo(f"{text:28} {preset:30} {line}")


if __name__ == "__main__":
    main()
