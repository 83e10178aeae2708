"""Named seeds: two uses of randomness share their numbers if and only if they share the name."""

import hashlib


def seed_for(*parts: str | int) -> int:
    """Return the 63-bit seed of a named use of randomness.

    With ``seed_for("mask", dataset, seed)`` all models of a seed get the same presence masks;
    with ``seed_for("init", dataset, seed)`` they also start from the same weights.

    Args:
        parts: purpose of the random numbers and all that they may depend on, in a fixed order.

    Returns:
        An integer in [0, 2**63), the same on every machine and Python version.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
