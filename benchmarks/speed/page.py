"""The page of measurements, reports/speed.md: one section per part."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from turns import ABOUT, CORES, Row

INTRODUCTION = """# Speed

`python benchmarks/speed PART` measures a part and replaces its section here and its rows in `speed.csv`.

The sides of a comparison are processes of their own, measured in turn (A B A B ...) while the others wait.
Paces are medians over rounds.
Ratios are medians of the ratios within a round; (low to high) is their range.
A sample is a training row with all its modalities; a step has 128 samples unless its section says otherwise.
"""
PARTS = {
    "multivae": """
Ours is the engine's whole step, including making its batch from stored bytes.
PyPI `multivae` has the same nets and Adam as its trainer has it, runs in fp32 and gets its batch as ready floats.
Equal parameters and decodes are asserted.
(Its MVAE encodes each entry twice, which the bound does not need.)""",
    "subsets": """
MoPoE of eight modalities: 255 subsets.
The nets of each modality are 16-32-16 and 8-32-16; the batch is 64.""",
    "bare": """
The same nets with the engine's layers, forward and backward from fixed gradients: no batch, densities, loss or update.
Equal numbers of encodes and decodes are asserted.
In bf16 the outputs of the bare nets stay in bf16, while ours become fp32.""",
    "meme": """
The published step is our own faithful one in plain style, with the authors' nets (batch norm, a head of 512, L = 64).
It encodes each row three times, decodes in one call after another, and has torch's Adam and allocator as they come.
Ours on published nets has the same modules; its second encode is that of its 128 pseudo-inputs.
K = 10.""",
    "switches": """
The plain fp32 step, compared with the same step with one switch changed.
Also batches in which half of the rows have one modality (`split` 0.5): absent entries left out, or computed.""",
    "compiled": """
The plain step and `--compile`; compiling, which takes a minute, is not counted.""",
    "agreement": """
Mean difference of a score from plain fp32, over models and seeds of a real grid (in the column named ratio).
A switch passes if the 95 % interval lies within +-.02 (protocol 27).""",
    "scoring": """
Seconds that scoring takes, divided by those of training, in the suite `quick`; and minutes of whole commands.""",
    "scaling": """
Growth of time and memory with the work, each point in a process of its own; `speed_scaling.png` draws it.""",
    "gpu": """
Measured on one GPU, in one call.""",
}


def about() -> str:
    """Return date, processor, cores, versions and load."""
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "multivae"))
    return f"{when}, {_processor()}, {CORES} cores, {versions}, load average {load} at the start"


def replace_section(path: Path, part: str, rows: list[Row]) -> None:
    """Write the section of a part into the page, in place of the one it had there; other sections stay."""
    head, *sections = (path.read_text(encoding="utf-8") if path.exists() else INTRODUCTION).split("\n## ")
    named = {section.partition("\n")[0]: section for section in sections}
    named[part] = _section(part, rows)
    path.write_text("\n## ".join(each.rstrip("\n") + "\n" for each in (head, *named.values())), encoding="utf-8")


def _section(part: str, rows: list[Row]) -> str:
    where = " ".join(f"Measured {row.note}." for row in rows if row.what == ABOUT)
    lines = [[row.what, str(row.threads or ""), _pace(row), _ratio(row), row.note] for row in rows if row.what != ABOUT]
    intro = f"{PARTS[part].strip()}\n\n`python benchmarks/speed {part}`. {where}"
    return f"{part}\n\n{intro}\n\n" + _table(["", "threads", "samples/s", "ratio", ""], lines)


def _pace(row: Row) -> str:
    return f"{row.samples_per_s:,.0f}" if row.samples_per_s else ""


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    digits = "+.3f" if row.part == "agreement" else ".2f"  # a difference of scores
    between = f" ({row.low:{digits}} to {row.high:{digits}})" if row.low is not None and row.high is not None else ""
    return f"**{row.ratio:{digits}}**{between}"


def _table(head: list[str], lines: Iterable[list[str]]) -> str:
    every = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in every)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
