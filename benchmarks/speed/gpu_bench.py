"""The tools of ``gpu.py``: a device, a model and its batches on it, the pace of one run and of many at once."""

import gc
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from statistics import median
from time import perf_counter
from typing import TypeVar

import torch
from tasks import LEARNING_RATE, PAIR, conv, rows
from turns import Row, say

from mmvae_bench import models
from mmvae_bench.datasets.base import Rows
from mmvae_bench.engine.device import choose, peak_memory_mb, prepare
from mmvae_bench.engine.feed import Feed
from mmvae_bench.engine.mode import Mode, check, choose_mode, narrowed
from mmvae_bench.engine.share import RandomState, place
from mmvae_bench.engine.step import Plain, Static, Step
from mmvae_bench.engine.train import BURST, History, Progress, train
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing, TrainSpec

MODELS: dict[str, dict[str, int]] = {"meme": {"k": 10}, "mvae": {}, "mmvae": {"k": 5}, "mopoe": {}}
COMPLETE = Missing()
JOBS = (1, 2, 4, 8, 16)  # runs at once
CHUNKS, CHUNK = 4, 0.3  # how often, and for how many seconds, one run is timed
EPOCHS = 4  # epochs of runs at once
WAIT = 120.0  # seconds that runs wait for each other before the timing starts
T = TypeVar("T")


@dataclass
class Together:
    """Runs at once in one process.

    Attributes:
        pace: Steps per second of all runs, from the time when each has done an epoch to the end of the last.
        start: Seconds that compiling or capturing took, least over runs.
        memory: Peak memory in MiB.
        models: The trained models.
        lack: Reason why the engine was not the one asked for, or empty.
    """

    pace: float
    start: float
    memory: float
    models: list[MultimodalVAE]
    lack: str


class Bench:
    """A device and the sizes of what runs on it; ``tiny`` sizes only try the code.

    A run alone has all ``n`` rows. Runs at once have ``part`` rows each, so that less time goes into starting.
    """

    def __init__(self, name: str, tiny: bool) -> None:
        self.name, self.tiny, self.device = name, tiny, choose(name)
        self.cuda = self.device.type == "cuda"
        self.batch, self.n, self.part = (8, 40, 40) if tiny else (128, 56_068, 12_800)
        self.until = float("inf")  # no measurement begins later
        self.found: list[Row] = []

    @cached_property
    def rows(self) -> Rows:
        """The data, made once."""
        return rows(PAIR, self.n)

    def note(self, what: str, pace: float | None = None, ratio: float | None = None, text: str = "") -> None:
        """Keep a row; a pace is in samples per second."""
        self.found.append(Row("gpu", what, 1, pace, ratio, note=text))
        numbers = f"{pace:,.0f} samples/s" if pace else "", f"ratio {ratio:.3g}" if ratio else "", text
        say(f"  {what}: {'; '.join(filter(None, numbers))}")

    def pace_of(self, what: str) -> float | None:
        """Return the noted samples per second of a measurement, or None."""
        return next((row.samples_per_s for row in self.found if row.what == what and row.samples_per_s), None)

    def mode(self, precision: str = "fp32") -> Mode:
        """Return the engine's default: a CUDA graph on a GPU, plain steps elsewhere."""
        return choose_mode(self.device, precision)[0]

    def at_once(self, name: str, jobs: int) -> str:
        """Return the name of a measurement of many runs."""
        return f"{name}: {jobs} at once, {self.mode().label} on streams"

    def attempt(self, what: str, measure: Callable[[], T]) -> T | None:
        """Return what is measured; None, and a row with the reason, if that fails or time is up."""
        try:
            if perf_counter() > self.until:
                raise TimeoutError("no time left for it")
            return measure()
        except Exception as error:  # of a driver, a compiler, a capture: the other points go on
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.note(what, text=f"left out: {reason}")
            return None
        finally:
            gc.collect()
            if self.cuda:
                torch.cuda.empty_cache()

    def build(
        self, name: str, seed: int, missing: Missing = COMPLETE, n: int | None = None
    ) -> tuple[MultimodalVAE, Feed]:
        """Return a model and its batches; the random numbers that follow are those of the seed."""
        torch.manual_seed(seed)
        model = models.registry.get(name)(conv(64), **MODELS[name]).to(self.device).train()
        some = Rows({key: values[:n] for key, values in self.rows.x.items()})
        presence = Presence(missing, tuple(some.x), len(some), "speed", seed)
        feed = Feed.load(some, presence, self.batch, self.device)
        model.initialise(feed.draw)
        return model, feed

    def ready(self, precision: str) -> None:
        """Set the process to a precision and reset the peak of memory."""
        check(precision, self.device)
        prepare(1, precision)
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)

    def memory(self) -> float:
        """Return the peak in MiB since :meth:`ready`; on a CPU since the start of the process."""
        return peak_memory_mb(self.device)

    def alone(self, name: str, mode: Mode, missing: Missing = COMPLETE) -> tuple[float, float]:
        """Return (samples per second, peak MiB) of one run, as the engine trains in that mode."""
        self.ready(mode.precision)
        model, feed = self.build(name, 0, missing)
        with narrowed(model.networks, mode.precision, self.device):
            step = Step(model, LEARNING_RATE, mode)
            way = (Static if mode.static else Plain)(step, feed, 1)
            pace = self.timed(chain.from_iterable(map(way.epoch, count())))
        return pace * feed.presence.rows / feed.steps, self.memory()

    def timed(self, steps: Iterator[None]) -> float:
        """Return the median of steps per second."""
        paces = []
        for chunk in range(CHUNKS + 1):
            number, begin = 0, self.now()
            while perf_counter() - begin < CHUNK:
                for _ in range(1 if self.tiny else BURST):
                    next(steps)
                    number += 1
                self.now()  # else the CPU runs ahead of the GPU by a queue of steps
            paces.append(number / (self.now() - begin) if chunk else 0.0)
        return median(paces[1:])

    def now(self) -> float:
        """Wait for the device and return the time in seconds."""
        if self.cuda:
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def together(self, name: str, jobs: int, mode: Mode, missing: Missing = COMPLETE, n: int | None = None) -> Together:
        """Train seeds 0, 1, ... as threads, each with its stream; all epochs but the first are timed."""
        n = n or self.part
        self.ready(mode.precision)
        begun, failures = [0.0], list[BaseException]()
        line = threading.Barrier(jobs, lambda: begun.append(perf_counter()), WAIT)

        def run(seed: int) -> tuple[MultimodalVAE, History]:
            try:
                with place(self.name) as at:
                    random = RandomState(at.device)
                    with random():
                        model, feed = self.build(name, seed, missing, n)

                    def report(progress: Progress) -> None:
                        at.started()
                        if progress.epoch == 1:
                            line.wait()

                    spec = TrainSpec(EPOCHS, self.batch, LEARNING_RATE)
                    return model, train(model, feed, spec, report, mode=mode, random=random)
            except BaseException as error:
                failures.append(error)
                line.abort()  # wakes the threads that wait there
                raise

        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(run, seed) for seed in range(jobs)]
        if failures:
            raise failures[0]
        ended = [future.result() for future in futures]
        seconds, histories = perf_counter() - begun[-1], [history for _, history in ended]
        steps = jobs * (EPOCHS - 1) * math.ceil(n / self.batch)
        return Together(
            steps / seconds, min(history.warm_up for history in histories), self.memory(),
            [model for model, _ in ended], histories[0].lack,
        )  # fmt: skip
