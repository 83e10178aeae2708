"""What each metric is called and what it says, for readers of tables.

A metric's own docstring would need torch to be imported; the report must work without it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """How a metric is presented.

    Attributes:
        title: Its name for people; ``{}`` is the place of the variant.
        definition: One line.
        variants: What each word of a variant means, or what begins with it.
        unranked: Variants that only accompany another: no best is marked (``*`` = all).
        main: Beginnings of the variants that are drawn against the missing ratio; "" is the one without a name.
        key: Whether that figure is one of the page's first.
        ceiling: What the ceiling is called in that figure; it is drawn if it has a name.
    """

    title: str
    definition: str
    variants: dict[str, str]
    unranked: tuple[str, ...] = ()
    main: tuple[str, ...] = ("",)
    key: bool = False
    ceiling: str = ""


COHERENCE = {
    "micro": "over all test rows",
    "macro": "mean over the classes present",
    "agreement": "against the oracle's prediction on the source instead of the label",
}
ATTRIBUTES = {"self": "the target being among the given"}
CCA = {
    "mean": "captions as the mean of their word vectors",
    "sif": "captions as a mean of word vectors in which frequent words weigh less (SIF)",
    "oracle": "pictures as the features of the oracle",
    "features": "pictures as the data set's features",
    "resnet101": "pictures as ResNet-101 features",
    "unit": "each direction scaled to unit variance instead of as in MMVAE's code",
}


METRICS = {
    "attributes_strict": Words(
        "Attributes, strict",
        "Share of generated entries in which every attribute is right (in draws from a prior: the same in all "
        "modalities), a caption word for word.",
        ATTRIBUTES,
        key=True,
    ),
    "attributes_features": Words(
        "Attributes, features",
        "Share of single attributes that are right in generated entries (in draws from a prior: the same in all "
        "modalities).",
        ATTRIBUTES,
        main=(),
    ),
    "cross_coherence": Words(
        "Cross-coherence",
        "Share of generated targets that the oracle puts into the class of the modalities given.",
        COHERENCE,
        main=("micro",),
        key=True,
    ),
    "self_coherence": Words(
        "Self-coherence",
        "Share of reconstructions that the oracle puts into the right class, the target being among the given.",
        COHERENCE,
        main=(),
    ),
    "joint_coherence": Words(
        "Joint coherence",
        "Share of draws from the prior whose modalities the oracles put into one class.",
        {"entropy": "entropy of the predicted classes / log C: near 0 means always the same class"},
        unranked=("entropy",),
    ),
    "cca": Words(
        "CCA",
        "Mean cosine of pictures and captions, one or both of them generated, after the projections of a canonical "
        "correlation analysis of the true training pairs.",
        CCA,
        main=("mean",),
        key=True,
        ceiling="true pairs",
    ),
    "cca_ratio": Words(
        "CCA, ratio",
        "The CCA of generated pairs over that of the true test pairs: at 1 they are as related as true ones; smooth "
        "generations may exceed it.",
        CCA,
        main=("", "mean"),
        ceiling="true pairs",
    ),
    "cca_ground_truth": Words(
        "CCA, ground truth",
        "The same cosine of the true test pairs: what CCA is to be compared with.",
        CCA,
        unranked=("*",),
        main=(),
    ),
    "retrieval_recall": Words(
        "Recall@{}",
        "Share of queries whose partner is among the k entries of the other modality that are nearest in W2 between "
        "posteriors, of one entry of each test item.",
        {"1": "k = 1", "5": "k = 5", "10": "k = 10"},
        main=("10",),
        key=True,
    ),
    "retrieval_median_rank": Words(
        "Retrieval, median rank",
        "Median rank of a query's partner among the entries of the other modality, by W2 between posteriors; 1 is the "
        "nearest.",
        {},
        main=(),
    ),
    "caption_quality": Words(
        "Caption quality",
        "Generated captions of test pictures against all true captions of the picture, 0 to 1; rare words of "
        "true captions are unknown, the same for all models.",
        {"bleu": "BLEU-4, shared words in order", "chrf": "chrF, shared runs of letters"},
        main=(),
    ),
    "linear_probe": Words(
        "Linear probe",
        "Test accuracy of a logistic regression from latents to classes, fitted on complete training rows.",
        {"mean": "on the posterior mean", "sample": "on one posterior sample"},
        main=("mean",),
        key=True,
    ),
    "relatedness_auroc": Words(
        "Relatedness, AUROC",
        "Probability that a related pair of posteriors is closer in W2 than an unrelated one.",
        {},
    ),
    "relatedness_contrast": Words(
        "Relatedness, contrast",
        "(u - r) / (u + r), u and r the mean W2 between posteriors of unrelated and of related pairs.",
        {},
        main=(),
    ),
    "relatedness_transport": Words(
        "Relatedness, transport",
        "Share of rows that optimal transport (cost W2 squared) matches to a related row.",
        {},
        main=(),
    ),
    "frechet": Words(
        "Fréchet distance",
        "Between Gaussians fitted to the oracle's features of generated and of as many true test entries: no FID, for "
        "which Inception's are taken, and comparable within one table alone. The ceiling is the distance of as many "
        "true training entries.",
        {"self": "the target being the one given: a perfect copy scores 0"},
        ceiling="true training entries",
    ),
    "log_likelihood": Words(
        "Log-likelihood",
        "Importance-weighted estimate in nats, mean over test rows.",
        {
            "iw": "loose where the effective sample size (table ess) is a few: then orders are of bounds as much as of "
            "likelihoods",
            "ess": "effective sample size of the importance weights: a low one makes the estimate a loose lower bound",
        },
        unranked=("ess",),
        main=("iw",),
    ),
    "oracle_accuracy": Words(
        "Oracle accuracy",
        "Test accuracy of the classifier that judges a modality: the ceiling of the coherences.",
        {},
        unranked=("*",),
        main=(),
    ),
}

PRIORS = {
    "model": "drawn from the model's own prior",
    "aggregate": "drawn from the mixture of training posteriors (available for every model)",
}


def words(metric: str) -> Words:
    """The words of a metric; a plug-in's speaks for itself."""
    return METRICS.get(metric) or Words(metric.replace("_", " ").capitalize(), "See the plug-in that defines it.", {})


