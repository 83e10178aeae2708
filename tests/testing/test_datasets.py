"""Each check of a data set finds what it is for."""

import importlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mmvae_bench.datasets.base import Built, Dataset, Protocol, Repeated, Rows
from mmvae_bench.datasets.captioned_shapes import CaptionedShapes
from mmvae_bench.datasets.linear_gaussian import LinearGaussian
from mmvae_bench.datasets.words import SPECIALS
from mmvae_bench.testing import check_dataset, dataset_checks
from mmvae_bench.types import Modality
from tests.cli.test_check import Small
from tests.testing.test_models import broken


def found_up_to(check: str, data: type[Dataset], data_dir: Path) -> dict[str, str]:
    """What fails of the checks up to this one: what comes after it may break for the same reason."""
    checks = dataset_checks(data, data_dir)
    return broken(checks[: [c.name for c in checks].index(check) + 1])


def changed(built: Built, **facts: object) -> Built:
    return replace(built, train=replace(built.train, **facts))


def data_with(**members) -> type[Small]:
    return type("Changed", (Small,), members)


def declaring(change) -> type[Small]:
    """Modalities changed from a sequence of them."""
    return data_with(modalities=property(lambda self: change(LinearGaussian.modalities.fget(self))))


def writes(self, data_dir):
    (data_dir / "notes.txt").touch()
    return Small.build(self, data_dir)


class Judge:
    accuracy, hash = None, ""

    def predict(self, x):
        return np.full(len(x), 1)


CLASSES = [
    (declaring(lambda known: (known[0],) * 2), "modalities", "two modalities with different names"),
    (declaring(lambda known: [replace(m, scale=0.0) for m in known]), "modalities", "x0 has scale 0.0"),
    (data_with(sources=lambda _, data_dir: [data_dir / "rows.bin"]), "sources", "'rows.bin', which is not there"),
    (data_with(build=writes), "sources", "writes to the data folder, which is only read: notes.txt"),
    (data_with(classes=("odd", "even")), "labels", "train has classes but no int64 labels"),
    (data_with(protocol=replace(Small().protocol, nets="linaer")), "nets", "preset 'linaer' is not registered"),
    (data_with(judges=lambda self, vocabularies: {"x0": Judge()}), "judges", "does not give a class"),
]


@pytest.mark.parametrize(("data", "check", "sentence"), CLASSES)
def test_a_data_set_that_breaks_one_rule_fails_that_check(data, check, sentence, tmp_path):
    found = found_up_to(check, data, tmp_path)
    assert list(found) == [check] and sentence in found[check], found


CAPTION = Modality("caption", (2,), "categorical", dtype="int16", vocabulary=(*SPECIALS, "odd", "even"))


@dataclass(frozen=True, kw_only=True)
class Told(Dataset):
    """Noisy pictures with a caption of two words, in two classes."""

    classes = ("odd", "even")
    modalities = Modality("picture", (1, 3, 3), "bernoulli"), CAPTION
    protocol = Protocol(nets="mlp[hidden=4,layers=1]", latent_dim=2, epochs=1, batch_size=4, learning_rate=1e-3)

    def build(self, data_dir: Path) -> Built:
        return Built(self.draw(1, 40), self.draw(2, 20))

    def draw(self, seed: int, n: int) -> Rows:
        rng = np.random.default_rng(seed)
        picture = rng.integers(256, size=(n, 1, 3, 3)).astype(np.uint8)
        caption = rng.integers(1, 5, size=(n, 2)).astype(np.int16)
        return Rows({"picture": picture, "caption": caption}, np.arange(n) % 2)


class ByItem(Told):
    """Each row an item of its own."""

    related = "item"

    def build(self, data_dir):
        built = super().build(data_dir)
        return changed(replace(built, test=replace(built.test, item=np.arange(20))), item=np.arange(20, 60))


class Floats(Told):
    """Pictures as they are read from a file, where 1 is white."""

    modalities = replace(Told.modalities[0], dtype="float32"), CAPTION

    def draw(self, seed, n):
        rows = super().draw(seed, n)
        return replace(rows, x={**rows.x, "picture": rows.x["picture"].astype(np.float32) / 255})


