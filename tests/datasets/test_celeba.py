"""CelebA in its official layout, with drawn pictures: it is read, cropped, told and judged."""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench import BenchError, DataError, datasets
from mmvae_bench.datasets import celeba
from mmvae_bench.datasets.base import Built
from mmvae_bench.datasets.celeba import LENGTH, NAMES, SAID, VALUES, VOCABULARY, CelebA, Texts, text_of
from mmvae_bench.datasets.check import check
from mmvae_bench.datasets.rules import check_labels, check_modalities, check_rows
from mmvae_bench.datasets.words import EOS, UNK, encode
from mmvae_bench.errors import BenchWarning
from mmvae_bench.options import parse_named
from mmvae_bench.testing import check_dataset
from tests.helpers import invoke

N = 24
RNG = np.random.default_rng(7)
TABLE = (RNG.random((N, 40)) < 0.2).astype(int)
TABLE[:, SAID.index("male")] = np.arange(N) % 2
PARTS = [0] * 12 + [1] * 4 + [2] * 8
ARCHIVE, ATTRIBUTES, SPLITS = "img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"


def picture(i: int, size: tuple[int, int] = (178, 218)) -> bytes:
    """A colour of its own in the middle 148 x 148, and green around it."""
    whole = Image.new("RGB", size, (0, 255, 0))
    whole.paste((10 * i, 0, 255 - 10 * i), (15, 35, 163, 183))
    file = io.BytesIO()
    whole.save(file, "jpeg", quality=100, subsampling=0)
    return file.getvalue()


def name(i: int) -> str:
    return f"{i + 1:06}.jpg"


def contents() -> dict[str, bytes]:
    signs = [" ".join(f"{2 * sign - 1:2}" for sign in row) for row in TABLE]
    rows = [f"{name(i)} {signs[i]}" for i in range(N)]
    return {
        ATTRIBUTES: "\n".join([str(N), " ".join(NAMES) + " ", *rows, ""]).encode(),
        SPLITS: "".join(f"{name(i)} {PARTS[i]}\n" for i in range(N)).encode(),
        **{f"img_align_celeba/{name(i)}": picture(i) for i in range(N)},
    }


def write(root: Path, files: dict[str, bytes]) -> Path:
    for said, content in files.items():
        path = root / "celeba" / said
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for said, content in files.items():
            archive.writestr(said, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "data", contents())


@pytest.fixture
def mine(tmp_path: Path) -> list[Path]:
    """The three official files, under names of the user's own."""
    files = contents()
    (tmp_path / "attributes (1).txt").write_bytes(files.pop(ATTRIBUTES))
    (tmp_path / "parts").write_bytes(files.pop(SPLITS))
    return [pack(tmp_path / "faces.bin", files), tmp_path / "attributes (1).txt", tmp_path / "parts"]


def build(root: Path, **options: str) -> Built:
    with pytest.warns(BenchWarning, match="not verified to be the complete official CelebA"):
        return CelebA(**options).build(root)  # type: ignore[arg-type]


def test_pictures_are_the_middle_and_splits_are_the_official_ones(folder: Path) -> None:
    built = build(folder)
    assert (len(built.train), len(built.test), built.subset) == (12, 8, "celeba 20 pictures")
    for rows, start in ((built.train, 0), (built.test, 16)):
        for i, x in enumerate(np.asarray(rows.x["image"]), start):
            assert x.shape == (3, 64, 64)
            assert np.abs(x.astype(int) - np.array([10 * i, 0, 255 - 10 * i])[:, None, None]).max() <= 8  # of JPEG
        assert np.array_equal(rows.label, np.arange(start, start + len(rows)) % 2)
        assert rows.attributes is not None
        for column, said in enumerate(VALUES):
            assert np.array_equal(rows.attributes[:, column], TABLE[start : start + len(rows), SAID.index(said)])


def test_texts_name_the_attributes_in_the_official_order(folder: Path) -> None:
    built = build(folder)
    row = np.asarray(built.train.x["text"])[1]
    said = "".join(VOCABULARY[i] for i in row[: row.tolist().index(EOS)])
    assert said == ", ".join(each for each, has in zip(SAID, TABLE[1], strict=True) if has)
    few = np.zeros(40, int)
    few[[list(VALUES).index(each) for each in ("young", "male", "5 o clock shadow")]] = 1
    assert text_of(few) == "5 o clock shadow, male, young"
    assert text_of(np.zeros(40, int)) == ""


def test_texts_are_read_back_and_the_class_always_fits() -> None:
    judge, values = Texts(), np.eye(40, dtype=np.int64)
    assert np.array_equal(judge.read(judge.write(values)), values)
    assert judge.accepts(judge.write(values)).all()
    everything = judge.write(np.ones((1, 40), np.int64))
    assert judge.predict(everything) == 1 and everything[0].tolist().index(EOS) <= LENGTH - 1
    left = text_of(np.ones(40, np.int64)).split(", ")
    assert left == list(SAID[: len(left)]) and len(", ".join(SAID[: len(left) + 1])) > LENGTH - 1


