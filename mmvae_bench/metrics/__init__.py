"""Metrics by name, and how each is described. Importing this package imports no torch."""

from typing import TYPE_CHECKING

from mmvae_bench.metrics.description import DEAD, PRIORS, UNDESCRIBED, Description, is_blind, score_key
from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.metrics.base import Metric

METRICS = [  # in the order of results: modules, and metrics in them
    ("classes", ("cross_coherence", "self_coherence", "joint_coherence", "oracle_accuracy", "linear_probe")),
    ("decoding", ("decoding_error", "decoding_error_generated")),
    ("relatedness", ("relatedness_auroc", "relatedness_contrast", "relatedness_transport")),
    ("attributes", ("attributes_strict", "attributes_features")),
    ("cca", ("cca", "cca_ground_truth", "cca_ratio")),
    ("relatedness", ("retrieval_recall", "retrieval_median_rank")),
    ("caption_quality", ("caption_quality",)),
    ("log_likelihood", ("log_likelihood",)),
    ("annealed", ("log_likelihood_ais",)),
    ("reconstruction", ("reconstruction_gain",)),
    ("frechet", ("frechet",)),
    ("precision_recall", ("precision_recall",)),
    ("several", ("diversity", "calibration", "joint_completion")),
    ("prior_fit", ("prior_fit",)),
    ("graphs", ("graph_quality", "number_error")),
    ("robustness", ("robustness_coherence", "robustness_probe")),
    ("labels", ("attribute_swap", "attribute_probe")),
]
registry: "Registry[Metric]" = Registry(
    "metric",
    {name: f"{__name__}.{module}:{name}" for module, names in METRICS for name in names},
    group=__name__,
)
register = registry.register
ON_REQUEST = {  # long, or of a few users
    "log_likelihood_ais", "prior_fit", "robustness_coherence", "robustness_probe", "attribute_swap", "attribute_probe",
    "joint_completion",
}  # fmt: skip


def usual() -> list[str]:
    """Return the names of the metrics of a run that names none: all but those that are computed only when named."""
    return [name for name in registry.names() if name not in ON_REQUEST]


__all__ = [
    "DEAD", "ON_REQUEST", "PRIORS", "UNDESCRIBED", "Description", "is_blind", "register", "registry", "score_key",
    "usual",
]  # fmt: skip
