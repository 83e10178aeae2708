"""Everything that is to be known about speed on one GPU, in one call of less than ten minutes.

    python benchmarks/speed/gpu.py                        # into $OUT (else reports): speed_gpu.csv, speed_gpu.md
    python benchmarks/speed/gpu.py --device cpu --tiny    # its logic, where there is no GPU: the figures mean nothing
    python benchmarks/speed/gpu.py --device cpu --check   # seeds batched by vmap have the plain models' gradients

It needs torch, numpy and jaxtyping alone; the repository need not be installed. Where one is missing and there is no
network: `pip download --no-deps -d .wheels jaxtyping` (a folder that git ignores), carry it, and there
`pip install --no-index --find-links .wheels jaxtyping`.

Data are random bytes of MNIST-SVHN's shapes; nets conv, L = 64, batch 128. What fails or finds no time left says so,
and the next goes on; files are written after each part. The grid's minutes are of starting and training runs alone.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where mmvae_bench is not installed

import gpu_seeds
import numpy as np
import page
import torch
from gpu_bench import JOBS, MODELS, Bench
from gpu_grid import grid
from rows import ABOUT, Row, replace_part
from tasks import LEARNING_RATE
from turns import say

from mmvae_bench.engine.mode import Mode, choose_mode
from mmvae_bench.engine.step import Plain, Static, Step
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import PRECISIONS

COMPARED = 50  # steps
LIMIT = 500.0  # seconds: what is then under way may be compiling for another minute
OUT = Path(os.environ.get("OUT") or Path(__file__).parents[2] / "reports")


def agreement(bench: Bench) -> None:
    """A graph against plain steps, against itself, and with neighbours."""
    n = COMPARED * bench.batch if not bench.tiny else bench.n

    def losses(name: str, static: bool) -> np.ndarray[Any, Any]:
        bench.ready("fp32")
        model, feed = bench.build(name, 0, n=n)
        step = Step(model, LEARNING_RATE, bench.mode() if static else Mode())
        way = Static(step, feed, 1) if static else Plain(step, feed)
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
    """Plain steps and graphs in each precision."""
    for precision, name in product(PRECISIONS, MODELS):
        one(bench, name, Mode(precision))
        if bench.cuda:
            one(bench, name, bench.mode(precision))
    if not bench.cuda:
        say("  graphs are left out: they need CUDA")


def compiled(bench: Bench) -> None:
    """The same, fused by a compiler."""
    for precision, name in product(("fp32",) if bench.tiny else PRECISIONS, ("mvae",) if bench.tiny else MODELS):
        mode, lack = choose_mode(bench.device, precision, compiled=True)
        if lack:
            bench.note("torch.compile", text=f"left out: {lack}")
            return
        one(bench, name, mode)


def one(bench: Bench, name: str, mode: Mode) -> float | None:
    """One run alone; its ratio is to plain fp32."""
    what = f"{name}: {mode.label}, {mode.precision}"
    found = bench.attempt(what, lambda: bench.alone(name, mode))
    if found:
        base = bench.pace_of(f"{name}: eager, fp32")
        bench.note(what, found[0], found[0] / base if base else None, f"peak {found[1]:.0f} MiB")
    return found and found[0]


def many(bench: Bench) -> None:
    """Runs at once, as threads with streams and graphs, against one plain run."""
    for name, jobs in product(MODELS, JOBS[:2] if bench.tiny else JOBS):
        what = bench.at_once(name, jobs)
        found = bench.attempt(what, lambda name=name, jobs=jobs: bench.together(name, jobs, bench.mode()))
        base = bench.pace_of(f"{name}: eager, fp32") or one(bench, name, Mode())
        if found:
            pace = found.pace * bench.batch
            text = f"peak {found.memory:.0f} MiB; {found.start:.2f} s to start one; ratio: eager, one by one"
            bench.note(what, pace, pace / base if base else None, f"{text} {found.lack}")


def batched(bench: Bench) -> None:
    """Seeds batched by vmap, against as many runs on streams; the better is named."""
    for name in MODELS:
        best = {}
        for seeds in (1, 2) if bench.tiny else (4, 16):
            what = f"{name}: {seeds} seeds by vmap"
            streams = bench.pace_of(bench.at_once(name, seeds))
            found = bench.attempt(what, lambda name=name, seeds=seeds: gpu_seeds.pace(bench, name, seeds))
            if found:
                ratio = found[0] / streams if streams else None
                bench.note(what, found[0], ratio, f"peak {found[1]:.0f} MiB; ratio: as many runs on streams")
            best[seeds] = {"vmap": found[0] if found else 0.0, "streams": streams or 0.0}
        words = (f"{max(own, key=own.__getitem__)} of {seeds}" for seeds, own in best.items() if all(own.values()))
        bench.note(f"{name}: vmap or streams", text="the faster: " + (", ".join(words) or "unknown"))


PARTS: dict[str, tuple[Callable[[Bench], None], float]] = {  # seconds that each may have, at most about
    "agreement": (agreement, 60), "steps": (steps, 90), "many": (many, 150), "batched": (batched, 60),
    "grid": (grid, 200), "compiled": (compiled, 150), "grid-bf16": (lambda bench: grid(bench, "bf16"), 150),
}  # fmt: skip


def run(bench: Bench, parts: list[str], limit: float, out: Path) -> list[Row]:
    """Measure parts, each within its time, and write what there is after each."""
    where = torch.cuda.get_device_name(bench.device) if bench.cuda else "CPU"
    end = perf_counter() + limit
    bench.found = [Row("gpu", ABOUT, note=f"{page.about()}, {where}")]
    for part in parts:
        measure_part, seconds = PARTS[part]
        begin = perf_counter()
        bench.until = min(end, begin + seconds)
        say(f"{part}:")
        bench.attempt(part, lambda own=measure_part: own(bench))
        replace_part(out / "speed_gpu.csv", "gpu", bench.found)
        (out / "speed_gpu.md").write_text(markdown(bench.found))
        say(f"  {perf_counter() - begin:.0f} s")
    return bench.found


def markdown(found: list[Row]) -> str:
    """The rows as a table for people."""
    lines = ["| | samples/s | ratio | |", "|---|---:|---:|---|"]
    for row in found:
        pace = f"{row.samples_per_s:,.0f}" if row.samples_per_s else ""
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        lines.append(f"| {row.what} | {pace} | {ratio} | {row.note} |")
    return "\n".join([*lines, ""])


def measure() -> list[dict[str, Any]]:
    """All parts on the first GPU, where there is one."""
    if not torch.cuda.is_available():
        return [asdict(Row("gpu", "everything", note="left out: there is no GPU here"))]
    found = run(Bench("cuda:0", False), [*PARTS], LIMIT, OUT)
    return [asdict(row) for row in found if row.what != ABOUT]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--device", default="cuda:0", help="cuda:<index>, or cpu for the logic; default: cuda:0")
    parser.add_argument("--tiny", action="store_true", help="as small as it goes")
    parser.add_argument("--check", action="store_true", help="compare gradients, and measure nothing")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds after which nothing is begun")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of what is written; default: $OUT, else reports")
    given = parser.parse_args()
    try:
        bench = Bench(given.device, given.tiny or given.check)
    except BenchError as error:
        sys.exit(str(error))
    if given.check:
        gpu_seeds.check_all(bench)
    else:
        run(bench, given.only, given.limit, given.out)
        print((given.out / "speed_gpu.md").read_text())


if __name__ == "__main__":
    main()
