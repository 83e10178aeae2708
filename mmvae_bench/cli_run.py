"""The command ``run``: from flags to a plan, and from a plan to results."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import platformdirs

from mmvae_bench.multivalue import MultiValue

if TYPE_CHECKING:
    from mmvae_bench.planning import Plan, Request, Settings

FOLDER = click.Path(path_type=Path, file_okay=True)
GRID = ("models", "datasets", "missing", "schemes", "seeds")

data_option = click.option(
    "--data-dir", type=FOLDER, default="data", show_default=True, envvar="MMVAE_BENCH_DATA", show_envvar=True,
    help="Files of data sets; read only.",
)  # fmt: skip
cache_option = click.option(
    "--cache-dir", type=FOLDER, default=lambda: platformdirs.user_cache_dir("mmvae-bench"), envvar="MMVAE_BENCH_CACHE",
    show_default="the user's cache", show_envvar=True, help="What is derived: generated data, classifiers that judge.",
)  # fmt: skip
