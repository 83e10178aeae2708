"""Tones, whose spectrograms are known: the band of their peak by Slaney's formula, and the way back to a wave."""

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from mmvae_bench import BenchError
from mmvae_bench.kinds.spectrogram import (
    BANDS,
    FLOOR,
    FRAMES,
    MEAN,
    RATE,
    SAMPLES,
    SD,
    fitted,
    pictures,
    spectrograms,
    waves,
)  # fmt: skip


def centres() -> NDArray[np.float64]:
    """Centre of each band in Hz: equally spaced in Slaney's mel, linear below 1 kHz and logarithmic above."""
    top = 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4)  # 1 kHz is 15 mel, 6.4 kHz is 42
    mel = np.linspace(0, top, BANDS + 2)[1:-1]
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def tones(*hertz: float) -> NDArray[np.float32]:
    return np.float32([0.3 * np.sin(2 * np.pi * f * np.arange(SAMPLES) / RATE) for f in hertz])


def test_the_peak_of_a_tone_is_in_the_band_with_its_frequency() -> None:
    bands = np.arange(4, 62, 6)
    x = spectrograms(tones(*centres()[bands]))
    assert x.shape == (len(bands), 1, BANDS, FRAMES) and x.dtype == np.float32
    assert np.abs(x[:, 0, :, 4:-4].mean(2).argmax(1) - bands).max() <= 1
    assert (x[:, 0, :, FRAMES // 2].argmax(1) == bands).mean() > 0.8


def test_decibels_are_relative_to_the_loudest_place_and_end_at_the_floor() -> None:
    wave = tones(800.0)
    loud, quiet = (spectrograms(gain * wave) * SD + MEAN for gain in (1.0, 0.01))
    assert loud == pytest.approx(quiet, abs=0.01)
    assert loud.max() == pytest.approx(0, abs=1e-4) and loud.min() == pytest.approx(FLOOR, abs=1e-4)
    steps = tones(800.0)
    steps[:, SAMPLES // 2 :] *= 0.1  # 20 dB
    power = spectrograms(steps) * SD + MEAN
    assert power[0, 0, :, 12].max() - power[0, 0, :, 36].max() == pytest.approx(20, abs=0.2)


def test_silence_is_at_the_floor() -> None:
    assert spectrograms(np.zeros((1, SAMPLES), np.float32)) * SD + MEAN == pytest.approx(FLOOR, abs=1e-4)


@pytest.mark.parametrize("hertz", [200.0, 700.0, 1900.0])
def test_griffin_lim_recovers_the_frequency_of_a_tone(hertz: float) -> None:
    (wave,) = waves(pictures(spectrograms(tones(hertz))))
    assert wave.shape == (SAMPLES,) and np.abs(wave).max() == pytest.approx(1)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(SAMPLES)))
    found = np.fft.rfftfreq(SAMPLES, 1 / RATE)[spectrum.argmax()]
    width = np.diff(centres())[np.searchsorted(centres(), hertz) - 1]  # a band is all that is known of a frequency
    assert abs(found - hertz) < width


def test_a_wave_found_again_has_the_spectrogram_that_it_was_found_from() -> None:
    time = np.arange(SAMPLES) / RATE
    chirp = np.float32(0.5 * np.sin(2 * np.pi * (300 + 800 * time) * time) * np.minimum(1, 8 * time))[None]
    before = pictures(spectrograms(chirp)).astype(float)
    after = pictures(spectrograms(waves(pictures(spectrograms(chirp))))).astype(float)
    loud = before > 255 / 2  # above -30 dB
    assert np.abs(before - after)[loud].mean() * -FLOOR / 255 < 3  # dB
    assert np.array_equal(waves(before.astype(np.uint8)), waves(before.astype(np.uint8)))


def test_low_frequencies_are_at_the_bottom_and_the_scale_is_fixed() -> None:
    x = np.full((1, 1, BANDS, FRAMES), (FLOOR - MEAN) / SD)
    x[0, 0, 0] = (0 - MEAN) / SD
    x[0, 0, -1] = 99.0
    x[0, 0, 1] = (FLOOR / 2 - MEAN) / SD
    (drawn,) = pictures(x)[:, 0]
    assert (drawn[-1] == 255).all() and (drawn[0] == 255).all() and (drawn[5:-5] == 0).all()
    assert np.isin(drawn[-2], (127, 128)).all()


def test_waves_are_cut_or_followed_by_zeros() -> None:
    long, short = np.arange(SAMPLES + 9, dtype=np.float32), np.ones(5, np.float32)
    assert np.array_equal(fitted(long), long[:SAMPLES])
    assert fitted(short).shape == (SAMPLES,) and fitted(short).sum() == fitted(short)[:5].sum() == 5


def test_without_librosa_a_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(BenchError, match=r"pip install 'mmvae-bench\[audio\]'"):
        spectrograms(tones(800.0))
