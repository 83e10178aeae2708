"""Speed on one GPU, measured in one call of less than ten minutes; writes speed_gpu.csv and speed_gpu.md.

    python benchmarks/speed gpu --out $OUT
    python benchmarks/speed gpu --device cpu --quick    # tries the code where there is no GPU; the figures mean nothing

It needs only torch, numpy and jaxtyping; the repository need not be installed.
Data are random bytes with the shapes of MNIST-SVHN; conv nets, L = 64, batch 128.
A measurement that fails or has no time left leaves a row that says so, and the next one begins; files are written after
each part.
The minutes of the grid include starting and training runs only.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where mmvae_bench is not installed

import numpy as np
import page
import torch
from gpu_bench import COMPLETE, JOBS, MODELS, Bench
from tasks import LEARNING_RATE
from torch.utils.flop_counter import FlopCounterMode
from turns import ABOUT, Row, replace_part, say

from mmvae_bench.engine.mode import Mode, choose_mode
from mmvae_bench.engine.step import Plain, Static, Step
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import PRECISIONS, Missing

COMPARED = 50  # steps
LIMIT = 500.0  # seconds after which no measurement begins; the one in progress may compile for another minute
STEPS_PER_RUN, SEEDS = 100 * 439, 5  # MEME's grid: 100 epochs of ceil(56068 / 128) steps
RATIOS = (0.5, 0.75, 0.875, 0.9375)
GRID = [COMPLETE, *(Missing(r, s) for s in ("split", "only:mnist", "only:svhn") for r in RATIOS)]
MEASURED = [COMPLETE, Missing(0.75, "split"), Missing(0.9375, "only:mnist")]  # the rest of GRID is extrapolated


def agreement(bench: Bench) -> None:
    """Compare a CUDA graph with plain steps, with itself, and with itself beside other runs."""
    n = COMPARED * bench.batch if not bench.tiny else bench.n

    def losses(name: str, static: bool) -> np.ndarray[Any, Any]:
        bench.ready("fp32")
        model, feed = bench.build(name, 0, n=n)
        step = Step(model, LEARNING_RATE, bench.mode() if static else Mode())
        way = (Static if static else Plain)(step, feed, 1)
        return np.array([step.means(1)["loss"] for _ in way.epoch(0)])

    def compare(name: str) -> None:
        plain, static = losses(name, False), losses(name, True)
        far = float(np.abs(static / plain - 1).max())
        bench.note(f"{name}: {len(plain)} losses, graph against eager", text=f"relative difference at most {far:.1e}")
        runs = [bench.together(name, jobs, bench.mode(), n=n) for jobs in (1, 1, 2 if bench.tiny else 4)]
        first, again, among = ([p.detach().cpu() for p in run.models[0].parameters()] for run in runs)
        same = [all(map(torch.equal, first, other)) for other in (again, among)]
        lack = "".join({f"; {run.lack}" for run in runs if run.lack})
        text = f"weights bit-identical: trained again {same[0]}, beside neighbours {same[1]}{lack}"
        bench.note(f"{name}: two graph runs", text=text)

    for name in MODELS:
        bench.attempt(f"{name}: agreement", lambda name=name: compare(name))


def steps(bench: Bench) -> None:
    """Measure plain steps and CUDA graphs in each precision."""
    for precision, name in product(PRECISIONS, MODELS):
        one(bench, name, Mode(precision))
        if bench.cuda:
            one(bench, name, bench.mode(precision))
    if not bench.cuda:
        say("  graphs are left out: they need CUDA")


def compiled(bench: Bench) -> None:
    """Measure steps fused by torch.compile."""
    for precision, name in product(("fp32",) if bench.tiny else PRECISIONS, ("mvae",) if bench.tiny else MODELS):
        mode, lack = choose_mode(bench.device, precision, compiled=True)
        if lack:
            bench.note("torch.compile", text=f"left out: {lack}")
            return
        one(bench, name, mode)


def one(bench: Bench, name: str, mode: Mode) -> float | None:
    """Measure one run alone; its ratio is to plain fp32."""
    what = f"{name}: {mode.label}, {mode.precision}"
    found = bench.attempt(what, lambda: bench.alone(name, mode))
    if found:
        base = bench.pace_of(f"{name}: eager, fp32")
        bench.note(what, found[0], found[0] / base if base else None, f"peak {found[1]:.0f} MiB")
    return found and found[0]


def many(bench: Bench) -> None:
    """Compare runs at once, as threads with streams and CUDA graphs, with one plain run."""
    for name, jobs in product(MODELS, JOBS[:2] if bench.tiny else JOBS):
        what = bench.at_once(name, jobs)
        found = bench.attempt(what, lambda name=name, jobs=jobs: bench.together(name, jobs, bench.mode()))
        base = bench.pace_of(f"{name}: eager, fp32") or one(bench, name, Mode())
        if found:
            pace = found.pace * bench.batch
            text = f"peak {found.memory:.0f} MiB; {found.start:.2f} s to start one; ratio: eager, one by one"
            bench.note(what, pace, pace / base if base else None, f"{text} {found.lack}")


def grid(bench: Bench, precision: str = "fp32") -> None:
    """Estimate the time of MEME's whole grid from a part of it, by a line through time over counted operations."""
    bound, fast, slow = 0.0, 0.0, 0.0  # seconds per step, summed over settings; `fast` includes starting
    peak = products(bench, precision)
    for name in MODELS:
        jobs, measured, plain, starts = best_jobs(bench, name), {}, {}, []
        flops = {missing: operations(bench, name, missing) for missing in GRID}
        for missing in MEASURED:
            what = f"{name}, missing {missing.text}, {precision}: {jobs} at once"
            mode = bench.mode(precision)
            found = bench.attempt(what, lambda n=name, j=jobs, m=mode, o=missing: bench.together(n, j, m, o))
            eager = bench.attempt(what, lambda n=name, o=missing: bench.alone(n, Mode(), o))
            if found and eager:
                measured[flops[missing]], plain[flops[missing]] = 1 / found.pace, bench.batch / eager[0]
                starts.append(found.start)
                times = f"{1e3 / found.pace:.3g} ms a step, eager fp32 alone {1e3 * bench.batch / eager[0]:.3g} ms"
                bench.note(what, bench.batch * found.pace, text=f"{times}; {flops[missing] / 1e9:.3g} GFLOP a step")
        fast += on_a_line(flops.values(), measured) + len(GRID) * max(starts) / STEPS_PER_RUN
        slow += on_a_line(flops.values(), plain)
        bound += sum(flops.values()) / peak
    minutes, least = (SEEDS * STEPS_PER_RUN * seconds / 60 for seconds in (fast, bound))
    part = f"{len(MEASURED)} of {len(GRID)} settings per model measured, the rest extrapolated"
    end, share = "" if precision == "fp32" else f", {precision}", least / minutes
    bench.note(f"runs/hour against one by one{end}", ratio=slow / fast, text=f"that eager and fp32; {part}")
    text = f"{len(MODELS) * len(GRID) * SEEDS} runs in {minutes:.1f} min ({part}); their products alone, at"
    text += f" {peak / 1e12:.1f} TFLOP/s, {least:.1f} min, {share:.0%} of it; ratio: 30 min over it, or that over 25 %"
    bench.note(f"meme grid in 30 min{end}", ratio=max(30 / minutes, share / 0.25), text=text)


