"""PolyMNIST: what a view shows, that views of a row belong together, and what is said of files that are not right."""

import functools
import gzip
import hashlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench.datasets import digits
from mmvae_bench.datasets import polymnist as polymnist_files
from mmvae_bench.datasets.check import check
from mmvae_bench.datasets.digits import digits_file, read_digits
from mmvae_bench.datasets.polymnist import PolyMnist, ink, own_photographs, read_photograph, view
from mmvae_bench.errors import BenchError, BenchWarning, DataError
from mmvae_bench.seeds import seed_for
from mmvae_bench.testing import check_dataset
from mmvae_bench.testing.datasets import fingerprints
from tests.helpers import REAL, needs, write_idx

needs_data = needs("polymnist_backgrounds")
NOWHERE = Path("/nonexistent")
MNIST = list(digits.MNIST_MD5)
RNG = np.random.default_rng(0)
PHOTOGRAPH = RNG.integers(0, 256, (40, 33, 3), np.uint8)
LABEL = np.array([3, 1, 3, 3, 1, 0, 3])


@functools.cache
def built(m: int, *, translated: bool = False):
    return PolyMnist(m=m, digits="embedded", translated=translated).build(NOWHERE)  # type: ignore[arg-type]


# --- how a view is made ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "k", "side"), list(product(("train", "test"), (0, 1, 4), (28, 21))))
def test_a_view_is_what_a_plain_loop_makes(part, k, side):
    inks = RNG.random((len(LABEL), side, side)) < 0.3
    crop_y, crop_x, order, places = (
        np.random.default_rng(seed_for("polymnist", part, use, k)) for use in ("crop y", "crop x", "digits", "places")
    )
    ys, xs = crop_y.integers(40 - 27, size=7), crop_x.integers(33 - 27, size=7)
    downs, rights = places.integers(28 - side + 1, size=(2, 7))
    shown = list(range(7))
    for digit in (0, 1, 3) if k else ():
        rows = [i for i in range(7) if LABEL[i] == digit]
        for row, other in zip(rows, order.permutation(rows), strict=True):
            shown[row] = other
    expected = np.empty((7, 3, 28, 28), np.uint8)
    for i, channel, r, c in product(range(7), range(3), range(28), range(28)):
        value = PHOTOGRAPH[ys[i] + r, xs[i] + c, channel]
        a, b = r - downs[i], c - rights[i]
        inside = 0 <= a < side and 0 <= b < side
        expected[i, channel, r, c] = 255 - value if inside and inks[shown[i], a, b] else value
    np.testing.assert_array_equal(view(part, k, inks, LABEL, PHOTOGRAPH), expected)


def test_translated_digits_are_scaled_as_torch_does_it_too():
    pixels = read_digits(digits_file())[0][:500]
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).float(), size=(21, 21), mode="bilinear", antialias=True
    )[:, 0].numpy()
    found = ink(pixels[:, 0], translated=True)
    assert found.shape == (500, 21, 21)
    sure = abs(scaled - 112.5) > 1.5  # Pillow rounds after each axis
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found[sure], scaled[sure] > 112)


# --- the data set ----------------------------------------------------------------------------------------------------


