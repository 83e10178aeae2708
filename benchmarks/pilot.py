"""Choose nets and budgets by scores on *validation* rows during training (protocol 7).

    .venv/bin/python benchmarks/pilot.py mnist_svhn --models 'meme[k=3]' mopoe --at 10 20 40 --data-dir ../shared/data

Each model is trained on one thread, up to the last of the given epochs. After each of them it is scored on the
validation rows of the training split, by the data set's own judges. No number here reads a test split.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import torch

from mmvae_bench.cli.options import MultiValue, cache_option, data_option, results_option
from mmvae_bench.datasets.base import validation_split
from mmvae_bench.engine.device import prepare
from mmvae_bench.engine.train import Progress, train
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.spec import RunSpec
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.execute import evaluation, open_material, ready
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.request import Request, numbers_by_name

CPU = torch.device("cpu")
VARIANTS = ("", "micro", "10")  # variants shown of cross-coherence and recall


def pilot(spec: RunSpec, at: Sequence[int], metric: str, data_dir: Path, cache_dir: Path) -> None:
    """Train as a spec says, and print a line of scores after each of the ``at`` epochs."""
    material = open_material(spec, data_dir, cache_dir)
    _, validation = validation_split(material.data.train, spec.dataset.name)
    judged = replace(material, test=material.data.train.take(validation))
    model, feed = ready(spec, material.modalities, material.train, material.presence, CPU, material.dataset.pairs)
    started, scored, due = time.perf_counter(), 0.0, sorted(at)

    def report(progress: Progress) -> None:
        nonlocal scored
        if not due or progress.epoch < due[0]:
            return
        before, noise = time.perf_counter(), torch.get_rng_state()
        scores = evaluate(evaluation(spec, judged, model, CPU, data_dir, cache_dir), [metric])
        model.train()
        torch.set_rng_state(noise)
        found = (s for s in scores if s.value is not None and s.variant in VARIANTS and s.given != s.target)
        text = "  ".join(f"{s.given}→{s.target} {s.value:.3f}" for s in found)
        click.echo(f"{spec.model.label:24} {due.pop(0):4d} epochs {before - started - scored:6.0f} s  {text}")
        scored += time.perf_counter() - before

    train(model, feed, spec.train, report)


@click.command(cls=MultiValue)
@click.argument("dataset")
@click.option("--models", multiple=True, required=True)
@click.option("--at", multiple=True, type=int, required=True, help="Epochs after which to score.")
@click.option("--nets")
@click.option("--learning-rate", type=float)
@click.option("--batch-size", type=int)
@click.option("--latent-dim", type=int)
@click.option("--scale", multiple=True, metavar="NAME=NUMBER...")
@click.option("--weight", multiple=True, metavar="NAME=NUMBER...")
@click.option("--missing", type=float, default=0.0, show_default=True)
@click.option("--scheme", default="split", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--metric", default="cross_coherence", show_default=True)
@data_option
@cache_option
@results_option
def main(
    dataset: str, models: tuple[str, ...], at: tuple[int, ...], nets: str | None, learning_rate: float | None,
    batch_size: int | None, latent_dim: int | None, scale: tuple[str, ...], weight: tuple[str, ...], missing: float,
    scheme: str, seed: int, metric: str, data_dir: Path, cache_dir: Path, results_dir: Path,
) -> None:  # fmt: skip
    """Print one line per model and number of epochs."""
    prepare(1)
    request = Request(
        models=models, datasets=(dataset,), missing=(missing,), scheme=(scheme,), seeds=(seed,), nets=nets,
        epochs=max(at), batch_size=batch_size, learning_rate=learning_rate, latent_dim=latent_dim,
        scales=numbers_by_name(scale), weights=numbers_by_name(weight),
    )  # fmt: skip
    for entry in make_plan(request, Store(results_dir), data_dir).entries:
        if entry.status == "skipped":
            raise click.ClickException(entry.reason)
        pilot(entry.spec, at, metric, data_dir, cache_dir)


if __name__ == "__main__":
    main()