class Coloured(Told):
    """An attribute beside the class."""

    attributes = {"parity": ("odd", "even"), "colour": ("red", "green", "blue")}  # noqa: RUF012

    def draw(self, seed, n):
        return replace(super().draw(seed, n), attributes=np.stack([np.arange(n) % 2, np.arange(n) % 3], 1))


BASES = [Told, ByItem, Floats, Coloured]


def built_by(base: type[Dataset], change) -> type[Dataset]:
    return type("Changed", (base,), {"build": lambda self, data_dir: change(base.build(self, data_dir))})


def on_test(built: Built, **facts: object) -> Built:
    return replace(built, test=replace(built.test, **facts))


def shown(built: Built, **x: object) -> Built:
    return on_test(built, x={**built.test.x, **x})


def picture(rows: Rows):
    return rows.x["picture"]


def one_nan(built: Built) -> Built:
    built.test.x["x1"][3] = np.nan
    return built


def shared_items(built: Built) -> Built:
    return changed(on_test(built, item=np.arange(len(built.test))), item=np.arange(len(built.train)))


def single(built: Built, pictures: object, labels: object) -> Built:
    return replace(built, singles={"picture": (pictures, labels)})


def copies(built: Built, n: int) -> Built:
    """The first n of 20 test rows are training rows."""
    return shown(built, **{name: np.concatenate([built.train.x[name][:n], x[n:]]) for name, x in built.test.x.items()})


def shared(built: Built) -> Built:
    """Test rows are training rows, whose pictures are stored once for both."""
    order = np.arange(40)[::-1].copy()
    train = replace(built.train, x={**built.train.x, "picture": Repeated(picture(built.train), order)})
    return Built(train, train.take(np.arange(20)))


def more_singles(built: Built) -> Built:
    """The rows of both splits."""
    return single(built, np.concatenate([picture(built.train), picture(built.test)]), np.arange(60) % 2)


