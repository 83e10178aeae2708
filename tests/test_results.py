"""What the results section says is what the published scores say."""

import re
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
SECTION = ROOT / "reports" / "README.md"
SUITES = sorted(path.parent.name for path in ROOT.glob("results/*/scores.csv"))
NAMES = {"MEME": "meme", "MMVAE": "mmvae", "MVAE": "mvae", "MoPoE": "mopoe", "MM-VAMP": "mmvm", "unimodal": "unimodal"}
TABLE = re.compile(r"((?:^\|.*\n)+)\nMade by `mmvae-bench run --suite ([\w-]+)", re.MULTILINE)
CHANCE = "always the commonest class"
NUMBER = re.compile(r"-?\d*\.\d+|-?\d+")


def cells(table: str) -> list[list[str]]:
    """The cells of a Markdown table, its header first and without the ruler."""
    rows = [[cell.strip(" *`") for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def means(suite: str) -> pd.Series:
    """Mean over seeds of each score of each entrant, by the model's name and label."""
    frame = pd.read_csv(ROOT / "results" / suite / "scores.csv", dtype={"variant": str})
    keys = ["model", "label", "dataset", "dataset_options", "metric", "variant", "prior", "given", "target"]
    missing = ["missing_scheme", "missing_ratio"]
    good = frame[frame["status"] == "ok"]
    return good.groupby([*keys, *missing], dropna=False)["value"].mean()


def printed(text: str) -> list[tuple[float, float]]:
    """The numbers of a cell, each with half a unit of its last digit."""
    return [(float(n), 0.5 * 10.0 ** -len(n.partition(".")[2]) + 1e-9) for n in NUMBER.findall(text)]


@pytest.mark.parametrize(("table", "suite"), TABLE.findall(SECTION.read_text(encoding="utf-8")))
def test_each_number_of_a_table_is_a_mean_of_the_scores(table: str, suite: str) -> None:
    found, (header, *rows) = means(suite), cells(table)
    label, model = found.index.get_level_values("label"), found.index.get_level_values("model")
    for row in rows:
        own = found[(label == row[0]) | (model == NAMES.get(row[0], ""))]
        shown = [number for head, cell in zip(header[1:], row[1:], strict=True) if "paper" not in head
                 for number in printed(cell)]  # fmt: skip
        assert shown, row
        for number, half in shown if row[0] != CHANCE else []:
            assert (own - number).abs().min() <= half, (row, number)


def test_the_section_names_every_published_suite_and_has_its_tables() -> None:
    text = SECTION.read_text(encoding="utf-8")
    assert SUITES
    assert not [suite for suite in SUITES if f"]({suite}/README.md)" not in text]
    assert TABLE.findall(text)


@pytest.mark.parametrize("suite", SUITES)
def test_a_published_suite_shows_pictures_that_are_there(suite: str) -> None:
    folder = ROOT / "reports" / suite
    shown = re.findall(r"!\[.*?\]\((.+?)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert shown
    assert not [picture for picture in shown if not (folder / unquote(picture)).is_file()]
