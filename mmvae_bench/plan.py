"""A plan: every run that was asked for, with what is stored already and what is skipped and why."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmvae_bench.request import Overwrite
from mmvae_bench.spec import Missing, RunSpec

Status = Literal["to run", "stored", "failed before", "broken", "skipped", "other shard"]


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan.

    Attributes:
        dataset: As typed, with its options; ``label`` is the model, likewise.
        status: ``broken`` is a folder that was cut off or edited.
        reason: Why it is skipped, failed or broken.
        spec: None only where the model cannot be imported (the run is then skipped).
        stamp: Of what was stored before its status was looked at: all that this plan's runs may replace.
    """

    dataset: str
    label: str
    missing: Missing
    seed: int
    status: Status
    reason: str = ""
    spec: RunSpec | None = None
    stamp: str = ""

    @property
    def title(self) -> str:
        """A short text for people: ``mopoe on mnist_street, missing split 0.5, seed 0``."""
        return f"{self.label} on {self.dataset}, missing {self.missing}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """The runs of a request, each once, in a fixed order: by data set, model, missing pattern and seed."""

    name: str
    title: str
    command: str
    entries: list[PlannedRun]

    @property
    def specs(self) -> list[RunSpec]:
        """Every run that is not skipped."""
        return [entry.spec for entry in self.entries if entry.spec and entry.status != "skipped"]

    def todo(self, overwrite: Overwrite = "failed") -> list[RunSpec]:
        """The runs to train now; what is stored, failed or broken is repeated as ``overwrite`` says."""
        repeated: dict[str, set[Status]] = {
            "never": {"to run"},
            "failed": {"to run", "failed before", "broken"},
            "always": {"to run", "failed before", "broken", "stored"},
        }
        return [entry.spec for entry in self.entries if entry.spec and entry.status in repeated[overwrite]]

    @property
    def own(self) -> list[RunSpec]:
        """Every run that is not skipped and not another shard's."""
        return [entry.spec for entry in self.entries if entry.spec and entry.status not in ("skipped", "other shard")]

    def shard(self, number: int, count: int) -> "Plan":
        """The same plan, of which only every run whose id falls to shard ``number`` of ``count`` is to be run.

        Which shard a run falls to depends on its id alone: machines that know nothing of each other do all runs, once.

        Args:
            number: From 1 to ``count``.
            count: How many shards there are.
        """

        def placed(entry: PlannedRun) -> PlannedRun:
            own = not entry.spec or entry.status == "skipped" or int(entry.spec.run_id, 16) % count == number - 1
            return entry if own else replace(entry, status="other shard", reason="")

        return replace(self, entries=[placed(entry) for entry in self.entries])

    @property
    def counts(self) -> Counter[Status]:
        """How many runs have each status."""
        return Counter(entry.status for entry in self.entries)

    def exit_code(self, overwrite: Overwrite = "failed") -> int:
        """What a run of this plan exits with if nothing fails: 0, 1 (failed runs are left), 2 (nothing can run)."""
        if not self.specs or (overwrite == "never" and self.counts["broken"]):
            return 2
        return int(overwrite == "never" and self.counts["failed before"] > 0)

    def record(self) -> dict[str, Any]:
        """What the store keeps of the plan: identities, and the skipped runs with their reasons."""
        skipped = [
            {
                "dataset": entry.dataset,
                "label": entry.label,
                "missing": str(entry.missing),
                "seed": entry.seed,
                "reason": entry.reason,
            }
            for entry in self.entries
            if entry.status == "skipped"
        ]
        return {
            "name": self.name,
            "title": self.title,
            "command": self.command,
            "run_ids": [spec.run_id for spec in self.specs],
            "titles": {spec.run_id: spec.title for spec in self.specs},  # for people, while a run is not stored
            "skipped": skipped,
        }
