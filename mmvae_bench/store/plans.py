"""A plan as it is stored: read with care, because it may come from anywhere, and joined with another of its name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmvae_bench.disk import read_json
from mmvae_bench.errors import BenchError
from mmvae_bench.store.run import SCHEMA

WAY_OUT = "delete it and run the suite again: stored runs are not repeated"
SKIPPED = {"dataset": str, "label": str, "missing": str, "seed": int, "reason": str}


def read_plan(path: Path) -> dict[str, Any]:
    """Read a plan and check that it is one.

    Raises:
        BenchError: If it is not.
    """
    return checked(read_json(path, WAY_OUT), path)


def checked(plan: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What is known of a plan, with every key; what may be absent, because older versions wrote none, is empty.

    Args:
        plan: What was read.
        path: From where.

    Raises:
        BenchError: If it is no plan.
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
        raise BenchError(f"'{path}' is no plan that this version knows; {WAY_OUT}")
    titles = {
        run_id: text.replace(", missing none,", ", complete,").replace(", missing ", ", ")
        for run_id, text in titles.items()
    }  # as plans spelled it until version 0.1, and "none" below
    skipped = [{**entry, "missing": entry["missing"].replace("none", "complete")} for entry in skipped]
    return {"name": path.stem, **texts, "run_ids": run_ids, "titles": titles, "skipped": skipped}


def _is_skipped(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in SKIPPED.items())


def union(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The runs of both, ours first; title and command are ours.

    What one could not run, because it lacked the data perhaps, and the other could, is skipped no more.
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
