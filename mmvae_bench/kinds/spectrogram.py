"""Log-mel spectrograms of short sounds, from waves and back. Importing this imports neither torch nor librosa.

A wave w has 8 kHz. Its spectrogram is

    S[b, t] = sum over f of M[b, f] |STFT(w)[f, t]|^2,    D = 10 log10(S / max S), at least -60 dB,

with a Hann window of 64 ms every 16 ms, and M the mel filter bank of Slaney's Auditory Toolbox: 64 bands from 0 to
4 kHz. An entry is x = (D - MEAN) / SD, float32. Loudness is thus no part of a sound.

librosa computes both directions. torchaudio has only been maintained since its version 2.8 (pytorch/audio#3902), and
a report imports no torch. librosa brings numba (200 MB), so it is an extra.
"""

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError

RATE = 8000  # samples per second
WINDOW, HOP = 512, 128  # of the Fourier transform, in samples
BANDS, FRAMES = 64, 48
SAMPLES = (FRAMES - 1) * HOP  # of a wave with FRAMES frames: 0.752 s
FLOOR = -60.0  # dB below the loudest place of a sound
MEAN, SD = -48.0, 15.0  # dB, over all places of all training recordings of mnist_audio, silence included
QUIET = 1e-9  # power; sounds that are quieter everywhere are silence
ROUNDS = 32  # of Griffin-Lim, librosa's default

Spectrograms = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def _librosa() -> ModuleType:
    """Return librosa.

    Raises:
        BenchError: If it is absent.
    """
    try:
        import librosa
    except ImportError:
        raise BenchError("Sounds need the extra 'audio'. Run pip install 'mmvae-bench[audio]'.") from None
    found: ModuleType = librosa
    return found


def fitted(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first :data:`SAMPLES` of a wave; a shorter one gets zeros behind its end."""
    return np.pad(wave[:SAMPLES], (0, max(0, SAMPLES - len(wave))))


def spectrograms(waves: NDArray[np.float32]) -> Spectrograms:
    """Return the entries [N, 1, 64, T] of waves [N, 128 (T - 1)] with values in [-1, 1].

    Raises:
        BenchError: If librosa is absent.
    """
    power = _librosa().feature.melspectrogram(y=waves, sr=RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS)
    top = np.maximum(power.max((1, 2), keepdims=True), QUIET)
    decibels = 10 * np.log10(np.maximum(power / top, 10 ** (FLOOR / 10)))
    return np.asarray((decibels[:, None] - MEAN) / SD, np.float32)


def pictures(x: NDArray[np.floating]) -> Pixels:
    """Return entries [N, 1, bands, T] as pictures, low frequencies at the bottom: black is -60 dB, white 0 dB."""
    share = 1 - (x * SD + MEAN) / FLOOR
    return np.asarray((share.clip(0, 1) * 255).round()[:, :, ::-1], np.uint8)


def waves(drawn: Pixels) -> NDArray[np.float32]:
    """Return waves [N, 128 (T - 1)] in [-1, 1] whose :func:`pictures` are about those given, [N, 1, bands, T].

    Griffin and Lim's algorithm (1984) finds the phases, which a spectrogram lacks. A step of a picture is 0.24 dB.

    Raises:
        BenchError: If librosa is absent.
    """
    librosa = _librosa()
    power = 10 ** ((1 - drawn[:, 0, ::-1] / 255) * FLOOR / 10)
    magnitude = librosa.feature.inverse.mel_to_stft(power, sr=RATE, n_fft=WINDOW)
    found = librosa.griffinlim(magnitude, n_iter=ROUNDS, n_fft=WINDOW, hop_length=HOP, random_state=0)
    return np.asarray(found / np.maximum(np.abs(found).max(1, keepdims=True), 1e-6), np.float32)
