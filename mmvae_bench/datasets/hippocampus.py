"""Calcium recordings of the hippocampus of several mice on a track (Sheintuch, Rubin & Ziv 2022); the user's files."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import click
import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.datasets.download import UNVERIFIED, disk_errors
from mmvae_bench.disk import replace_file
from mmvae_bench.errors import DataError

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

Frames = tuple[NDArray[np.float64], NDArray[np.int64]]  # activity [T, N] and position [T] of T consecutive frames
MICE = {"ca1": ("C5M1", "C6M3", "C6M4", "C8M2"), "ca3": ("C14M4", "C15M2", "C23M4", "C24M3", "C24M4")}
PARTS = ("spike_train", "stimulus_trace")
WHENCE = "https://github.com/zivlab/unbiased_information_estimation, folder 'Real data/Full data set'"
CELLS = (2, 4, 2)  # environments, sessions, directions: the cell array of each file
BINS = 20  # positions of a track
RATE, SLOWER = 20.0, {"C8M2": 10.0}  # frames per second, and of the one mouse with another rate
SMOOTHING = 0.25  # seconds, standard deviation of the kernel
NEURONS = 96  # kept of each mouse, the most active ones; the smallest recording has 98
TEST = 0.2  # share of the frames of a direction, the last ones
VISIT = 5  # consecutive rows of one position and direction that are one item


@dataclass(frozen=True, kw_only=True)
class Hippocampus(Dataset):
    """Each mouse is a modality; a row has a frame of each mouse at the same position bin and in the same direction.

    The mice never ran together: rows are matched, as in MM-VAMP's experiment (Sutter et al. 2024). Of each
    bin and direction, every mouse gives as many frames as the mouse with the fewest, evenly spaced in time. Classes are
    the 20 bins, in order.

    **Split by time**: of each mouse and direction, the last fifth of the frames is for testing, the rest for training.
    Events are smoothed over time (Gaussian, sd 0.25 s) within each split and lap, so no frame reaches the other split.
    Five consecutive rows of a bin are one item: hidden, held out for validation and judged together.

    Of each mouse the 96 neurons with most events in training are kept, each scaled to mean 0 and sd 1 in training.
    One session is read, since nothing in the files says that a neuron has the same index in every session.
    """

    summary: ClassVar[str] = "hippocampus of four or five mice on a track (no licence); from your files"
    classes = tuple(str(s + 1) for s in range(BINS))
    ordered: ClassVar[Literal["", "line", "circle"]] = "line"

    area: Literal["ca1", "ca3"] = "ca1"  # four mice, or five
    environment: Literal[1, 2] = 1  # track
    session: Literal[1, 2, 3, 4] = 4  # of the environment, in order of time

    @property
    def modalities(self) -> Sequence["Modality"]:
        """The mice, [96] each."""
        from mmvae_bench.types import Modality

        return tuple(Modality(mouse, (NEURONS,), "normal", 1.0, dtype="float32") for mouse in MICE[self.area])

    @property
    def protocol(self) -> Protocol:
        """The protocol of ``place_cells``, with more epochs of fewer rows; not tried on the real files."""
        return Protocol("mlp[hidden=128,layers=2]", 16, epochs=100, batch_size=64, learning_rate=1e-3, rows=1500)

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """Attributes that all mice of a row share; the files do not say which direction is which."""
        return {"position": self.classes or (), "direction": ("1", "2")}

    @property
    def may_be_shown(self) -> bool:
        """False: the files have no licence."""
        return False

    def sources(self, data_dir: Path) -> list[Path]:
        """Two files of each mouse."""
        paths = [data_dir / "hippocampus" / f"{mouse}_{part}.mat" for mouse in MICE[self.area] for part in PARTS]
        if absent := [path.name for path in paths if not path.is_file()]:
            raise DataError(
                f"hippocampus[area={self.area}] lacks {', '.join(absent)}. Get them from {WHENCE}, and run mmvae-bench "
                f"data fetch hippocampus --from FILES --data-dir {shlex.quote(str(data_dir))}"
            )
        return paths

    def fetch(self, data_dir: Path) -> None:
        """Raise what :meth:`sources` raises: files without a licence are not downloaded."""
        self.sources(data_dir)

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy ``<mouse>_spike_train.mat`` and ``<mouse>_stimulus_trace.mat`` into ``data_dir/hippocampus``."""
        known = "|".join(mouse for mice in MICE.values() for mouse in mice)
        for file in files:
            if not re.fullmatch(rf"({known})_({'|'.join(PARTS)})\.mat", file.name):
                raise DataError(f"{file} is not <mouse>_spike_train.mat or <mouse>_stimulus_trace.mat. See {WHENCE}.")
            read(file)
        with disk_errors(data_dir):
            (data_dir / "hippocampus").mkdir(parents=True, exist_ok=True)
            for file in files:
                replace_file(data_dir / "hippocampus" / file.name, file.read_bytes())
                click.echo(f"Taken: {file}")

    def build(self, data_dir: Path) -> Built:
        """Read, split by time, smooth, scale and match."""
        paths, each = self.sources(data_dir), {}
        for mouse, events, trace in zip(MICE[self.area], paths[::2], paths[1::2], strict=True):
            each[mouse] = self._session(events, trace)
        first = common_start([position for frames in each.values() for _, position in frames], data_dir)
        found = {mouse: prepared(frames, SLOWER.get(mouse, RATE)) for mouse, frames in each.items()}
        train, test = ({mouse: splits[i] for mouse, splits in found.items()} for i in (0, 1))
        built = matched(train, first, 0)
        return Built(built, matched(test, first, len(built)), f"hippocampus {self.area}, {UNVERIFIED}")

    def _session(self, events: Path, trace: Path) -> list[Frames]:
        """Return the frames of both directions."""
        cells = [read(path)[self.environment - 1, self.session - 1] for path in (events, trace)]
        frames = [(dense(x).astype(np.float64), dense(s).ravel().astype(np.int64)) for x, s in zip(*cells, strict=True)]
        sizes = {x.shape[1:] for x, _ in frames}
        if any(x.ndim != 2 or len(x) != len(s) for x, s in frames) or len(sizes) > 1:
            shapes = ", ".join(f"{x.shape} with {len(s)} positions" for x, s in frames)
            raise DataError(f"{events} has directions of {shapes}, not frames x neurons. Get both files again.")
        if (count := frames[0][0].shape[1]) < NEURONS:
            raise DataError(f"{events} has {count} neurons, fewer than the {NEURONS} that are kept. Get it again.")
        return frames


