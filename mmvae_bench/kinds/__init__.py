"""Kinds of modalities by name: pictures, captions, symbols, tables and sounds. Importing this imports no torch."""

from mmvae_bench.kinds.base import Kind
from mmvae_bench.registry import Registry

kinds: Registry[Kind] = Registry(
    "kind",
    {
        **{name: f"{__name__}.standard:{name.upper()}" for name in ("picture", "caption", "symbol", "table")},
        "graph": f"{__name__}.graph:GRAPH",
        "sound": f"{__name__}.sound:SOUND",
    },
    group=__name__,
)