def is_ranked(metric: str, variant: str) -> bool:
    """Whether a best is marked."""
    return not any(part == "*" or variant.startswith(part) for part in words(metric).unranked)


def is_main(metric: str, variant: str) -> bool:
    """Whether the metric is drawn against the missing ratio."""
    return any(variant == part or (part and variant.startswith(part)) for part in words(metric).main)


def metric_title(metric: str, variant: str, prior: str) -> str:
    """``Joint coherence (aggregate prior)``."""
    title = words(metric).title
    title, variant = (title.format(variant), "") if "{}" in title else (title, variant)
    inside = ", ".join(part for part in (variant, f"{prior} prior" if prior else "") if part)
    return title + (f" ({inside})" if inside else "")


def definition(metric: str, variant: str, prior: str) -> str:
    """One line: what it is, and what this variant and prior are."""
    w = words(metric)
    known = [max((key for key in w.variants if part.startswith(key)), key=len, default="") for part in variant.split()]
    extra = "; ".join([*(w.variants[key] for key in known if key), *([PRIORS[prior]] if prior in PRIORS else [])])
    return f"{w.definition[:-1]}; {extra}." if extra else w.definition


def direction(metric: str, given: str, target: str, modalities: int) -> str:
    """The column of a row: ``mnist → street``; with more than two modalities ``1 given`` for coherences."""
    if metric in ("cross_coherence", "self_coherence") and modalities > 2:
        return f"{given.count('+') + 1} given"
    if metric == "log_likelihood":
        return f"p({target.replace('+', ', ')}" + (f" | {given.replace('+', ', ')})" if given else ")")
    if metric.startswith("relatedness") or metric == "cca_ground_truth":
        return " ↔ ".join(name for side in (given, target) for name in side.split("+") if name)
    if not given and "+" in target:
        return "joint"
    return f"{given} → {target}" if given and target else given or target or "all"


def coarse_direction(metric: str, given: str, target: str, modalities: int) -> str | None:
    """The column in the summary: with more than two modalities means over them; None = not in the summary."""
    if metric == "linear_probe" and "+" in given:
        return None
    if modalities > 2 and metric == "linear_probe":
        return "mean of each"
    if modalities > 2 and metric.startswith("relatedness"):
        return "mean of pairs"
    return direction(metric, given, target, modalities)
