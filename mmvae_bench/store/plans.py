"""Stored plans: read with care, because a file may come from anywhere, and joined with another of the same name."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmvae_bench.disk import read_json
from mmvae_bench.errors import BenchError
from mmvae_bench.spec import TIERS
from mmvae_bench.store.run import RUN_ID, SCHEMA

WAY_OUT = "Delete it and run the suite again: stored runs are not repeated."
PLAN = {"title": str, "command": str, "run_ids": list, "titles": dict, "skipped": list, "tiers": dict, "searches": list,
        "at": float}  # fmt: skip
SKIPPED = {"dataset": str, "label": str, "missing": str, "seed": int, "reason": str}
SEARCH = {"dataset": str, "label": str, "rule": str, "winner": int | None, "trials": list}
TRIAL = {"options": dict, "learning_rate": float, "score": float | None, "run_ids": list}


def read_plan(path: Path) -> dict[str, Any]:
    """Read a plan and verify it; every key is there.

    ``at`` is when it was run, in seconds since 1970. Before it was recorded, it was the time of the file.

    Raises:
        BenchError: If it is not a plan.
    """
    found = read_json(path, WAY_OUT)
    found.setdefault("at", path.stat().st_mtime)
    plan: dict[str, Any] = {"name": path.stem, **{key: found.get(key, kind()) for key, kind in PLAN.items()}}
    good = (
        found.get("name") == path.stem
        and found.get("schema") in range(1, SCHEMA + 1)
        and _has(plan, PLAN)
        and math.isfinite(plan["at"])
        and all(
            isinstance(run_id, str) and re.fullmatch(RUN_ID, run_id)
            for run_id in [*plan["run_ids"], *plan["titles"], *plan["tiers"]]
        )
        and all(isinstance(title, str) for title in plan["titles"].values())
        and all(isinstance(entry, dict) and _has(entry, SKIPPED) for entry in plan["skipped"])
        and all(isinstance(own, list) and all(t in [*TIERS] for t in own) for own in plan["tiers"].values())
        and all(isinstance(search, dict) and _is_search(search) for search in plan["searches"])
    )
    if not good:
        raise BenchError(f"'{path}' is not a plan that this version knows. {WAY_OUT}")
    return plan


def _is_search(record: Mapping[str, Any]) -> bool:
    if not (_has(record, SEARCH) and all(isinstance(trial, dict) and _has(trial, TRIAL) for trial in record["trials"])):
        return False
    scored = [number for number, trial in enumerate(record["trials"]) if trial["score"] is not None]
    return record["winner"] is None or record["winner"] in scored


def _has(record: Mapping[str, Any], kinds: Mapping[str, Any]) -> bool:
    return all(isinstance(record.get(key), kind) for key, kind in kinds.items())


def union(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Join two plans: the runs of both, ours first; title and command are ours, the time is the later one.

    A run that only one of the two had to skip (it lacked the data, say) is not skipped in the union. Of two records of
    a search, ours is kept unless only theirs has a winner. A run of a plan without tiers is one of the default tier.
    """
    titles = {**theirs["titles"], **ours["titles"]}
    run_ids = list(dict.fromkeys([*ours["run_ids"], *theirs["run_ids"]]))
    skipped = [*ours["skipped"], *(entry for entry in theirs["skipped"] if entry not in ours["skipped"])]
    known = "{label} on {dataset}, {missing}, seed {seed}"
    done = {re.sub(r"(, seed \d+) \([^()]+\)$", r"\1", title) for title in titles.values()}  # without the tier
    left = [entry for entry in skipped if known.format(**entry) not in done]
    tiers = {
        run_id: list(dict.fromkeys(tier for plan in (ours, theirs) for tier in _tiers(plan, run_id)))
        for run_id in [*ours["tiers"], *theirs["tiers"]]
    }
    searches = {(search["dataset"], search["label"]): search for search in ours["searches"]}
    for search in theirs["searches"]:
        key = search["dataset"], search["label"]
        if key not in searches or searches[key]["winner"] is None:
            searches[key] = search
    return {
        **ours,
        "run_ids": run_ids,
        "titles": titles,
        "skipped": left,
        "tiers": tiers,
        "searches": [*searches.values()],
        "at": max(ours["at"], theirs["at"]),
    }


def _tiers(plan: Mapping[str, Any], run_id: str) -> list[str]:
    return list(plan["tiers"].get(run_id, ["default"] if run_id in plan["run_ids"] else []))
