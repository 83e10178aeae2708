"""Words for what the rows hold: metrics, directions of generation, missing patterns.

Each metric's own are in :mod:`mmvae_bench.report.metric_words`.
"""

from mmvae_bench.report.metric_words import METRICS, Words

CONTROL = "chance control"  # how the reason of a row begins that is shown but never ranked
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


def condition_text(scheme: str, ratio: float) -> str:
    """``complete`` or ``split 0.5``."""
    return "complete" if ratio == 0 else f"{scheme} {ratio:g}"
