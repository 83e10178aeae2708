"""Choose nets and budgets: coherence on *validation* rows, as training goes on (protocol 7).

    .venv/bin/python benchmarks/pilot.py 'mnist_svhn[pairing=dm10]' --models 'meme[k=3]' mopoe --nets conv \\
        --epochs 10 20 40 --data-dir ../shared/data

Each model is trained to the last of the epochs, one thread, and scored at each of them on its training split's
validation rows by the data set's own judges; no number here reads a test split.
"""

import time
from dataclasses import replace
from pathlib import Path

import click
import platformdirs
import torch

from mmvae_bench.cli_run import cache_option, data_option
from mmvae_bench.datasets.validation import validation_split
from mmvae_bench.engine.device import prepare
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.train import Progress, train
from mmvae_bench.execute import Material, build_model, evaluation, open_material
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.multivalue import MultiValue
from mmvae_bench.planning import make_plan
from mmvae_bench.request import Request
from mmvae_bench.seeds import seed_for
from mmvae_bench.spec import RunSpec
from mmvae_bench.store import Store

CPU = torch.device("cpu")


def pilot(spec: RunSpec, at: list[int], metric: str, data_dir: Path, cache_dir: Path) -> None:
    """Train a spec, print its scores after each of ``at`` epochs."""
    material = open_material(spec, data_dir, cache_dir)
    _, validation = validation_split(material.data.train, spec.dataset.name)
    judged = replace(material, test=material.data.train.take(validation))
    model = build_model(spec, material.modalities, CPU)
    feed = Feed.load(
        material.train, material.presence, spec.train.batch_size, CPU, pairs=material.dataset.pairs,
        pure=model.batches == "pure",
    )  # fmt: skip
    model.initialise(feed.draw)
    torch.manual_seed(seed_for("train", spec.dataset.name, spec.seed))
    started, away = time.perf_counter(), 0.0
    done = 0

    def report(progress: Progress) -> None:
        nonlocal done, away
        if progress.epoch == done or progress.epoch not in at:
            return
        done, before = progress.epoch, time.perf_counter()
        state = torch.get_rng_state()
        scores = evaluate(evaluation(spec, judged, model, CPU, data_dir, cache_dir), [metric])
        model.train()
        torch.set_rng_state(state)
        found = "  ".join(
            f"{s.given}>{s.target} {s.value:.3f}" for s in scores
            if s.value is not None and s.variant in ("", "micro") and s.given != s.target
        )  # fmt: skip
        seconds = before - started - away
        click.echo(f"{spec.nets.label:32} {spec.model.label:24} {done:4d} epochs {seconds:6.0f} s  {found}")
        away += time.perf_counter() - before

    train(model, feed, spec.train, report)


@click.command(cls=MultiValue)
@click.argument("dataset")
@click.option("--models", multiple=True, required=True)
@click.option("--nets", multiple=True)
@click.option("--epochs", multiple=True, type=int, required=True)
@click.option("--rate", multiple=True, type=float, help="Adam's. Default: the data set's protocol.")
@click.option("--batch-size", type=int)
@click.option("--latent-dim", type=int)
@click.option("--scale", multiple=True, metavar="MODALITY=SCALE")
@click.option("--missing", type=float, default=0.0)
@click.option("--seed", type=int, default=0)
@click.option("--metric", default="cross_coherence", show_default=True)
@data_option
@cache_option
def main(
    dataset: str, models: tuple[str, ...], nets: tuple[str, ...], epochs: tuple[int, ...], rate: tuple[float, ...],
    batch_size: int | None, latent_dim: int | None, scale: tuple[str, ...], missing: float, seed: int, metric: str,
    data_dir: Path, cache_dir: Path,
) -> None:  # fmt: skip
    """Print a line for each nets preset, learning rate, model and number of epochs."""
    prepare(1)
    scales = {name: float(value) for name, value in (text.split("=") for text in scale)}
    for preset in nets or (None,):
        request = Request(
            models=models, datasets=(dataset,), missing=(missing,), seeds=(seed,), nets=preset, epochs=max(epochs),
            batch_size=batch_size, latent_dim=latent_dim,
        )  # fmt: skip
        for entry in make_plan(request, Store(Path("results")), data_dir).entries:
            if entry.spec is None:
                raise click.ClickException(entry.reason)
            likelihoods = {
                name: {**values, "scale": scales.get(name, values["scale"])}
                for name, values in entry.spec.likelihoods.items()
            }
            for each in rate or (entry.spec.train.learning_rate,):
                click.echo(f"rate {each:g}, batch {entry.spec.train.batch_size}, {likelihoods}")
                spec = replace(
                    entry.spec, likelihoods=likelihoods, train=replace(entry.spec.train, learning_rate=each)
                )
                pilot(spec, sorted(epochs), metric, data_dir, cache_dir)


if __name__ == "__main__":
    main()
