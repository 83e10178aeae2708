"""The work of one point of ``scaling.py`` in a process of its own.

    python benchmarks/speed/scaling_point.py PANEL SERIES AT

It builds its work; then each line on stdin, a number of seconds, is answered by what was measured while steps were
taken for so long. Heavy imports come late: a process that starts others hands its own peak memory down to them.
"""

import json
import subprocess
import sys
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import Any


class Worker:
    """A process that holds the work of one point."""

    def __init__(self, panel: str, series: str, at: int) -> None:
        command = [sys.executable, __file__, panel, series, str(at)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, seconds: float) -> dict[str, Any]:
        """Take steps for so long, at least one, and say how it went."""
        assert self.process.stdin
        assert self.process.stdout
        print(seconds, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"a process has died: {' '.join(map(str, self.process.args))}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def serve(panel: str, series: str, at: int) -> None:
    """What a worker does."""
    import ours
    import torch

    from mmvae_bench.engine.device import peak_memory_mb, prepare

    answers, sys.stdout = sys.stdout, sys.stderr
    theirs = series == "multivae"
    build = import_module("rival").build if theirs else ours.build
    torch.set_num_threads(1) if theirs else prepare(1)
    cpu, batch, preparation = torch.device("cpu"), _define(panel, series, at), 0.0
    alone = peak_memory_mb(cpu)
    if panel == "N":
        ours.ROWS = at // batch  # batches an epoch
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
    """Name the point's task for both sides, and return its batch."""
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
    """Seconds that an epoch of n rows, half of them incomplete, takes before its first batch: a median of three."""
    from mmvae_bench.engine.order import Order
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
