"""The mathematics that all models share: densities, combinations of experts, and bounds.

Likelihoods p(x_m | z) by name; importing this package imports no torch.
"""

from typing import TYPE_CHECKING

from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.probability.distributions import Likelihood

OF_VALUES = ("laplace", "normal", "bernoulli", "categorical")
likelihoods: "Registry[Likelihood]" = Registry(
    "likelihood",
    {
        **{name: f"{__name__}.distributions:{name.upper()}" for name in OF_VALUES},
        "dag": f"{__name__}.graphs:DAG",
    },
    group=f"{__name__.partition('.')[0]}.likelihoods",
)
