import hashlib
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from mmvae_bench.cli import main
from mmvae_bench.datasets import cub_fetch
from mmvae_bench.datasets.cub import Cub
from mmvae_bench.datasets.cub_fetch import CUB, recognise
from mmvae_bench.datasets.resnet import WEIGHTS_NAME
from mmvae_bench.errors import DataError

CAPTIONS = "cvpr2016_cub.tar.gz"


@pytest.fixture
def mine(fake, tmp_path):
    """Archives that a user got by hand, under names of his own."""
    made = fake.write_archives(tmp_path / "made", fake.contents()) / "cub"
    (made / "CUB_200_2011.tgz").rename(tmp_path / "birds(1).tar")
    (made / CAPTIONS).rename(tmp_path / "download.bin")
    names = ("conv1.weight", "layer3.22.conv3.weight", "fc.weight")
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args):
        raise AssertionError("nothing was to be downloaded")

    monkeypatch.setattr(cub_fetch, "download", refuse)


def fetch(data, *args):
    return CliRunner().invoke(main, ["data", "fetch", "cub", "--data-dir", str(data), *map(str, args)])


def test_files_are_known_by_their_content_and_recorded(mine, offline, tmp_path):
    data = tmp_path / "data"
    result = fetch(data, "--from", mine / "download.bin", "--from", mine / "model.safetensors")
    assert result.exit_code == 0, result.output
    assert "Still missing: cub needs the pictures" in result.output
    result = fetch(data, "--from", mine / "birds(1).tar")
    assert result.exit_code == 0 and f"The files of cub are in '{data}'." in result.output
    assert sorted(path.name for path in (data / "cub").iterdir()) == sorted(
        ["CUB_200_2011.tgz", "SOURCES.json", CAPTIONS, WEIGHTS_NAME]
    )
    record = json.loads((data / "cub" / "SOURCES.json").read_text())
    assert record[CAPTIONS] == {
        "sha256": hashlib.sha256((mine / "download.bin").read_bytes()).hexdigest(),
        "from": "download.bin",
    }
    assert set(record) == {"CUB_200_2011.tgz", CAPTIONS, WEIGHTS_NAME}
    with pytest.warns(UserWarning, match="not the complete"):
        assert len(Cub().build(data).test) == 40


def test_the_same_file_twice_is_fine_and_another_overwrites_nothing(mine, offline, tmp_path, fake):
    assert fetch(tmp_path, "--from", mine / "download.bin").exit_code == 0
    assert fetch(tmp_path, "--from", mine / "download.bin").exit_code == 0
    assert fetch(tmp_path, "--from", tmp_path / "cub" / CAPTIONS).exit_code == 0  # in place already
    before = (tmp_path / "cub" / CAPTIONS).read_bytes()
    fake.pack(tmp_path / "other.gz", {"text_c10/002.B/x_1.txt": b"another"})
    result = fetch(tmp_path, "--from", tmp_path / "other.gz")
    assert result.exit_code == 2 and "with another content: move it away" in result.output
    assert (tmp_path / "cub" / CAPTIONS).read_bytes() == before


def test_what_is_not_of_cub_is_refused_in_one_sentence(mine, fake, tmp_path):
    whole = (mine / "download.bin").read_bytes()
    (tmp_path / "half.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.gz").write_bytes(b"<html>Google Drive cannot scan this file")
    fake.pack(tmp_path / "evil.gz", {"text_c10/002.B/x_1.txt": b"1", "../evil": b"2"})
    fake.pack(tmp_path / "else.gz", {"notes.txt": b"1"})
    expected = {
        "half.gz": "truncated or damaged",
        "page.gz": "none of what cub takes",
        "evil.gz": "outside its own folder",
        "else.gz": "none of what cub takes",
    }
    for name, match in expected.items():
        result = fetch(tmp_path / "data", "--from", tmp_path / name)
        assert result.exit_code == 2 and match in result.output, result.output
        assert result.output.count("\n") == 1
        assert not (tmp_path / "data").exists()
    assert fetch(tmp_path / "data", "--from", tmp_path / "absent").exit_code == 2
    with pytest.raises(DataError, match="takes a file"):
        recognise(tmp_path)


def test_every_archive_that_is_taken_gets_a_name_that_is_looked_for(mine, fake, tmp_path):
    text = {name: c for name, c in fake.contents().items() if name.startswith("text_c10")}
    fake.pack(tmp_path / "any.xz", text)
    assert recognise(tmp_path / "any.xz") == "cub_captions_text_c10.tar.xz"
    for start, name in (("text_c10", "cub_captions_text_c10.zip"), ("CUB_200_2011", "CUB_200_2011.zip")):
        part = {name: content for name, content in fake.contents().items() if name.startswith(start)}
        shutil.make_archive(tmp_path / f"any-{start}", "zip", fake.write(tmp_path / start, part, "."))
        assert recognise(tmp_path / f"any-{start}.zip") == name
    assert {recognise(mine / name) for name in ("birds(1).tar", "download.bin", "model.safetensors")} == {
        "CUB_200_2011.tgz", CAPTIONS, WEIGHTS_NAME
    }  # fmt: skip


def test_pictures_are_downloaded_where_there_are_none_and_captions_asked_for(mine, tmp_path, monkeypatch):
    asked = []

    def bring(pinned, path):
        asked.append(pinned)
        path.parent.mkdir(parents=True)
        shutil.copy(mine / "birds(1).tar", path)

    monkeypatch.setattr(cub_fetch, "download", bring)
    for _ in range(2):
        result = fetch(tmp_path / "data")
        assert result.exit_code == 2 and "--from cvpr2016_cub.tar.gz" in result.output
        assert asked == [CUB]
    record = json.loads((tmp_path / "data" / "cub" / "SOURCES.json").read_text())
    assert record["CUB_200_2011.tgz"]["sha256"] == CUB.sha256
    assert CUB.size == 1_150_585_339 and all(url.startswith("https://data.caltech.edu/") for url in CUB.urls)


def test_data_sets_that_take_no_files_say_so(mine, tmp_path):
    for name, match in (("mnist_svhn", "takes no --from"), ("linear_gaussian", "nothing to fetch")):
        args = ["data", "fetch", name, "--from", str(mine / "download.bin"), "--data-dir", str(tmp_path)]
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 2 and match in result.output
