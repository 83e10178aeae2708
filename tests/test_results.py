"""What the results section says is what the published scores say: its tables cell by cell, and all its differences."""

import re
from functools import cache
from itertools import combinations, product
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mmvae_bench.store.run import current

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "reports" / "README.md").read_text(encoding="utf-8")
SUITES = sorted(path.parent.name for path in ROOT.glob("results/*/scores.csv"))
MADE = r"\nMade by `mmvae-bench run --suite ([\w-]+)[^`]*` \(`(\w+)`, `([\w ]+)`\)"
TABLES = re.findall(rf"((?:^\|.*\n)+){MADE}", SECTION, re.MULTILINE)  # table, suite, metric, variant
NAMES = {"MEME": "meme", "MMVAE": "mmvae", "MVAE": "mvae", "MoPoE": "mopoe", "MM-VAMP": "mmvm", "unimodal": "unimodal"}
RATIOS = {"half": 0.5, "an eighth": 0.875}
COMPARED = {  # what the differences of a part are of, metric and variant; else of coherence
    "Five views: PolyMNIST": "cross_coherence micro \\d|frechet self",
    "Pictures and captions: CUB": "cca mean oracle|relatedness_auroc ",
    "Relatedness": "relatedness_auroc ",
    "Probes": "linear_probe .*",
    "Likelihood, time": "log_likelihood iw100",
    "Why: one part at a time": "cross_coherence micro|relatedness_auroc ",
    "What to pick": "joint_coherence ",
}
LEFT_OUT = "left out"  # incomplete rows, in a column's head
CHANCE = "always the commonest class"
NUMBER, PAIR = r"-?\d*\.\d+", r"([\d,]*\.\d+) ± (\d*\.\d+)"
HIDDEN = ["missing_scheme", "missing_ratio", "incomplete"]
SCORE = ["dataset_options", "metric", "variant", "prior", "given", "target", *HIDDEN]


@cache
def scores(suite: str) -> pd.DataFrame:
    """The scores of a published suite."""
    frame = pd.read_csv(ROOT / "results" / suite / "scores.csv", dtype={"variant": str, "prior": str})
    frame = frame[frame["status"] == "ok"].fillna({"variant": "", "prior": "", "given": "", "target": "", "reason": ""})
    return pd.DataFrame([current(row) for row in frame.to_dict("records")])


def heading(part: str) -> str:
    """The heading of a part of the section."""
    return part.partition("\n")[0]


def fits(printed: str, value: float) -> bool:
    """Whether a number is printed as a value rounds."""
    text = printed.replace(",", "")
    return abs(abs(value) - abs(float(text))) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9


def asked(head: str, variant: str) -> list[list[str]]:
    """Variant, given and target of each number of a cell: "mnist to svhn, svhn to mnist", or "1, 2, 3 views given"."""
    directions = re.findall(r"(\w+) to (\w+)", head.lower())
    views = re.findall(r"\d", head) if "views given" in head else []
    return [[variant, *direction] for direction in directions] or [[f"{variant} {n}", "", ""] for n in views]


@pytest.mark.parametrize(("table", "suite", "metric", "variant"), TABLES)
def test_every_cell_is_the_mean_of_its_scores(table: str, suite: str, metric: str, variant: str) -> None:
    """A column is a condition of training; what is generated stands in its head, or in the first one for all."""
    header, _, *rows = ([cell.strip(" *`") for cell in line.strip("|").split("|")] for line in table.splitlines())
    frame = scores(suite)
    frame = frame[frame["metric"] == metric]
    for row, (column, head) in product(rows, list(enumerate(header))[1:]):
        if row[0] == CHANCE or "paper" in head:
            continue
        wanted, shown = asked(head, variant) or asked(header[0], variant), re.findall(NUMBER, row[column])
        assert len(shown) == len(wanted), (row, head)
        ratio, left_out = RATIOS.get(head.partition(",")[0], 0.0), head.endswith(LEFT_OUT)
        own = frame[(frame["label"] == row[0]) | (frame["model"] == NAMES.get(row[0]))]
        own = own[(own["missing_ratio"] == ratio) & (own["incomplete"] == ("drop" if left_out else "keep"))]
        for number, one in zip(shown, wanted, strict=True):
            part = own[(own[["variant", "given", "target"]] == one).all(axis=1)]
            assert part["seed"].is_unique, (row, head, one)
            assert fits(number, part["value"].mean()), (row, head, one, part["value"].mean())
            assert (float(number) < 0) == (part["value"].mean() < 0), (row, head, one)


def differences(suite: str, compared: str) -> np.ndarray:
    """Mean and half width of the paired 95 % t-interval of two models, conditions or variants of a score, [n, 2].

    Or of a score and its chance.
    """
    frame, found = scores(suite), []
    frame = frame[(frame["metric"] + " " + frame["variant"]).str.fullmatch(compared)]
    above = frame.assign(value=frame["value"] - frame["chance"]).dropna(subset="value")
    found.append(intervals(above.pivot_table(index=["label", *SCORE], columns="seed", values="value")))
    for over in (["label"], HIDDEN, ["variant"]):
        rest = [name for name in ("label", *SCORE) if name not in over]
        wide = frame.pivot_table(index=rest, columns=[*over, "seed"], values="value")
        for a, b in combinations(wide.columns.droplevel("seed").unique(), 2):
            found.append(intervals(wide[a] - wide[b]))
    return np.concatenate(found)


def intervals(d: pd.DataFrame) -> np.ndarray:
    """Mean and half width of the 95 % t-interval of each row over its seeds, where all are there."""
    d = d.dropna()
    return np.stack([d.mean(axis=1), stats.t.ppf(0.975, d.shape[1] - 1) * stats.sem(d, axis=1)], axis=1)


@pytest.mark.parametrize("part", [part for part in SECTION.split("\n## ") if "±" in part], ids=heading)
def test_every_difference_is_one_of_scores_on_shared_seeds(part: str) -> None:
    """Those of the suites that a part names; MNIST-SVHN's is the one that all parts are about."""
    compared = COMPARED.get(heading(part), "cross_coherence micro")
    found = np.concatenate([differences(suite, compared) for suite in SUITES if suite in part or "svhn" in suite])
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
