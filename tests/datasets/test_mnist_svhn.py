import gzip
import hashlib
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mmvae_bench.datasets import digits
from mmvae_bench.datasets.cache import load
from mmvae_bench.datasets.check import check
from mmvae_bench.datasets.mnist_svhn import MnistSvhn, pair
from mmvae_bench.errors import BenchError, DataError
from tests.helpers import REAL, needs, write_idx

needs_data = needs("svhn_10k")
MNIST = list(digits.MNIST_MD5)
COUNTS = {"train": ([6, 5, 9, 4, 5, 6, 5, 5, 5, 5], [4, 9, 5, 5, 7, 5, 6, 5, 5, 5]), "t10k": ([2] * 10, [3] * 10)}
N_TRAIN, N_TEST = 48, 20  # sums of the minima


def write_files(root: Path, svhn: str = "svhn") -> None:
    """Files in the official layout whose pixels say the digit: MNIST 10 d + k, SVHN 100 + 10 d + k."""
    rng = np.random.default_rng(0)
    (root / svhn).mkdir(parents=True)
    for split, (mnist, street) in COUNTS.items():
        y = rng.permutation(np.repeat(np.arange(10), mnist)).astype(np.uint8)
        write_idx(root / f"MNIST/raw/{split}-labels-idx1-ubyte", y)
        write_idx(
            root / f"MNIST/raw/{split}-images-idx3-ubyte", np.zeros((len(y), 28, 28), np.uint8) + y[:, None, None]
        )
        y = rng.permutation(np.repeat(np.arange(10), street)).astype(np.uint8)
        x = np.zeros((32, 32, 3, len(y)), np.uint8) + (100 + y)
        x[:, :, 1] += 10  # green
        x[5, 7] = 0  # row 5, column 7
        name = {"train": "train", "t10k": "test"}[split]
        savemat(root / svhn / f"{name}_32x32.mat", {"X": x, "y": np.where(y == 0, 10, y)[:, None]}, do_compression=True)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A folder whose files count as the official ones."""
    root = tmp_path / "data"
    write_files(root)
    for name in MNIST:
        monkeypatch.setitem(digits.MNIST_MD5, name, md5(root / name))
    for name in list(digits.SVHN_MD5):
        monkeypatch.setitem(digits.SVHN_MD5, name, md5(root / "svhn" / name))
    return root


# --- reading -------------------------------------------------------------------------------------------------------


def test_pairs_agree_and_labels_are_the_digits(official):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = MnistSvhn().build(official)
    assert built.subset == ""
    assert [(m.name, m.dtype) for m in MnistSvhn().modalities] == [("mnist", "uint8"), ("svhn", "uint8")]
    assert (len(built.train), len(built.test)) == (N_TRAIN, N_TEST)
    for rows in (built.train, built.test):
        assert rows.x["mnist"].shape[1:] == (1, 28, 28)
        assert rows.x["svhn"].shape[1:] == (3, 32, 32)
        assert rows.x["mnist"].dtype == rows.x["svhn"].dtype == np.uint8
        assert rows.label.dtype == np.int64
        np.testing.assert_array_equal(rows.x["mnist"][:, 0, 0, 0], rows.label)
        np.testing.assert_array_equal(rows.x["svhn"][:, 0, 0, 0], rows.label + 100)
        np.testing.assert_array_equal(rows.x["svhn"][:, 1, 0, 0], rows.label + 110)  # channels first
        np.testing.assert_array_equal(rows.x["svhn"][:, :, 5, 7], 0)  # rows before columns
        assert (rows.x["svhn"][:, :, 7, 5] > 0).all()
    np.testing.assert_array_equal(np.bincount(built.train.label), np.minimum(*COUNTS["train"]))


def test_singles_are_the_full_training_splits_with_ten_as_zero(official):
    singles = MnistSvhn().build(official).singles
    for i, name in enumerate(("mnist", "svhn")):
        x, y = singles[name]
        np.testing.assert_array_equal(np.bincount(y), COUNTS["train"][i])
        np.testing.assert_array_equal(x[:, 0, 0, 0], y + 100 * i)


def test_pairing_says_how_often_rows_are_paired():
    assert [MnistSvhn(pairing=p).pairs for p in ("one_to_one", "dm1", "dm20", "dm30")] == [1, 1, 20, 30]
    for wrong in ("dm0", "dm", "dm-1", "30", "dm=30", "dm٣"):
        with pytest.raises(BenchError, match="dm<N>"):
            MnistSvhn(pairing=wrong)


def test_pair_takes_the_first_of_each_digit_index_by_index():
    a, b = np.array([1, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 5])
    left, right = pair(a, b)
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == {(1, 0), (0, 1), (2, 3)}


def test_folders_are_searched_in_order_and_never_mixed(official):
    shutil.copytree(official / "svhn", official / "svhn_10k")
    assert digits.svhn_folder(official) == official / "svhn"
    (official / "svhn" / "test_32x32.mat").unlink()  # a cut may share pictures with the official training file
    with pytest.raises(DataError, match=r"svhn/test_32x32\.mat"):
        MnistSvhn().sources(official)
    (official / "svhn" / "train_32x32.mat").rename(official / "train_32x32.mat")
    assert digits.svhn_folder(official) == official
    (official / "train_32x32.mat").unlink()
    assert digits.svhn_folder(official) == official / "svhn_10k"


def test_other_svhn_files_are_a_subset_by_name(official, monkeypatch):
    monkeypatch.setitem(digits.SVHN_MD5, "test_32x32.mat", "0" * 32)
    with pytest.warns(UserWarning, match="not the official ones"):
        assert MnistSvhn().build(official).subset == "svhn 56+30"
    lines = check(MnistSvhn(), "mnist_svhn", official)
    assert "the subset svhn 56+30" in lines[0]


def test_check_of_official_files(official):
    lines = check(MnistSvhn(), "mnist_svhn", official)
    assert lines[0] == "mnist_svhn: complete and official"
    assert sum("found" in line for line in lines) == 6
    assert lines[-2].startswith("  train: 48 rows; by class: 0 4, 1 5")


# --- absent and broken files -----------------------------------------------------------------------------------------


def test_missing_files_are_named_with_the_command(official, tmp_path):
    (official / MNIST[1]).unlink()
    with pytest.raises(DataError) as error:
        MnistSvhn().sources(official)
    assert str(official / MNIST[1]) in str(error.value)
    assert "images" not in str(error.value)
    assert f"mmvae-bench data fetch mnist_svhn --data-dir {official}" in str(error.value)
    lines = check(MnistSvhn(), "mnist_svhn", tmp_path / "empty")
    assert "incomplete" in lines[0]
    assert "svhn/test_32x32.mat" in lines[1]


@pytest.mark.parametrize("name", MNIST)
def test_a_truncated_or_changed_mnist_file_is_named(official, name):
    content = (official / name).read_bytes()
    for wrong in (content[:-3], b"", content[:-1] + bytes([content[-1] ^ 1])):
        (official / name).write_bytes(wrong)
        with pytest.raises(DataError, match="truncated or not the official") as error:
            MnistSvhn().build(official)
        assert str(official / name) in str(error.value)


@pytest.mark.parametrize("keep", [0, 50, 127, 128, 200, 0.5, 0.99])
def test_a_truncated_mat_is_named_with_the_way_out(official, keep):
    path = official / "svhn" / "train_32x32.mat"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match="truncated or not an SVHN file") as error:
        check(MnistSvhn(), "mnist_svhn", official)
    assert str(path) in str(error.value)
    assert "data fetch mnist_svhn" in str(error.value)


def test_a_mat_of_another_layout_is_refused(tmp_path):
    path, x, y = tmp_path / "train_32x32.mat", np.zeros((32, 32, 3, 4), np.uint8), np.array([[1], [2], [3], [10]])
    wrong = [{"X": x}, {"y": y}, {"X": x, "y": y[:3]}, {"X": x.astype(float), "y": y}, {"X": x.T.copy(), "y": y},
             {"X": x, "y": y + 1}, {"X": x, "y": y * 0.5}, {"X": "text", "y": y}]  # fmt: skip
    for content in wrong:
        savemat(path, content)
        with pytest.raises(DataError, match="train_32x32"):
            digits.read_svhn(path)
    savemat(path, {"X": x, "y": y})
    np.testing.assert_array_equal(digits.read_svhn(path)[1], [1, 2, 3, 0])


# --- downloading -----------------------------------------------------------------------------------------------------


@pytest.fixture
def published(official, monkeypatch):
    """The files of ``official`` by name, as their publishers have them; downloads bring these."""
    files = {f"{Path(name).name}.gz": gzip.compress((official / name).read_bytes()) for name in MNIST}
    files |= {name: (official / "svhn" / name).read_bytes() for name in digits.SVHN_MD5}
    for name, content in files.items():
        monkeypatch.setitem(digits.PINS, name, (len(content), hashlib.sha256(content).hexdigest()))

    def download(pinned, path):
        (name,) = {url.rpartition("/")[2] for url in pinned.urls}
        assert (pinned.size, pinned.sha256) == digits.PINS[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])

    monkeypatch.setattr(digits, "download", download)
    return files


def test_fetch_brings_what_is_missing_and_repairs_mnist(published, tmp_path):
    root = tmp_path / "fetched"
    write_idx(root / MNIST[0], np.zeros((1, 2), np.uint8))  # another file under this name
    MnistSvhn().fetch(root)
    assert len(MnistSvhn().build(root).train) == N_TRAIN
    assert not list(root.rglob("*.part"))
    published.clear()  # nothing more is asked for
    MnistSvhn().fetch(root)
    (root / MNIST[0]).write_bytes(b"broken")
    MnistSvhn().fetch(root)  # from the archive beside it


def test_a_folder_that_cannot_be_written_is_one_sentence(published, tmp_path):
    (tmp_path / "fetched" / MNIST[0]).mkdir(parents=True)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\S* cannot be read or written"):
        MnistSvhn().fetch(tmp_path / "fetched")


def test_what_is_downloaded_is_pinned():
    for name in (*MNIST, *digits.SVHN_MD5):
        archive = f"{Path(name).name}.gz" if name in MNIST else name
        size, digest = digits.PINS[archive]
        assert size > 4000 and len(bytes.fromhex(digest)) == 32


def test_fetch_overwrites_no_svhn_file_of_ones_own(published, tmp_path):
    (tmp_path / "fetched" / "svhn").mkdir(parents=True)
    mine = tmp_path / "fetched" / "svhn" / "test_32x32.mat"
    mine.write_bytes(b"mine")
    with pytest.raises(DataError, match="Move it away"):
        MnistSvhn().fetch(tmp_path / "fetched")
    assert mine.read_bytes() == b"mine"


# --- real data -------------------------------------------------------------------------------------------------------


@needs_data
def test_pair_counts_at_their_true_size():
    with np.load(REAL / "svhn_10k" / "all_labels.npz", allow_pickle=False) as file:
        svhn = {split: file[split].astype(np.int64) % 10 for split in ("train", "test")}
    for split, name, n in (("train", "train", 56_068), ("test", "t10k", 10_000)):
        raw = REAL / "MNIST" / "raw"
        mnist = digits.read_mnist(raw / f"{name}-images-idx3-ubyte", raw / f"{name}-labels-idx1-ubyte")[1]
        left, right = pair(mnist, svhn[split])
        assert len(left) == len(set(left.tolist())) == len(set(right.tolist())) == n
        np.testing.assert_array_equal(mnist[left], svhn[split][right])


@needs_data
@pytest.mark.filterwarnings("ignore:the SVHN files")
def test_real_digits_load_through_the_cache(tmp_path):
    data = load(MnistSvhn(), "mnist_svhn", {"pairing": "one_to_one"}, REAL, tmp_path)
    assert (len(data.train), len(data.test), data.subset) == (8000, 2000, "svhn 8000+2000")
    assert [len(y) for _, y in data.singles.values()] == [60_000, 8000]
