"""What the machine can do: matrix products of 1024 x 1024, and copying memory."""

import torch
from counting import Work

SIDE = 1024
COPIED = 64 * 2**20  # floats: far more than any cache holds


def build(name: str) -> Work:
    """``gemm``, ``gemm+bf16`` or ``copy``."""
    if name == "copy":
        source, target = torch.ones(COPIED), torch.zeros(COPIED)
        return Work(lambda: target.copy_(source), known={"bytes": 2 * source.nbytes})
    kind = torch.bfloat16 if name == "gemm+bf16" else torch.float32
    a, b, c = (torch.randn(SIDE, SIDE).to(kind) for _ in range(3))
    return Work(lambda: torch.mm(a, b, out=c), known={"flops": 2 * SIDE**3})