def test_a_misspelt_text_says_nothing_of_what_it_does_not_name() -> None:
    judge, values = Texts(), np.zeros((1, 40), np.int64)
    values[0, [0, 5]] = 1
    text = judge.write(values)
    text[0, 0] = UNK  # of the first name in the official order
    read = judge.read(torch.from_numpy(text))
    assert sorted(np.unique(read)) == [1, 2] and (read == 1).sum() == 1
    assert not judge.accepts(text).any()
    swapped = encode([", ".join(text_of(values[0]).split(", ")[::-1])], VOCABULARY, LENGTH)
    assert np.array_equal(judge.read(swapped), values) and not judge.accepts(swapped).any()
    assert (judge.read(np.full((2, LENGTH), EOS)) == 0).all()  # an empty text: none of them


def test_labels_are_a_symbol_for_each_attribute(folder: Path) -> None:
    data = CelebA(form="labels")
    built, label = build(folder, form="labels"), data.modalities[1]
    assert (label.name, label.kind, label.shape, label.weight) == ("label", "symbol", (40,), 64 * 64 / 40)
    words = np.array(label.vocabulary)[built.test.x["label"]]
    assert words[0, 0] == "not male" and words[1, 0] == "male"
    assert np.array_equal(data.judges({})["label"].read(built.test.x["label"]), built.test.attributes)  # type: ignore[arg-type]
    named = parse_named("celeba[form=labels,labels=true]")
    with pytest.raises(BenchError, match="a modality 'label' of its own"):
        datasets.make(named.name, datasets.options(named))


@pytest.mark.parametrize("form", ["text", "labels"])
def test_rows_obey_the_rules(folder: Path, form: str) -> None:
    data = CelebA(form=form)  # type: ignore[arg-type]
    check_modalities(data)
    for rule in (check_rows, check_labels):
        rule(data, build(folder, form=form))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "labels"])
def test_it_conforms(folder: Path, form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BenchWarning)
        check_dataset(CelebA(form=form), folder)  # type: ignore[arg-type]


def test_files_are_taken_by_their_content(mine: list[Path], tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert "needs 'img_align_celeba.zip', 'list_attr_celeba.txt'" in check(CelebA(), "celeba", data)[1]
    for file in mine:
        result = invoke("data", "fetch", "celeba", "--data-dir", str(data), "--from", str(file))
        assert result.exit_code == 0, result.output
    assert {path.name for path in (data / "celeba").iterdir()} - {".lock"} == {ARCHIVE, ATTRIBUTES, SPLITS}
    assert build(data).subset == "celeba 20 pictures"
    assert check(CelebA(), "celeba", data)[0] == "celeba: not the official data but the subset celeba 20 pictures"
    assert invoke("data", "fetch", "celeba", "--data-dir", str(data)).exit_code == 0  # nothing is missing
    result = invoke("data", "fetch", "celeba", "--data-dir", str(tmp_path / "empty"))
    assert result.exit_code == 2 and "forbid a download" in result.output


def test_complete_pictures_are_official_only_with_their_checksums(mine, tmp_path, monkeypatch) -> None:
    data = tmp_path / "data"
    CelebA().take(mine, data)
    monkeypatch.setattr(celeba, "OFFICIAL", 20)
    assert build(data).subset == "celeba 20 pictures, unverified"
    monkeypatch.setattr(celeba, "MD5", {path.name: celeba._md5(path) for path in CelebA().sources(data)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CelebA().build(data).subset == ""


def test_what_is_not_of_celeba_is_refused(tmp_path: Path) -> None:
    evil = pack(tmp_path / "evil.zip", {"../000001.jpg": picture(1)})
    notes = tmp_path / "notes.txt"
    notes.write_text("000001.jpg and others")
    for file, match in ((evil, "outside its own folder"), (notes, "not one of the files that celeba reads")):
        result = invoke("data", "fetch", "celeba", "--data-dir", str(tmp_path / "data"), "--from", str(file))
        assert result.exit_code == 2 and match in result.output and result.output.count("\n") == 1
    with pytest.raises(DataError, match="takes a file"):
        celeba.recognise(tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({f"img_align_celeba/{name(3)}": b"no picture"}, "has 1 pictures that are damaged"),
        ({f"img_align_celeba/{name(3)}": picture(3, (64, 64))}, "not 178 x 218"),
        ({f"img_align_celeba/more/{name(3)}": picture(3)}, "the picture 000004.jpg twice"),
        ({ATTRIBUTES: contents()[ATTRIBUTES].replace(b"Male", b"Female")}, "40 names"),
        ({ATTRIBUTES: contents()[ATTRIBUTES][:-20]}, "40 times 1 or -1 in line 26"),
        ({ATTRIBUTES: contents()[ATTRIBUTES].replace(b"000002.jpg", b"000099.jpg")}, "lacks 1 pictures"),
        ({SPLITS: contents()[SPLITS] + b"000099.jpg 3\n"}, "0, 1 or 2 in each line"),
    ],
)
def test_damage_is_named(folder: Path, change: dict[str, bytes], match: str) -> None:
    write(folder, change)
    with pytest.raises(DataError, match=match):
        CelebA().build(folder)


def test_pictures_of_one_split_alone_are_too_few(folder: Path) -> None:
    for i in range(16, N):
        (folder / "celeba" / "img_align_celeba" / name(i)).unlink()
    with pytest.raises(DataError, match="no pictures of one of the splits"), pytest.warns(BenchWarning):
        CelebA().build(folder)


def test_nothing_is_published() -> None:
    assert not CelebA().may_be_shown
