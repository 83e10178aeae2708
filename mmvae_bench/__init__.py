"""mmvae-bench: multimodal variational autoencoders, compared on equal terms.

All public names are here. A name imports its module when it is first used, so ``import mmvae_bench`` is cheap.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mmvae_bench.api import build_report as build_report
    from mmvae_bench.api import load_scores as load_scores
    from mmvae_bench.api import run as run
    from mmvae_bench.datasets.base import Built as Built
    from mmvae_bench.datasets.base import Dataset as Dataset
    from mmvae_bench.datasets.base import Protocol as Protocol
    from mmvae_bench.datasets.base import Repeated as Repeated
    from mmvae_bench.datasets.base import Rows as Rows
    from mmvae_bench.errors import BenchError as BenchError
    from mmvae_bench.errors import DataError as DataError
    from mmvae_bench.errors import Undefined as Undefined
    from mmvae_bench.errors import Unsupported as Unsupported
    from mmvae_bench.metrics.base import Description as Description
    from mmvae_bench.metrics.base import Evaluation as Evaluation
    from mmvae_bench.metrics.base import Score as Score
    from mmvae_bench.metrics.base import metric as metric
    from mmvae_bench.models.base import MultimodalVAE as MultimodalVAE
    from mmvae_bench.nets.base import Networks as Networks
    from mmvae_bench.options import Count as Count
    from mmvae_bench.options import Positive as Positive
    from mmvae_bench.options import Range as Range
    from mmvae_bench.options import Weight as Weight
    from mmvae_bench.probability import likelihoods as likelihoods
    from mmvae_bench.probability.bounds import log_mean_exp as log_mean_exp
    from mmvae_bench.probability.bounds import row_mean as row_mean
    from mmvae_bench.probability.distributions import DiagonalLaplace as DiagonalLaplace
    from mmvae_bench.probability.distributions import DiagonalNormal as DiagonalNormal
    from mmvae_bench.probability.distributions import Likelihood as Likelihood
    from mmvae_bench.probability.distributions import kl as kl
    from mmvae_bench.probability.fusion import Experts as Experts
    from mmvae_bench.probability.fusion import Mixture as Mixture
    from mmvae_bench.probability.fusion import product as product
    from mmvae_bench.probability.fusion import products as products
    from mmvae_bench.seeds import seed_for as seed_for
    from mmvae_bench.trained import TrainedModel as TrainedModel
    from mmvae_bench.trained import fit as fit
    from mmvae_bench.trained import load_run as load_run
    from mmvae_bench.types import Loss as Loss
    from mmvae_bench.types import Modality as Modality
    from mmvae_bench.types import MultimodalBatch as MultimodalBatch

# Each public name and the module that defines it; the imports above repeat them for mypy and editors.
_MODULES = {
    "api": ("run", "load_scores", "build_report"),
    "trained": ("load_run", "fit", "TrainedModel"),
    "models.base": ("MultimodalVAE",),
    "types": ("Modality", "MultimodalBatch", "Loss"),
    "probability.fusion": ("Experts", "Mixture", "product", "products"),
    "probability": ("likelihoods",),
    "probability.distributions": ("DiagonalNormal", "DiagonalLaplace", "Likelihood", "kl"),
    "probability.bounds": ("row_mean", "log_mean_exp"),
    "nets.base": ("Networks",),
    "datasets.base": ("Dataset", "Rows", "Built", "Protocol", "Repeated"),
    "metrics.base": ("metric", "Description", "Score", "Evaluation"),
    "options": ("Positive", "Count", "Weight", "Range"),
    "seeds": ("seed_for",),
    "errors": ("Undefined", "Unsupported", "DataError", "BenchError"),
}
_MODULE_OF = {name: f"mmvae_bench.{module}" for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # else mypy would take any name for a public one
    __all__ = list(_MODULE_OF)

    def __getattr__(name: str) -> object:
        """Import a public name on first use (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'mmvae_bench' has no attribute '{name}'")
        from importlib import import_module

        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
