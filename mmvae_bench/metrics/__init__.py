"""Metrics by name, and how each is described. Importing this package imports no torch."""

from typing import TYPE_CHECKING

from mmvae_bench.metrics.description import UNDESCRIBED, Description
from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.metrics.base import Metric

registry: "Registry[Metric]" = Registry(
    "metric",
    {
        "cross_coherence": "mmvae_bench.metrics.coherence:cross_coherence",
        "self_coherence": "mmvae_bench.metrics.coherence:self_coherence",
        "joint_coherence": "mmvae_bench.metrics.coherence:joint_coherence",
        "oracle_accuracy": "mmvae_bench.metrics.coherence:oracle_accuracy",
        "linear_probe": "mmvae_bench.metrics.linear_probe:linear_probe",
        "relatedness_auroc": "mmvae_bench.metrics.relatedness:relatedness_auroc",
        "relatedness_contrast": "mmvae_bench.metrics.relatedness:relatedness_contrast",
        "relatedness_transport": "mmvae_bench.metrics.relatedness:relatedness_transport",
        "attributes_strict": "mmvae_bench.metrics.attributes:attributes_strict",
        "attributes_features": "mmvae_bench.metrics.attributes:attributes_features",
        "cca": "mmvae_bench.metrics.cca:cca",
        "cca_ground_truth": "mmvae_bench.metrics.cca:cca_ground_truth",
        "cca_ratio": "mmvae_bench.metrics.cca:cca_ratio",
        "retrieval_recall": "mmvae_bench.metrics.retrieval:retrieval_recall",
        "retrieval_median_rank": "mmvae_bench.metrics.retrieval:retrieval_median_rank",
        "caption_quality": "mmvae_bench.metrics.caption_quality:caption_quality",
        "log_likelihood": "mmvae_bench.metrics.log_likelihood:log_likelihood",
        "frechet": "mmvae_bench.metrics.frechet:frechet",
    },
    group="mmvae_bench.metrics",
)
register = registry.register
__all__ = ["UNDESCRIBED", "Description", "register", "registry"]
