"""How a step's time and memory grow with modalities, samples, rows and runs at once, on a CPU, a thread a run.

    python benchmarks/speed/scaling.py            # minutes; writes reports/speed.csv, speed.md and speed_scaling.png
    python benchmarks/speed/scaling.py --quick    # fewer and smaller points, half a minute

Each point is measured in a process of its own (``scaling_point.py``). Memory is the most that was ever resident, the
interpreter and its libraries included, unless said otherwise.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from aims import CORES
from rows import ABOUT, Row, replace_part
from scaling_point import Worker
from turns import ratios, say

REPORTS = Path(__file__).parents[2] / "reports"
CHUNKS, CHUNK = 5, 0.3  # how often a point is timed, and for how many seconds (one step at least)
LONGEST = 5.0  # seconds of a step beyond which multivae is not asked for more modalities
TURNS, TURN = 3, 2.0  # of runs at once: A B A B A B, seconds each
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
        panel: ``M``, ``K``, ``N`` or ``runs``: what grows.
        series: The curve.
        at: The value of what grows.
        batch: Samples a step, of all runs.
        paces: Steps a second in each chunk of time.
        memory: Peak in MiB; ``alone`` before anything was built.
        preparation: Seconds to draw an epoch's holes, order and batches, where N grows.
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
        """Of a step, a median."""
        return 1 / median(self.paces)


def points(quick: bool = False) -> Iterator[Point]:
    """Measure everything, one process at a time but for runs at once."""
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
    """Processes of one thread each, all at work or one alone, in turn."""
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
    """A row a point; the ratio is to multivae's pace at the same M, else to that of the curve's first point."""
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
    """A column for each thing that grows: time above, memory below."""
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


def measure(quick: bool = False, out: Path = REPORTS) -> list[dict[str, Any]]:
    """Return the table's rows, and leave the figure."""
    found = list(points(quick))
    draw(found, out / "speed_scaling.png")
    return [asdict(row) for row in table(found)]


def main() -> None:
    import page

    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller points")
    parser.add_argument(
        "--out", type=Path, default=REPORTS, help="folder of the table and the figure; default: reports"
    )
    given = parser.parse_args()
    begin, where = perf_counter(), page.about()
    rows = [Row(**row) for row in measure(given.quick, given.out)]
    page.write(
        given.out / "speed.md",
        replace_part(given.out / "speed.csv", "scaling", [Row("scaling", ABOUT, note=where), *rows]),
    )
    say(f"{perf_counter() - begin:.0f} s; the figure is {given.out / 'speed_scaling.png'}")


if __name__ == "__main__":
    main()
