"""MNIST digits paired with spoken digits of the same class: pictures and sounds."""

import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets import digits
from mmvae_bench.datasets.archives import AGAIN, members
from mmvae_bench.datasets.base import Built, Dataset, Entries, Protocol, Repeated, Rows
from mmvae_bench.datasets.digits import MNIST_MD5, Images
from mmvae_bench.datasets.download import UNVERIFIED, Pinned, disk_errors, download
from mmvae_bench.errors import BenchWarning, DataError
from mmvae_bench.kinds import spectrogram
from mmvae_bench.seeds import seed_for

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

HELD_OUT = ("theo", "yweweler")  # speakers of the test split: the last two of the six by name
PAIRS = 5  # training rows of each recording, each with another digit of MNIST
NAME = re.compile(r"(?:.*/)?recordings/((\d)_([a-z]+)_\d{1,9}\.wav)")  # digit, speaker, number
RELEASE = "free-spoken-digit-dataset-1.0.10"
PLACES = ("fsdd_recordings.zip", f"{RELEASE}.zip", f"{RELEASE}.tar.gz", "recordings")  # in data_dir/fsdd, in this order
# GitHub's archive of the tag; size and checksum as recorded by ryan-voitiskis/lossytrace (audit of 2026-08-02)
FSDD = Pinned(
    urls=("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.10.zip",),
    size=16_419_872,
    sha256="c680098f5d2355ba7cc4bd8b0ca9e0a24c00ebe3b4c552208889a4d28d4fbc2b",
)
# SHA-256 of the list of all 3,000 recordings, a line "name checksum" each, sorted. An archive made anew has it too.
# The recordings behind it have the count, the bytes, and the shortest and the longest sound that the audit lists.
CONTENT = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"
SCALE = 0.75 / 0.31  # in standard deviations, as mnist: Laplace .75, and the standard deviation of its pixels is .31
WEIGHT = 28 * 28 / (spectrogram.BANDS * spectrogram.FRAMES)  # as many terms as mnist has pixels


class Recordings(NamedTuple):
    """n recordings, sorted by name."""

    sound: spectrogram.Spectrograms  # [n, 1, 64, 48]
    label: NDArray[np.int64]  # digits, [n]
    speaker: NDArray[np.str_]  # [n]
    official: bool  # True if they are those of the release, all of them


