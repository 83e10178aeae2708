"""How the time and memory of a step grow with modalities, samples, rows and runs at once; CPU, one thread per run.

    python benchmarks/speed scaling            # minutes; also draws speed_scaling.png
    python benchmarks/speed scaling --quick    # fewer and smaller points, half a minute

Each point is measured in a process of its own, this file as a script: ``scaling.py PANEL SERIES AT``. It builds its
work; each line on stdin, a number of seconds, is answered by what was measured while steps were taken for that long.
Heavy imports come late, because a process inherits the peak memory of the one that starts it. Memory is the peak of
the resident set, with the interpreter and its libraries unless said otherwise.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from turns import CORES, Row, ratios, say

CHUNKS, CHUNK = 5, 0.3  # how often a point is timed, and for how many seconds (at least one step)
LONGEST = 5.0  # seconds per step; when multivae takes longer, more modalities are not tried
TURNS, TURN = 3, 2.0  # runs at once: how many turns each (A B A B A B), and their seconds
PANELS = {
    "M": ("MoPoE, tiny nets", "M, modalities", "linear"),
    "K": ("MMVAE (STL), MNIST-SVHN", "K, samples", "log"),
    "N": ("MoPoE, half of the rows incomplete", "N, rows of 1 KiB", "log"),
    "runs": ("MoPoE, a thread a run", "runs at once", "linear"),
}


@dataclass(frozen=True)
class Point:
    """One measured point of a curve.

    Attributes:
        panel: The quantity that grows: ``M``, ``K``, ``N`` or ``runs``.
        series: Name of the curve.
        at: Value of the quantity.
        batch: Samples per step, of all runs.
        paces: Steps per second in each chunk of time.
        memory: Peak memory in MiB.
        alone: Peak memory in MiB before anything was built.
        preparation: Seconds to draw an epoch's absent entries, order and batches, where N grows.
    """

    panel: str
    series: str
    at: int
    batch: int
    paces: list[float]
    memory: float
    alone: float
    preparation: float = 0.0

    @property
    def seconds(self) -> float:
        """Median seconds per step."""
        return 1 / median(self.paces)


def points(quick: bool = False) -> Iterator[Point]:
    """Measure all points, one process at a time except for runs at once."""
    for series in ("ours", "multivae"):
        for m in (2, 4) if quick else range(2, 9):
            yield (found := _point("M", series, m, quick))
            if found.seconds > LONGEST:
                break
    for series in ("conv nets",) if quick else ("conv nets", "MLPs"):
        yield from (_point("K", series, k, quick) for k in ((1, 5) if quick else (1, 2, 5, 10, 20, 50)))
    for n in (10**3, 10**5) if quick else (10**3, 10**4, 10**5, 3 * 10**5, 10**6):
        yield _point("N", "a step", n, quick)
    yield from _runs(1 if quick else TURNS, TURN / 2 if quick else TURN)


def _point(panel: str, series: str, at: int, quick: bool) -> Point:
    with Worker(panel, series, at) as worker:
        found = [worker.ask(CHUNK) for _ in range(2 if quick else CHUNKS)]
    last, paces = found[-1], [own["pace"] for own in found]
    point = Point(panel, series, at, last["batch"], paces, last["memory"], last["alone"], last["preparation"])
    say(f"  {panel} = {at}, {series}: {1e3 * point.seconds:,.1f} ms a step, {point.memory:.0f} MiB")
    return point


def _runs(rounds: int, seconds: float) -> Iterator[Point]:
    """Measure processes of one thread each, in turn: one alone, two at once, ..."""
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n <= CORES]
    workers = [Worker("runs", "all runs", 1) for _ in range(max(counts))]
    found: dict[int, list[list[dict[str, Any]]]] = {n: [] for n in counts}
    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(lambda worker: worker.ask(0), workers))  # built, all of them
        for _ in range(rounds):
            for n in counts:
                found[n].append(list(pool.map(lambda worker: worker.ask(seconds), workers[:n])))
    for worker in workers:
        worker.__exit__()
    for n, turns in found.items():
        paces = [sum(own["pace"] for own in turn) for turn in turns]
        memory, alone = (sum(own[key] for own in turns[-1]) for key in ("memory", "alone"))
        yield Point("runs", "all runs", n, turns[-1][0]["batch"], paces, memory, alone)
        say(f"  {n} runs at once: {median(paces):.3g} steps/s in all, {memory:.0f} MiB")


def table(found: list[Point]) -> list[Row]:
    """Return one row per point; its ratio is to multivae at the same M, or to the first point of its curve."""
    rows = []
    for p in found:
        same = [q for q in found if q.panel == p.panel]
        theirs = [q for q in same if q.series == "multivae" and q.at == p.at]
        base = theirs[0] if theirs else next(q for q in same if q.series == p.series)
        against = "multivae" if theirs else f"{p.panel} = {base.at}"
        alone = base is p or (p.panel == "M" and not theirs)  # then it is what others are compared with
        ratio = (None, None, None) if alone else ratios(p.paces, base.paces)
        facts = [f"{1e3 * p.seconds:,.1f} ms a step", f"peak {p.memory:.0f} MiB, {p.alone:.0f} of them before building"]
        facts += [f"{1e3 * p.preparation:.3g} ms to prepare an epoch"] if p.preparation else []
        facts += [] if alone else [f"ratio: pace against {against}"]
        threads, what = p.at if p.panel == "runs" else 1, f"{p.panel} = {p.at}: {p.series}"
        rows.append(Row("scaling", what, threads, p.batch / p.seconds, *ratio, "; ".join(facts)))
    return rows


def draw(found: list[Point], path: Path) -> None:
    """Draw one column per panel: time above, memory below."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    plt.switch_backend("Agg")
    figure, axes = plt.subplots(2, len(PANELS), figsize=(15, 6.6), layout="constrained", sharex="col")
    for (panel, (title, label, scale)), (above, below) in zip(PANELS.items(), axes.T, strict=True):
        own, runs = [p for p in found if p.panel == panel], panel == "runs"
        for number, series in enumerate(dict.fromkeys(p.series for p in own)):
            curve = [p for p in own if p.series == series]
            at, style = [p.at for p in curve], {"marker": "o", "color": f"C{number}", "label": series}
            shown = [[p.batch * pace if runs else 1 / pace for pace in p.paces] for p in curve]
            above.plot(at, [median(each) for each in shown], **style)
            above.fill_between(at, *([f(each) for each in shown] for f in (min, max)), color=f"C{number}", alpha=0.2)
            below.plot(at, [p.memory - (0 if runs else p.alone) for p in curve], **style)
            if panel == "N":
                above.plot(at, [p.preparation for p in curve], "s-C1", label="preparing an epoch")
            if runs:
                below.plot(at, [p.alone for p in curve], ":", color="grey", label="of it, libraries")
                above.plot(at, [n * median(shown[0]) for n in at], ":", color="grey", label="one run, times runs")
        above.set(title=title, ylabel="samples/s of all runs" if runs else "seconds")
        below.set(xlabel=label, ylabel="peak memory, MiB" if runs else "peak memory beyond libraries, MiB")
        ticks = sorted({p.at for p in own})
        for ax in (above, below):
            ax.set(xscale=scale, yscale="linear" if runs or (panel, ax) == ("M", below) else "log")
            if ax.get_yscale() == "linear":
                ax.set_ylim(0)
            else:
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter("{x:g}")
                ax.yaxis.set_minor_formatter("")
            ax.grid(alpha=0.3)
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_xticks(ticks, [_short(n) for n in ticks])
            ax.xaxis.minorticks_off()
            if ax is above or panel != "N":
                ax.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _short(n: int) -> str:
    return f"{n // 10**6}M" if n >= 10**6 else f"{n // 10**3}k" if n >= 10**3 else str(n)


