"""Killed at random moments and started again, a sweep stores the bits of one that nobody touched."""

import os
import time

import pytest

from tests.helpers import benchmark

KILLS = 4  # of 100 in benchmarks/kills.py


@pytest.mark.slow
def test_kills_change_no_bit(tmp_path):
    seed = int(os.environ.get("MMVAE_BENCH_KILL_SEED", time.time_ns() % 2**32))
    print(f"MMVAE_BENCH_KILL_SEED={seed}")  # noqa: T201 (shown where the test fails)
    sweeps = benchmark("kills").Sweeps(tmp_path, seed, print)
    sweeps.kill(KILLS)
    if not sweeps.counts["resumes"]:  # rare: no kill met a run that had a checkpoint
        sweeps.kill(3 * KILLS)
    assert sweeps.counts["kills"] >= KILLS
    assert sweeps.counts["resumes"] > 0
