"""Encoders and decoders by name. Importing this package imports no torch; asking for a preset does.

A preset is a function ``(modalities, latent_dim, *, options...) -> Networks``, registered by name.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.nets.base import Networks

registry: "Registry[Callable[..., Networks]]" = Registry(
    "nets preset",
    {
        "mlp": "mmvae_bench.nets.mlp:mlp",
        "linear": "mmvae_bench.nets.mlp:linear",
        "tabular": "mmvae_bench.nets.tabular:tabular",
        "conv": "mmvae_bench.nets.conv:conv",
        "dag": "mmvae_bench.nets.dag:dag",
        "authors": "mmvae_bench.nets.authors:authors",
    },
    group="mmvae_bench.nets",
)
register = registry.register
