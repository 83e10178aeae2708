"""Devices and what they can compute."""

from pathlib import Path

import pytest

from mmvae_bench.errors import BenchWarning
from mmvae_bench.sweep import environment


@pytest.mark.parametrize(
    ("flags", "slow"),
    [("flags : fpu avx2 avx512f", True), ("flags : fpu avx512_bf16", False), ("Features : fp asimd bf16", False)],
)
def test_a_precision_that_the_processor_emulates_is_announced(flags, slow, monkeypatch, recwarn):
    monkeypatch.setattr(Path, "read_text", lambda path, **how: f"processor : 0\n{flags}\n")
    environment.check_device("cpu", "bf16")
    environment.check_device("cpu", "fp32")
    assert [str(w.message) for w in recwarn if w.category is BenchWarning] == [
        "This processor has no bf16 arithmetic, so --precision bf16 is about ten times slower than fp32."
    ] * slow
