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


class Paper(NamedTuple):
    """How a model is called, and the paper that it is from; the page ``docs/models.md`` says the same."""

    title: str
    cited: str = ""  # authors, place and year
    arxiv: str = ""  # number of the preprint


PAPERS = {
    "meme": Paper("MEME", "Joy et al., ICLR 2022", "2106.12570"),
    "mvae": Paper("MVAE", "Wu & Goodman, NeurIPS 2018", "1802.05335"),
    "mmvae": Paper("MMVAE", "Shi et al., NeurIPS 2019", "1911.03393"),
    "mopoe": Paper("MoPoE-VAE", "Sutter et al., ICLR 2021", "2105.02470"),
    "mmvm": Paper("MM-VAMP", "Sutter et al., NeurIPS 2024", "2403.05300"),
    "mvtcae": Paper("MVTCAE", "Hwang et al., NeurIPS 2021"),
    "mmvaeplus": Paper("MMVAE+", "Palumbo et al., ICLR 2023"),
    "dmvae": Paper("DMVAE", "Lee & Pavlovic, CVPR workshops 2021"),
    "jmvae": Paper("JMVAE-kl", "Suzuki et al., 2016", "1611.01891"),
    "jnf": Paper("JNF", "Senellart et al., 2025", "2502.03952"),
    "codevae": Paper("CoDE-VAE", "Mancisidor et al., ICML 2025", "2505.01134"),
    "hellinger": Paper("HELVAE", "Vo et al., AISTATS 2026", "2601.06572"),
    "barycentre": Paper("MWB-VAE", "Qiu et al., AAAI 2025", "2412.20487"),
    "crmvae": Paper("CRMVAE", "Suzuki & Matsuo, 2023"),
    "mmjsd": Paper("mmJSD", "Sutter et al., NeurIPS 2020"),
    "csvae": Paper("CSVAE", "Klys et al., NeurIPS 2018", "1812.06190"),
    "regressor": Paper("masked regression"),
    "contrastive": Paper("encoders trained by contrast", "Radford et al., ICML 2021", "2103.00020"),
    "unimodal": Paper("unimodal VAEs", "Kingma & Welling, ICLR 2014", "1312.6114"),
}
