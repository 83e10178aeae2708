import warnings

import numpy as np
import pytest

from mmvae_bench.datasets import resnet
from mmvae_bench.datasets.base import Repeated
from mmvae_bench.datasets.cache import load
from mmvae_bench.datasets.check import check
from mmvae_bench.datasets.cub import LENGTH, UNSEEN, Cub
from mmvae_bench.datasets.download import Pinned, sha256
from mmvae_bench.datasets.words import EOS, UNK, decode
from mmvae_bench.errors import BenchWarning, DataError
from mmvae_bench.testing.datasets import fingerprints
from tests.helpers import REAL, needs

needs_data = needs("cub")
pytestmark = pytest.mark.filterwarnings("ignore:.*the complete official CUB")

# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_row_is_a_picture_with_one_of_its_captions(folder, fake):
    built = Cub().build(folder)
    assert built.subset == "cub 3 classes, 6 pictures"
    assert (len(built.train), len(built.test)) == (20, 40)
    words = built.vocabularies["caption"]
    for rows, order in ((built.train, [3, 2]), (built.test, [1, 0, 5, 4])):  # sorted by class, then by file
        assert isinstance(rows.x["image"], Repeated) and len(rows.x["image"].entries) == len(order)
        np.testing.assert_array_equal(rows.item, np.repeat(order, 10) + 11)
        np.testing.assert_array_equal(rows.label, np.repeat([int(fake.names[i][:3]) - 1 for i in order], 10))
        pixels = np.asarray(rows.x["image"])
        assert pixels.shape == (len(rows), 3, 64, 64) and pixels.dtype == np.uint8
        assert np.abs(pixels.astype(int).mean((2, 3)) - np.repeat(fake.colours[order], 10, 0)).max() < 4
        assert rows.x["caption"].shape == (len(rows), LENGTH) and rows.x["caption"].dtype == np.int16
        for row, (i, j) in zip(rows.x["caption"], ((i, j) for i in order for j in range(10)), strict=True):
            known = f"picture{i}" if i in (2, 3) else "<unk>"
            number = "<unk>"  # occurs twice, once for each training picture
            rare = " <unk>" if i == j == 2 else ""
            assert decode(row, words) == f"a {known} of bird , line {number} . it is two sentences .{rare}"
    x, y = built.singles["image"]
    np.testing.assert_array_equal(x, built.train.x["image"].entries)
    np.testing.assert_array_equal(y, [1, 1])


def test_the_official_split_is_that_of_the_file(folder):
    built = Cub(split="official").build(folder)
    np.testing.assert_array_equal(np.unique(built.train.item), [11, 13, 15])
    np.testing.assert_array_equal(np.unique(built.test.item), [12, 14, 16])
    assert set(built.train.label) == set(built.test.label) == {0, 1, 3}


def test_folders_and_archives_give_the_same_rows(folder, fake, tmp_path):
    archives = fake.write_archives(tmp_path / "archives", fake.contents())
    assert fingerprints(Cub().build(folder)) == fingerprints(Cub().build(archives))


def test_what_is_declared_fits_the_rows():
    for image, shape in (("pixels", (3, 64, 64)), ("resnet101", (2048,))):
        picture, caption = Cub(image=image).modalities
        assert picture.shape == shape and caption.shape == (LENGTH,) and caption.is_text
    assert len(Cub.classes) == 200 and len(set(UNSEEN)) == 50 and set(UNSEEN) <= set(range(1, 201))
    assert Cub().related == "item"


def test_all_pictures_are_official_in_the_official_archive_alone(folder, fake, tmp_path, monkeypatch):
    monkeypatch.setattr("mmvae_bench.datasets.cub.OFFICIAL", 6)
    archive = fake.write_archives(tmp_path / "archives", fake.contents())
    for place in (folder, archive):
        with pytest.warns(BenchWarning, match="is not verified to be the complete official CUB-200-2011"):
            assert Cub().build(place).subset == "cub 3 classes, 6 pictures, unverified"
        assert check(Cub(), "cub", place)[0] == "cub: complete, not verified"
    digest = sha256(archive / "cub" / "CUB_200_2011.tgz")
    monkeypatch.setattr("mmvae_bench.datasets.cub.CUB", Pinned((), 0, digest))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Cub().build(archive).subset == ""
    out = check(Cub(), "cub", archive)
    assert out[0] == "cub: complete and official"
    assert "  train: 20 rows of 2 items; 1 of 200 classes, 20 to 20 rows each" in out


def test_features_are_computed_from_the_original_pictures(folder, monkeypatch):
    seen = []

    def fake(pictures, weights):
        import torch

        seen.extend(pictures)
        assert weights.name == resnet.WEIGHTS_NAME
        return torch.arange(len(seen) * 2048.0).reshape(-1, 2048)

    monkeypatch.setattr("mmvae_bench.datasets.cub.features", fake)
    with pytest.raises(DataError, match=r"resnet101\.safetensors\. Get model\.safetensors"):
        Cub(image="resnet101").sources(folder)
    (folder / "cub" / resnet.WEIGHTS_NAME).touch()
    assert Cub(image="resnet101").sources(folder)[-1].name == resnet.WEIGHTS_NAME
    built = Cub(image="resnet101").build(folder)
    assert [tuple(x.shape) for x in seen] == [(3, 20, 40)] * 6
    assert built.train.x["image"].shape == (20, 2048) and built.train.x["image"].dtype == np.float32
    assert len(set(np.asarray(built.test.x["image"])[:, 0])) == 4


# --- the cache, and real data ----------------------------------------------------------------------------------------


def test_the_cache_notices_a_changed_folder_and_keeps_the_rows(folder, fake, tmp_path):
    options = {"image": "pixels", "split": "zero_shot"}
    data = load(Cub(), "cub", options, folder, tmp_path / "cache")
    assert load(Cub(), "cub", options, folder, tmp_path / "cache").hash == data.hash
    assert fingerprints(data) == fingerprints(Cub().build(folder))
    (folder / "cub/text_c10/002.B/x_1.txt").write_text("\n".join(fake.lines(9)))
    assert load(Cub(), "cub", options, folder, tmp_path / "cache").hash != data.hash


@needs_data
def test_the_partial_copy_loads_and_no_picture_is_on_both_sides():
    for split, train, test in (("zero_shot", 1906, 983), ("official", 1500, 1389)):
        built = Cub(split=split).build(REAL)
        assert built.subset == "cub 50 classes, 2889 pictures"
        assert (len(built.train), len(built.test)) == (10 * train, 10 * test)
        assert not set(built.train.item) & set(built.test.item)
        assert (not set(built.train.label) & set(built.test.label)) == (split == "zero_shot")
        ids = built.train.x["caption"]
        assert (ids == UNK).sum() < 0.01 * (ids > EOS).sum()
