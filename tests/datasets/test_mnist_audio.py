"""MNIST with spoken digits: speakers, pairs and files, on a few recordings written here; real ones where they are."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from mmvae_bench import DataError, datasets
from mmvae_bench.datasets import digits, mnist_audio
from mmvae_bench.datasets.digits import MNIST_MD5
from mmvae_bench.datasets.mnist_audio import HELD_OUT, PAIRS, PLACES, MnistAudio, read
from mmvae_bench.errors import BenchWarning
from mmvae_bench.kinds.spectrogram import BANDS, FRAMES
from tests.helpers import REAL, needs

SPEAKERS = ("george", "theo", "yweweler")


def wav(hertz: float, seconds: float = 0.3, rate: int = 8000, kind: Any = np.int16) -> bytes:
    file = io.BytesIO()
    wave = 9000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    wavfile.write(file, rate, wave.astype(kind))
    return file.getvalue()


def recordings() -> dict[str, bytes]:
    """Two recordings of each digit by each speaker; the pitch is the digit's."""
    return {
        f"{k}_{name}_{i}.wav": wav(200 + 100 * k, 0.2 + 0.2 * i) for k in range(10) for name in SPEAKERS for i in (0, 1)
    }


def mnist(n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Each of n pictures is different, and its digit is the last of its number."""
    x = np.zeros((n, 1, 28, 28), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = np.arange(n) % 256, np.arange(n) // 256
    return x, np.arange(n) % 10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The layout of the release as a folder, and MNIST's files by name; their contents are :func:`mnist`."""
    for name in MNIST_MD5:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(digits, "read_official_mnist", lambda name, data_dir: (mnist(400), mnist(300)))
    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    for name, content in recordings().items():
        (tmp_path / "fsdd" / "recordings" / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def built(folder: Path) -> Any:
    with pytest.warns(BenchWarning, match="not the complete official release"):
        return MnistAudio().build(folder)


def test_speakers_are_held_out_and_each_recording_has_its_digits(built: Any, folder: Path) -> None:
    everything = read(folder / "fsdd" / "recordings")
    assert built.subset == "fsdd 60 recordings"
    for rows, count, pairs in ((built.train, 20, PAIRS), (built.test, 40, 1)):
        assert np.bincount(np.unique(rows.item, return_counts=True)[1]).tolist() == [0] * pairs + [count]
        assert np.array_equal(everything.label[rows.item], rows.label)
        assert np.array_equal(rows.x["sound"][:], everything.sound[rows.item])
        number = rows.x["mnist"][:, 0, 0, 0].astype(int) + 256 * rows.x["mnist"][:, 0, 0, 1].astype(int)
        assert np.array_equal(number % 10, rows.label)
        assert len(set(number.tolist())) == len(rows)  # no picture is used twice
    train, test = (set(everything.speaker[rows.item].tolist()) for rows in (built.train, built.test))
    assert train == {"george"} and test == set(HELD_OUT)


def test_sounds_are_the_spectrograms_of_their_pitch(built: Any) -> None:
    bands = [built.test.x["sound"][built.test.label == k][:, 0].mean((0, 2)).argmax() for k in range(10)]
    assert np.all(np.diff(bands) > 0)
    assert built.train.x["sound"].shape == (100, 1, BANDS, FRAMES)


def test_the_release_is_read_from_an_archive_as_from_a_folder(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "release.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in reversed(recordings().items()):
            archive.writestr(f"free-spoken-digit-dataset-1.0.10/recordings/{name}", content)
        archive.writestr("free-spoken-digit-dataset-1.0.10/README.md", "not read")
    ours, theirs = read(path), read(folder / "fsdd" / "recordings")
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not ours.official


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("3_george_0.wav", b"<html>", "damaged recording '3_george_0.wav'"),
        ("3_george_0.wav", wav(200)[:20], "damaged recording"),
        ("3_george_0.wav", wav(200, rate=16000), "16000 Hz, not int16 of 8000 Hz"),
        ("3_george_0.wav", wav(200, kind=np.float32), "float32"),
        ("3_george_0.wav", wav(200, seconds=0), "damaged recording"),
        ("a.wav", wav(200), "contains no recordings"),
    ],
)
def test_what_is_not_a_recording_is_a_sentence(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=why):
        read(tmp_path)


def test_speakers_of_one_split_alone_are_refused(folder: Path) -> None:
    for path in (folder / "fsdd" / "recordings").glob("*george*"):
        path.unlink()
    with pytest.warns(BenchWarning), pytest.raises(DataError, match="speakers of only one split"):
        MnistAudio().build(folder)


def test_absent_files_are_named_with_the_command(folder: Path) -> None:
    dataset = MnistAudio()
    assert dataset.sources(folder)[-1] == folder / "fsdd" / "recordings"
    (folder / "fsdd" / "recordings").rename(folder / "fsdd" / "elsewhere")
    with pytest.raises(DataError, match=r"1\.0\.10\.zip.*mmvae-bench data fetch mnist_audio"):
        dataset.sources(folder)
    with pytest.raises(DataError, match=r"train-images.*mmvae-bench data fetch mnist_audio"):
        dataset.sources(folder / "nowhere")


def test_fetch_downloads_the_release_unless_recordings_are_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(digits, "fetch_mnist", lambda data_dir: None)
    monkeypatch.setattr(mnist_audio, "download", lambda pinned, path: asked.append(path))
    MnistAudio().fetch(folder)
    assert not asked
    MnistAudio().fetch(folder / "elsewhere")
    assert asked == [folder / "elsewhere" / "fsdd" / "free-spoken-digit-dataset-1.0.10.zip"]
    assert asked[0].name in PLACES  # it is read from there


@pytest.mark.slow
@needs("fsdd")
def test_the_real_release_is_official_and_its_training_sounds_are_standardised() -> None:
    found = read(REAL / "fsdd" / "fsdd_recordings.zip")
    assert found.official and found.sound.shape == (3000, 1, BANDS, FRAMES)
    assert np.unique(found.speaker, return_counts=True)[1].tolist() == [500] * 6
    train = found.sound[~np.isin(found.speaker, HELD_OUT)]
    assert train.mean() == pytest.approx(0, abs=0.01) and train.std() == pytest.approx(1, abs=0.01)


@pytest.mark.slow
@needs("fsdd")
@needs("MNIST")
def test_the_real_data_set_pairs_every_recording() -> None:
    built = MnistAudio().build(REAL)
    assert (len(built.train), len(built.test), built.subset) == (10_000, 1000, "")
    assert np.bincount(built.test.label).tolist() == [100] * 10


def test_it_is_registered_and_declares_a_sound() -> None:
    _, sound = datasets.make("mnist_audio", {}).modalities
    assert (sound.kind, sound.shape) == ("sound", (1, BANDS, FRAMES))
    assert sound.weight * BANDS * FRAMES == 784