def read(path: Path) -> NDArray[Any]:
    """Return the cell array of a file, [2, 4, 2]: environments, sessions, directions.

    Raises:
        DataError: If it is damaged, or is not such an array.
    """
    from scipy.io import loadmat

    try:
        arrays = [value for name, value in loadmat(path).items() if not name.startswith("__")]
        if len(arrays) != 1 or arrays[0].dtype != object or arrays[0].shape != CELLS:
            raise ValueError(f"it has {len(arrays)} variables, the first {arrays[0].dtype} {arrays[0].shape}")
    except Exception as error:  # readers raise many exceptions on damaged files
        raise DataError(
            f"{path} is not a MATLAB file of one 2x4x2 cell array ({type(error).__name__}: {error}). Get it again."
        ) from error
    cells: NDArray[Any] = arrays[0]
    return cells


def dense(values: Any) -> NDArray[Any]:
    """Return a matrix that MATLAB stored as sparse, or as it is."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def common_start(positions: Sequence[NDArray[np.int64]], data_dir: Path) -> int:
    """Return the number of the first bin.

    Raises:
        DataError: If the positions of all mice are not 20 consecutive whole numbers.
    """
    bins = np.unique(np.concatenate(positions))
    if len(bins) != BINS or bins[-1] - bins[0] != BINS - 1:
        raise DataError(
            f"The positions in {data_dir / 'hippocampus'} are {len(bins)} numbers from {bins.min()} to {bins.max()}, "
            f"not {BINS} bins. Get the files again, all from one version."
        )
    return int(bins[0])


def prepared(frames: Sequence[Frames], rate: float) -> tuple[list[Frames], list[Frames]]:
    """Return the training and test frames of both directions: split by time, smoothed, chosen and scaled neurons.

    ``rate`` is in frames per second. What is chosen and the scales depend on the training frames alone.
    """
    ends = [round(len(s) * (1 - TEST)) for _, s in frames]
    train = [(x[:end], s[:end]) for (x, s), end in zip(frames, ends, strict=True)]
    test = [(x[end:], s[end:]) for (x, s), end in zip(frames, ends, strict=True)]
    events = sum(x.sum(0) for x, _ in train)
    kept = np.sort(np.argsort(-events, kind="stable")[:NEURONS])
    splits = [[(smoothed(x[:, kept], s, SMOOTHING * rate), s) for x, s in part] for part in (train, test)]
    every = np.concatenate([x for x, _ in splits[0]])
    mean, sd = every.mean(0), every.std(0)
    sd[sd == 0] = 1  # a neuron without events
    train, test = ([((x - mean) / sd, s) for x, s in part] for part in splits)
    return train, test


def smoothed(events: NDArray[np.float64], position: NDArray[np.int64], sd: float) -> NDArray[np.float64]:
    """Return events [T, N] convolved with a Gaussian of ``sd`` frames in each lap: it ends where positions jump."""
    from scipy.ndimage import gaussian_filter1d

    laps = np.split(events, np.flatnonzero(np.abs(np.diff(position)) > 1) + 1)
    return np.concatenate([gaussian_filter1d(lap, sd, axis=0, mode="nearest") for lap in laps if len(lap)] or [events])


def matched(mice: Mapping[str, Sequence[Frames]], first: int, item: int) -> Rows:
    """Return the rows of one split: of each bin and direction as many as the mouse with the fewest frames has.

    ``first`` is the number of the first bin; ``item`` is the first number of an item.
    """
    x: dict[str, list[NDArray[np.float64]]] = {mouse: [] for mouse in mice}
    values: list[tuple[int, int, int]] = []  # position, direction, item of each row
    for direction in (0, 1):
        for s in range(BINS):
            there = {mouse: np.flatnonzero(frames[direction][1] == first + s) for mouse, frames in mice.items()}
            n = min(map(len, there.values()))
            for mouse, found in there.items():
                chosen = found[np.linspace(0, len(found) - 1, n).round().astype(int)]
                x[mouse].append(mice[mouse][direction][0][chosen])
            values += [(s, direction, item + k // VISIT) for k in range(n)]
            item += -(-n // VISIT)
    if not values:
        raise DataError("The mice of hippocampus share no position in one of the splits. Get all files again.")
    facts = np.array(values, np.int64)
    entries = {mouse: np.concatenate(parts).astype(np.float32) for mouse, parts in x.items()}
    return Rows(entries, facts[:, 0].copy(), facts[:, 2].copy(), facts[:, :2].copy())
