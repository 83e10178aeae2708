"""Directed acyclic graphs with a number: small programs and their value, or neural architectures and their accuracy."""

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Judge, Protocol, Rows
from mmvae_bench.datasets.download import disk_errors
from mmvae_bench.disk import replace_file
from mmvae_bench.errors import DataError
from mmvae_bench.kinds.graph import is_valid, joined
from mmvae_bench.kinds.graph import parts as parts_of
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from torch import Tensor

    from mmvae_bench.types import Modality

Types = NDArray[np.int64]
Edges = NDArray[np.bool_]
Floats = NDArray[np.float64]
VERSION = 1  # increased by every change of how programs are drawn or run
VERTICES = 7  # the input, vertex 0, and six more
TRAIN, TEST = 4000, 1000  # programs
SKIP = 0.3  # probability of each edge from an earlier vertex
PROGRAMS = ("input", "sum", "half", "minus", "sine", "cosine")
LAYERS = ("input", "conv3", "sep3", "conv5", "sep5", "avg3", "max3")  # of D-VAE's architectures
FILE = "final_structures6.txt"
UNTRAINED = 1000  # first lines of the file, which D-VAE leaves out
CLASSES = ("lowest", "low", "middle", "high", "highest")  # fifths of the training rows by their number


@dataclass(frozen=True, kw_only=True)
class Dag(Dataset):
    """A graph [7, T + 7] (:mod:`mmvae_bench.kinds.graph`) and its number, standardised by the training rows.

    ``programs`` computes exactly: vertex 0 is the number 1; any other is the sum of what it reads, or half, minus, the
    sine or the cosine of that sum. The number is asinh of the last vertex. 4,000 training and 1,000 test rows.

    ``architectures`` has D-VAE's 19,020 neural networks of six layers and their accuracy on CIFAR-10 (Zhang et al.
    2019, arXiv 1904.11088; Section 4), 90 % of them for training. Each layer reads the one before it, and some others.

    The class of a row is the fifth that its number falls into: coherence says whether graph and number agree.
    """

    summary = "computations as graphs, and their result; generated (or D-VAE's architectures, by --from)"
    classes = CLASSES

    source: Literal["programs", "architectures"] = "programs"

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``graph`` [7, T + 7] and ``number`` [1]."""
        from mmvae_bench.types import Modality

        types = PROGRAMS if self.source == "programs" else LAYERS
        return (
            Modality(
                "graph", (VERTICES, len(types) + VERTICES), "dag", dtype="float32", vocabulary=types, kind="graph"
            ),
            Modality("number", (1,), "normal", 0.1, dtype="float32"),
        )

    @property
    def protocol(self) -> Protocol:
        """Message passing for graphs; small nets."""
        return Protocol("dag[hidden=64]", 16, epochs=60, batch_size=64, learning_rate=1e-3, rows=TRAIN)

    def judges(self, vocabularies: Mapping[str, tuple[str, ...]]) -> Mapping[str, Judge]:
        """Return judges that run programs and read numbers; architectures need oracles."""
        return {"graph": Run(), "number": Fifths()} if self.source == "programs" else {}

    def build(self, data_dir: Path) -> Built:
        """Draw programs, or read the architectures."""
        if self.source == "programs":
            scale = _scale()
            train, test = (_rows(*_programs(split), len(PROGRAMS), scale) for split in ("train", "test"))
            return Built(train, test)
        types, edges, number = read_architectures(data_dir / FILE)
        order = np.random.default_rng(seed_for("dag", "architectures")).permutation(len(types))
        parts = np.split(order, [len(order) * 9 // 10])
        scale = Scale.of(number[parts[0]])
        train, test = (_rows(types[i], edges[i], number[i], len(LAYERS), scale) for i in parts)
        return Built(train, test)

    def sources(self, data_dir: Path) -> list[Path]:
        """Return the file of architectures."""
        if self.source == "programs":
            return []
        if not (data_dir / FILE).is_file():
            raise DataError(
                f"'{FILE}' of D-VAE's public repository (muhanzhang/D-VAE, folder data) is not in '{data_dir}'. "
                "Bring it: mmvae-bench data fetch 'dag[source=architectures]' --from FILE."
            )
        return [data_dir / FILE]

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy the file of architectures after reading it."""
        if self.source == "programs" or len(files) != 1:
            raise DataError(f"Only 'dag[source=architectures]' takes a file, and one: {FILE}.")
        read_architectures(files[0])
        with disk_errors(data_dir):
            data_dir.mkdir(parents=True, exist_ok=True)
            replace_file(data_dir / FILE, files[0].read_bytes())


