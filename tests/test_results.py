"""What ``reports/README.md`` says is what the published scores say: its tables cell by cell, and all its differences.

The intervals are computed here from the published outcomes by the formula of ``docs/statistics.md``, without the
package's own code.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "reports" / "README.md").read_text(encoding="utf-8")
SUITES = sorted(path.parent.name for path in ROOT.glob("results/*/scores.csv.xz"))
# `0.2 *`: heads are the rests of variants; `any prior`: heads are priors
MADE = r"\nMade by `mmvae-bench run --suite ([\w-]+)[^`]*` \(`(\w+)`(?:, `([\w .*]+)`)?\)"
PRIOR = "any prior"
TABLES = re.findall(rf"((?:^\|.*\n)+){MADE}", SECTION, re.MULTILINE)  # table, suite, metric, variant
NAMES = {"MEME": "meme", "MMVAE": "mmvae", "MVAE": "mvae", "MoPoE": "mopoe", "MM-VAMP": "mmvm", "unimodal": "unimodal"}
RATIOS = {"complete": 0.0, "half": 0.5, "an eighth": 0.875}
CHANCE = "always the commonest class"
CELL, PAIR = r"(-?\d*\.\d+)(?:\+(\d))?", r"(\d*\.\d+) ± (\d*\.\d+)"
DEAD = 5  # standard errors
ENCODES_TARGET = {"relatedness_auroc"}  # scores of two encoders; others decode the target
MOST = 20e6  # bytes


class Place(NamedTuple):
    """A model in a column of a tier; ``how`` is the rest of the variant, or the prior, where these are compared."""

    tier: str
    model: str
    ratio: float
    given: str
    target: str
    how: str = ""


class Mean(NamedTuple):
    """A score: of each seed [n], of each seed and test row [n, N] (None if the rows were not kept), and dead seeds."""

    seeds: "pd.Series[float]"
    rows: np.ndarray | None
    dead: int

    def minus(self, other: "Mean") -> "Mean":
        rows = None if self.rows is None or other.rows is None else self.rows - other.rows
        return Mean(self.seeds - other.seeds, rows, self.dead + other.dead)


@cache
def scores(suite: str) -> pd.DataFrame:
    """The scores of a published suite."""
    frame = pd.read_csv(ROOT / "results" / suite / "scores.csv.xz")
    texts = ["variant", "prior", "given", "target"]
    frame = frame[frame["status"] == "ok"]
    return frame.assign(**frame[texts].astype(object).where(frame[texts].notna(), "").astype(str))


@cache
def means(suite: str, metric: str, variant: str) -> dict[Place, Mean]:
    """All places of a score in a suite, or of the scores of several variants or priors."""
    own = scores(suite)
    own = own[own["metric"] == metric]
    if variant == PRIOR:
        priors = own[own["variant"] == ""]["prior"].unique()
        return {x._replace(how=p): m for p in priors for x, m in places(suite, metric, "", p).items()}
    if variant.endswith("*"):
        rests = {v.removeprefix(start): v for v in own["variant"].unique() if v.startswith(start := variant[:-1])}
        return {x._replace(how=rest): m for rest, v in rests.items() for x, m in places(suite, metric, v).items()}
    return places(suite, metric, variant)


def places(suite: str, metric: str, variant: str, prior: str = "") -> dict[Place, Mean]:
    """All places of one variant under one prior."""
    frame, arrays = scores(suite), np.load(ROOT / "results" / suite / "outcomes.npz")
    gains = frame[frame["metric"] == "reconstruction_gain"]
    alive = gains.assign(alive=gains["value"] > DEAD * gains["se"])
    branches = {side: alive.groupby(["run_id", side])["alive"].any().to_dict() for side in ("given", "target")}
    own = frame[(frame["metric"] == metric) & (frame["variant"] == variant) & (frame["prior"] == prior)]
    found = {}
    for place, rows_of in own.groupby(["tier", "model", "missing_ratio", "given", "target"]):
        part = rows_of.set_index("seed").sort_index()
        assert part.index.is_unique, (suite, metric, place)
        given, target = place[3:]
        name = f"{part['dataset'].iloc[0]}/{metric}/{variant}/{part['prior'].iloc[0]}/{given}/{target}"
        rows = None
        if name in arrays:
            order = {run_id: i for i, run_id in enumerate(arrays[f"{name}/run_id"])}
            rows = arrays[name][[order[run_id] for run_id in part["run_id"]]].astype(float)
        sides = ("given", "given" if metric in ENCODES_TARGET else "target")
        read = [(side, name) for side, text in zip(sides, (given, target), strict=True) for name in text.split("+")]
        dead = sum(not all(branches[side].get((run, name), True) for side, name in read) for run in part["run_id"])
        found[Place(*place)] = Mean(part["value"], rows, dead)
    return found


def interval(mean: Mean) -> tuple[float, float]:
    """Mean and half width of the 95 % interval over seeds and rows, as ``docs/statistics.md`` defines it."""
    x, y = mean.seeds.to_numpy(), mean.rows
    n = len(x)
    v_seeds = x.var(ddof=1) / n
    v_rows = 0.0
    if y is not None:
        covariances = np.cov(y)
        v_rows = max(covariances[~np.eye(n, dtype=bool)].mean() / y.shape[1], 0.0)
    total = v_seeds + v_rows
    if not total:
        return float(x.mean()), 0.0
    w = v_seeds / total

    def excess(half: float) -> float:
        d = half / np.sqrt(total)
        return float(2 * (w * stats.t.sf(d, n - 1) + (1 - w) * stats.norm.sf(d)) - 0.05)

    return float(x.mean()), float(optimize.brentq(excess, 0, 20 * np.sqrt(total)))


def fits(printed: str, value: float) -> bool:
    """Whether a number is printed as a value rounds."""
    return abs(abs(value) - abs(float(printed))) <= 0.5 * 10.0 ** -len(printed.partition(".")[2]) + 1e-9


@pytest.mark.parametrize(("table", "suite", "metric", "variant"), TABLES)
def test_every_cell_is_the_mean_of_its_scores_and_counts_dead_seeds(
    table: str, suite: str, metric: str, variant: str
) -> None:
    """The first head says the tier and, for each number of a cell, what is generated from what."""
    lines = [[cell.strip(" *`") for cell in line.strip("|").split("|")] for line in table.splitlines()]
    (first, *heads), _, *rows = lines
    tier, _, directions = first.partition(": ")
    found = means(suite, metric, variant)
    for (name, *cells), (column, head) in product(rows, enumerate(heads)):
        if name == CHANCE:
            continue
        wanted = [("" if a == "prior" else a, b) for a, b in re.findall(r"(\w+) to ([\w+]+)", directions.lower())]
        shown = re.findall(CELL, cells[column])
        if cells[column] == "-":
            assert not [x for x in found if (x.model, x.how) == (NAMES[name.partition(" (")[0]], head)], (name, head)
            continue
        assert len(shown) == len(wanted) > 0, (name, head)
        for (number, dead), (given, target) in zip(shown, wanted, strict=True):
            where = (RATIOS[head], given, target) if head in RATIOS else (0.0, given, target, head)
            mean = found[Place(tier, NAMES[name.partition(" (")[0]], *where)]
            assert fits(number, mean.seeds.mean()), (name, head, given, mean.seeds.mean())
            assert int(dead or 0) == mean.dead, (name, head, given, mean.dead)


def differences(suite: str, metric: str, variant: str) -> Iterator[Mean]:
    """Of two models, ratios or tiers, the others equal, and of two models' falls from one ratio to another."""
    found = means(suite, metric, variant)
    for (a, x), (b, y) in combinations(found.items(), 2):
        if sum(p != q for p, q in zip(a, b, strict=True)) == 1 and (a.given, a.target) == (b.given, b.target):
            yield x.minus(y)
    falls = {
        (a, b.ratio): x.minus(y)
        for (a, x), (b, y) in product(found.items(), repeat=2)
        if a == b._replace(ratio=a.ratio) and a.ratio < b.ratio
    }
    for ((a, ratio), x), ((b, other), y) in combinations(falls.items(), 2):
        if ratio == other and a == b._replace(model=a.model):
            yield x.minus(y)