def measure(quick: bool, out: Path) -> list[Row]:
    """Measure all points, draw ``speed_scaling.png`` into ``out``, and return the table's rows."""
    found = list(points(quick))
    draw(found, out / "speed_scaling.png")
    return table(found)


class Worker:
    """A process that builds the work of one point and takes its steps."""

    def __init__(self, panel: str, series: str, at: int) -> None:
        command = [sys.executable, __file__, panel, series, str(at)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, seconds: float) -> dict[str, Any]:
        """Take steps for this long, at least one, and return what was measured."""
        assert self.process.stdin
        assert self.process.stdout
        print(seconds, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"This process died: {' '.join(map(str, self.process.args))}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def serve(panel: str, series: str, at: int) -> None:
    """Build a point's work and answer the lines on stdin."""
    import torch
    from steps import ours

    from mmvae_bench.engine.device import peak_memory_mb, prepare

    answers, sys.stdout = sys.stdout, sys.stderr
    theirs = series == "multivae"
    build = import_module("steps.multivae").build if theirs else ours.build
    torch.set_num_threads(1) if theirs else prepare(1)
    cpu, batch, preparation = torch.device("cpu"), _define(panel, series, at), 0.0
    alone = peak_memory_mb(cpu)
    if panel == "N":
        ours.ROWS = at // batch  # batches per epoch
        preparation = _preparation(ours.ROWS * batch)
    built = build("point+half" if panel == "N" else "point")
    for _ in range(2):
        built.step()
    for line in sys.stdin:
        steps, begin = 0, perf_counter()
        while (spent := perf_counter() - begin) < float(line) or not steps:
            built.step()
            steps += 1
        facts = {"batch": built.rows, "pace": steps / (spent or 1), "preparation": preparation}
        print(json.dumps({**facts, "memory": peak_memory_mb(cpu), "alone": alone}), file=answers, flush=True)


def _define(panel: str, series: str, at: int) -> int:
    """Register the point's task under the name ``point``, and return its batch size."""
    import tasks

    from mmvae_bench import nets
    from mmvae_bench.types import Modality

    mlp = nets.registry.get("mlp")
    small = Modality("grey", (1, 16, 16), "laplace", 0.75), Modality("colour", (3, 16, 16), "laplace", 0.75)
    task = {
        "M": tasks.Task("mopoe", lambda: mlp(tasks.MANY[:at], 8, hidden=32, layers=1), theirs={"beta": 1.0}, batch=64),
        "K": tasks.Task(
            "mmvae", lambda: tasks.conv(20) if series == "conv nets" else mlp(tasks.PAIR, 20), {"k": at}, batch=128
        ),
        "N": tasks.Task("mopoe", lambda: mlp(small, 20), batch=128),
        "runs": tasks.TASKS["mopoe"],
    }[panel]
    tasks.TASKS["point"] = task
    return task.batch


def _preparation(n: int) -> float:
    """Median seconds that an epoch of n rows, half of them incomplete, takes before its first batch."""
    from mmvae_bench.engine.feed import Order
    from mmvae_bench.presence import Presence
    from mmvae_bench.spec import Missing

    order, each = Order(Presence(Missing(0.5, "split"), ("grey", "colour"), n, "speed", 0), 128), []
    for number in range(4):  # the first also draws what holds for the whole run
        begin = perf_counter()
        order.presence.at(number)
        order.epoch(number)
        each.append(perf_counter() - begin)
    return median(each[1:])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
