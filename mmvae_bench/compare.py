"""Two results of one run: are they the same, and if not, why may they differ, and by how much do they?"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from mmvae_bench.check_run import SCORED, WholeRun, is_number

CONDITIONS = (
    "dataset_hash", "oracle_hash", "embedding_hash", "device", "precision", "engine", "threads", "package_version",
)  # fmt: skip
SHOWN = 4  # conditions named in a sentence


@dataclass(frozen=True)
class Difference:
    """How two results of a run differ.

    Attributes:
        lawful: Whether they come from other conditions: other data, devices, versions. Under the same conditions the
            same run gives the same numbers.
        size: The largest |a - b| over the rows that both have.
        sentence: For people.
    """

    lawful: bool
    size: float
    sentence: str


def provenance(run: WholeRun) -> dict[str, str]:
    """The conditions that a run's numbers come from, beside its spec. Which metrics scored it is one of them."""
    known = {name: " ".join(sorted({str(row.get(name) or "") for row in run.rows})) for name in CONDITIONS}
    known["hardware"] = str(run.record.get("hardware", ""))
    for part in ("versions", "metrics"):
        found = run.record.get(part)
        known |= {f"{part} {name}": str(value) for name, value in found.items()} if isinstance(found, dict) else {}
    return known


def same(a: WholeRun, b: WholeRun) -> bool:
    """Whether two results agree: the same conditions and the same rows in any order."""
    return provenance(a) == provenance(b) and _rows(a) == _rows(b)


def _rows(run: WholeRun) -> Counter[str]:
    """All rows, without what is no result: the form they are stored in, and how the model was typed."""
    return Counter(repr(sorted({**row, "schema": 0, "label": ""}.items())) for row in run.rows)


def difference(a: WholeRun, b: WholeRun) -> Difference:
    """How two results that are not the :func:`same` differ."""
    here, there = provenance(a), provenance(b)
    other = [key for key in sorted(here | there) if here.get(key) != there.get(key)]
    why = ", ".join(f"{key} ({here.get(key) or 'none'}, {there.get(key) or 'none'})" for key in other[:SHOWN])
    if len(other) > SHOWN:
        why += f" and {len(other) - SHOWN} more"
    size, where = _largest(a, b)
    sentence = f"{a.spec.title} ({a.folder.name}): {f'other {why}' if other else 'other rows'}; {where}"
    return Difference(bool(other), size, sentence)


def _largest(a: WholeRun, b: WholeRun) -> tuple[float, str]:
    """The largest difference of a value that both have, and where it is."""
    ours, theirs = _values(a), _values(b)
    common = ours.keys() & theirs.keys()
    alone = len(ours.keys() ^ theirs.keys())
    rest = f"; values that one of them lacks: {alone}" if alone else ""
    if not common:
        return 0.0, f"no value is in both{rest}"
    size, key = max((abs(ours[key] - theirs[key]), key) for key in common)
    metric, variant, prior, given, target = key
    name = " ".join(part for part in (metric, variant, prior, f"{given}->{target}" if given else target) if part)
    if not size:
        return 0.0, f"all {len(common)} common values are equal{rest}"
    where = f"{ours[key]!r} in '{a.root}', {theirs[key]!r} in '{b.root}'"
    return size, f"largest difference {size:.3g}, in {name}: {where}{rest}"


def _values(run: WholeRun) -> dict[tuple[str, ...], Any]:
    return {
        tuple(str(row.get(column) or "") for column in SCORED): row["value"]
        for row in run.rows
        if is_number(row.get("value"))
    }
