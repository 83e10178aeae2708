"""Tiny models, batches and files that tests build by hand, the folder of real data, and commands as typed."""

import importlib.util
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from mmvae_bench import models, nets
from mmvae_bench.cli.app import main
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.types import Modality, MultimodalBatch

REAL = Path(os.environ.get("MMVAE_BENCH_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
NAMES = ["meme", "mmvae", "mmvm", "mopoe", "mvae", "unimodal"]
EVERY = [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in models.registry.names() if name not in NAMES)]
# JNF anneals every product of flows, which takes a minute for three modalities and many for six
MOST = {"jnf": 3}
SHAPE = (1, 2, 3)


def invoke(*args: str) -> Result:
    """A command as typed, which ends with a code and never with a traceback."""
    result = CliRunner().invoke(main, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def benchmark(name: str) -> ModuleType:
    """A script of the folder ``benchmarks``."""
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_script", path)
    assert spec and spec.loader
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def modalities(m: int, **changes: object) -> list[Modality]:
    """M pixel modalities ``a``, ``b``, ... with different weights and scales."""
    return [
        Modality("abcde"[i], **{"shape": SHAPE, "likelihood": "laplace", "scale": 0.5 + 0.25 * i, **changes})  # type: ignore[arg-type]
        for i in range(m)
    ]


def model(
    name: str, m: int = 2, latent_dim: int = 3, seed: int = 0, kinds: Sequence[Modality] = (), **options: object
) -> MultimodalVAE:
    """A small MLP model in float64, its pseudo-inputs (if any) random."""
    torch.manual_seed(seed)
    networks = nets.registry.get("mlp")(list(kinds) or modalities(m), latent_dim, hidden=7, layers=1)
    made = models.registry.get(name)(networks, **options).double()
    made.initialise(lambda name, n: torch.rand(n, *shape_of(made, name), dtype=torch.float64))
    return made


def shape_of(made: MultimodalVAE, name: str) -> tuple[int, ...]:
    return made.modalities[made.names.index(name)].shape


def batch(made: MultimodalVAE, rows: int = 4, seed: int = 1, present: Tensor | None = None) -> MultimodalBatch:
    """Random entries in [0, 1]; complete unless ``present`` says otherwise."""
    generator = torch.Generator().manual_seed(seed)
    x = {m.name: torch.rand(rows, *m.shape, generator=generator, dtype=torch.float64) for m in made.modalities}
    return MultimodalBatch(x, torch.ones(len(x), rows, dtype=torch.bool) if present is None else present)


def gradient(made: MultimodalVAE, loss: Tensor) -> Tensor:
    """The gradient of every parameter, flattened; zeros where there is none."""
    grads = torch.autograd.grad(loss, list(made.parameters()), allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(grads, made.parameters(), strict=True)]
    )


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test without this file or folder of real data."""
    return pytest.mark.skipif(not (REAL / name).exists(), reason=f"no {name} in {REAL}; set MMVAE_BENCH_TEST_DATA")


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a file in MNIST's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes())
