"""How a metric is presented: declared with the metric, stored with every run that it scored, read by the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

PRIORS = {
    "model": "drawn from the model's own prior",
    "aggregate": "drawn from the mixture of training posteriors (available for every model): such draws are encodings"
    " of single training entries, so that coherence of them is cross-coherence by another name, and not ranked",
    "gmm": "drawn from a mixture of Gaussians that is fitted to training latents",
    "ncp": "drawn from p(z) times the density ratio that a classifier finds between training latents and p(z)",
}

DEAD = 5  # standard errors by which some reconstruction gain of an encoder, or decoder, that was trained exceeds 0


def is_blind(accuracy: float, chance: float, n: float) -> bool:
    """Return whether a judge is at chance: not above it by two standard errors of its accuracy on n rows."""
    return chance < 1 and accuracy - chance <= 2 * math.sqrt(max(accuracy * (1 - accuracy), 0.0) / n)


def score_key(score: Any) -> str:
    """Return the name of a score, or of a row, among the outcomes of its run."""
    return "/".join((score.metric, score.variant, score.prior, score.given, score.target))


@dataclass(frozen=True)
class Description:
    """Everything that a reader of a metric's tables must know. All fields are plain JSON values."""

    title: str = ""  # name for people; ``{}`` is the place of the variant; by default the registered name
    definition: str = ""  # one sentence; by default the first line of the metric's docstring
    variants: Mapping[str, str] = field(default_factory=dict)  # meaning of each word of a variant, or of its beginning
    higher_is_better: bool = True
    bounds: Sequence[float | None] = (None, None)  # least and greatest possible value, None for no bound
    # Beginnings of variants, and priors, in which no best is marked: they only accompany another score
    unranked: Sequence[str] = ()
    drawn: Sequence[str] = ("",)  # beginnings of the variants that have a figure; ``""`` is the variant without a name
    # Name of the number that variants begin with: one figure of them all has it as its axis, a line for each rest
    against: str = ""
    key: bool = False  # True if that figure is one of the first on the page
    encodes_target: bool = False  # True if the target's posterior is scored, not what its decoder makes
    ceiling: str = ""  # name of the ceiling in that figure; empty to leave it out
    # A table's columns: by direction (``a → b``), by ``pair`` (``a ↔ b``), as a ``density`` (``p(b | a)``), or by
    # ``size`` of the given set where there are more than two modalities (``2 given``)
    columns: Literal["direction", "pair", "density", "size"] = "direction"
    # The one column in the summary where there are more than two modalities; scores given several of them are then left
    # out of the summary. Empty to keep all columns
    coarse: str = ""

    def named(self, name: str) -> "Description":
        """Return the description with a title and a definition, made of the metric's name where it has none."""
        title = self.title or name.replace("_", " ").capitalize()
        return replace(self, title=title, definition=self.definition or "See the plug-in that defines it.")

    def is_ranked(self, variant: str, prior: str = "") -> bool:
        """Return whether a best is marked."""
        return not (variant.startswith(tuple(self.unranked)) or prior in self.unranked)

    def is_drawn(self, variant: str) -> bool:
        """Return whether the variant has a figure."""
        return any(variant.startswith(part) if part else not variant for part in self.drawn)

    def title_of(self, variant: str, prior: str) -> str:
        """Return a table's title, such as ``Joint coherence (aggregate prior)``."""
        title, rest = (self.title.replace("{}", variant), "") if "{}" in self.title else (self.title, variant)
        inside = ", ".join(part for part in (rest, f"{prior} prior" if prior else "") if part)
        return title + (f" ({inside})" if inside else "")

    def definition_of(self, variant: str, prior: str) -> str:
        """Return the definition with the meaning of a variant and a prior."""
        known = [max(filter(part.startswith, self.variants), key=len, default="") for part in variant.split()]
        name = prior.partition("[")[0]
        extra = [*(self.variants[key] for key in known if key), *([PRIORS[name]] if name in PRIORS else [])]
        return f"{self.definition[:-1]}; {'; '.join(extra)}." if extra else self.definition

    def column(self, given: str, target: str, modalities: int, *, coarse: bool = False) -> str | None:
        """Return the name of the column of a score, or None if the summary (``coarse``) leaves it out.

        ``given`` and ``target`` are joined by ``+``; ``modalities`` is how many the data set has.
        """
        if coarse and self.coarse and ("+" in given or modalities > 2):
            return None if "+" in given else self.coarse
        if self.columns == "size" and modalities > 2:
            return f"{given.count('+') + 1} given"
        if self.columns == "density":
            return f"p({target.replace('+', ', ')}" + (f" | {given.replace('+', ', ')})" if given else ")")
        if self.columns == "pair":
            return " ↔ ".join(name for side in (given, target) for name in side.split("+") if name)
        if not given and "+" in target:
            return "joint"
        return f"{given} → {target}" if given and target else given or target or "all"


UNDESCRIBED = Description()