def write_photographs(root: Path, *names: str, size: tuple[int, int] = (40, 30)) -> Path:
    (root / "polymnist_backgrounds").mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(root / "polymnist_backgrounds" / name, "jpeg")
    return root


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Files of 40 and 20 digits that count as the official ones, and three black photographs."""
    for split, n in (("train", 40), ("t10k", 20)):
        label = np.random.default_rng(n).permutation(np.arange(n) % 10).astype(np.uint8)
        pixels = np.random.default_rng(n).choice(np.array([0, 128, 129, 255], np.uint8), (n, 28, 28))
        for kind, array in (("images-idx3", pixels), ("labels-idx1", label)):
            name = f"MNIST/raw/{split}-{kind}-ubyte"
            write_idx(tmp_path / name, array)
            monkeypatch.setitem(digits.MNIST_MD5, name, hashlib.md5((tmp_path / name).read_bytes()).hexdigest())
    return write_photographs(tmp_path, "1.jpg", "3.jpg", "2.jpg")


def images(root: Path, split: str) -> digits.Images:
    raw = root / "MNIST" / "raw"
    return digits.read_mnist(raw / f"{split}-images-idx3-ubyte", raw / f"{split}-labels-idx1-ubyte")


def test_every_view_shows_every_digit_once_each_in_a_row_of_its_class(official):
    made = PolyMnist(m=3, photographs="folder").build(official)
    assert made.subset == "photographs 1.jpg 2.jpg 3.jpg"
    for rows, split in ((made.train, "train"), (made.test, "t10k")):
        pixels, label = images(official, split)
        row_of = {digit.tobytes(): i for i, digit in enumerate(pixels[:, 0] > 128)}
        np.testing.assert_array_equal(rows.label, label)
        seen = []
        for k in range(3):
            x = rows.x[f"m{k}"]
            assert set(np.unique(x).tolist()) == {0, 255}
            shown = [row_of[picture.tobytes()] for picture in x[:, 0] == 255]
            assert sorted(shown) == list(range(len(label)))
            np.testing.assert_array_equal(label[shown], label)
            seen.append(shown)
        assert seen[0] == list(range(len(label)))
        assert seen[1] != seen[0] != seen[2] != seen[1]


def test_fewer_views_are_the_first_ones():
    assert list(built(5).train.x) == [f"m{k}" for k in range(5)]
    assert fingerprints(built(2)).items() < fingerprints(built(5)).items()


def test_what_is_embedded_needs_no_file_and_says_what_it_is():
    assert built(5).subset == "embedded photographs, embedded digits"
    assert np.bincount(built(5).train.label).tolist() == [400] * 10
    assert np.bincount(built(5).test.label).tolist() == [100] * 10
    lines = check(PolyMnist(m=2, digits="embedded"), "polymnist", NOWHERE)
    assert lines[0] == "polymnist: not the official data but the subset embedded photographs, embedded digits"


def test_official_digits_on_embedded_photographs_are_a_subset_too(official):
    assert PolyMnist(m=2).build(official).subset == "embedded photographs"


def test_embedded_photographs_are_five_in_colour():
    paths = PolyMnist(m=5)._photographs(NOWHERE)
    assert len({path.read_bytes() for path in paths}) == 5
    for path in paths:
        pixels = read_photograph(path).astype(int)
        assert min(pixels.shape[:2]) > 300
        assert abs(pixels - pixels.mean(2, keepdims=True)).mean() > 2  # grey has 0
    assert PolyMnist(m=2)._photographs(NOWHERE) == paths[:2]


def test_every_view_of_a_row_has_its_own_place_for_its_small_digit(official):
    made = PolyMnist(m=2, photographs="folder", translated=True).build(official).train
    small = ink(images(official, "train")[0][:, 0], translated=True)
    offsets = list(product(range(8), repeat=2))
    where = {}
    for k in range(2):
        found = made.x[f"m{k}"][:, 0] == 255
        fits = [
            [(y, x) for y, x in offsets for d in small if (picture[y : y + 21, x : x + 21] == d).all()]
            for picture in found
        ]
        assert all(len(places) == 1 for places in fits)
        assert (found.sum((1, 2)) <= 21 * 21).all() and sorted(found.sum((1, 2))) == sorted(small.sum((1, 2)))
        where[k] = [places[0] for places in fits]
    assert sum(a == b for a, b in zip(where[0], where[1], strict=True)) < 10  # of 40; 1 in 64 by chance


@pytest.mark.parametrize("options", [{"digits": "embedded"}, {"translated": True}])
def test_options_that_contradict_each_other_are_refused(options):
    with pytest.raises(BenchError, match="archive of polymnist has its own digits, which are not translated"):
        PolyMnist(photographs="archive", **options)


def test_it_conforms(tmp_path):
    check_dataset(PolyMnist(digits="embedded", m=3), tmp_path)


@needs_data
@pytest.mark.slow
def test_it_conforms_on_real_data():
    dataset = PolyMnist(m=4, photographs="folder", translated=True)
    check_dataset(dataset, REAL)
    made = dataset.build(REAL)
    assert (len(made.train), len(made.test)) == (60_000, 10_000)
    assert made.subset == "photographs 1.jpg 3.jpg 4.jpg 5.jpg"


# --- absent and broken files -----------------------------------------------------------------------------------------


def test_absent_digits_are_named_with_the_command(tmp_path):
    with pytest.raises(DataError, match=r"data fetch polymnist --data-dir .*\[digits=embedded\], which needs no file"):
        PolyMnist().sources(tmp_path)


def test_a_changed_digit_file_is_named_with_the_command(official):
    (official / MNIST[0]).write_bytes((official / MNIST[0]).read_bytes()[:-1])
    with pytest.raises(DataError, match=r"train-images.*truncated.*data fetch polymnist"):
        PolyMnist(m=2).build(official)


@pytest.mark.parametrize("names", [(), ("1.jpg",), ("1.jpg", "2.png")])
def test_too_few_photographs(tmp_path, names):
    write_photographs(tmp_path, *names)
    n = sum(name.endswith(".jpg") for name in names)
    with pytest.raises(DataError, match=rf"needs 2 photographs .*_backgrounds/\*\.jpg, and there are {n}. Put"):
        PolyMnist(m=2, photographs="folder", digits="embedded").sources(tmp_path)


def test_hidden_files_are_no_photographs(tmp_path):
    write_photographs(tmp_path, "1.jpg", "2.jpg", "._1.jpg")
    assert [path.name for path in own_photographs(tmp_path, 2)] == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize("keep", [0, 10, 300, 0.5, 0.98])
def test_a_photograph_that_is_cut_off_is_a_sentence(tmp_path, keep):
    write_photographs(tmp_path, "1.jpg", "2.jpg")
    path = tmp_path / "polymnist_backgrounds" / "2.jpg"
    Image.fromarray(RNG.integers(0, 256, (200, 200, 3), np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(
        DataError, match=r"2\.jpg is absent, truncated or not a JPEG or PNG picture \(.*\)\. Get it again"
    ):
        PolyMnist(m=2, photographs="folder", digits="embedded").build(tmp_path)


@pytest.mark.parametrize(("size", "fits"), [((27, 100), False), ((100, 27), False), ((28, 28), True)])
def test_a_photograph_of_28x28_is_the_smallest(tmp_path, size, fits):
    write_photographs(tmp_path, "1.jpg", "2.jpg", size=size)
    path = tmp_path / "polymnist_backgrounds" / "1.jpg"
    if fits:
        assert read_photograph(path).shape == (28, 28, 3)
    else:
        with pytest.raises(DataError, match=rf"1\.jpg has {size[0]}x{size[1]} pixels, .*Use a larger"):
            read_photograph(path)


def test_fetch_brings_mnist_alone(official, tmp_path, monkeypatch):
    asked = []

    def download(pinned, path):
        asked.extend(pinned.urls[:1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress((official / "MNIST/raw" / path.stem).read_bytes()))

    monkeypatch.setattr(digits, "download", download)
    PolyMnist().fetch(tmp_path / "fetched")
    assert [url.rpartition("/")[2] for url in asked] == [f"{Path(name).name}.gz" for name in MNIST]
    assert len(PolyMnist(m=2).build(tmp_path / "fetched").train) == 40


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"digits": "embedded"}, "nothing to fetch"),
        ({"photographs": "archive"}, r"Get PolyMNIST\.zip .* and unpack it in"),
    ],
)
def test_fetch_says_what_it_cannot_bring(tmp_path, options, sentence):
    with pytest.raises(BenchError, match=sentence):
        PolyMnist(**options).fetch(tmp_path)
    assert not list(tmp_path.iterdir())


# --- the published archive -------------------------------------------------------------------------------------------

N = {"train": 12, "test": 3}  # pictures of each of two digits
ARCHIVED = PolyMnist(m=2, photographs="archive")


def write_archive(root: Path, place: str = "PolyMNIST/MMNIST") -> Path:
    """Pictures whose red is i, green the digit, blue the view."""
    for (split, n), k, digit in product(N.items(), range(3), (1, 7)):
        folder = root / place / split / f"m{k}"
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.new("RGB", (28, 28), (i, digit, k)).save(folder / f"{i}.{digit}.png")
    return root


@pytest.mark.parametrize("place", ["PolyMNIST/MMNIST", "MMNIST"])
def test_the_archive_is_read_in_the_order_of_its_numbers(tmp_path, place):
    root = write_archive(tmp_path, place)
    (root / place / "train" / "m1" / "._0.1.png").write_bytes(b"left by another system")
    (root / place / "train" / "m1" / "list.txt").write_bytes(b"not read")
    with pytest.warns(BenchWarning, match=r"does not contain all of PolyMNIST.*'archive 24\+6'"):
        made = ARCHIVED.build(root)
    assert made.subset == "archive 24+6"
    for rows, n in ((made.train, 12), (made.test, 3)):
        assert list(rows.x) == ["m0", "m1"]
        np.testing.assert_array_equal(rows.label, [1, 7] * n)
        for k in range(2):
            assert rows.x[f"m{k}"].shape == (2 * n, 3, 28, 28)
            np.testing.assert_array_equal(rows.x[f"m{k}"][:, 0, 3, 5], np.repeat(np.arange(n), 2))
            np.testing.assert_array_equal(rows.x[f"m{k}"][:, 1, 3, 5], rows.label)
            assert (rows.x[f"m{k}"][:, 2] == k).all()


def test_the_complete_archive_is_marked_unverified(tmp_path, monkeypatch):
    root = write_archive(tmp_path)
    for split, n in N.items():
        monkeypatch.setitem(polymnist_files.COUNTS, split, [n * (digit in (1, 7)) for digit in range(10)])
    assert ARCHIVED.build(root).subset == "archive, unverified"
    assert len(ARCHIVED.sources(root)) == 4


def test_as_many_of_each_digit_as_mnist_has():
    assert [sum(counts) for counts in polymnist_files.COUNTS.values()] == [60_000, 10_000]


@needs_data
def test_the_counts_are_those_of_the_official_files():
    for split, name in (("train", "train"), ("test", "t10k")):
        label = np.fromfile(REAL / f"MNIST/raw/{name}-labels-idx1-ubyte", np.uint8, offset=8)
        assert np.bincount(label).tolist() == polymnist_files.COUNTS[split]


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:60]),
        Image.new("RGB", (29, 28)).save,
        Image.new("RGB", (56, 14)).save,  # as many pixels
    ],
)
def test_an_archive_that_is_not_right_is_a_sentence(tmp_path, spoil):
    root = write_archive(tmp_path)
    spoil(root / "PolyMNIST/MMNIST/train/m1/10.7.png")
    with pytest.raises(DataError, match=r"1 pictures that are absent, .* 28x28 pixels: 'm1/10\.7\.png'\. Unpack"):
        ARCHIVED.build(root)


def test_an_absent_archive_says_where_it_belongs(tmp_path):
    with pytest.raises(DataError, match=r"needs the folder .*PolyMNIST/MMNIST/train/m0\. Get PolyMNIST\.zip \(https"):
        ARCHIVED.sources(tmp_path)
    with pytest.raises(DataError, match=r"needs the folder .*train/m3"):
        PolyMnist(m=4, photographs="archive").sources(write_archive(tmp_path))


def test_a_folder_without_pictures_is_a_sentence(tmp_path):
    root = write_archive(tmp_path)
    for path in (root / "PolyMNIST/MMNIST/train/m0").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"m0 contains no <i>\.<digit>\.png\. Unpack"):
        ARCHIVED.build(root)
