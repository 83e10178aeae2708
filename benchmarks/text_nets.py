"""The conv preset's two nets of captions, measured: what a trained model says of validation captions.

    .venv/bin/python benchmarks/text_nets.py --data-dir ../shared/data --cache-dir CACHE

The model sees pictures too: captions of independent words alone give a VAE no reason to use z. From the caption itself
it is the nets that are measured, from the picture the whole model. One thread; no number here reads a test split.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from pathlib import Path

import click
import numpy as np
import torch

from mmvae_bench import datasets, models, nets
from mmvae_bench.datasets.base import Dataset, Rows, validation_split
from mmvae_bench.datasets.cache import load
from mmvae_bench.engine.device import prepare
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.train import train
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.options import parse_named, resolve
from mmvae_bench.presence import Presence
from mmvae_bench.seeds import seed_for
from mmvae_bench.spec import Missing, TrainSpec
from mmvae_bench.types import Modality, MultimodalBatch, to_values

VALIDATION = 1000  # rows
HEAD = f"{'':57} {'caption net':>11} {'trained':>8} {'from the caption':>22} {'from the picture':>22}\n" + (
    f"{'data set':26} {'nets':30} {'parameters':>11} {'rows/s':>8}" + f" {'nats/word':>11} {'accuracy':>10}" * 2
)


@dataclass(frozen=True)
class Material:
    """The training and the validation part of a training split, and what they are."""

    dataset: Dataset
    modalities: tuple[Modality, ...]
    train: Rows
    validation: Rows


def read(text: str, rows: int, data_dir: Path, cache_dir: Path) -> Material:
    """Seeded rows of a data set."""
    named = parse_named(text)
    factory = datasets.registry.get(named.name)
    options = resolve(factory, named)
    dataset = factory(**options)
    data = load(dataset, named.name, options, data_dir, cache_dir)
    modalities = (replace(m, vocabulary=data.vocabularies.get(m.name, m.vocabulary)) for m in dataset.modalities)
    order = np.random.default_rng(seed_for("text_nets", named.name))
    parts = (
        data.train.take(np.sort(order.permutation(part)[:limit]))
        for part, limit in zip(validation_split(data.train, named.name), (rows, VALIDATION), strict=True)
    )
    return Material(dataset, tuple(modalities), *parts)


@torch.no_grad()
def score(model: MultimodalVAE, rows: Rows, given: str, caption: str) -> tuple[float, float]:
    """log p(caption | z) in nats per word, z ~ q(z | x_given), and the share of words that its likeliest ones are."""
    x = {name: to_values(torch.from_numpy(np.asarray(values))) for name, values in rows.x.items()}
    batch = MultimodalBatch(x, torch.ones(len(x), len(rows), dtype=torch.bool))
    z = model.posterior(batch.given(given)).rsample()
    words = x[caption] != 0
    right = (model.decode(z, [caption])[caption] == x[caption]) & words
    log_px = model.log_px_of(caption, z, batch, weighted=False)
    return float(log_px.sum() / words.sum()), float(right.sum() / words.sum())


def measure(material: Material, name: str, preset: str, steps: int, seed: int) -> str:
    """Train and return what the table says."""
    named, protocol = parse_named(preset), material.dataset.protocol
    factory, names = nets.registry.get(named.name), tuple(m.name for m in material.modalities)
    caption = next(m.name for m in material.modalities if m.is_text)
    torch.manual_seed(seed)
    networks = factory(material.modalities, protocol.latent_dim, **resolve(factory, named))
    model = models.registry.get(name)(networks)
    presence = Presence(Missing(scheme="none"), names, len(material.train), "text_nets", seed)
    feed = Feed.load(material.train, presence, protocol.batch_size, torch.device("cpu"))
    spec = TrainSpec(ceil(steps / feed.steps), protocol.batch_size, protocol.learning_rate)
    history = train(model, feed, spec)
    model.eval()
    own = (networks.encoders[caption], networks.decoders[caption], networks.words[caption])
    size = sum(p.numel() for net in own for p in net.parameters())
    given = [caption, *(other for other in names if other != caption)]
    scores = (
        f"{nats:11.3f} {right:10.3f}" for nats, right in (score(model, material.validation, g, caption) for g in given)
    )
    return f"{size:11,} {history.rows / history.seconds:8.0f} {' '.join(scores)}"


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), required=True)
@click.option("--cache-dir", type=click.Path(path_type=Path), required=True)
@click.option("--data", multiple=True, default=("captioned_shapes[level=5]", "cub"), show_default=True)
@click.option("--nets", "presets", multiple=True, default=("conv[text=conv]", "conv[text=transformer]"))
@click.option("--model", default="mopoe", show_default=True)
@click.option("--rows", default=19_200, show_default=True, help="Training rows at most.")
@click.option("--steps", default=300, show_default=True, help="Optimiser steps at least, in whole epochs.")
@click.option("--seed", default=0, show_default=True)
def main(
    data_dir: Path, cache_dir: Path, data: tuple[str, ...], presets: tuple[str, ...], model: str, rows: int, steps: int,
    seed: int,
) -> None:  # fmt: skip
    """Print one line for each data set and nets."""
    prepare(threads=1)
    click.echo(HEAD)
    for text, preset in product(data, presets):
        line = measure(read(text, rows, data_dir, cache_dir), model, preset, steps, seed)
        click.echo(f"{text:26} {preset:30} {line}")


if __name__ == "__main__":
    main()
