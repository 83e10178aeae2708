"""Models by name. Importing this package imports no torch; asking for a model does."""

from typing import TYPE_CHECKING, NamedTuple

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
        "mvtcae": "mmvae_bench.models.mvtcae:MVTCAE",
        "mmvaeplus": "mmvae_bench.models.mmvaeplus:MMVAEPlus",
        "dmvae": "mmvae_bench.models.dmvae:DMVAE",
        "jmvae": "mmvae_bench.models.jmvae:JMVAE",
        "jnf": "mmvae_bench.models.jnf:JNF",
        "codevae": "mmvae_bench.models.codevae:CoDEVAE",
        "hellinger": "mmvae_bench.models.hellinger:Hellinger",
        "barycentre": "mmvae_bench.models.barycentre:Barycentre",
        "crmvae": "mmvae_bench.models.crmvae:CRMVAE",
        "mmjsd": "mmvae_bench.models.mmjsd:MMJSD",
        "csvae": "mmvae_bench.models.csvae:CSVAE",
        "regressor": "mmvae_bench.models.regressor:Regressor",
        "contrastive": "mmvae_bench.models.contrastive:Contrastive",
        "unimodal": "mmvae_bench.models.unimodal:Unimodal",
    },
    group="mmvae_bench.models",
)
register = registry.register


class About(NamedTuple):
    """Facts of a model, known without importing it; a test compares them with the class."""

    family: str  # how q(z | X) is made of the encoders
    latents: str = "shared"
    rows: str = "any"  # rows that train it


NOT_KNOWN = About("-", "-", "-")  # a plug-in
ABOUT = {
    "meme": About("mixture"),
    "mvae": About("product"),
    "mmvae": About("mixture"),
    "mopoe": About("mixture of products"),
    "mmvm": About("one each"),
    "mvtcae": About("product"),
    "mmvaeplus": About("mixture", "shared, private"),
    "dmvae": About("product", "shared, private"),
    "jmvae": About("joint encoder"),
    "jnf": About("joint encoder", rows="complete"),
    "codevae": About("consensus"),
    "hellinger": About("barycentre"),
    "barycentre": About("mixture of barycentres"),
    "crmvae": About("product"),
    "mmjsd": About("mixture"),
    "csvae": About("mixture", "shared, of labels"),
    "regressor": About("baseline"),
    "contrastive": About("baseline", rows="paired"),
    "unimodal": About("chance control"),
}
