"""Words for what the rows hold: metrics, directions of generation, missing patterns.

A metric's own docstring would need torch to be imported; the report must work without it.
"""

from dataclasses import dataclass

CONTROL = "chance control"  # how the reason of a row begins that is shown but never ranked


@dataclass(frozen=True)
class Words:
    """How a metric is presented.

    Attributes:
        title: Its name for people.
        definition: One line.
        variants: What each variant means.
        unranked: Variants that only accompany another: no best is marked (``*`` = all).
        main: Variants that are drawn against the missing ratio.
    """

    title: str
    definition: str
    variants: dict[str, str]
    unranked: tuple[str, ...] = ()
    main: tuple[str, ...] = ("",)


COHERENCE = {
    "micro": "over all test rows",
    "macro": "mean over the classes present",
    "agreement": "against the oracle's prediction on the source instead of the label",
}
METRICS = {
    "cross_coherence": Words(
        "Cross-coherence",
        "Share of generated targets that the oracle puts into the class of the modalities given.",
        COHERENCE,
        main=("micro",),
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
    "linear_probe": Words(
        "Linear probe",
        "Test accuracy of a logistic regression from latents to classes, fitted on complete training rows.",
        {"mean": "on the posterior mean", "sample": "on one posterior sample"},
        main=("mean",),
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
    "log_likelihood": Words(
        "Log-likelihood",
        "Importance-weighted estimate in nats, mean over test rows.",
        {"ess": "effective sample size of the importance weights: a low one makes the estimate a loose lower bound"},
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
    inside = ", ".join(part for part in (variant, f"{prior} prior" if prior else "") if part)
    return words(metric).title + (f" ({inside})" if inside else "")


def definition(metric: str, variant: str, prior: str) -> str:
    """One line: what it is, and what this variant and prior are."""
    w = words(metric)
    variant_words = next((text for key, text in w.variants.items() if variant.startswith(key)), "")
    extra = "; ".join(part for part in (variant_words, PRIORS.get(prior, "")) if part)
    return f"{w.definition[:-1]}; {extra}." if extra else w.definition


def direction(metric: str, given: str, target: str, modalities: int) -> str:
    """The column of a row: ``mnist → street``; with more than two modalities ``1 given`` for coherences."""
    if metric in ("cross_coherence", "self_coherence") and modalities > 2:
        return f"{given.count('+') + 1} given"
    if metric == "log_likelihood":
        return f"p({target.replace('+', ', ')}" + (f" | {given.replace('+', ', ')})" if given else ")")
    if metric == "joint_coherence" and "+" in target:
        return "joint"
    if metric.startswith("relatedness"):
        return f"{given} ↔ {target}"
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


def condition_text(scheme: str, ratio: float) -> str:
    """``complete`` or ``split 0.5``."""
    return "complete" if ratio == 0 else f"{scheme} {ratio:g}"
