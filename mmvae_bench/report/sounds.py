"""Generated sounds that the page plays: true ones, and those generated from other modalities."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from mmvae_bench.errors import BenchError
from mmvae_bench.kinds.spectrogram import RATE, Pixels, waves
from mmvae_bench.report.figures.exemplars import Exemplar

COLUMNS = 4  # sounds in a line; each is 16 kB of the page


@dataclass(frozen=True)
class Sounds:
    """A table of sounds of one modality: names of lines, and WAV files as data URIs; or why there are none."""

    group: str
    modality: str
    missing: str
    lines: Sequence[tuple[str, Sequence[str]]] = ()
    reason: str = ""


def sounds(rows: Sequence[Exemplar], group: str) -> list[Sounds]:
    """Return a table for each modality that can be heard: a line of true sounds, then a line per model and source.

    The sounds are those of the first columns of the figures of the first missing pattern, each model's lowest seed.
    """
    if not rows:
        return []
    row = rows[0]
    heard = {str(name) for arrays in row.arrays.values() for name in arrays.get("sounds", ())}
    return [_table(row, group, name) for name in sorted(heard)]


def _table(row: Exemplar, group: str, name: str) -> Sounds:
    drawn: dict[str, Pixels] = {}
    for label, arrays in row.arrays.items():
        if name not in arrays.get("sounds", ()):
            continue
        drawn.setdefault("true", arrays[f"grid/source/{name}"])
        for key in arrays:
            source, given, target = (*key.split("/"), "", "")[:3]
            if (source, target) == ("grid", name) and given not in ("source", name) and "+" not in given:
                drawn[f"{label}, given {given}"] = arrays[key]
    try:
        found = waves(np.concatenate([pixels[:COLUMNS] for pixels in drawn.values()]))
    except BenchError as absent:
        return Sounds(group, name, row.missing.text, reason=str(absent))
    each = iter(map(_uri, found))
    lines = [(line, [next(each) for _ in pixels[:COLUMNS]]) for line, pixels in drawn.items()]
    return Sounds(group, name, row.missing.text, lines)


def _uri(wave: NDArray[np.float32]) -> str:
    """Return a wave in [-1, 1] as a data URI of a WAV file: 16 bits, mono."""
    file = io.BytesIO()
    wavfile.write(file, RATE, (wave * (2**15 - 1)).astype(np.int16))
    return f"data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode()}"