def best_jobs(bench: Bench, name: str) -> int:
    """Return the number of runs at once with the highest total pace."""
    paces = {jobs: bench.pace_of(bench.at_once(name, jobs)) or 0.0 for jobs in JOBS}
    return max(paces, key=paces.__getitem__) if any(paces.values()) else 2


def on_a_line(flops: Iterable[int], measured: dict[int, float]) -> float:
    """Return the sum over all settings, by a line through the measured ones and at least their minimum."""
    if not measured:
        raise RuntimeError("No setting could be measured.")
    line = np.polyfit([*measured], [*measured.values()], 1) if len(measured) > 1 else [0.0, *measured.values()]
    return float(np.maximum(np.polyval(line, [*flops]), min(measured.values())).sum())


def operations(bench: Bench, name: str, missing: Missing) -> int:
    """Count the floating-point operations of a step's products, forward and backward."""
    bench.ready("fp32")
    model, feed = bench.build(name, 0, missing, 2 * bench.batch)
    step, batch = Step(model, LEARNING_RATE, Mode()), next(feed.epoch(0))
    with FlopCounterMode(display=False) as counter:
        step(batch)
    return int(counter.get_total_flops())


def products(bench: Bench, precision: str) -> float:
    """Measure the floating-point operations per second of one large matrix product."""
    bench.ready(precision)
    side = 256 if bench.tiny else 8192
    a, b = (torch.randn(side, side, device=bench.device) for _ in range(2))
    if precision == "bf16":
        a, b = a.bfloat16(), b.bfloat16()

    def steps() -> Iterator[None]:
        while True:
            torch.mm(a, b)
            yield

    return 2 * side**3 * bench.timed(steps())


PARTS: dict[str, tuple[Callable[[Bench], None], float]] = {  # with the seconds after which it begins nothing more
    "agreement": (agreement, 60), "steps": (steps, 90), "many": (many, 150),
    "grid": (grid, 200), "compiled": (compiled, 150), "grid-bf16": (lambda bench: grid(bench, "bf16"), 150),
}  # fmt: skip


def run(bench: Bench, limit: float, out: Path) -> list[Row]:
    """Measure all parts, each within its time, and write the rows so far after each."""
    where = torch.cuda.get_device_name(bench.device) if bench.cuda else "CPU"
    end = perf_counter() + limit
    bench.found = [Row("gpu", ABOUT, note=f"{page.about()}, {where}")]
    for part, (measure_part, seconds) in PARTS.items():
        begin = perf_counter()
        bench.until = min(end, begin + seconds)
        say(f"{part}:")
        bench.attempt(part, lambda own=measure_part: own(bench))
        replace_part(out / "speed_gpu.csv", "gpu", bench.found)
        (out / "speed_gpu.md").write_text(markdown(bench.found), encoding="utf-8")
        say(f"  {perf_counter() - begin:.0f} s")
    return bench.found


def markdown(found: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| | samples/s | ratio | |", "|---|---:|---:|---|"]
    for row in found:
        pace = f"{row.samples_per_s:,.0f}" if row.samples_per_s else ""
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        lines.append(f"| {row.what} | {pace} | {ratio} | {row.note} |")
    return "\n".join([*lines, ""])


def measure(device: str, quick: bool, out: Path) -> list[Row]:
    """Measure on a device; ``quick`` takes the smallest sizes."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        return [Row("gpu", "everything", note="left out: there is no GPU here")]
    try:
        bench = Bench(device, quick)
    except BenchError as error:
        sys.exit(f"Error: {error}")
    found = run(bench, LIMIT, out)
    return [row for row in found if row.what != ABOUT]
