import errno
import multiprocessing
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mmvae_bench.datasets import registry
from mmvae_bench.datasets.base import Built, Dataset, Protocol, Repeated, Rows, validation_split
from mmvae_bench.datasets.cache import load
from mmvae_bench.datasets.check import check
from mmvae_bench.errors import BenchError, DataError
from mmvae_bench.testing.datasets import fingerprints


@dataclass(frozen=True)
class Toy(Dataset):
    """One source file; remembers how often it was built, also across processes."""

    builds: Path
    file: Path | None = None
    classes: tuple[str, ...] = field(default=("a", "b"))

    modalities = ()
    protocol = Protocol("mlp", 2, 1, 2, 1e-3)

    def sources(self, data_dir):
        if self.file and not self.file.exists():
            raise DataError(f"toy needs {self.file}: put it there")
        return [self.file] if self.file else []

    def build(self, data_dir):
        with self.builds.open("a") as file:
            file.write("x")
        x = {"left": np.arange(24, dtype=np.uint8).reshape(3, 8).T, "right": np.ones((8, 2), np.float32)}
        labels = np.arange(8) % 2
        singles = {"left": (np.zeros((2, 3), np.uint8), np.array([0, 1]))}
        return Built(Rows(x, labels), Rows({n: v[:4] for n, v in x.items()}, labels[:4]), "toy 8+4", singles)


@pytest.fixture
def toy(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"one")
    return Toy(tmp_path / "builds", source)


def get(toy, tmp_path, **options):
    return load(toy, "toy", {"k": 1} | options, tmp_path, tmp_path / "cache")


def n_builds(toy):
    return len(toy.builds.read_text())


def folders(tmp_path):
    return sorted((tmp_path / "cache" / "datasets").iterdir())


def test_second_load_builds_nothing_and_gives_the_same(toy, tmp_path):
    first = get(toy, tmp_path)
    first.train.x["left"][:] = 7  # stays in this process
    first, second = get(toy, tmp_path), get(toy, tmp_path)
    assert n_builds(toy) == 1
    assert fingerprints(first) == fingerprints(second) == fingerprints(toy.build(tmp_path))
    assert isinstance(second.train.x["left"], np.memmap)
    assert list(second.train.x) == ["left", "right"]
    assert first.hash == second.hash
    assert len(first.hash) == 64


def test_options_version_and_content_are_in_the_key_but_places_and_times_are_not(toy, tmp_path, monkeypatch):
    get(toy, tmp_path)
    moved = tmp_path / "moved"
    moved.write_bytes(b"one")
    os.utime(moved, (1, 1))
    get(Toy(toy.builds, moved), tmp_path)
    assert n_builds(toy) == 1
    get(toy, tmp_path, k=2)
    toy.file.write_bytes(b"two")
    get(toy, tmp_path)
    monkeypatch.setattr(Toy, "version", 2)
    get(toy, tmp_path)
    assert n_builds(toy) == len(folders(tmp_path)) == 4


def test_the_code_is_in_the_key_and_its_comments_are_not(tmp_path, plug_in):
    text = "from tests.datasets.test_cache import Toy\n\n\nclass Edited(Toy):\n    pass\n"
    for edited in (text, text + "# a comment\n", text.replace("    pass", "    note = 'with other code'")):
        plug_in(registry, edited)
        toy = registry.get("edited")(tmp_path / "builds")
        load(toy, "edited", {}, tmp_path, tmp_path / "cache")
    assert n_builds(toy) == len(folders(tmp_path)) == 2


