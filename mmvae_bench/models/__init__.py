"""Models by name. Importing this package imports no torch; asking for a model does."""

from typing import TYPE_CHECKING

from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.models.base import MultimodalVAE

registry: "Registry[type[MultimodalVAE]]" = Registry(
    "model",
    {
        "meme": "mmvae_bench.models.meme:MEME",
        "mvae": "mmvae_bench.models.mvae:MVAE",
        "mmvae": "mmvae_bench.models.mmvae:MMVAE",
        "mopoe": "mmvae_bench.models.mopoe:MoPoE",
        "mmvm": "mmvae_bench.models.mmvm:MMVM",
        "unimodal": "mmvae_bench.models.unimodal:Unimodal",
    },
    group="mmvae_bench.models",
)
register = registry.register
