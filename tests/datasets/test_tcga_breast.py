"""Omics of breast cancers, on a generated file of the same layout."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdata

from mmvae_bench import DataError
from mmvae_bench.datasets.rules import check_labels, check_modalities, check_rows
from mmvae_bench.datasets.tcga_breast import CLASSES, COLUMNS, FILE, TcgaBreast, read
from tests.helpers import REAL, invoke, needs

COUNTS = {"data.train": (45, 30, 75), "data.test": (21, 14, 35)}


def content() -> dict[str, dict[str, Any]]:
    """Tables whose first column is the number of the patient; all else is noise."""
    rng = np.random.default_rng(0)
    parts: dict[str, dict[str, Any]] = {}
    for start, (part, counts) in zip((0, 150), COUNTS.items(), strict=True):
        n = sum(counts)
        parts[part] = {name: rng.normal(size=(n, d)) for name, d in COLUMNS.items()}
        for table in parts[part].values():
            table[:, 0] = start + np.arange(n)
        parts[part]["subtype"] = pd.Categorical(np.repeat(CLASSES, counts), CLASSES)
    del parts["data.test"]["protein"]
    return parts


def write(path: Path, parts: dict[str, dict[str, Any]], *, frames: bool = False) -> Path:
    """Write the list as R does, its tables as matrices or as data frames."""
    if frames:
        parts = {part: {name: framed(x) for name, x in tables.items()} for part, tables in parts.items()}
    rdata.write_rda(path, {"breast.TCGA": parts})
    return path


def framed(x: Any) -> Any:
    if isinstance(x, pd.Categorical):
        return x
    return pd.DataFrame(x, index=pd.RangeIndex(1, len(x) + 1), columns=[f"g{i}" for i in range(x.shape[1])])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tcga")
    write(folder / FILE, content())
    return folder


@pytest.mark.parametrize("frames", [False, True], ids=["matrices", "data frames"])
def test_what_was_written_is_read(tmp_path: Path, frames: bool) -> None:
    parts = content()
    for (tables, label), (part, true) in zip(
        read(write(tmp_path / FILE, parts, frames=frames)), parts.items(), strict=True
    ):
        assert list(tables) == [name for name in true if name != "subtype"]
        assert all(np.array_equal(tables[name], true[name]) for name in tables)
        assert np.bincount(label).tolist() == list(COUNTS[part])


def test_with_three_omics_the_complete_patients_are_split_by_class(folder: Path) -> None:
    data = TcgaBreast()
    built = data.build(folder)
    check_modalities(data), check_rows(data, built), check_labels(data, built)
    assert (len(built.train), len(built.test)) == (105, 45)
    assert np.bincount(built.test.label).tolist() == [14, 9, 22]  # 0.3 of 45, 30 and 75
    assert built.subset == "150 of 220 patients, unverified"
    for rows in (built.train, built.test):
        first = np.stack([x[:, 0] for x in rows.x.values()])
        assert np.allclose(first, first[0])  # one patient a row
    assert all(np.allclose([x.mean(), x.std(0).min()], [0, 1], atol=1e-4) for x in built.train.x.values())


def test_with_two_omics_the_patients_without_protein_are_the_test_rows(folder: Path) -> None:
    built = TcgaBreast(omics=2).build(folder)
    assert list(built.train.x) == ["mirna", "mrna"]
    assert (len(built.train), len(built.test), built.subset) == (150, 70, "220 patients, unverified")
    assert built.test.x["mrna"][:, 0].min() > built.train.x["mrna"][:, 0].max()  # patients 150 and later


def test_a_file_of_the_user_is_copied_if_it_is_the_right_one(folder: Path, tmp_path: Path) -> None:
    mine, data = folder / FILE, tmp_path / "data"
    done = invoke("data", "fetch", "tcga_breast", "--from", str(mine), "--data-dir", str(data))
    assert done.exit_code == 0 and (data / FILE).read_bytes() == mine.read_bytes()
    checked = invoke("data", "check", "tcga_breast", "--data-dir", str(data))
    assert "complete, not verified" in checked.output and "105 rows; by class: Basal 31, Her2 21, LumA 53" in (
        checked.output
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda p: p["data.train"].pop("mrna"), "KeyError: 'mrna'"),
        (lambda p: p.pop("data.test"), "KeyError: 'data.test'"),
        (
            lambda p: p["data.train"].update(mrna=np.zeros((150, 520))),
            r"mrna of data.train has shape \(150, 520\) and 150 subtypes, not \(150, 200\)",
        ),
        (
            lambda p: p["data.test"].update(subtype=pd.Categorical(["LumB"] * 70)),
            "data.test has the subtypes LumB, not only Basal, Her2, LumA",
        ),
    ],
    ids=["table", "part", "columns", "subtype"],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, change: Any, why: str) -> None:
    change(parts := content())
    with pytest.raises(DataError, match=rf"is damaged or not breast.TCGA.rda of mixOmics \(.*{why}.*\)\. Get that"):
        TcgaBreast().take([write(tmp_path / "a.rda", parts)], tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("cut", [0, 7, 5000])
def test_a_damaged_file_is_refused(folder: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / FILE).write_bytes((folder / FILE).read_bytes()[:cut])
    with pytest.raises(DataError, match="is damaged or not"):
        TcgaBreast().build(tmp_path)


@pytest.mark.parametrize("ask", [lambda d: TcgaBreast().sources(d), lambda d: TcgaBreast().fetch(d)])
def test_without_the_file_the_sentence_says_where_it_is(tmp_path: Path, ask: Any) -> None:
    with pytest.raises(DataError, match=r"Get data/breast\.TCGA\.rda of the R package mixOmics .* --from breast"):
        ask(tmp_path)


def test_without_rdata_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdata", None)
    with pytest.raises(DataError, match=r"needs the extra 'omics': pip install 'mmvae-bench\[omics\]'"):
        TcgaBreast().build(folder)


@pytest.mark.slow
@needs(FILE)
def test_the_official_file_is_read() -> None:
    (_, label), (_, late) = read(REAL / FILE)
    assert np.bincount(label).tolist() == list(COUNTS["data.train"]) and len(late) == 70