@dataclass(frozen=True, kw_only=True)
class MnistAudio(Dataset):
    """MNIST digits and recordings of the Free Spoken Digit Dataset (Jackson et al., release 1.0.10), paired by digit.

    Six speakers said each digit 50 times. The test split has all 1,000 recordings of two speakers, theo and yweweler,
    who are in no training row; the others' 2,000 recordings are in five training rows each, with five different digits.
    ``item`` is the recording. A recording is cut after 0.752 s (2.6 % are longer), or has zeros behind its end.

    Sounds are log-mel spectrograms, standardised by mean and standard deviation over all values of the training
    recordings: two constants of :mod:`~mmvae_bench.kinds.spectrogram`, which a report needs to make them audible.
    """

    summary = "MNIST (CC BY-SA 3.0) and spoken digits (FSDD, CC BY-SA 4.0), paired by digit; other speakers in the test"
    classes = tuple("0123456789")

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``mnist`` [1, 28, 28], Laplace as in ``mnist_street``, and ``sound`` [1, 64, 48]."""
        from mmvae_bench.types import Modality

        shape = (1, spectrogram.BANDS, spectrogram.FRAMES)
        sound = Modality("sound", shape, "laplace", SCALE, WEIGHT, "float32", kind="sound")
        return Modality("mnist", (1, 28, 28), scale=0.75), sound

    @property
    def protocol(self) -> Protocol:
        """Convolutions for sounds, one hidden layer for digits."""
        return Protocol("conv", latent_dim=32, epochs=20, batch_size=64, learning_rate=1e-3, rows=9500, cost=3.0)

    def sources(self, data_dir: Path) -> list[Path]:
        """The four files of MNIST and the recordings: an archive or a folder."""
        places = [data_dir / "fsdd" / name for name in PLACES]
        recordings = next((path for path in places if path.exists()), None)
        absent = f"put them there yourself (of the recordings, {', '.join(PLACES[1:])} or {PLACES[0]})"
        digits.existing([data_dir / name for name in MNIST_MD5], "mnist_audio", data_dir, absent)
        if recordings is None:
            digits.existing([data_dir / "fsdd" / PLACES[1]], "mnist_audio", data_dir, absent)
        return [*(data_dir / name for name in MNIST_MD5), *([recordings] if recordings else [])]

    def build(self, data_dir: Path) -> Built:
        """Read, make spectrograms and pair."""
        path = self.sources(data_dir)[-1]
        train, test = digits.read_official_mnist("mnist_audio", data_dir)
        found, subset = read(path), ""
        if not found.official:
            unknown = f", {UNVERIFIED}" if len(found.label) == 3000 else ""
            subset = f"fsdd {len(found.label)} recordings{unknown}"
            warnings.warn(
                f"{path} is not the complete official release 1.0.10: results carry the subset '{subset}'.",
                BenchWarning,
                stacklevel=2,
            )
        heard = np.isin(found.speaker, HELD_OUT)
        if heard.all() or not heard.any():
            raise DataError(f"{path} has speakers of only one split; those of the test are {', '.join(HELD_OUT)}.")
        rows = _rows("train", train, found, np.flatnonzero(~heard), PAIRS)
        return Built(rows, _rows("test", test, found, np.flatnonzero(heard), 1), subset)

    def fetch(self, data_dir: Path) -> None:
        """Download the absent files of MNIST and the release of the recordings, and verify them."""
        digits.fetch_mnist(data_dir)
        path = data_dir / "fsdd" / PLACES[1]
        with disk_errors(path):
            if not any((path.parent / name).exists() for name in PLACES):
                download(FSDD, path)


def read(path: Path) -> Recordings:
    """Read the recordings in an archive or a folder.

    Raises:
        DataError: If there are none, or one is not a wave file of 8 kHz.
        BenchError: If librosa is absent.
    """
    prefix = "recordings/" if path.is_dir() else ""
    found: dict[str, tuple[re.Match[str], bytes]] = {}
    for name, content in members(path, lambda name: NAME.fullmatch(prefix + name)):
        if match := NAME.fullmatch(prefix + name):
            if match[1] in found:
                raise DataError(f"{path} contains {match[1]!a} twice. {AGAIN}")
            found[match[1]] = match, content
    if not found:
        raise DataError(f"{path} contains no recordings/<digit>_<speaker>_<number>.wav. {AGAIN}")
    ordered = sorted(found.items())
    listed = "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, (_, content) in ordered)
    waves = np.stack([_wave(path, name, content) for name, (_, content) in ordered])
    return Recordings(
        spectrogram.spectrograms(waves),
        np.array([int(match[2]) for _, (match, _) in ordered]),
        np.array([match[3] for _, (match, _) in ordered]),
        hashlib.sha256(listed.encode()).hexdigest() == CONTENT,
    )


def _wave(path: Path, name: str, content: bytes) -> NDArray[np.float32]:
    """Return a recording of fixed length, [6016], in [-1, 1]."""
    from scipy.io import wavfile

    try:
        rate, wave = wavfile.read(io.BytesIO(content))
        if rate != spectrogram.RATE or wave.dtype != np.int16 or wave.ndim != 1 or not len(wave):
            raise ValueError(f"it is {wave.dtype} {wave.shape} of {rate} Hz, not int16 of {spectrogram.RATE} Hz")
    except Exception as error:  # readers raise many exceptions on damaged files
        raise DataError(f"{path} has a damaged recording {name!a} ({error}). {AGAIN}") from error
    return spectrogram.fitted(np.asarray(wave / 2**15, np.float32))


def _rows(split: str, mnist: Images, of: Recordings, chosen: NDArray[np.intp], pairs: int) -> Rows:
    """Pair each of the chosen recordings with ``pairs`` random digits of its class, and shuffle the rows.

    No digit is in two rows, unless a class has more rows than digits.
    """
    rng = np.random.default_rng(seed_for("mnist_audio", split))
    recording = rng.permutation(np.repeat(np.arange(len(chosen)), pairs))
    label, picture = of.label[chosen][recording], np.empty(len(recording), np.int64)
    for k in range(10):
        rows = np.flatnonzero(label == k)
        picture[rows] = np.resize(rng.permutation(np.flatnonzero(mnist[1] == k)), len(rows))
    x: dict[str, Entries] = {"mnist": mnist[0][picture], "sound": Repeated(of.sound[chosen], recording)}
    return Rows(x, label, item=chosen[recording].astype(np.int64))
