"""MEME's whole MNIST-SVHN grid, from a part of it: its minutes, and those that its matrix products alone would take."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from gpu_bench import COMPLETE, JOBS, MODELS, Bench
from tasks import LEARNING_RATE
from torch.utils.flop_counter import FlopCounterMode

from mmvae_bench.engine.mode import Mode
from mmvae_bench.engine.step import Step
from mmvae_bench.spec import Missing

STEPS_A_RUN, SEEDS = 100 * 439, 5  # MEME's grid: 100 epochs of ceil(56068 / 128) steps
RATIOS = (0.5, 0.75, 0.875, 0.9375)
GRID = [COMPLETE, *(Missing(r, s) for s in ("split", "only:mnist", "only:svhn") for r in RATIOS)]
PART = [COMPLETE, Missing(0.75, "split"), Missing(0.9375, "only:mnist")]  # what is measured of it


def grid(bench: Bench, precision: str = "fp32") -> None:
    """MEME's whole grid from a part of it: the rest lies on a line over the operations that were counted."""
    bound, fast, slow = 0.0, 0.0, 0.0  # seconds of one step of each setting, and what starting adds to it
    peak = products(bench, precision)
    for name in MODELS:
        jobs, measured, plain, starts = best_jobs(bench, name), {}, {}, []
        flops = {missing: operations(bench, name, missing) for missing in GRID}
        for missing in PART:
            what = f"{name}, missing {missing}, {precision}: {jobs} at once"
            mode = bench.mode(precision)
            found = bench.attempt(what, lambda n=name, j=jobs, m=mode, o=missing: bench.together(n, j, m, o))
            eager = bench.attempt(what, lambda n=name, o=missing: bench.alone(n, Mode(), o))
            if found and eager:
                measured[flops[missing]], plain[flops[missing]] = 1 / found.pace, bench.batch / eager[0]
                starts.append(found.start)
                times = f"{1e3 / found.pace:.3g} ms a step, eager fp32 alone {1e3 * bench.batch / eager[0]:.3g} ms"
                bench.note(what, bench.batch * found.pace, text=f"{times}; {flops[missing] / 1e9:.3g} GFLOP a step")
        fast += on_a_line(flops.values(), measured) + len(GRID) * max(starts) / STEPS_A_RUN
        slow += on_a_line(flops.values(), plain)
        bound += sum(flops.values()) / peak
    minutes, least = (SEEDS * STEPS_A_RUN * seconds / 60 for seconds in (fast, bound))
    part = f"{len(PART)} of {len(GRID)} settings a model measured, the rest extrapolated"
    end, share = "" if precision == "fp32" else f", {precision}", least / minutes
    bench.note(f"runs/hour against one by one{end}", ratio=slow / fast, text=f"that eager and fp32; {part}")
    text = f"{len(MODELS) * len(GRID) * SEEDS} runs in {minutes:.1f} min ({part}); their products alone, at"
    text += f" {peak / 1e12:.1f} TFLOP/s, {least:.1f} min, {share:.0%} of it; ratio: 30 min over it, or that over 25 %"
    bench.note(f"meme grid in 30 min{end}", ratio=max(30 / minutes, share / 0.25), text=text)


def best_jobs(bench: Bench, name: str) -> int:
    """The number of runs at once that did most."""
    paces = {jobs: bench.pace_of(bench.at_once(name, jobs)) or 0.0 for jobs in JOBS}
    return max(paces, key=paces.__getitem__) if any(paces.values()) else 2


def on_a_line(flops: Iterable[int], measured: dict[int, float]) -> float:
    """The sum over all settings of what has been measured of some, never less than the least of them."""
    if not measured:
        raise RuntimeError("no setting could be measured")
    line = np.polyfit([*measured], [*measured.values()], 1) if len(measured) > 1 else [0.0, *measured.values()]
    return float(np.maximum(np.polyval(line, [*flops]), min(measured.values())).sum())


def operations(bench: Bench, name: str, missing: Missing) -> int:
    """Floating-point operations of a step's products, forward and backward."""
    bench.ready("fp32")
    model, feed = bench.build(name, 0, missing, 2 * bench.batch)
    step, batch = Step(model, LEARNING_RATE, Mode()), next(feed.epoch(0))
    with FlopCounterMode(display=False) as counter:
        step(batch)
    return int(counter.get_total_flops())


def products(bench: Bench, precision: str) -> float:
    """Floating-point operations a second of one large matrix product."""
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
