"""Seeds have names: what shares a name shares its random numbers, and nothing else does."""

import hashlib


def seed_for(*parts: str | int) -> int:
    """Return the 63-bit seed of a named use of randomness.

    ``seed_for("mask", dataset, seed)`` gives every model of a seed the same holes,
    ``seed_for("init", model, dataset, seed)`` gives each its own start.

    Args:
        parts: What the randomness is for and what it may depend on, in a fixed order.

    Returns:
        An integer in [0, 2**63), the same on every machine and Python version.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
