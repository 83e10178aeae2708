"""Sounds on the page: which are played, that they are WAV files, and what the page says without librosa."""

import base64
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from mmvae_bench.kinds.spectrogram import RATE, SAMPLES, pictures, spectrograms
from mmvae_bench.report.build import build_report
from mmvae_bench.report.figures.exemplars import Exemplar
from mmvae_bench.report.figures.samples import grids
from mmvae_bench.report.sounds import COLUMNS, sounds
from mmvae_bench.spec import Missing
from mmvae_bench.store.store import Store

Arrays = dict[str, Any]
HERTZ = np.array([300, 500, 700, 900, 1100])


def drawn(hertz: Any) -> Any:
    """Sounds of one pitch each, as a run stores them."""
    return pictures(spectrograms(np.float32([np.sin(2 * np.pi * f * np.arange(SAMPLES) / RATE) for f in hertz])))


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """A run whose generated sounds are an octave above the true ones."""
    digits = np.zeros((5, 1, 28, 28), np.uint8)
    made = {f"grid/{given}/mnist": digits for given in ("source", "mnist", "sound", "mnist+sound")}
    made |= {f"grid/{given}/sound": drawn(2 * HERTZ) for given in ("mnist", "sound", "mnist+sound")}
    return {**made, "grid/source/sound": drawn(HERTZ), "sounds": np.array(["sound"])}


def pitch(uri: str) -> float:
    head, _, text = uri.partition(",")
    assert head == "data:audio/wav;base64"
    rate, wave = wavfile.read(io.BytesIO(base64.b64decode(text)))
    assert (rate, wave.dtype, wave.shape) == (8000, np.int16, (SAMPLES,))
    return float(np.fft.rfftfreq(SAMPLES, 1 / rate)[np.abs(np.fft.rfft(wave)).argmax()])


def test_true_sounds_and_those_generated_from_others_are_played(arrays: Arrays) -> None:
    rows = [Exemplar(Missing(r), 0, {"mvae": arrays, "without": {}}) for r in (0.0, 0.5)]
    (table,) = sounds(rows, "group")
    assert (table.group, table.modality, table.missing) == ("group", "sound", Missing().text)
    (first, true), (second, made) = table.lines
    assert (first, second) == ("true", "mvae, given mnist")
    assert len(true) == len(made) == COLUMNS
    assert [pitch(uri) for uri in true] == pytest.approx(HERTZ[:COLUMNS], abs=40)
    assert [pitch(uri) for uri in made] == pytest.approx(2 * HERTZ[:COLUMNS], abs=60)


def test_other_data_have_no_sounds(arrays: Arrays) -> None:
    assert sounds([], "group") == []
    silent = {key: values for key, values in arrays.items() if key != "sounds"}
    assert sounds([Exemplar(Missing(), 0, {"mvae": silent})], "group") == []


def test_sounds_are_in_the_figure_of_pictures_too(arrays: Arrays) -> None:
    (plot,) = grids([Exemplar(Missing(), 0, {"mvae": arrays})], "group", "slug")
    (ax,) = plot.figure.axes
    assert [text.get_text() for text in ax.get_yticklabels()].count("→ sound") == 3


@pytest.mark.parametrize("installed", [True, False])
def test_the_page_plays_sounds_or_says_what_is_missing(
    installed: bool, arrays: Arrays, factory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    run = factory.spec("mvae", "mnist_audio", names=("mnist", "sound"))
    store = Store(tmp_path / "results")
    factory.publish(store, run, artifacts=arrays)
    if not installed:
        monkeypatch.setitem(sys.modules, "librosa", None)
    page = build_report(store, factory.make_plan([run]), tmp_path / "reports").page.read_text(encoding="utf-8")
    played = re.findall(r'<audio controls preload="none" src="(data:audio/wav;base64,[^"]*)"', page)
    assert len(played) == 2 * COLUMNS * installed
    assert ("pip install &#39;mmvae-bench[audio]&#39;" in page) == (not installed)
    assert "Sounds: sound." in page