@dataclass(frozen=True)
class Scale:
    """Location and scale of numbers, and the limits between the fifths of the standardised ones."""

    mean: float
    sd: float
    limits: tuple[float, ...]

    @classmethod
    def of(cls, number: Floats) -> "Scale":
        """Return the scale of training numbers."""
        mean, sd = float(number.mean()), float(number.std())
        return cls(mean, sd, tuple(np.quantile((number - mean) / sd, [0.2, 0.4, 0.6, 0.8]).tolist()))

    def standardised(self, number: Floats) -> NDArray[np.float32]:
        """Return standardised numbers."""
        return ((number - self.mean) / self.sd).astype(np.float32)

    def fifth(self, standardised: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the fifth of each standardised number."""
        return np.searchsorted(self.limits, standardised, side="right").astype(np.int64)


def _rows(types: Types, edges: Edges, number: Floats, count: int, scale: Scale) -> Rows:
    value = scale.standardised(number)
    return Rows({"graph": joined(types, edges, count), "number": value[:, None]}, scale.fifth(value))


@cache
def _programs(split: str) -> tuple[Types, Edges, Floats]:
    """Draw the programs of a split.

    A vertex that reads nothing is made to read the one before it; one that is never read, to be read by the one after.
    """
    n, rng = TRAIN if split == "train" else TEST, np.random.default_rng(seed_for("dag", "programs", split))
    types = rng.integers(1, len(PROGRAMS), (n, VERTICES))
    types[:, 0] = 0
    edges = np.tril(rng.random((n, VERTICES, VERTICES)) < SKIP, -1)
    for v in range(1, VERTICES):
        edges[:, v, v - 1] |= ~edges[:, v].any(1)
    for u in range(VERTICES - 1):
        edges[:, u + 1, u] |= ~edges[:, :, u].any(1)
    return types, edges, run(types, edges)


@cache
def _scale() -> Scale:
    return Scale.of(_programs("train")[2])


def run(types: Types, edges: Edges) -> Floats:
    """Return asinh of the value of programs, [N]; a vertex that reads nothing is 0."""
    value = np.ones((len(types), VERTICES))
    for v in range(1, VERTICES):
        read = edges[:, v, :v]
        total = (value[:, :v] * read).sum(1)
        results = (total, total, total / 2, -total, np.sin(total), np.cos(total))  # of each type
        value[:, v] = np.where(read.any(1), np.choose(types[:, v], results), 0.0)
    return np.arcsinh(value[:, -1])


class Fifths:
    """The judge of numbers, which reads the fifth exactly."""

    def __init__(self) -> None:
        self.accuracy: float | None = 1.0
        self.hash = hashlib.sha256(repr((VERSION, PROGRAMS, _scale())).encode()).hexdigest()[:16]

    def predict(self, x: "Tensor | NDArray[np.floating]") -> NDArray[np.int64]:
        """Return the fifth of numbers [N, 1]."""
        return _scale().fifth(np.asarray(x, np.float32)[:, 0])

    def read(self, x: "Tensor | NDArray[np.floating]") -> NDArray[np.int64]:
        """Return the class as the only value, [N, 1]."""
        return self.predict(x)[:, None]


class Run(Fifths):
    """The judge of programs, which runs them."""

    def numbers(self, x: "Tensor | NDArray[np.floating]") -> NDArray[np.float32]:
        """Return the standardised numbers of programs [N, 7, T + 7]; NaN where one is not valid."""
        entries = np.asarray(x)
        return np.where(is_valid(entries), _scale().standardised(run(*parts_of(entries))), np.float32(np.nan))

    def predict(self, x: "Tensor | NDArray[np.floating]") -> NDArray[np.int64]:
        """Return the fifth that each program computes; 5 where it is not valid."""
        number = self.numbers(x)
        return np.where(np.isnan(number), len(CLASSES), _scale().fifth(number))

    def accepts(self, x: "Tensor | NDArray[np.floating]") -> NDArray[np.bool_]:
        """Return which programs are valid."""
        return is_valid(np.asarray(x))


def read_architectures(path: Path) -> tuple[Types, Edges, Floats]:
    """Return types, edges and accuracies of D-VAE's file: a line is ``[[type], [type, bit], ...], accuracy``.

    Raises:
        DataError: If a line has another form.
    """
    lines = path.read_text(encoding="utf-8").splitlines()[UNTRAINED:]
    types = np.zeros((len(lines), VERTICES), np.int64)
    edges = np.zeros((len(lines), VERTICES, VERTICES), np.bool_)
    number = np.zeros(len(lines))
    for i, line in enumerate(lines):
        try:
            layers, number[i] = ast.literal_eval(line)
            for v, (kind, *bits) in enumerate(layers, 1):
                types[i, v] = kind + 1
                edges[i, v, : v - 1] = np.array(bits, np.bool_)
                edges[i, v, v - 1] = True
            proper = len(layers) == VERTICES - 1 and types[i, 1:].min() > 0 and types[i].max() < len(LAYERS)
        except (ValueError, SyntaxError, TypeError, IndexError, MemoryError, RecursionError):
            proper = False
        if not proper or not np.isfinite(number[i]):
            form, where = "[[type], [type, bit], ...], accuracy", f"line {UNTRAINED + i + 1} of '{path}'"
            raise DataError(f"{where} is not '{form}' of six layers. Copy the file again.")
    if len(lines) < 10:
        raise DataError(f"'{path}' has fewer than {UNTRAINED + 10:,} lines. Copy it again.")
    return types, edges, number
