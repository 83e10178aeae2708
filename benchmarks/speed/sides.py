"""One side of a comparison, in a process of its own: builds the steps it is asked for and times them.

    python benchmarks/speed/sides.py SIDE THREADS

Each line on stdin, ``NAME STEPS``, is answered by one line of JSON: the seconds that the steps took, or for 0 steps
the facts that are counted in one step. A name is built when it is first asked for, followed by two warm-up steps.
``ours`` and ``bare`` are prepared by our engine (threads, determinism, allocator); ``multivae`` and ``meme`` run with
PyTorch's defaults.
"""

import json
import os
import sys
from importlib import import_module
from time import perf_counter

import torch
from steps import Unavailable, Work

from mmvae_bench.engine import device

PREPARED = ("ours", "bare")
PLAIN_MALLOC = "SPEED_PLAIN_MALLOC"  # if set: our side runs without the engine's allocator setting
WARM_UP = 2


def main(side: str, threads: int) -> None:
    """Answer the lines on stdin."""
    answers = os.fdopen(os.dup(1), "w")  # what libraries print goes to stderr
    os.dup2(2, 1)
    torch.set_num_threads(threads)
    if os.environ.get(PLAIN_MALLOC):
        device._keep_memory = lambda: None
    if side in PREPARED:
        device.prepare(threads)
    build, built = import_module(f"steps.{side}").build, dict[str, Work]()
    for line in sys.stdin:
        name, steps = line.rsplit(maxsplit=1)
        try:
            if name not in built:
                built[name] = build(name)
                seconds(built[name], WARM_UP)
            answer = seconds(built[name], int(steps)) if int(steps) else built[name].facts()
        except Unavailable as reason:
            answer = {"unavailable": str(reason)}
        print(json.dumps(answer), file=answers, flush=True)


def seconds(work: Work, steps: int) -> float:
    """Take steps and return how long they took."""
    begin = perf_counter()
    for _ in range(steps):
        work.step()
    return perf_counter() - begin


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
