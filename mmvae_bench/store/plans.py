"""Stored plans: read with care, because a file may come from anywhere, and joined with another of the same name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmvae_bench.disk import read_json
from mmvae_bench.errors import BenchError
from mmvae_bench.store.run import SCHEMA

WAY_OUT = "Delete it and run the suite again: stored runs are not repeated."
SKIPPED = {"dataset": str, "label": str, "missing": str, "seed": int, "reason": str}


def read_plan(path: Path) -> dict[str, Any]:
    """Read a plan and verify it.

    Raises:
        BenchError: If it is not.
    """
    return checked(read_json(path, WAY_OUT), path)


def checked(plan: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a plan with every key; keys that older versions did not write are empty.

    Args:
        plan: content of the file.
        path: the file.

    Raises:
        BenchError: If it is not a plan.
    """
    run_ids, titles = plan.get("run_ids"), plan.get("titles", {})
    texts = {key: plan.get(key, "") for key in ("title", "command")}
    skipped = plan.get("skipped", [])
    ids = [*(run_ids if isinstance(run_ids, list) else ["?"]), *(titles if isinstance(titles, dict) else ["?"])]
    good = (
        plan.get("name") == path.stem
        and plan.get("schema", 1) in range(1, SCHEMA + 1)
        and all(isinstance(run_id, str) and re.fullmatch(r"[0-9a-f]{16}", run_id) for run_id in ids)
        and all(isinstance(text, str) for text in [*texts.values(), *titles.values()])
        and isinstance(skipped, list)
        and all(_is_skipped(entry) for entry in skipped)
    )
    if not good:
        raise BenchError(f"'{path}' is not a plan that this version knows. {WAY_OUT}")
    return {"name": path.stem, **texts, "run_ids": run_ids, "titles": titles, "skipped": skipped}


def _is_skipped(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in SKIPPED.items())


def union(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Join two plans: the runs of both, ours first; title and command are ours.

    A run that only one of the two had to skip (it lacked the data, say) is not skipped in the union.
    """
    titles = {**theirs["titles"], **ours["titles"]}
    skipped = [*ours["skipped"], *(entry for entry in theirs["skipped"] if entry not in ours["skipped"])]
    left = [
        entry
        for entry in skipped
        if "{label} on {dataset}, {missing}, seed {seed}".format(**entry) not in titles.values()
    ]
    run_ids = list(dict.fromkeys([*ours["run_ids"], *theirs["run_ids"]]))
    return {**ours, "run_ids": run_ids, "titles": titles, "skipped": left}
