"""A stored run, as the report reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmvae_bench import datasets
from mmvae_bench.errors import BenchError
from mmvae_bench.store.run import read_arrays

DROP = ",drop"  # as rows and plans write it: incomplete rows were left out


@dataclass(frozen=True)
class Run:
    """A stored run as the report calls it.

    Attributes:
        record: Its ``run.json``.
        label: The model's, told apart from others of the same text; ``group`` is the data set's title.
        subset: The data set's note on which rows are used, empty if all official ones.
    """

    run_id: str
    folder: Path
    record: Mapping[str, Any]
    label: str
    subset: str = ""
    group: str = ""

    @property
    def spec(self) -> Mapping[str, Any]:
        """The run's spec as plain values."""
        spec: Mapping[str, Any] = self.record["spec"]
        return spec

    @property
    def scheme(self) -> str:
        """The missing scheme, with what is done to incomplete rows if that is not to keep them."""
        missing = self.spec["missing"]
        return str(missing["scheme"]) + (DROP if missing["incomplete"] == "drop" else "")

    @property
    def ratio(self) -> float:
        """The missing ratio."""
        return float(self.spec["missing"]["ratio"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.spec["seed"])

    @property
    def failed(self) -> bool:
        """Whether training broke."""
        return bool(self.record["status"] == "failed")

    def artifacts(self) -> dict[str, NDArray[Any]]:
        """The arrays that figures need; empty if none are stored.

        Raises:
            BenchError: If the file is not what was written.
        """
        return read_arrays(self.folder, self.record, "artifacts.npz")

    @property
    def train_seconds(self) -> float | None:
        """Seconds of training, if recorded."""
        seconds = self.record.get("seconds")
        return float(seconds["train"]) if isinstance(seconds, dict) and "train" in seconds else None

    @property
    def may_be_shown(self) -> bool:
        """Whether pictures of its data may be published; not if its data set is no longer known here."""
        data = self.spec["dataset"]
        try:
            return bool(datasets.registry.get(data["name"])(**data["options"]).may_be_shown)
        except (BenchError, TypeError):  # a plug-in that is not installed, or whose options have changed
            return False

    @property
    def modalities(self) -> list[str]:
        """Modalities in the data set's order."""
        return list(self.spec["likelihoods"])