@cache
def intervals(suite: str, metric: str, variant: str) -> list[tuple[float, float]]:
    """Mean and half width of every difference that no dead seed spoils."""
    return [interval(mean) for mean in differences(suite, metric, variant) if not mean.dead]


PARTS = [part for part in SECTION.split("\n## ") if "±" in part]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.partition("\n")[0])
def test_every_difference_is_one_of_scores_on_shared_seeds_and_rows(part: str) -> None:
    """Those of the scores of the part's tables, or of all tables if it has none."""
    keys = [(suite, metric, variant) for _, suite, metric, variant in TABLES]
    wanted = {key for key, table in zip(keys, TABLES, strict=True) if table[0] in part} or set(keys)
    found = [pair for key in wanted for pair in intervals(*key)]
    quoted = re.findall(PAIR, " ".join(part.split()))
    assert not [pair for pair in quoted if not any(fits(pair[0], d) and fits(pair[1], half) for d, half in found)]


def test_the_section_names_every_published_suite_and_has_its_tables() -> None:
    assert TABLES
    assert not [suite for suite in SUITES if f"]({suite}/README.md)" not in SECTION]


@pytest.mark.parametrize("suite", SUITES)
def test_a_published_suite_shows_pictures_that_are_there(suite: str) -> None:
    folder = ROOT / "reports" / suite
    shown = re.findall(r"!\[.*?\]\((.+?)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert shown
    assert not [picture for picture in shown if not (folder / unquote(picture)).is_file()]


def test_what_is_published_holds_at_most_20_mb() -> None:
    """Files under git: a report of the user's own lies beside them."""
    files = [path for name in ("results", "reports") for suite in SUITES for path in (ROOT / name / suite).rglob("*")]
    assert sum(path.stat().st_size for path in files if path.is_file()) <= MOST
