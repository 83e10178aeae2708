"""reports/speed.md, from the table alone."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aims import AIMS, CORES
from rows import ABOUT, Row

INTRODUCTION = """# How fast

`python benchmarks/speed` measures all of it, `--only PART` a part; a part that is measured again replaces its rows in
`speed.csv`, and this page is made from that file. Sides that are compared run in processes of their own and in turn
(A B A B ...), each of them alone; paces and ratios are medians over rounds, ratios those within a round, and
(low to high) is their range. A sample is a training row with all its modalities, and a step has 128 of them.
"""
PARTS = {
    "multivae": """
Ours is the engine's whole step, the making of its batch from stored bytes included; PyPI `multivae` has the same nets
and Adam as its trainer has it, runs in fp32 and is given its batch as ready floats. Equal parameters and decodes are
asserted. (Its MVAE encodes each entry twice, which the bound does not need.)""",
    "subsets": """
MoPoE of eight modalities: 255 subsets. Nets 16-32-16 and 8-32-16 for each, batch 64.""",
    "bare": """
The same nets with the engine's layers, forward and backward from fixed gradients: no batch, densities, loss or update;
as many encodes and decodes as ours (asserted). In bf16 its outputs stay in bf16, while ours become fp32.""",
    "limits": """
How near our whole step comes to what the machine can do. Arithmetic: floating-point operations of forward and backward
(`torch.utils.flop_counter`, torch's own layers) a second, over those of a 1024 x 1024 matrix product. Bytes: a lower
bound for the nets (the output of each layer with parameters and its gradient written and read once, parameters read,
their gradients written, entries read) a second, over those of copying 256 MiB.""",
    "meme": """
The published step is our own faithful one in plain style (three encodes a row, one decode call after another, torch's
Adam and allocator as they come) with the authors' nets: batch norm, a head of 512, L = 64. Ours on published nets has
the very same modules; its second encode is that of its 128 pseudo-inputs. K = 10.""",
    "switches": """
The plain fp32 step against the same without, or with, a switch; and batches of which half of the rows show one modality
alone (`split` 0.5), where absent entries are left out, or computed like the others.""",
    "compiled": """
`--compile` against the plain step; what compiling takes, a minute, is not counted.""",
    "agreement": """
Mean difference of a score from plain fp32, over models and seeds (the column named ratio; a real grid, `agreement.py`).
A switch passes where the 95 % interval lies within +-.02 (protocol 27).""",
    "scaling": """
How time and memory grow with the work, each point in a process of its own; `speed_scaling.png` draws it.""",
    "gpu": """
Measured by `gpu.py` alone, in one call.""",
    "grid": """
The real command on four small runs (MoPoE and MMVAE K=3, two seeds, conv nets) with a warm cache, twice: pace in
training rows a second, by the seconds that the runs record, and by the wall of the whole command with its scoring.""",
    "cli": """
Wall seconds of commands that train nothing; the ratio is the aim over what it took.""",
}


def about() -> str:
    """Where and when: date, processor, cores, versions, load."""
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "multivae"))
    return f"{when}, {_processor()}, {CORES} cores, {versions}, load average {load} at the start"


def write(path: Path, rows: list[Row]) -> None:
    """Write the page."""
    parts = dict.fromkeys([*(part for part in PARTS), *(row.part for row in rows)])
    sections = [_section(part, [row for row in rows if row.part == part]) for part in parts]
    path.write_text("\n".join([INTRODUCTION, _aims(rows), *filter(None, sections)]))


def _aims(rows: list[Row]) -> str:
    lines = []
    for aim in AIMS:
        row = aim.row(rows)
        measured = _ratio(row) if row else ""
        command = f"`python benchmarks/speed --only {aim.part}`"
        lines.append([aim.text, f">= {aim.least:g}", measured, aim.verdict(rows), command])
    return "## Aims\n\n" + _table(["", "aim", "measured", "", "reproduce"], lines)


def _section(part: str, rows: list[Row]) -> str:
    if not rows:
        return ""
    where = " ".join(f"Measured {row.note}." for row in rows if row.what == ABOUT)
    lines = [[row.what, str(row.threads or ""), _pace(row), _ratio(row), row.note] for row in rows if row.what != ABOUT]
    intro = "\n\n".join(
        filter(None, (PARTS.get(part, "").strip(), f"`python benchmarks/speed --only {part}`. {where}"))
    )
    return f"## {part}\n\n{intro}\n\n" + _table(["", "threads", "samples/s", "ratio", ""], lines)


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
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