DAY = 86_400  # seconds
RULES = [
    (Small, lambda b: changed(b, x={n: x.astype(np.float64) for n, x in b.train.x.items()}), "rows", "is float64"),
    (Small, one_nan, "rows", "test x1 has values that are not finite"),
    (Small, shared_items, "labels", "an item has rows in both splits"),
    (
        Small, lambda b: changed(b, label=np.random.default_rng().integers(10**9, size=len(b.train))),
        "repeatable", "the label of train differs between two builds",
    ),
    (Told, lambda b: None, "sources", "build() returns nothing"),
    (Told, lambda b: (b.train, b.test), "rows", "build() returns a tuple, not a Built"),
    (Told, lambda b: replace(b, test=dict(b.test.x)), "rows", "test is a dict, not Rows"),
    (Told, lambda b: shown(b, caption=b.test.x["caption"].tolist()), "rows", "test caption is a list, not a NumPy"),
    (Told, lambda b: changed(b, label=b.train.label.tolist()), "rows", "train label is a list, not a NumPy array"),
    (Told, lambda b: changed(b, x=dict(reversed(b.train.x.items()))), "rows", "train lists its modalities in another"),
    (Told, lambda b: replace(b, test=b.test.take(np.arange(0))), "rows", "test has no rows"),
    (Told, lambda b: shown(b, caption=b.test.x["caption"] + np.int16(3)), "rows", "word ids outside its 5 words"),
    (Told, lambda b: replace(b, vocabularies={"caption": ("odd",) * 5}), "rows", "caption: word 0 is padding, <pad>"),
    (Floats, lambda b: shown(b, picture=picture(b.test) * np.float32(255)), "rows", "test picture has values outside"),
    (Floats, lambda b: shown(b, picture=picture(b.test) - np.float32(0.5)), "rows", "test picture has values outside"),
    (Told, lambda b: shown(b, caption=np.zeros((20, 2), np.int16)), "rows", "test caption is nothing but padding"),
    (Told, lambda b: replace(b, vocabularies={"text": SPECIALS}), "rows", "'text', which is not a modality of"),
    (Told, lambda b: replace(b, vocabularies={"picture": SPECIALS}), "rows", "'picture', which is not a modality of"),
    (Told, lambda b: on_test(b, label=np.zeros(20, np.int64)), "labels", "test has no row of class 'even'"),
    (Told, lambda b: changed(b, attributes=np.zeros((40, 1), int)), "labels", "train has attributes, and the data set"),
    (Coloured, lambda b: changed(b, attributes=b.train.attributes + 1), "labels", "train has values of attributes"),
    (ByItem, lambda b: changed(b, item=b.train.item.astype(np.int32)), "labels", "train has items that are not one"),
    (ByItem, lambda b: changed(b, item=b.train.item[:-1]), "labels", "train has items that are not one int64 a row"),
    (ByItem, lambda b: changed(on_test(b, item=None), item=None), "labels", "train has no items, which relate"),
    (Told, lambda b: changed(b, item=np.arange(40)), "labels", "test has no items, the other split has"),
    (Told, lambda b: copies(b, 11), "splits", "more than half of the rows of test are rows of train"),
    (Told, shared, "splits", "more than half of the rows of test are rows of train"),
    (Told, lambda b: replace(b, singles={"image": 0}), "singles", "singles['image'] is of no modality"),
    (Told, lambda b: replace(b, singles={"picture": picture(b.train)}), "singles", "is not (entries, labels)"),
    (Told, lambda b: single(b, picture(b.train), [0] * 40), "singles", "singles['picture'] is a list, not a NumPy"),
    (Told, lambda b: single(b, picture(b.train)[:0], b.train.label[:0]), "singles", "'] has no entries"),
    (Told, lambda b: single(b, picture(b.train)[:, 0], b.train.label), "singles", "shape (40, 3, 3), not (40, 1,"),
    (Told, lambda b: single(b, picture(b.train) / 255, b.train.label), "singles", "'] is float64, not uint8"),
    (Told, lambda b: single(b, picture(b.train), b.train.label[:7]), "singles", "'] has classes but no int64 labels"),
    (Told, lambda b: single(b, picture(b.train), b.train.label + 1), "singles", "'] has labels outside its 2 classes"),
    (Coloured, lambda b: single(b, picture(b.train), b.train.label), "singles", "']'s attributes are not [N, A]"),
    (Told, lambda b: single(b, picture(b.test)[:8], b.test.label[:8]), "singles", "more than half of singles"),
    (Told, more_singles, "singles", "more than half of singles['picture'] or of test picture are in both"),
    (Told, lambda b: replace(b, subset=os.urandom(4).hex()), "repeatable", "the subset differs between two builds"),
    (Told, lambda b: replace(b, subset=f"{time.time() // DAY}"), "repeatable", "between two builds, at two times"),
    (Told, lambda b: replace(b, subset=f"{time.time_ns() // (DAY * 10**9)}"), "repeatable", "builds, at two times"),
    (
        Told, lambda b: replace(b, vocabularies={"caption": (*CAPTION.vocabulary, os.urandom(4).hex())}),
        "repeatable", "the vocabulary of caption differs between two builds",
    ),
    (
        Told, lambda b: single(b, picture(b.train), np.random.default_rng().integers(2, size=40)),
        "repeatable", "singles['picture'] differs between two builds",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("base", "change", "check", "sentence"), RULES)
def test_rows_that_break_one_rule_fail_that_check(base, change, check, sentence, tmp_path):
    found = found_up_to(check, built_by(base, change), tmp_path)
    assert list(found) == [check] and sentence in found[check], found


def few_values(built: Built) -> Built:
    """Four pictures, and a word for each class: every test row is in training, where each is many times."""
    four = np.arange(4, dtype=np.uint8)[:, None, None, None] + np.zeros((4, 1, 3, 3), np.uint8)
    train, test = (
        Rows({"picture": four[np.arange(n) % 4], "caption": np.full((n, 2), 3, np.int16)}, np.arange(n) % 2)
        for n in (40, 20)
    )
    return Built(train, test, singles={"picture": (picture(train), train.label)})


NATURAL = [
    *((base, lambda b: b) for base in BASES),
    (ByItem, lambda b: changed(b, label=np.zeros(40, np.int64))),  # as birds of classes that training lacks
    (Told, lambda b: single(b, picture(b.train), b.train.label)),
    (Coloured, lambda b: single(b, picture(b.train), b.train.attributes)),
    (Told, lambda b: copies(b, 10)),
    (Told, few_values),
]


@pytest.mark.parametrize(("base", "change"), NATURAL)
def test_what_is_natural_conforms(base, change, tmp_path):
    assert found_up_to("judges", built_by(base, change), tmp_path) == {}


def test_captions_of_one_word_conform(tmp_path):
    check_dataset(CaptionedShapes(), tmp_path)


class Reads(Small):
    """From a folder, ``named`` or not."""

    named = ()

    def sources(self, data_dir):
        return [data_dir / name for name in self.named]

    def build(self, data_dir):
        assert (data_dir.resolve() / "files" / "notes.txt").read_text()
        return super().build(data_dir)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "data" / "files").mkdir(parents=True)
    (tmp_path / "stored.txt").write_text("1")
    (tmp_path / "data" / "files" / "notes.txt").symlink_to(tmp_path / "stored.txt")
    (tmp_path / "data" / "other.txt").write_text("2")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("named", "finds"),
    [((), True), (("other.txt",), True), (("files",), False), (("files/notes.txt",), False), ((".",), False)],
)
def test_a_file_that_is_read_is_named(named, finds, data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(data_dir)
    data = type("Named", (Reads,), {"named": named})
    for place in (data_dir, Path("data"), Path("link")):
        found = found_up_to("sources", data, place)
        assert list(found) == ["sources"] * finds
        assert not finds or "reads what sources() does not name" in found["sources"]
        assert not finds or found["sources"].endswith(": notes.txt")


def test_reading_elsewhere_is_nobody_s_business(data_dir, tmp_path):
    data = type("Elsewhere", (Reads,), {"build": lambda self, _: Reads.build(self, data_dir)})
    assert found_up_to("sources", data, tmp_path / "empty") == {}


def test_python_s_own_files_below_the_data_folder_are_no_data(data_dir, monkeypatch):
    monkeypatch.setattr("sys.prefix", str(data_dir / "files"))
    assert found_up_to("sources", Reads, data_dir) == {}


def test_after_a_build_that_failed_files_are_seen_again(data_dir, tmp_path):
    with pytest.raises(FileNotFoundError):
        found_up_to("sources", Reads, tmp_path / "empty")
    assert "reads what sources() does not name" in found_up_to("sources", Reads, data_dir)["sources"]


SOURCE = """
import os, sys
from dataclasses import dataclass, replace
from mmvae_bench.datasets.linear_gaussian import LinearGaussian

@dataclass(frozen=True, kw_only=True)
class Plain(LinearGaussian):
    rows: int = 20

    def build(self, data_dir):
        print("building")
        return super().build(data_dir)

class Hashed(Plain):
    def build(self, data_dir):
        built = super().build(data_dir)
        built.train.x["x1"][:] += hash("x1") % 10**6
        return built

@dataclass(frozen=True, kw_only=True)
class Listed(Hashed):
    sizes: tuple = (1,)

class Fails(Plain):
    def build(self, data_dir):
        if os.environ.get("PYTHONHASHSEED") in ("1", "2"):
            raise RuntimeError("of the process")
        return super().build(data_dir)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Classes that other processes find, too."""
    (tmp_path / "theirs_of_this_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(importlib.sys.modules, "theirs_of_this_test", raising=False)
    return importlib.import_module("theirs_of_this_test")


def test_another_hash_seed_changes_nothing(module, tmp_path):
    check_last = [broken(dataset_checks(data, tmp_path)[-1:]) for data in (module.Hashed, module.Fails)]
    assert "train x1 differs in a process with another hash seed" in check_last[0]["repeatable"]
    assert check_last[1]["repeatable"] == "build() fails in a process of its own: RuntimeError: of the process"
    assert broken(dataset_checks(lambda: module.Plain(rows=30), tmp_path)) == {}  # its options go along


def test_a_class_that_another_process_does_not_find_is_built_here_alone(module, tmp_path, monkeypatch):
    class Local(module.Hashed):
        """Has no name there."""

    for data in (Local, module.Listed):  # nor are options handed over that cannot be typed
        assert broken(dataset_checks(data, tmp_path)[-1:]) == {}
    monkeypatch.delenv("PYTHONPATH")
    assert broken(dataset_checks(module.Hashed, tmp_path)[-1:]) == {}