DAMAGE = {
    "truncated": lambda array, meta: array.write_bytes(array.read_bytes()[:-5]),
    "empty": lambda array, meta: array.write_bytes(b""),
    "gone": lambda array, meta: array.unlink(),
    "garbage": lambda array, meta: array.write_bytes(bytes(range(200))),
    "other shape": lambda array, meta: np.save(array, np.zeros((3, 3), np.uint8)),
    "meta": lambda array, meta: meta.write_text(meta.read_text()[:30]),
    "meta list": lambda array, meta: meta.write_text("[1]"),
    "pickle": lambda array, meta: np.save(array, np.array([{}], object), allow_pickle=True),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_folder_is_built_again(toy, tmp_path, damage):
    want = get(toy, tmp_path).hash
    (folder,) = folders(tmp_path)
    DAMAGE[damage](folder / "train.x.left.npy", folder / "meta.json")
    assert get(toy, tmp_path).hash == want
    assert n_builds(toy) == 2
    assert folders(tmp_path) == [folder]


def test_what_a_killed_builder_left_is_no_obstacle(toy, tmp_path):
    get(toy, tmp_path)
    (folder,) = folders(tmp_path)
    folder.rename(folder.with_name(f".{folder.name}.part"))
    (folder.with_name(f".{folder.name}.part") / "rest").touch()
    get(toy, tmp_path)
    assert folders(tmp_path) == [folder]
    assert not (folder / "rest").exists()


def test_processes_that_start_together_build_once(toy, tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as workers:
        workers.starmap(get, [(toy, tmp_path)] * 4, chunksize=1)
    assert n_builds(toy) == 1


def test_hash_is_of_names_and_content(toy, tmp_path):
    def hash_of(name, array, place):
        class Other(Toy):
            def build(self, data_dir):
                rows = Rows({name: array})
                return Built(rows, rows)

        return load(Other(toy.builds), "toy", {}, tmp_path, tmp_path / place).hash

    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    first = hash_of("left", x, "a")
    assert first == hash_of("left", np.asfortranarray(x), "b")  # the layout in memory does not count
    others = [hash_of("right", x, "c"), hash_of("left", x + 1, "d"), hash_of("left", x.reshape(4, 3), "e"),
              hash_of("left", x.view(np.int8).astype(np.float32), "f")]  # fmt: skip
    assert len({first, *others}) == 5


def test_a_cache_that_cannot_be_written_is_one_sentence(toy, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BenchError, match=r"cannot be written .*--cache-dir"):
        get(toy, tmp_path)


def test_a_complete_cache_of_another_user_is_read_without_its_lock(toy, tmp_path, monkeypatch):
    first = get(toy, tmp_path)

    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("filelock.FileLock", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    assert get(toy, tmp_path).hash == first.hash
    toy.file.write_text("other data")
    with pytest.raises(BenchError, match=r"cache .* cannot be written \('.*': Permission denied\).*--cache-dir"):
        get(toy, tmp_path)


def test_errors_of_the_sources_are_not_taken_for_the_caches(toy, tmp_path):
    toy.file.unlink()
    with pytest.raises(DataError, match="put it there"):
        get(toy, tmp_path)
    assert check(toy, "toy", tmp_path) == ["toy: incomplete", f"  toy needs {toy.file}: put it there"]


def rows_of(n, item=None):
    return Rows({"a": np.zeros((n, 1), np.uint8)}, item=item)


def test_rows_of_one_item_are_never_both_in_training_and_in_validation():
    item = np.random.default_rng(0).permutation(np.repeat(np.arange(100) * 7, 10))
    train, validation = validation_split(rows_of(1000, item), "cub")
    assert not np.intersect1d(item[train], item[validation]).size
    assert len(validation) == 50 and len(train) == 950


def test_validation_is_one_row_in_twenty_and_no_limit_moves_one():
    train, validation = validation_split(rows_of(56_068), "mnist_svhn")
    assert abs(len(validation) - 0.05 * 56_068) < 1
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(56_068))
    np.testing.assert_array_equal(np.bincount(validation // 20)[:-1], 1)
    assert len(set(validation % 20)) == 20
    for n in (0, 1, 19, 20, 999):
        np.testing.assert_array_equal(validation_split(rows_of(n), "mnist_svhn")[1], validation[validation < n])
    assert not np.array_equal(validation, validation_split(rows_of(56_068), "cub")[1])


def test_shared_entries_facts_and_vocabularies_come_back_and_are_stored_once(tmp_path):
    class Captions(Toy):
        def build(self, data_dir):
            pictures = np.arange(12, dtype=np.uint8).reshape(3, 4)
            ids = np.arange(12, dtype=np.int16).reshape(6, 2)
            index = np.array([2, 2, 0, 0, 1, 1])
            rows = Rows(
                {"image": Repeated(pictures, index), "caption": ids}, index % 2, index + 5, ids.astype(np.int64)
            )
            return Built(rows, rows.take(np.array([1, 4])), vocabularies={"caption": ("<pad>", "é")})

    data = get(Captions(tmp_path / "builds"), tmp_path)
    image = data.train.x["image"]
    assert image.entries.shape == (3, 4) and image.shape == (6, 4) and len(image) == 6
    np.testing.assert_array_equal(image[1:3], [[8, 9, 10, 11], [0, 1, 2, 3]])
    np.testing.assert_array_equal(np.ascontiguousarray(data.test.x["image"]), [[8, 9, 10, 11], [4, 5, 6, 7]])
    np.testing.assert_array_equal(data.test.item, [7, 6])
    np.testing.assert_array_equal(data.test.attributes, data.test.x["caption"])
    assert data.vocabularies == {"caption": ("<pad>", "é")}
